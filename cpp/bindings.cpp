// The border to Python: checks, allocation, the GIL. The only file that knows pybind11.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "colormap.hpp"
#include "frame_source.hpp"
#include "interval_change.hpp"
#include "temporal_binning.hpp"

namespace py = pybind11;
using namespace py::literals;
using namespace iosfast;

namespace {

using Images32 = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Integers = py::array_t<std::int64_t, py::array::c_style>;

std::string shape_of(const py::array& a) {
    return py::str(a.attr("shape")).cast<std::string>();
}

void need(bool holds, const std::string& message) {
    if (!holds) throw py::value_error(message);
}

void need_shape(const py::array& a, const char* name, const std::vector<py::ssize_t>& shape) {
    bool same = a.ndim() == static_cast<py::ssize_t>(shape.size());
    for (py::ssize_t i = 0; same && i < a.ndim(); ++i)
        same = a.shape(i) == shape[static_cast<std::size_t>(i)];
    if (same) return;
    py::tuple expected = py::cast(shape);
    throw py::value_error(std::string(name) + " must have shape " +
                          py::str(expected).cast<std::string>() + ", not " + shape_of(a));
}

void need_stack(const py::array& a, const char* name) {
    need(a.ndim() == 3 && a.size() > 0,
         std::string(name) + " must be a non-empty array (T, Y, X), not " + shape_of(a));
}

// Pixels, which must be aligned for their type: the core's loops rely on it.
template <class T>
const T* aligned(const T* data, const char* name) {
    need(reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0,
         std::string(name) + " must be aligned in memory");
    return data;
}

template <class T>
T* writable(py::array_t<T, py::array::c_style>& a, const char* name) {
    need(a.writeable(), std::string(name) + " is read-only");
    return const_cast<T*>(aligned(a.data(), name));
}

py::ssize_t signed_size(std::size_t n) {
    return static_cast<py::ssize_t>(n);
}

using Paths = std::vector<std::filesystem::path>;

// As the core opens files: the system's own bytes, or UTF-8 on Windows.
std::string to_core(const std::filesystem::path& path) {
    const std::u8string text = path.u8string();
    return {text.begin(), text.end()};
}

std::vector<std::string> to_core(const Paths& paths) {
    std::vector<std::string> names;
    names.reserve(paths.size());
    for (const auto& path : paths) names.push_back(to_core(path));
    return names;
}

using Progress = std::optional<std::function<void(std::size_t)>>;

// Lets Ctrl-C through, and tells the caller how far the work is.
Poll poll_for(const Progress& progress) {
    return [&progress](std::size_t done) {
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (progress) (*progress)(done);
    };
}

PixelType pixel_type(const py::dtype& dtype) {
    const char kind = dtype.kind();
    const py::ssize_t bytes = dtype.itemsize();
    if (kind == 'u' && bytes == 1) return PixelType::uint8;
    if (kind == 'u' && bytes == 2) return PixelType::uint16;
    if (kind == 'u' && bytes == 4) return PixelType::uint32;
    if (kind == 'i' && bytes == 2) return PixelType::int16;
    if (kind == 'i' && bytes == 4) return PixelType::int32;
    if (kind == 'f' && bytes == 4) return PixelType::float32;
    if (kind == 'f' && bytes == 8) return PixelType::float64;
    throw py::type_error(
        "frames must be uint8, uint16, int16, int32, uint32, float32 or float64, not " +
        py::str(dtype).cast<std::string>());
}

py::dtype dtype_of(PixelType type) {
    return visit_type(type, [](auto pixel) { return py::dtype::of<decltype(pixel)>(); });
}

// Memory for means, which the core writes as what `mean` says.
void* writable_means(py::array& out, PixelType mean) {
    const py::dtype expected = dtype_of(mean);
    if (!out.dtype().is(expected) && !out.dtype().equal(expected))
        throw py::type_error("out must be " + py::str(expected).cast<std::string>() + ", not " +
                             py::str(out.dtype()).cast<std::string>());
    need((out.flags() & py::array::c_style) != 0, "out must be C-contiguous");
    need(out.writeable(), "out is read-only");
    auto* data = out.mutable_data();
    need(reinterpret_cast<std::uintptr_t>(data) % pixel_bytes(mean) == 0,
         "out must be aligned in memory");
    return data;
}

bool is_swapped(const py::dtype& dtype) {
    const char order = dtype.byteorder();
    if (order == '=' || order == '|') return false;
    return (order == '<') != (std::endian::native == std::endian::little);
}

std::unique_ptr<FileFrames> file_frames(const Paths& paths, const Integers& segments,
                                        std::pair<std::size_t, std::size_t> shape,
                                        const py::dtype& dtype, std::size_t row_bytes) {
    need(segments.ndim() == 2 && segments.shape(1) == 4,
         "segments must have shape (n, 4), not " + shape_of(segments));
    std::vector<Segment> list;
    aligned(segments.data(), "segments");
    const auto rows = segments.unchecked<2>();
    list.reserve(static_cast<std::size_t>(rows.shape(0)));
    for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
        for (py::ssize_t k = 0; k < 4; ++k)
            need(rows(i, k) >= 0, "segments must not be negative (row " + std::to_string(i) + ")");
        list.push_back(
            {static_cast<std::size_t>(rows(i, 0)), static_cast<std::uint64_t>(rows(i, 1)),
             static_cast<std::uint64_t>(rows(i, 2)), static_cast<std::size_t>(rows(i, 3))});
    }
    const PixelType type = pixel_type(dtype);
    return std::make_unique<FileFrames>(to_core(paths), std::move(list), shape.first, shape.second,
                                        type, is_swapped(dtype), row_bytes);
}

