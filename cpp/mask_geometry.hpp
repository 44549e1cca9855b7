// Area, moments, box, outline crossings and overlaps of every mask of stacks, and when each pixel
// is covered first: all in one pass over the pixels, on rows packed to bits, in exact integers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel_for.hpp"

namespace iosfast {

// What is counted in every mask, in this order.
enum MaskCount : std::size_t {
    kArea,
    kSumX,
    kSumY,
    kSumXX,
    kSumYY,
    kSumXY,
    kMinX,  // box, both ends inside; -1 of an empty mask
    kMaxX,
    kMinY,
    kMaxY,
    // Pairs of neighbours of which one is in the mask; what is outside the image is not.
    kCrossX,     // (x - 1, y)
    kCrossY,     // (x, y - 1)
    kCrossDown,  // (x - 1, y - 1)
    kCrossUp,    // (x + 1, y - 1)
    kBorder,     // pixels at the border of the image
    kOverlap,    // pixels that are in the mask before, too
    kNew,        // pixels that are in no mask before
    kMaskCounts
};

// Longest side: its sums of squares fit 64 bits.
inline constexpr std::size_t kMaxMaskSide = 32768;

// `masks` are (objects, images, height, width), other than 0 inside. Writes `counts`, (objects,
// images, kMaskCounts), and `first`, (objects, height, width): the first image that covers a
// pixel, or -1. Writes `outline`, (objects, height, width), unless it is null: 1 for pixels of any
// mask of which a neighbour in the row or column is outside of that mask, else 0.
void mask_geometry(const std::uint8_t* masks, std::size_t objects, std::size_t images,
                   std::size_t height, std::size_t width, std::int64_t* counts, std::int32_t* first,
                   std::uint8_t* outline, unsigned threads, const Poll& poll);

}  // namespace iosfast
