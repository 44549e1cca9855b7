#include "arrival_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "parallel_for.hpp"

namespace iosfast {
namespace {

// Sums over the crossings around a pixel of weight * (dx^i dy^j t^k).
enum Moment : std::size_t { kW, kX, kY, kXX, kXY, kYY, kT, kTX, kTY, kTT, kMoments };
// The same sums along a row only.
enum RowMoment : std::size_t { kRow, kRowX, kRowXX, kRowT, kRowTX, kRowTT, kRowMoments };

// A Gaussian, and its products with the distance and its square. Crossings lie on pixels or, with
// `half`, half a pixel further.
struct Window {
    Window(double sigma, bool half)
        : reach(static_cast<std::ptrdiff_t>(std::ceil(3 * sigma))), shift(half ? 0.5 : 0.0) {
        for (std::ptrdiff_t k = -reach; k <= reach; ++k) {
            const double d = static_cast<double>(k) + shift;
            const double g = std::exp(-d * d / (2 * sigma * sigma));
            weight.push_back(g);
            first.push_back(g * d);
            second.push_back(g * d * d);
        }
    }
    std::ptrdiff_t reach;
    double shift;
    std::vector<double> weight, first, second;
};

// Where the front is half-way between two pixels. It may rest there: then its time is known to
// lie in an interval only, which no plane explains.
struct Crossing {
    double time;
    double variance;
};

// Rows of sums along x, of crossings to the right (`half_x`) or downwards.
class RowSums {
  public:
    RowSums(std::size_t height, std::size_t width)
        : width_(width), values_(height * kRowMoments * width), filled_(height) {}

    double* row(std::size_t y, std::size_t moment) {
        return values_.data() + (y * kRowMoments + moment) * width_;
    }
    const double* row(std::size_t y, std::size_t moment) const {
        return values_.data() + (y * kRowMoments + moment) * width_;
    }
    bool filled(std::size_t y) const { return filled_[y] != 0; }

    void add(std::size_t y, std::size_t x, const Crossing& crossing, const Window& window) {
        const double t = crossing.time;
        const double tt = t * t + crossing.variance;
        filled_[y] = 1;
        const auto at = static_cast<std::ptrdiff_t>(x);
        // A crossing at x + shift is x + shift - pixel away from a pixel.
        const std::ptrdiff_t begin = std::max<std::ptrdiff_t>(0, at - window.reach);
        const auto end = std::min(static_cast<std::ptrdiff_t>(width_), at + window.reach + 1);
        for (std::ptrdiff_t pixel = begin; pixel < end; ++pixel) {
            const auto k = static_cast<std::size_t>(at - pixel + window.reach);
            const auto to = static_cast<std::size_t>(pixel);
            row(y, kRow)[to] += window.weight[k];
            row(y, kRowX)[to] += window.first[k];
            row(y, kRowXX)[to] += window.second[k];
            row(y, kRowT)[to] += window.weight[k] * t;
            row(y, kRowTX)[to] += window.first[k] * t;
            row(y, kRowTT)[to] += window.weight[k] * tt;
        }
    }

