// Images whose rows and columns are exchanged.
#pragma once

#include <cstddef>

#include "frame_source.hpp"

namespace iosfast {

// Writes images (n, height, width) to `out` (n, width, height).
void transpose(const std::byte* in, std::size_t images, std::size_t height, std::size_t width,
               PixelType type, std::byte* out, unsigned threads);

}  // namespace iosfast
