// Polygons and masks.
#include "polygons.hpp"

#include <cstring>

#include "border.hpp"

namespace iosfast {

namespace {

using Coordinates = py::array_t<double, py::array::c_style>;

PolygonList polygon_list(const Coordinates& points, const Integers& starts) {
    need(points.ndim() == 2 && points.shape(1) == 2,
         "points must have shape (N, 2), not " + shape_of(points));
    need(starts.ndim() == 1 && starts.size() > 0,
         "starts must have shape (P + 1,), not " + shape_of(starts));
    const std::int64_t* at = aligned(starts.data(), "starts");
    const auto size = static_cast<std::size_t>(starts.size());
    need(at[0] == 0 && at[size - 1] == points.shape(0), "starts must go from 0 to N");
    for (std::size_t p = 1; p < size; ++p) need(at[p - 1] <= at[p], "starts must not decrease");
    static_assert(sizeof(Point) == 2 * sizeof(double));
    const auto* corners = reinterpret_cast<const Point*>(aligned(points.data(), "points"));
    return {{corners, static_cast<std::size_t>(points.shape(0))}, {at, size}};
}

std::span<const std::int64_t> numbers(const Integers& a, const char* name, std::size_t count) {
    need_shape(a, name, {signed_size(count)});
    return {aligned(a.data(), name), count};
}

template <class T, class Out>
py::array_t<Out> array_of(const std::vector<T>& values, std::vector<py::ssize_t> shape) {
    py::array_t<Out> out(std::move(shape));
    if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), values.size() * sizeof(T));
    return out;
}

}  // namespace

void bind_polygons(py::module_& m) {
    m.attr("MAX_COORDINATE") = kMaxCoordinate;

    m.def(
        "fill_polygons",
        [](const Coordinates& points, const Integers& starts, const Integers& image_of,
           const Integers& object_of, Bytes filled, unsigned threads, const Progress& progress) {
            const PolygonList polygons = polygon_list(points, starts);
            const auto of_images = numbers(image_of, "image_of", polygons.size());
            const auto of_objects = numbers(object_of, "object_of", polygons.size());
            need(filled.ndim() == 4 && filled.size() > 0,
                 "filled must be a non-empty array (objects, T, Y, X), not " + shape_of(filled));
            const auto size = [&](int axis) {
                return static_cast<std::size_t>(filled.shape(axis));
            };
            std::uint8_t* out = writable(filled, "filled");
            const Poll poll = poll_for(progress);
            const py::gil_scoped_release release;
            fill_polygons(polygons, of_images, of_objects, size(0), size(1), size(2), size(3), out,
                          threads, poll);
        },
        "points"_a.noconvert(), "starts"_a.noconvert(), "image_of"_a.noconvert(),
        "object_of"_a.noconvert(), "filled"_a.noconvert(), "threads"_a = 0,
        "progress"_a.none(true) = py::none(),
        "Fill polygons into the masks filled, uint8 (objects, T, Y, X), in their order.\n\n"
        "points is float64 (N, 2), starts int64 (P + 1,): where each polygon begins, and N.\n"
        "image_of and object_of, int64 (P,), name the masks; image_of must not decrease, and an "
        "object\n"
        "of -1 clears the pixels in the masks of all objects.");

    m.def(
        "trace_masks",
        [](const Bytes& stack, double tolerance_px, unsigned threads, const Progress& progress) {
            need_stack(stack, "stack");
            need(tolerance_px >= 0, "tolerance_px must be at least 0");
            const auto size = [&](int axis) { return static_cast<std::size_t>(stack.shape(axis)); };
            const std::uint8_t* from = stack.data();
            const Poll poll = poll_for(progress);
            Outlines out;
            {
                const py::gil_scoped_release release;
                out = trace_masks(from, size(0), size(1), size(2), tolerance_px, threads, poll);
            }
            return py::make_tuple(
                array_of<Point, double>(out.points, {signed_size(out.points.size()), 2}),
                array_of<std::int64_t, std::int64_t>(out.starts, {signed_size(out.starts.size())}),
                array_of<std::int64_t, std::int64_t>(out.masks, {signed_size(out.masks.size())}),
                array_of<std::int64_t, std::int64_t>(out.layers, {signed_size(out.layers.size())}));
        },
        "stack"_a.noconvert(), "tolerance_px"_a = 0.0, "threads"_a = 0,
        "progress"_a.none(true) = py::none(),
        "Outlines of a stack of masks, uint8 (N, Y, X).\n\n"
        "Returns points, float64 (M, 2), starts, int64 (P + 1,), and for each outline its mask "
        "and\n"
        "its layer, int64 (P,).");

    m.def(
        "find_crossings",
        [](const Coordinates& points, const Integers& starts, unsigned threads) {
            const PolygonList polygons = polygon_list(points, starts);
            Bytes crossing(signed_size(polygons.size()));
            std::uint8_t* out = crossing.mutable_data();
            {
                const py::gil_scoped_release release;
                find_crossings(polygons, out, threads);
            }
            return crossing;
        },
        "points"_a.noconvert(), "starts"_a.noconvert(), "threads"_a = 0,
        "Whether each polygon crosses itself, uint8 (P,); see fill_polygons for the arguments.");
}

}  // namespace iosfast
