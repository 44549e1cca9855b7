// Delaunay triangulation of points of a grid, and the smallest triangles that hang together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace iosfast {

struct GridPoint {
    std::int32_t x, y;
};

struct Triangles {
    std::vector<std::array<std::int32_t, 3>> corners;
    // Across the side from corner i to corner i + 1; -1 outside.
    std::vector<std::array<std::int32_t, 3>> neighbours;
};

// Divide and conquer (Guibas and Stolfi, ACM Trans. Graph. 4, 74, 1985). Points are sorted by x,
// then y, each once, coordinates 0 to 32767. `wide` and `high` are the grid's steps. On which side
// of a line a point lies is exact; whether it lies in a circle is exact for equal steps and up to
// 4096 points a side, and beyond that for all points but those that are on it, but for rounding.
// There are no triangles if all points are on a line.
Triangles delaunay(std::span<const GridPoint> points, double wide, double high);

// Triangles are taken as `order` names them, in groups that end at `ends`. Returns how many groups
// it takes until those that were taken hold all `points` points and hang together by their sides;
// one more than there are groups if they never do.
std::size_t groups_to_one_region(const Triangles& triangles, std::span<const std::int64_t> order,
                                 std::span<const std::int64_t> ends, std::size_t points);

}  // namespace iosfast
