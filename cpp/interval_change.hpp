// Box smoothing of images, and the change from one smoothed image to a later one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "colormap.hpp"
#include "parallel_for.hpp"

namespace iosfast {

// A box of this size is the largest whose sum of full-scale pixels fits 32 bits.
inline constexpr std::size_t kMaxBox = 255;

enum class Border : std::uint8_t {
    zero,    // the image continues as zeros
    inside,  // the mean is over those pixels of the box that lie in the image
};

// Mean over a box of size x size pixels (size odd, at most kMaxBox) of every image of uint16, float
// or double, as float32; with `rounded`, rounded half away from zero to whole numbers. A value that
// is no number makes the mean none of every box that it lies in, and of no other.
// Throws std::invalid_argument for a size that is even or out of range.
template <class T>
void box_mean(const T* images, std::size_t count, std::size_t height, std::size_t width,
              std::size_t size, Border border, bool rounded, float* out, unsigned threads);

enum class Change : std::uint8_t {
    ratio,       // later / earlier
    difference,  // later - earlier
    dff,         // (later - earlier) / earlier
};

// Change from image earlier + i * earlier_stride to image i of `later`, computed in double, for
// `count` pairs: as float32 into `change`, and as colours into `rgb` (pixels x 3).
// undefined_scale[i] is set to 1 where the map's own colour scale is undefined, else to 0.
void change_maps(const float* earlier, std::size_t earlier_stride, const float* later,
                 std::size_t count, std::size_t pixels, Change kind, const ColorScale& scale,
                 const Colormap& colormap, const std::uint8_t* mask, float* change,
                 std::uint8_t* rgb, std::uint8_t* undefined_scale, unsigned threads);

}  // namespace iosfast
