// Geometry of masks, fits of when a front arrives, triangles between pixels.
#include "arrival_fit.hpp"
#include "border.hpp"
#include "delaunay.hpp"
#include "mask_geometry.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace iosfast {

namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Numbers = py::array_t<std::int32_t, py::array::c_style>;
using Triples = std::vector<std::array<std::int32_t, 3>>;

Numbers array_of(const Triples& triples) {
    static_assert(sizeof(Triples::value_type) == 3 * sizeof(std::int32_t));
    Numbers made({signed_size(triples.size()), py::ssize_t{3}});
    if (!triples.empty())
        std::memcpy(made.mutable_data(), triples.data(), triples.size() * 3 * sizeof(std::int32_t));
    return made;
}

// Copies numbers that must be -1 or more (or 0 or more), and below a limit.
Triples triples_of(const Numbers& a, const char* name, std::int32_t least, std::size_t limit) {
    need(a.ndim() == 2 && a.shape(1) == 3,
         std::string(name) + " must be an array (M, 3), not " + shape_of(a));
    Triples found(static_cast<std::size_t>(a.shape(0)));
    const std::int32_t* from = aligned(a.data(), name);
    for (auto& triple : found) {
        for (auto& value : triple) {
            value = *from++;
            need(value >= least && (value < 0 || static_cast<std::size_t>(value) < limit),
                 std::string(name) + " names " + std::to_string(value) + ", which there is not");
        }
    }
    return found;
}

}  // namespace

