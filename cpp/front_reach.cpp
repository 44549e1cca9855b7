#include "front_reach.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace iosfast {

namespace {

constexpr double kStep = 0.5;         // maps
constexpr double kSight = 0.5;        // maps for which a front may go unseen in good maps,
constexpr int kBlindSteps = 12;       // and in bad ones, in steps
constexpr double kBlindNoise = 1.6;   // times the median noise, from which a map is bad
constexpr double kPatience = 4.0;     // maps for which a front may rest
constexpr double kStartsBefore = -9;  // "always": earlier than any map that is looked at

}  // namespace

Reach::Reach(const FrontCells& cells, const std::vector<FrontHint>& hints,
             const std::vector<float>& arrival, const std::vector<std::uint8_t>& labelled,
             const std::vector<float>& won, double lead, std::span<const double> noise)
    : in_(cells),
      hints_(hints),
      arrival_(arrival),
      labelled_(labelled),
      won_(won),
      lead_(lead),
      blind_(cells.maps),
      reached_(arrival.size(), 0),
      seed_(arrival.size(), 0),
      earliest_(arrival.size(), std::numeric_limits<double>::infinity()),
      latest_(arrival.size(), -std::numeric_limits<double>::infinity()),
      discs_(kBlindSteps + 1) {
    std::vector<double> sorted(noise.begin(), noise.end());
    std::sort(sorted.begin(), sorted.end());
    const double limit = kBlindNoise * sorted[sorted.size() / 2];
    for (std::size_t t = 0; t < cells.maps; ++t) blind_[t] = noise[t] > limit;
}

bool Reach::blind(double from, double to) const {
    for (std::size_t t = 0; t < in_.maps; ++t)
        if (in_.times[t] > from && in_.times[t] <= to && !blind_[t]) return false;
    return true;
}

// Visit a cell and those around it.
template <class Visit>
void Reach::about(std::size_t cell, Visit&& visit) const {
    const std::size_t y = cell / in_.columns, x = cell % in_.columns;
    for (std::size_t v = y - (y > 0); v <= std::min(y + 1, in_.rows - 1); ++v)
        for (std::size_t u = x - (x > 0); u <= std::min(x + 1, in_.columns - 1); ++u)
            visit(v * in_.columns + u);
}

// Cells that are linked to the first hint and arrive until then.
std::vector<std::size_t> Reach::seeds(double until) const {
    const FrontHint& hint = hints_.front();
    std::vector<std::uint8_t> seen(reached_.size(), 0);
    std::vector<std::size_t> found;
    const auto take = [&](std::size_t i) {
        if (seen[i] || !labelled_[i] || static_cast<double>(arrival_[i]) > until) return;
        seen[i] = 1;
        found.push_back(i);
    };
    for (std::size_t i = 0; i < seen.size(); ++i)
        if (hint.cells[i] == Said::wave) take(i);
    for (std::size_t next = 0; next < found.size();) about(found[next++], take);
    return found;
}

const Reach::Disc& Reach::disc(int older) {
    Disc& disc = discs_[static_cast<std::size_t>(older)];
    if (!disc.half.empty()) return disc;
    const double radius = in_.reach * (kStep * older + kStep) + 1;
    const auto longest = static_cast<std::ptrdiff_t>(std::max(in_.rows, in_.columns));
    disc.most = std::min(static_cast<std::ptrdiff_t>(radius), longest);
    for (std::ptrdiff_t v = -disc.most; v <= disc.most; ++v) {
        const auto dy = static_cast<double>(v);
        const auto half = static_cast<std::ptrdiff_t>(std::sqrt(radius * radius - dy * dy));
        disc.half.push_back(std::min(half, longest));
        for (std::ptrdiff_t u = -disc.most; u <= disc.most; ++u) {
            const auto dx = static_cast<double>(u);
            disc.time.push_back(std::sqrt(dx * dx + dy * dy) / in_.reach);
        }
    }
    return disc;
}

