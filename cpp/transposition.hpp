// Images whose rows and columns are exchanged.
#pragma once

#include <algorithm>
#include <cstddef>

namespace iosfast {

// Exchanges rows [first, last) of an image (height, width), which may lie elsewhere than the rest,
// with columns, into the image `out` (width, height).
template <class T>
void transpose_rows(const T* rows, std::size_t first, std::size_t last, std::size_t height,
                    std::size_t width, T* out) {
    // Sides of the squares that are exchanged at a time: their rows, before and after, stay in the
    // first-level cache although they lie far apart.
    constexpr std::size_t side = 32;
    for (std::size_t top = first; top < last; top += side) {
        const std::size_t bottom = std::min(top + side, last);
        for (std::size_t left = 0; left < width; left += side) {
            const std::size_t right = std::min(left + side, width);
            for (std::size_t x = left; x < right; ++x) {
                for (std::size_t y = top; y < bottom; ++y)
                    out[x * height + y] = rows[(y - first) * width + x];
            }
        }
    }
}

}  // namespace iosfast
