#include "colormap.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace iosfast {
namespace {

constexpr std::uint16_t kOutside = 256;

// round half away from zero for 0 <= v < 2^31; v - trunc(v) is exact
std::int32_t round_half_up(double v) {
    const auto whole = static_cast<std::int32_t>(v);
    return whole + static_cast<std::int32_t>(v - static_cast<double>(whole) >= 0.5);
}

}  // namespace

Extremes::Extremes() {
    low_.fill(std::numeric_limits<double>::infinity());
    high_.fill(-std::numeric_limits<double>::infinity());
}

void Extremes::add(const double* values, std::size_t n) {
    auto low = low_, high = high_;
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
    low_ = low;
    high_ = high;
}

double Extremes::low() const {
    return *std::min_element(low_.begin(), low_.end());
}
double Extremes::high() const {
    return *std::max_element(high_.begin(), high_.end());
}

Painter::Painter(const Colormap& colormap, const ColorScale& scale)
    : table_{}, per_map_(scale.per_map), low_(scale.low), span_(scale.high - scale.low) {
    for (std::size_t i = 0; i <= kOutside; ++i) {
        const auto& color = i < kOutside ? colormap.entries[i] : colormap.outside;
        table_[i] = {color[0], color[1], color[2], 0};
    }
}

bool Painter::set_extremes(const Extremes& extremes) {
    low_ = extremes.low();
    span_ = extremes.high() - low_;
    undefined_ = !(span_ > 0.0) || !std::isfinite(span_);
    return !undefined_;
}

void Painter::paint(const double* values, const std::uint8_t* mask, std::uint8_t* rgb,
                    std::size_t n, bool last) const {
    std::array<std::uint16_t, kPiece> entries;  // NOLINT: every entry is written before it is read
    const double low = low_;
    const double span = span_;
    if (!per_map_) {
        for (std::size_t i = 0; i < n; ++i) {
            double x = (values[i] - low) / span;
            const bool known = x == x;
            x = x > 0.0 ? x : 0.0;  // NaN, too
            x = x < 1.0 ? x : 1.0;
            const auto entry = static_cast<std::uint16_t>(round_half_up(x * 255.0));
            entries[i] = known ? entry : kOutside;
        }
    } else if (undefined_) {
        std::fill_n(entries.begin(), n, std::uint16_t{0});  // 0/0 and inf/inf: NaN, as integer 0
    } else {
        for (std::size_t i = 0; i < n; ++i) {
            const double known = values[i] == values[i] ? values[i] : low;
            const std::int32_t scaled = round_half_up((known - low) / span * 65535.0);
            // round(N / 257): N / 65535 * 255 is never half of an odd number, as 257 is odd
            entries[i] = static_cast<std::uint16_t>((scaled + 128) / 257);
        }
    }
    if (mask) {
        for (std::size_t i = 0; i < n; ++i) entries[i] = mask[i] ? entries[i] : kOutside;
    }
    const std::size_t overlapping = last ? n - 1 : n;
    for (std::size_t i = 0; i < overlapping; ++i)
        std::memcpy(rgb + 3 * i, table_[entries[i]].data(), 4);
    if (last) std::memcpy(rgb + 3 * (n - 1), table_[entries[n - 1]].data(), 3);
}

}  // namespace iosfast