std::unique_ptr<MemoryFrames> memory_frames(const py::array& frames) {
    need_stack(frames, "frames");
    const PixelType type = pixel_type(frames.dtype());
    if (is_swapped(frames.dtype()))
        throw py::type_error("frames must have the native byte order, not " +
                             py::str(frames.dtype()).cast<std::string>());
    need((frames.flags() & py::array::c_style) != 0, "frames must be C-contiguous");
    return std::make_unique<MemoryFrames>(
        static_cast<const std::byte*>(frames.data()), static_cast<std::size_t>(frames.shape(0)),
        static_cast<std::size_t>(frames.shape(1)), static_cast<std::size_t>(frames.shape(2)), type);
}

py::array read_frames(const FrameSource& source, std::size_t start, std::size_t stop) {
    need(start <= stop && stop <= source.frames, "frames outside of the source");
    py::array out(dtype_of(source.type),
                  std::vector<py::ssize_t>{signed_size(stop - start), signed_size(source.height),
                                           signed_size(source.width)});
    auto* to = static_cast<std::byte*>(out.mutable_data());
    const py::gil_scoped_release release;
    copy_frames(source, start, stop, to);
    return out;
}

void bind_sources(py::module_& m) {
    py::class_<FrameSource, std::shared_ptr<FrameSource>>(
        m, "FrameSource", "Frames in files or in memory, fetched by the core without Python.")
        .def(py::init([](const Paths& paths, const Integers& segments,
                         std::pair<std::size_t, std::size_t> shape, const py::dtype& dtype,
                         std::size_t row_bytes) {
                 return std::shared_ptr<FrameSource>(
                     file_frames(paths, segments, shape, dtype, row_bytes));
             }),
             "paths"_a, "segments"_a.noconvert(), "shape"_a, "dtype"_a, "row_bytes"_a = 0,
             "Frames in files. `segments` is int64 (n, 4): index of the path, offset of the first\n"
             "frame, bytes from frame to frame, number of frames. `shape` is (Y, X). `row_bytes`\n"
             "is the distance of rows that are padded, else 0.")
        .def_static(
            "from_array",
            [](const py::object& frames) {
                // As py::object, since pybind11's keep_alive fails on what a py::array refuses.
                if (!py::isinstance<py::array>(frames))
                    throw py::type_error("frames must be an array");
                return std::shared_ptr<FrameSource>(memory_frames(frames));
            },
            "frames"_a, py::keep_alive<0, 1>(),
            "Frames of a C-contiguous array (T, Y, X), which is not copied.")
        .def_readonly("frames", &FrameSource::frames)
        .def_property_readonly(
            "shape",
            [](const FrameSource& s) { return py::make_tuple(s.frames, s.height, s.width); },
            "(T, Y, X)")
        .def(
            "is_mapped",
            [](const FrameSource& self, std::size_t start, std::size_t stop) {
                need(start < stop && stop <= self.frames, "frames outside of the source");
                return self.mapped(start, stop) != nullptr;
            },
            "start"_a, "stop"_a,
            "Whether frames [start, stop) would now be read through a memory map: they lie at one\n"
            "stride in one file that is in the page cache.")
        .def("read", &read_frames, "start"_a, "stop"_a,
             "Frames [start, stop) as a new array in native byte order.");

    m.def(
        "read_records",
        [](const std::filesystem::path& path, std::uint64_t offset, std::uint64_t stride,
           std::size_t count, std::size_t bytes) {
            Bytes out({signed_size(count), signed_size(bytes)});
            auto* to = reinterpret_cast<std::byte*>(out.mutable_data());
            const std::string name = to_core(path);
            std::size_t whole = 0;
            {
                const py::gil_scoped_release release;
                whole = read_records(name, offset, stride, count, bytes, to);
            }
            return py::object(out[py::slice(0, signed_size(whole), 1)]).cast<Bytes>();
        },
        "path"_a, "offset"_a, "stride"_a, "count"_a, "bytes"_a,
        "Bytes [offset + i stride, + bytes) of a file for i < count, as uint8 (n, bytes);\n"
        "n is smaller than count if the file ends before.");

    m.def(
        "probe_files",
        [](const Paths& paths,
           const std::vector<std::tuple<std::uint64_t, py::bytes, py::bytes>>& expected,
           unsigned threads, const Progress& progress) {
            std::vector<HeaderPart> parts;
            for (const auto& [offset, bytes, mask] : expected) {
                const std::string b = bytes, k = mask;
                need(b.size() == k.size(), "bytes and mask must have the same length");
                parts.push_back({offset, {b.begin(), b.end()}, {k.begin(), k.end()}});
            }
            const std::vector<std::string> names = to_core(paths);
            std::vector<FileFacts> facts;
            const Poll poll = poll_for(progress);
            {
                const py::gil_scoped_release release;
                facts = probe_files(names, parts, threads, poll);
            }
            Integers sizes(signed_size(facts.size())), times(signed_size(facts.size()));
            py::array_t<bool> matches(signed_size(facts.size()));
            for (std::size_t i = 0; i < facts.size(); ++i) {
                sizes.mutable_data()[i] = facts[i].size;
                times.mutable_data()[i] = facts[i].mtime_ns;
                matches.mutable_data()[i] = facts[i].matches;
            }
            return py::make_tuple(sizes, times, matches);
        },
        "paths"_a, "expected"_a, "threads"_a = 0, "progress"_a = py::none(),
        "Size (bytes), modification time (ns since 1970 UTC) and match of every file, as int64,\n"
        "int64 and bool (n,). `expected` lists (offset, bytes, mask); where the mask is 0 a byte\n"
        "may differ.");
}