  private:
    std::size_t width_;
    std::vector<double> values_;
    std::vector<char> filled_;  // rows are filled by one thread each
};

using Sums = std::array<std::vector<double>, kMoments>;

void add_scaled(std::vector<double>& to, const double* from, double factor) {
    for (std::size_t x = 0; x < to.size(); ++x) to[x] += factor * from[x];
}

void add_columns(const RowSums& rows, std::size_t height, std::size_t y, const Window& window,
                 Sums& sums) {
    const auto at = static_cast<std::ptrdiff_t>(y);
    const std::ptrdiff_t begin = std::max<std::ptrdiff_t>(0, at - window.reach);
    const auto end = std::min(static_cast<std::ptrdiff_t>(height), at + window.reach + 1);
    for (std::ptrdiff_t other = begin; other < end; ++other) {
        const auto from = static_cast<std::size_t>(other);
        if (!rows.filled(from)) continue;
        const auto k = static_cast<std::size_t>(other - at + window.reach);
        add_scaled(sums[kW], rows.row(from, kRow), window.weight[k]);
        add_scaled(sums[kX], rows.row(from, kRowX), window.weight[k]);
        add_scaled(sums[kY], rows.row(from, kRow), window.first[k]);
        add_scaled(sums[kXX], rows.row(from, kRowXX), window.weight[k]);
        add_scaled(sums[kXY], rows.row(from, kRowX), window.first[k]);
        add_scaled(sums[kYY], rows.row(from, kRow), window.second[k]);
        add_scaled(sums[kT], rows.row(from, kRowT), window.weight[k]);
        add_scaled(sums[kTX], rows.row(from, kRowTX), window.weight[k]);
        add_scaled(sums[kTY], rows.row(from, kRowT), window.first[k]);
        add_scaled(sums[kTT], rows.row(from, kRowTT), window.weight[k]);
    }
}

// The least squares plane through the crossings of one pixel.
std::array<double, kArrivalFields> plane(const Sums& sums, std::size_t x, double sigma) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kLeastWeight = 1e-3;  // a single crossing at the edge of the window
    constexpr double kLeastSpread = 1e-3;  // of sigma^2: crossings in one place or one line
    std::array<double, kArrivalFields> fit{nan, nan, nan, nan, nan};
    const double w = sums[kW][x];
    if (!(w > kLeastWeight)) return fit;
    const double mx = sums[kX][x] / w;
    const double my = sums[kY][x] / w;
    const double mt = sums[kT][x] / w;
    const double xx = sums[kXX][x] / w - mx * mx;
    const double yy = sums[kYY][x] / w - my * my;
    const double xy = sums[kXY][x] / w - mx * my;
    const double tx = sums[kTX][x] / w - mx * mt;
    const double ty = sums[kTY][x] / w - my * mt;
    const double tt = sums[kTT][x] / w - mt * mt;
    const double half = (xx + yy) / 2;
    const double spread = half - std::hypot((xx - yy) / 2, xy);  // the smaller eigenvalue
    if (!(spread > kLeastSpread * sigma * sigma) || !(tt > 0)) return fit;
    const double det = xx * yy - xy * xy;
    const double gx = (tx * yy - ty * xy) / det;
    const double gy = (ty * xx - tx * xy) / det;
    fit[kArrivalTime] = mt - gx * mx - gy * my;
    fit[kArrivalGradientX] = gx;
    fit[kArrivalGradientY] = gy;
    fit[kArrivalExplained] = std::clamp((gx * tx + gy * ty) / tt, 0.0, 1.0);
    fit[kArrivalDistance] = std::hypot(mx, my) / sigma;
    return fit;
}

}  // namespace

void fit_arrival(const std::int32_t* first, std::size_t height, std::size_t width,
                 const double* times_s, std::size_t times, double sigma, double* out,
                 unsigned threads) {
    if (!(sigma > 0) || sigma > kMaxArrivalSigma)
        throw std::invalid_argument("sigma_px must be above 0 and at most 1000");
    const std::size_t pixels = height * width;
    for (std::size_t i = 0; i < pixels; ++i) {
        if (first[i] >= 0 && static_cast<std::size_t>(first[i]) >= times)
            throw std::invalid_argument("first must be below the number of times");
    }
    const Window whole(sigma, false);
    const Window half(sigma, true);
    RowSums right(height, width);
    RowSums down(height, width);
    const double origin = times ? times_s[0] : 0.0;  // small numbers keep their digits
    auto crossing = [&](std::size_t a, std::size_t b, Crossing& found) {
        const std::int32_t early = std::min(first[a], first[b]);
        const std::int32_t late = std::max(first[a], first[b]);
        if (early < 0 || early == late) return false;
        const double begin = times_s[early] - origin;
        const double end = times_s[late - 1] - origin;
        found = {(begin + end) / 2, (end - begin) * (end - begin) / 12};
        return true;
    };
    parallel_for(height, threads, [&] {
        return [&, found = Crossing{}](std::size_t y, const std::atomic<bool>&) mutable {
            for (std::size_t x = 0; x < width; ++x) {
                const std::size_t at = y * width + x;
                if (x + 1 < width && crossing(at, at + 1, found)) right.add(y, x, found, half);
                if (y + 1 < height && crossing(at, at + width, found)) down.add(y, x, found, whole);
            }
        };
    });
    parallel_for(height, threads, [&] {
        return [&, sums = Sums()](std::size_t y, const std::atomic<bool>&) mutable {
            for (auto& sum : sums) sum.assign(width, 0.0);
            add_columns(right, height, y, whole, sums);
            add_columns(down, height, y, half, sums);
            for (std::size_t x = 0; x < width; ++x) {
                auto fit = plane(sums, x, sigma);
                fit[kArrivalTime] += origin;
                for (std::size_t f = 0; f < kArrivalFields; ++f)
                    out[f * pixels + y * width + x] = fit[f];
            }
        };
    });
}

}  // namespace iosfast
