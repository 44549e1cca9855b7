#include "front_share.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <tuple>

namespace iosfast {

namespace {

constexpr double kStride = 1.0;          // maps that a front may take to a neighbour at no cost
constexpr double kReturn = 4.0;          // cost of a map back in time, of one of rest
constexpr double kSwitch = 1.0;          // cost of going on with what another object found
constexpr double kTurn = 0.4;            // change of slowness, in maps a cell, of cost 1
constexpr double kSide = 0.3;            // cost of a step along the front instead of with it
constexpr double kLeastSlowness = 0.05;  // maps a cell; below it a front has no way that it goes
constexpr double kTogether = 0.5;   // maps after a hint until which cells beside it are hinted at
constexpr double kSame = 1.0;       // maps within which two arrivals at a cell are one
constexpr double kAlike = 2.0;      // maps between arrivals about a cell that are one front
constexpr std::size_t kRadius = 2;  // cells about one that tell its slowness

// Gradient of the arrival, in maps a cell.
struct Slowness {
    double x = 0, y = 0;
};

Slowness slowness_at(const FrontTrack& track, std::size_t cell, std::size_t rows,
                     std::size_t columns) {
    const std::size_t y = cell / columns, x = cell % columns;
    const auto here = static_cast<double>(track.arrival[cell]);
    double xx = 0, xy = 0, yy = 0, xt = 0, yt = 0;
    for (std::size_t v = y - std::min(y, kRadius); v <= std::min(y + kRadius, rows - 1); ++v)
        for (std::size_t u = x - std::min(x, kRadius); u <= std::min(x + kRadius, columns - 1);
             ++u) {
            const std::size_t other = v * columns + u;
            const double dx = static_cast<double>(u) - static_cast<double>(x);
            const double dy = static_cast<double>(v) - static_cast<double>(y);
            const double later = static_cast<double>(track.arrival[other]) - here;
            if (!track.reached[other] || std::abs(later) >= kAlike) continue;
            xx += dx * dx;
            xy += dx * dy;
            yy += dy * dy;
            xt += dx * later;
            yt += dy * later;
        }
    xx += 1.0;  // a little, so that a lone cell has none
    yy += 1.0;
    const double determinant = xx * yy - xy * xy;
    return {(xt * yy - yt * xy) / determinant, (yt * xx - xt * xy) / determinant};
}

// Cells of the hint, and those beside them that the object has passed by then.
std::vector<std::size_t> hinted(const FrontTrack& track, const FrontHint& hint, std::size_t rows,
                                std::size_t columns) {
    std::vector<bool> seen(track.reached.size(), false);
    std::vector<std::size_t> found;
    float latest = -std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < seen.size(); ++i) {
        if (hint.cells[i] != Said::wave || !track.reached[i]) continue;
        seen[i] = true;
        found.push_back(i);
        latest = std::max(latest, track.arrival[i] + static_cast<float>(kTogether));
    }
    for (std::size_t next = 0; next < found.size(); ++next) {
        const std::size_t y = found[next] / columns, x = found[next] % columns;
        for (std::size_t v = y - (y > 0); v <= std::min(y + 1, rows - 1); ++v)
            for (std::size_t u = x - (x > 0); u <= std::min(x + 1, columns - 1); ++u) {
                const std::size_t i = v * columns + u;
                if (seen[i] || !track.reached[i] || track.arrival[i] > latest) continue;
                seen[i] = true;
                found.push_back(i);
            }
    }
    return found;
}

// Cost of going on from one arrival to another of a neighbour.
double step_cost(double from, double to) {
    const double rest = std::max(0.0, to - from - kStride);
    const double back = std::max(0.0, from - to);
    return rest * rest + kReturn * back * back;
}

// Cost of a step that does not go the way that the front goes.
double side_cost(double dx, double dy, const Slowness& to) {
    const double along = dx * to.x + dy * to.y;
    const double whole = std::hypot(dx, dy) * std::max(std::hypot(to.x, to.y), kLeastSlowness);
    return kSide * (1.0 - std::max(0.0, along / whole));
}

double turn_cost(const Slowness& from, const Slowness& to) {
    const double turn = (std::pow(from.x - to.x, 2) + std::pow(from.y - to.y, 2)) / (kTurn * kTurn);
    return turn * turn;
}

}  // namespace

std::vector<std::vector<std::size_t>> share_arrivals(const std::vector<const FrontTrack*>& tracks,
                                                     const std::vector<const FrontHint*>& hints,
                                                     std::size_t rows, std::size_t columns) {
    const std::size_t count = rows * columns, objects = tracks.size();
    std::vector<std::vector<std::size_t>> from(objects, std::vector<std::size_t>(count, kNobody));
    std::vector<std::uint8_t> given(objects * count, 0);  // arrivals, by who found them
    std::vector<Slowness> slowness(objects * count);
    for (std::size_t o = 0; o < objects; ++o)
        for (std::size_t i = 0; i < count; ++i)
            if (tracks[o]->reached[i])
                slowness[o * count + i] = slowness_at(*tracks[o], i, rows, columns);
    // Ties fall to the object of the lower number.
    using Offer = std::tuple<double, std::size_t, std::size_t, std::size_t>;  // to, of, cell
    std::priority_queue<Offer, std::vector<Offer>, std::greater<>> offers;
    for (std::size_t o = 0; o < objects; ++o)
        for (const std::size_t i : hinted(*tracks[o], *hints[o], rows, columns))
            offers.emplace(0.0, o, o, i);
    while (!offers.empty()) {
        const auto [cost, to, of, cell] = offers.top();
        offers.pop();
        if (given[of * count + cell] || from[to][cell] != kNobody) continue;
        from[to][cell] = of;
        const auto here = static_cast<double>(tracks[of]->arrival[cell]);
        for (std::size_t o = 0; o < objects; ++o)
            if (std::abs(static_cast<double>(tracks[o]->arrival[cell]) - here) < kSame)
                given[o * count + cell] = 1;
        const std::size_t y = cell / columns, x = cell % columns;
        for (std::size_t v = y - (y > 0); v <= std::min(y + 1, rows - 1); ++v)
            for (std::size_t u = x - (x > 0); u <= std::min(x + 1, columns - 1); ++u) {
                const std::size_t next = v * columns + u;
                if (from[to][next] != kNobody) continue;
                for (std::size_t o = 0; o < objects; ++o)
                    if (tracks[o]->reached[next] && !given[o * count + next] &&
                        tracks[o]->direction == tracks[to]->direction)
                        offers.emplace(
                            cost + (o == of ? 0.0 : kSwitch) +
                                step_cost(here, static_cast<double>(tracks[o]->arrival[next])) +
                                turn_cost(slowness[of * count + cell], slowness[o * count + next]) +
                                side_cost(static_cast<double>(u) - static_cast<double>(x),
                                          static_cast<double>(v) - static_cast<double>(y),
                                          slowness[o * count + next]),
                            to, o, next);
            }
    }
    return from;
}

}  // namespace iosfast
