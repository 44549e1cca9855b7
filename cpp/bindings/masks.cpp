// Geometry of masks, and fits of when a front arrives.
#include "arrival_fit.hpp"
#include "border.hpp"
#include "mask_geometry.hpp"

namespace iosfast {

namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Numbers = py::array_t<std::int32_t, py::array::c_style>;

}  // namespace

void bind_masks(py::module_& m) {
    m.attr("MAX_MASK_SIDE") = kMaxMaskSide;
    m.attr("MASK_COUNTS") = py::make_tuple("area", "sum_x", "sum_y", "sum_xx", "sum_yy", "sum_xy",
                                           "min_x", "max_x", "min_y", "max_y", "cross_x", "cross_y",
                                           "cross_down", "cross_up", "border", "overlap", "new");
    m.def(
        "mask_geometry",
        [](const Bytes& masks, Numbers out, const Progress& progress, unsigned threads) {
            need(masks.ndim() == 4 && masks.size() > 0,
                 "masks must be a non-empty array (N, T, Y, X), not " + shape_of(masks));
            const py::ssize_t n = masks.shape(0);
            const py::ssize_t h = masks.shape(2);
            const py::ssize_t w = masks.shape(3);
            need_shape(out, "out", {n, h, w});
            py::array_t<std::int64_t> counts({n, masks.shape(1), signed_size(kMaskCounts)});
            const std::uint8_t* from = masks.data();
            std::int64_t* counts_out = counts.mutable_data();
            std::int32_t* first_out = writable(out, "out");
            const auto t = static_cast<std::size_t>(masks.shape(1));
            const Poll poll = poll_for(progress);
            {
                const py::gil_scoped_release release;
                mask_geometry(from, static_cast<std::size_t>(n), t, static_cast<std::size_t>(h),
                              static_cast<std::size_t>(w), counts_out, first_out, threads, poll);
            }
            return counts;
        },
        "masks"_a.noconvert(), "out"_a.noconvert(), "progress"_a.none(true) = py::none(),
        "threads"_a = 0,
        "Counts of every mask, int64 (N, T, 17), named by MASK_COUNTS.\n\n"
        "masks is uint8 (N, T, Y, X), other than 0 inside. Writes out, int32 (N, Y, X): the\n"
        "first image that covers a pixel, or -1.");
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
}

}  // namespace iosfast
