// Polygons of masks: filling them, tracing them, and whether they cross themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel_for.hpp"

namespace iosfast {

// Corners farther out than this are refused: products of coordinates must stay exact enough.
inline constexpr double kMaxCoordinate = 1e9;

// In pixels; the centre of the first pixel is (0, 0).
struct Point {
    double x;
    double y;
};

// Polygons one after another: polygon p has the corners [starts[p], starts[p + 1]).
struct PolygonList {
    std::span<const Point> points;
    std::span<const std::int64_t> starts;

    [[nodiscard]] std::size_t size() const { return starts.size() - 1; }
    [[nodiscard]] std::span<const Point> operator[](std::size_t p) const {
        const auto first = static_cast<std::size_t>(starts[p]);
        return points.subspan(first, static_cast<std::size_t>(starts[p + 1]) - first);
    }
};

inline constexpr std::int64_t kErase = -1;

// Fill closed polygons into masks of 0 and 1, (objects, images, height, width), in the order given:
// polygon p is set in mask object_of[p] of image image_of[p]; one with kErase for its object is
// cleared from the masks of all objects. A polygon holds the pixels whose centre is inside by the
// even-odd rule, or on its border: exactly, if its corners are whole numbers. `image_of` must not
// decrease. Throws std::invalid_argument if a number is out of range.
void fill_polygons(const PolygonList& polygons, std::span<const std::int64_t> image_of,
                   std::span<const std::int64_t> object_of, std::size_t object_count,
                   std::size_t image_count, std::size_t height, std::size_t width,
                   std::uint8_t* masks, unsigned threads, const Poll& poll = {});

struct Outlines {
    std::vector<Point> points;
    std::vector<std::int64_t> starts{0};
    std::vector<std::int64_t> masks;   // of which mask
    std::vector<std::int64_t> layers;  // odd ones are holes
};

// Outlines of every mask (0 or not), through the centres of the pixels at its border: those of the
// outermost 8-connected components are layer 0, those of what they fill too much (holes) layer 1,
// of what these take away too much (islands) layer 2, and so on. Filling even layers and erasing
// odd ones, in ascending order, gives the mask again, to the bit. Only corners are kept, at least
// three: where there are fewer, an outline is widened by a quarter of a pixel, which reaches no
// other pixel's centre. With a tolerance, corners are left out as long as every pixel that changes
// lies within tolerance_px of the outline as it was; outlines that would vanish are kept as they
// are.
Outlines trace_masks(const std::uint8_t* masks, std::size_t count, std::size_t height,
                     std::size_t width, double tolerance_px, unsigned threads,
                     const Poll& poll = {});

// Whether each polygon crosses itself: two edges cross, or meet in a corner and go on on the other
// side. Touching, and going back along an edge, is no crossing. The result is 0 or 1 for each.
void find_crossings(const PolygonList& polygons, std::uint8_t* crossing, unsigned threads);

}  // namespace iosfast