void Reach::extend(std::size_t cell, int older, double until) {
    const Disc& about = disc(older);
    const double here =
        std::max(earliest_[cell], static_cast<double>(arrival_[cell]) - kReachSlack);
    const auto y = static_cast<std::ptrdiff_t>(cell / in_.columns);
    const auto x = static_cast<std::ptrdiff_t>(cell % in_.columns);
    const auto rows = static_cast<std::ptrdiff_t>(in_.rows);
    const auto columns = static_cast<std::ptrdiff_t>(in_.columns);
    const std::ptrdiff_t side = 2 * about.most + 1;
    for (auto v = std::max(-about.most, -y); v <= std::min(about.most, rows - 1 - y); ++v) {
        const std::ptrdiff_t half = about.half[static_cast<std::size_t>(v + about.most)];
        const auto from = std::max(-half, -x), to = std::min(half, columns - 1 - x) + 1;
        const double* time = about.time.data() + (v + about.most) * side + about.most;
        double* earliest = earliest_.data() + (y + v) * columns + x;
        double* latest = latest_.data() + (y + v) * columns + x;
        for (auto u = from; u < to; ++u) earliest[u] = std::min(earliest[u], here + time[u]);
        for (auto u = from; u < to; ++u) latest[u] = std::max(latest[u], until);
    }
}

std::vector<std::uint8_t> Reach::accept() {
    const double first = in_.times[hints_.front().map] - lead_;
    const double last = in_.times[in_.maps - 1] + 2;
    const auto join = [&](std::size_t i, double time) {
        reached_[i] = 1;
        extend(i, 0, std::max(time, static_cast<double>(arrival_[i])) + kPatience);
    };
    for (const std::size_t i : seeds(first + kStep)) {
        seed_[i] = 1;
        earliest_[i] = kStartsBefore;
        join(i, kStartsBefore);
    }
    for (const FrontHint& hint : hints_)  // what is said of later maps needs no way to get there
        for (std::size_t i = 0; i < reached_.size(); ++i)
            if (hint.cells[i] == Said::wave && labelled_[i] && !reached_[i]) {
                seed_[i] = 1;
                earliest_[i] = kStartsBefore;
                join(i, static_cast<double>(arrival_[i]));
            }
    const auto steps = static_cast<int>(std::ceil((last - first) / kStep));
    for (int step = 0; step < steps; ++step) {
        const double time = first + kStep * step;
        // From where a front was seen lately, it may be farther by now.
        for (int older = 1; older <= kBlindSteps; ++older) {
            const double age = kStep * older;
            if (age > kSight && !blind(time - age, time)) break;
            for (std::size_t i = 0; i < reached_.size(); ++i) {
                const auto arrival = static_cast<double>(arrival_[i]);
                if (reached_[i] && arrival <= time - age && arrival > time - age - kStep)
                    extend(i, older, time + kPatience);
            }
        }
        std::vector<std::size_t> joining;
        for (std::size_t i = 0; i < reached_.size(); ++i) {
            const auto arrival = static_cast<double>(arrival_[i]);
            if (labelled_[i] && !reached_[i] && arrival <= time && arrival > time - 1.5 &&
                arrival >= earliest_[i] - kReachSlack && arrival <= latest_[i])
                joining.push_back(i);
        }
        for (const std::size_t i : joining) join(i, time + kStep);
    }
    keep_main();
    return reached_;
}

// Keep the connected region of most evidence, and those that were hinted at.
void Reach::keep_main() {
    std::vector<std::size_t> region(reached_.size(), 0);
    std::vector<double> evidence{0.0};
    std::vector<std::uint8_t> hinted{0};
    std::vector<std::size_t> queue;
    for (std::size_t start = 0; start < reached_.size(); ++start) {
        if (!reached_[start] || region[start]) continue;
        const std::size_t name = evidence.size();
        evidence.push_back(0.0);
        hinted.push_back(0);
        region[start] = name;
        queue.assign(1, start);
        for (std::size_t next = 0; next < queue.size();) {
            const std::size_t i = queue[next++];
            evidence[name] += static_cast<double>(won_[i]);
            hinted[name] |= seed_[i];
            about(i, [&](std::size_t j) {
                if (!reached_[j] || region[j]) return;
                region[j] = name;
                queue.push_back(j);
            });
        }
    }
    if (evidence.size() < 2) return;
    const auto most = static_cast<std::size_t>(
        std::max_element(evidence.begin() + 1, evidence.end()) - evidence.begin());
    for (std::size_t i = 0; i < reached_.size(); ++i)
        if (region[i] && region[i] != most && !hinted[region[i]]) reached_[i] = 0;
}

}  // namespace iosfast
