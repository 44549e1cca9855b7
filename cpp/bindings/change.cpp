// Smoothing, change and colour.
#include <cmath>
#include <cstring>
#include <optional>

#include "border.hpp"
#include "colormap.hpp"
#include "interval_change.hpp"

namespace iosfast {

namespace {

template <class T>
void bind_box_mean(py::module_& m) {
    m.def(
        "box_mean",
        [](const py::array_t<T, py::array::c_style>& images, std::size_t size, Border border,
           bool rounded, Images32 out, unsigned threads) {
            need_stack(images, "images");
            need_shape(out, "out", {images.shape(0), images.shape(1), images.shape(2)});
            const T* from = aligned(images.data(), "images");
            float* to = writable(out, "out");
            const auto n = static_cast<std::size_t>(images.shape(0));
            const auto h = static_cast<std::size_t>(images.shape(1));
            const auto w = static_cast<std::size_t>(images.shape(2));
            const py::gil_scoped_release release;
            box_mean(from, n, h, w, size, border, rounded, to, threads);
        },
        "images"_a.noconvert(), "size"_a, "border"_a, "rounded"_a, "out"_a.noconvert(),
        "threads"_a = 0,
        "Write the mean over a size x size box of every image, uint16, float32 or float64\n"
        "(N, Y, X), to out, float32 (N, Y, X).");
}

}  // namespace

void bind_change(py::module_& m) {
    m.attr("MAX_BOX") = kMaxBox;
    py::enum_<Border>(m, "Border", "How a box filter treats the border of an image.")
        .value("zero", Border::zero)
        .value("inside", Border::inside);
    py::enum_<Change>(m, "Change", "Change from an earlier image to a later one.")
        .value("ratio", Change::ratio)
        .value("difference", Change::difference)
        .value("dff", Change::dff);

    bind_box_mean<std::uint16_t>(m);
    bind_box_mean<float>(m);
    bind_box_mean<double>(m);

    m.def(
        "change_maps",
        [](const Images32& earlier, const Images32& later, Change kind,
           const std::optional<std::pair<double, double>>& range, const Bytes& colors,
           const std::optional<Bytes>& mask, Images32 change, Bytes rgb, unsigned threads) {
            need_stack(later, "later");
            const py::ssize_t n = later.shape(0), h = later.shape(1), w = later.shape(2);
            need(earlier.ndim() == 3 && (earlier.shape(0) == n || earlier.shape(0) == 1),
                 "earlier must hold one image, or one for each in later, not " + shape_of(earlier));
            need_shape(earlier, "earlier", {earlier.shape(0), h, w});
            need_shape(change, "change", {n, h, w});
            need_shape(rgb, "rgb", {n, h, w, 3});
            need_shape(colors, "colors", {257, 3});
            if (mask) need_shape(*mask, "mask", {h, w});
            if (range) {
                need(std::isfinite(range->first) && std::isfinite(range->second) &&
                         range->first < range->second,
                     "range must be finite and increase");
            }
            Colormap colormap{};
            std::memcpy(colormap.entries.data(), colors.data(), 768);
            std::memcpy(colormap.outside.data(), colors.data() + 768, 3);
            const ColorScale scale{!range, range ? range->first : 0.0, range ? range->second : 0.0};
            const auto pixels = static_cast<std::size_t>(h * w);
            Bytes undefined(n);
            const float* from = aligned(earlier.data(), "earlier");
            const float* to = aligned(later.data(), "later");
            const std::uint8_t* inside = mask ? mask->data() : nullptr;
            float* change_out = writable(change, "change");
            std::uint8_t* rgb_out = writable(rgb, "rgb");
            std::uint8_t* undefined_out = undefined.mutable_data();
            const std::size_t stride = earlier.shape(0) == 1 ? 0 : pixels;
            {
                const py::gil_scoped_release release;
                change_maps(from, stride, to, static_cast<std::size_t>(n), pixels, kind, scale,
                            colormap, inside, change_out, rgb_out, undefined_out, threads);
            }
            return undefined;
        },
        "earlier"_a.noconvert(), "later"_a.noconvert(), "kind"_a, "range"_a.none(true),
        "colors"_a.noconvert(), "mask"_a.noconvert().none(true), "change"_a.noconvert(),
        "rgb"_a.noconvert(), "threads"_a = 0,
        "Change from earlier to later images, and its colours.\n\n"
        "earlier is float32 (N or 1, Y, X), later (N, Y, X); change, float32 (N, Y, X), and rgb,\n"
        "uint8 (N, Y, X, 3), are written. range is (low, high), or None for each map's own.\n"
        "colors is uint8 (257, 3), the last for pixels outside the mask (uint8 (Y, X) or None).\n"
        "Returns uint8 (N,): 1 where a map's own scale is undefined.");
}

}  // namespace iosfast
