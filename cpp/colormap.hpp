// Scaling of a map to 256 colours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace iosfast {

// 256 colours, and one for pixels outside the mask or without a value.
struct Colormap {
    std::array<std::array<std::uint8_t, 3>, 256> entries;
    std::array<std::uint8_t, 3> outside;
};

// How values become colour entries.
//   per_map: N = round((v - min) / (max - min) * 65535) over the whole map, entry
//            round(N / 65535 * 255); a map whose range is zero or infinite has N = 0 everywhere,
//            and so have pixels without a value (MATLAB's arithmetic).
//   fixed:   entry round((v - low) / (high - low) * 255), clamped; NaN has the outside colour.
struct ColorScale {
    bool per_map;
    double low, high;  // used if not per_map
};

// Colours of one map; `mask` is null or holds one byte per pixel, 0 outside.
// Returns false if the scale of the map itself is undefined (a constant or infinite map).
bool colorize(const double* values, const std::uint8_t* mask, const ColorScale& scale,
              const Colormap& colormap, std::uint8_t* rgb, std::size_t pixels);

}  // namespace iosfast
