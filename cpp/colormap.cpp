#include "colormap.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace iosfast {
namespace {

constexpr std::size_t kLanes = 8;  // independent running extremes, so that compilers use SIMD
constexpr std::size_t kOutside = 256;

struct Range {
    double low, high;
};

// Extremes of all values but NaN; low > high if there are none.
Range extremes(const double* values, std::size_t n) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    std::array<double, kLanes> low, high;
    low.fill(infinity);
    high.fill(-infinity);
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        for (std::size_t k = 0; k < kLanes; ++k) {
            const double v = values[i + k];
            low[k] = v < low[k] ? v : low[k];
            high[k] = v > high[k] ? v : high[k];
        }
    }
    for (; i < n; ++i) {
        low[0] = values[i] < low[0] ? values[i] : low[0];
        high[0] = values[i] > high[0] ? values[i] : high[0];
    }
    return {*std::min_element(low.begin(), low.end()), *std::max_element(high.begin(), high.end())};
}

// round half away from zero for 0 <= v < 2^31; v - trunc(v) is exact
std::int32_t round_half_up(double v) {
    const auto whole = static_cast<std::int32_t>(v);
    return whole + static_cast<std::int32_t>(v - static_cast<double>(whole) >= 0.5);
}

// Colour entries as ready-made pixels; a pixel is stored as four bytes, of which the next pixel
// overwrites the last.
class Painter {
  public:
    explicit Painter(const Colormap& colormap) {
        for (std::size_t i = 0; i < 256; ++i) pack(i, colormap.entries[i]);
        pack(kOutside, colormap.outside);
    }
    void paint(const std::uint16_t* entries, std::uint8_t* rgb, std::size_t n, bool last) const {
        const std::size_t overlapping = last ? n - 1 : n;
        for (std::size_t i = 0; i < overlapping; ++i)
            std::memcpy(rgb + 3 * i, table_[entries[i]].data(), 4);
        if (last) std::memcpy(rgb + 3 * (n - 1), table_[entries[n - 1]].data(), 3);
    }

  private:
    void pack(std::size_t i, const std::array<std::uint8_t, 3>& color) {
        table_[i] = {color[0], color[1], color[2], 0};
    }
    std::array<std::array<std::uint8_t, 4>, 257> table_;
};

// Entries of a piece of a map, by `entry(value)` in [0, 256].
template <class Entry>
void paint_all(const double* values, const std::uint8_t* mask, const Painter& painter,
               std::uint8_t* rgb, std::size_t pixels, std::uint16_t outside, Entry entry) {
    constexpr std::size_t kPiece = 1024;
    std::array<std::uint16_t, kPiece> entries;
    for (std::size_t at = 0; at < pixels; at += kPiece) {
        const std::size_t n = std::min(kPiece, pixels - at);
        for (std::size_t i = 0; i < n; ++i) entries[i] = entry(values[at + i]);
        if (mask) {
            for (std::size_t i = 0; i < n; ++i) entries[i] = mask[at + i] ? entries[i] : outside;
        }
        painter.paint(entries.data(), rgb + 3 * at, n, at + n == pixels);
    }
}

}  // namespace

bool colorize(const double* values, const std::uint8_t* mask, const ColorScale& scale,
              const Colormap& colormap, std::uint8_t* rgb, std::size_t pixels) {
    const Painter painter(colormap);
    if (!scale.per_map) {
        const double low = scale.low;
        const double span = scale.high - scale.low;
        paint_all(values, mask, painter, rgb, pixels, kOutside, [=](double v) {
            double x = (v - low) / span;
            x = x < 0.0 ? 0.0 : x;  // NaN stays
            x = x > 1.0 ? 1.0 : x;
            const double number = x == x ? x * 255.0 : 0.0;
            const auto entry = static_cast<std::uint16_t>(round_half_up(number));
            return x == x ? entry : static_cast<std::uint16_t>(kOutside);
        });
        return true;
    }

    const Range range = extremes(values, pixels);
    const double low = range.low;
    const double span = range.high - low;
    if (!(span > 0.0) || !std::isfinite(span)) {
        // Every N is 0: 0/0 and inf/inf are NaN, and NaN is 0 as an integer.
        paint_all(values, mask, painter, rgb, pixels, kOutside,
                  [](double) { return std::uint16_t{0}; });
        return false;
    }
    paint_all(values, mask, painter, rgb, pixels, kOutside, [=](double v) {
        const double known = v == v ? v : low;
        const std::int32_t n = round_half_up((known - low) / span * 65535.0);
        // round(N / 257): N / 65535 * 255 is never half of an odd number, as 257 is odd
        return static_cast<std::uint16_t>((n + 128) / 257);
    });
    return true;
}

}  // namespace iosfast