void bind_masks(py::module_& m) {
    m.attr("MAX_MASK_SIDE") = kMaxMaskSide;
    m.attr("MASK_COUNTS") = py::make_tuple("area", "sum_x", "sum_y", "sum_xx", "sum_yy", "sum_xy",
                                           "min_x", "max_x", "min_y", "max_y", "cross_x", "cross_y",
                                           "cross_down", "cross_up", "border", "overlap", "new");
    m.def(
        "mask_geometry",
        [](const Bytes& masks, Numbers out, std::optional<Bytes> outline, const Progress& progress,
           unsigned threads) {
            need(masks.ndim() == 4 && masks.size() > 0,
                 "masks must be a non-empty array (N, T, Y, X), not " + shape_of(masks));
            const py::ssize_t n = masks.shape(0);
            const py::ssize_t h = masks.shape(2);
            const py::ssize_t w = masks.shape(3);
            need_shape(out, "out", {n, h, w});
            if (outline) need_shape(*outline, "outline", {n, h, w});
            std::uint8_t* outline_out = outline ? writable(*outline, "outline") : nullptr;
            py::array_t<std::int64_t> counts({n, masks.shape(1), signed_size(kMaskCounts)});
            const std::uint8_t* from = masks.data();
            std::int64_t* counts_out = counts.mutable_data();
            std::int32_t* first_out = writable(out, "out");
            const auto t = static_cast<std::size_t>(masks.shape(1));
            const Poll poll = poll_for(progress);
            {
                const py::gil_scoped_release release;
                mask_geometry(from, static_cast<std::size_t>(n), t, static_cast<std::size_t>(h),
                              static_cast<std::size_t>(w), counts_out, first_out, outline_out,
                              threads, poll);
            }
            return counts;
        },
        "masks"_a.noconvert(), "out"_a.noconvert(), "outline"_a.noconvert() = py::none(),
        "progress"_a.none(true) = py::none(), "threads"_a = 0,
        "Counts of every mask, int64 (N, T, 17), named by MASK_COUNTS.\n\n"
        "masks is uint8 (N, T, Y, X), other than 0 inside. Writes out, int32 (N, Y, X): the\n"
        "first image that covers a pixel, or -1. Writes outline, uint8 (N, Y, X), if it is given: "
        "1\n"
        "for pixels of any mask of which a neighbour in the row or column is not in that mask.");
    m.def(
        "fit_arrival",
        [](const Numbers& first, const Doubles& times_s, double sigma_px, Doubles out,
           unsigned threads) {
            need(first.ndim() == 2 && first.size() > 0,
                 "first must be a non-empty array (Y, X), not " + shape_of(first));
            need(times_s.ndim() == 1, "times_s must be one-dimensional, not " + shape_of(times_s));
            const py::ssize_t h = first.shape(0);
            const py::ssize_t w = first.shape(1);
            need_shape(out, "out", {signed_size(kArrivalFields), h, w});
            const std::int32_t* from = aligned(first.data(), "first");
            const double* times = aligned(times_s.data(), "times_s");
            double* to = writable(out, "out");
            const auto t = static_cast<std::size_t>(times_s.size());
            const py::gil_scoped_release release;
            fit_arrival(from, static_cast<std::size_t>(h), static_cast<std::size_t>(w), times, t,
                        sigma_px, to, threads);
        },
        "first"_a.noconvert(), "times_s"_a.noconvert(), "sigma_px"_a, "out"_a.noconvert(),
        "threads"_a = 0,
        "Fit planes to the times at which a front crosses between pixels.\n\n"
        "first is int32 (Y, X), an index of times_s or negative. Writes out, float64\n"
        "(5, Y, X): time (s), its gradient along x and y (s per pixel), the part of the\n"
        "variance of time that the plane explains, and how far (in sigma) the middle of the\n"
        "crossings lies away. NaN where there is nothing to fit.");
    m.def(
        "delaunay",
        [](const Numbers& points, double wide, double high) {
            need(points.ndim() == 2 && points.shape(1) == 2 && points.size() > 0,
                 "points must be a non-empty array (N, 2), not " + shape_of(points));
            need(wide > 0 && high > 0, "steps of the grid must be above 0");
            const std::int32_t* from = aligned(points.data(), "points");
            const auto side = static_cast<std::int32_t>(kMaxMaskSide);
            std::vector<GridPoint> grid(static_cast<std::size_t>(points.shape(0)));
            for (std::size_t i = 0; i < grid.size(); ++i) {
                grid[i] = {from[2 * i], from[2 * i + 1]};
                const auto [x, y] = grid[i];
                need(x >= 0 && y >= 0 && x < side && y < side, "points must be 0 to 32767");
                need(i == 0 || grid[i - 1].x < x || (grid[i - 1].x == x && grid[i - 1].y < y),
                     "points must be sorted by x, then y, each once");
            }
            Triangles found;
            {
                const py::gil_scoped_release release;
                found = delaunay(grid, wide, high);
            }
            return py::make_tuple(array_of(found.corners), array_of(found.neighbours));
        },
        "points"_a.noconvert(), "wide"_a, "high"_a,
        "Delaunay triangles of points of a grid, int32 (M, 3), and their neighbours.\n\n"
        "points is int32 (N, 2), (x, y), sorted by x, then y, each once. Neighbours are those\n"
        "across the side from corner i to i + 1, or -1.");
    m.def(
        "groups_to_one_region",
        [](const Numbers& triangles, const Numbers& neighbours, const Integers& order,
           const Integers& ends, std::size_t points) {
            need(order.ndim() == 1 && ends.ndim() == 1, "order and ends must be one-dimensional");
            Triangles mesh;
            mesh.corners = triples_of(triangles, "triangles", 0, points);
            const std::size_t count = mesh.corners.size();
            mesh.neighbours = triples_of(neighbours, "neighbours", -1, count);
            need(mesh.neighbours.size() == count, "neighbours must be as many as triangles");
            const std::span<const std::int64_t> taken(aligned(order.data(), "order"),
                                                      static_cast<std::size_t>(order.size()));
            const std::span<const std::int64_t> until(aligned(ends.data(), "ends"),
                                                      static_cast<std::size_t>(ends.size()));
            for (const std::int64_t i : taken)
                need(i >= 0 && static_cast<std::size_t>(i) < count, "order names no triangle");
            for (const std::int64_t i : until)
                need(i >= 0 && i <= order.size(), "ends must be places of order");
            const py::gil_scoped_release release;
            return groups_to_one_region(mesh, taken, until, points);
        },
        "triangles"_a.noconvert(), "neighbours"_a.noconvert(), "order"_a.noconvert(),
        "ends"_a.noconvert(), "points"_a,
        "How many groups of triangles it takes until they hold all points in one piece.\n\n"
        "order is int64 (M,), numbers of triangles; ends, int64 (G,), where each group ends in\n"
        "it. One more than G if they never do.");
}

}  // namespace iosfast