void bind_binning(py::module_& m) {
    m.attr("MAX_FRAMES_PER_BIN") = kMaxFramesPerBin;
    m.def(
        "mean_dtype", [](const py::dtype& dtype) { return dtype_of(mean_type(pixel_type(dtype))); },
        "dtype"_a,
        "What the mean of frames is kept in: uint16 for uint8 and uint16, float32 for int16 and\n"
        "float32, float64 for 32-bit integers and float64.");
    m.def(
        "bin_frames",
        [](const FrameSource& source, const Integers& edges, py::array out, unsigned threads,
           const Progress& progress) {
            need(edges.ndim() == 1 && edges.size() >= 2,
                 "edges must hold at least two entries, not shape " + shape_of(edges));
            need_shape(out, "out",
                       {edges.size() - 1, signed_size(source.height), signed_size(source.width)});
            void* to = writable_means(out, mean_type(source.type));
            const std::span<const std::int64_t> range(aligned(edges.data(), "edges"),
                                                      static_cast<std::size_t>(edges.size()));
            const Poll poll = poll_for(progress);
            const py::gil_scoped_release release;
            bin_frames(source, range, to, threads, poll);
        },
        "source"_a, "edges"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
        "progress"_a = py::none(),
        "Write the mean of frames [edges[b], edges[b + 1]) to out[b].\n\n"
        "edges is int64 (B + 1,), increasing; out is (B, Y, X) of `mean_dtype`, rounded to whole\n"
        "numbers if that is uint16.");

    py::class_<BinAccumulator>(m, "BinAccumulator", "Mean of frames that arrive a few at a time.")
        .def(py::init([](std::pair<std::size_t, std::size_t> shape, const py::dtype& dtype) {
                 need(shape.first > 0 && shape.second > 0, "shape must be at least (1, 1)");
                 return std::make_unique<BinAccumulator>(shape.first, shape.second,
                                                         mean_type(pixel_type(dtype)));
             }),
             "shape"_a, "dtype"_a, "For frames of this dtype, or of another with the same mean.")
        .def_property_readonly("frames", &BinAccumulator::frames, "Frames since the last mean.")
        .def(
            "add",
            [](BinAccumulator& self, const FrameSource& source, std::size_t start, std::size_t stop,
               unsigned threads) {
                const py::gil_scoped_release release;
                self.add(source, start, stop, threads);
            },
            "source"_a, "start"_a, "stop"_a, "threads"_a = 0,
            "Add frames [start, stop) of the source.")
        .def(
            "mean",
            [](BinAccumulator& self, py::array out) {
                need_shape(out, "out", {signed_size(self.height), signed_size(self.width)});
                void* to = writable_means(out, self.mean_type);
                const py::gil_scoped_release release;
                self.mean(to);
            },
            "out"_a.noconvert(), "Write the mean to out, (Y, X) of `mean_dtype`, and start anew.");
}

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

}  // namespace

PYBIND11_MODULE(_core, m) {
    m.doc() = "The compiled core of iosfast; its checks guard memory, the Python API explains.";
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const ReadFailure& failure) {
            const py::object type = py::module_::import("iosfast.errors").attr("ReadError");
            const py::object frame =
                failure.frame < 0 ? py::object(py::none()) : py::object(py::int_(failure.frame));
            const std::u8string text(failure.path.begin(), failure.path.end());
            const py::object error = type(failure.what(), std::filesystem::path(text), frame);
            PyErr_SetObject(type.ptr(), error.ptr());
        }
    });
    bind_sources(m);
    bind_binning(m);
    bind_change(m);
}
