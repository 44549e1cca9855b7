// Means of frames.
#include <memory>
#include <span>

#include "border.hpp"
#include "temporal_binning.hpp"

namespace iosfast {

namespace {

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

// Checks the shape of images (`before`..., Y, X), or (..., X, Y) if they are transposed.
void need_images(const py::array& out, std::vector<py::ssize_t> before, std::size_t height,
                 std::size_t width, bool transposed) {
    before.push_back(signed_size(transposed ? width : height));
    before.push_back(signed_size(transposed ? height : width));
    need_shape(out, "out", before);
}

}  // namespace

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
           const Progress& progress, bool transposed) {
            need(edges.ndim() == 1 && edges.size() >= 2,
                 "edges must hold at least two entries, not shape " + shape_of(edges));
            need_images(out, {edges.size() - 1}, source.height, source.width, transposed);
            void* to = writable_means(out, mean_type(source.type));
            const std::span<const std::int64_t> range(aligned(edges.data(), "edges"),
                                                      static_cast<std::size_t>(edges.size()));
            const Poll poll = poll_for(progress);
            const py::gil_scoped_release release;
            bin_frames(source, range, to, transposed, threads, poll);
        },
        "source"_a, "edges"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
        "progress"_a = py::none(), "transposed"_a = false,
        "Write the mean of frames [edges[b], edges[b + 1]) to out[b].\n\n"
        "edges is int64 (B + 1,), increasing; out is (B, Y, X) of `mean_dtype`, rounded to whole\n"
        "numbers if that is uint16; (B, X, Y) if `transposed`.");

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
            "merge",
            [](BinAccumulator& self, BinAccumulator& other) {
                const py::gil_scoped_release release;
                self.merge(other);
            },
            "other"_a,
            "Add the frames of another one, which starts anew; only of whole numbers of 8 or 16\n"
            "bits, whose sums do not depend on the order.")
        .def(
            "mean",
            [](BinAccumulator& self, py::array out, bool transposed) {
                need_images(out, {}, self.height, self.width, transposed);
                void* to = writable_means(out, self.mean_type);
                const py::gil_scoped_release release;
                self.mean(to, transposed);
            },
            "out"_a.noconvert(), "transposed"_a = false,
            "Write the mean to out, (Y, X) of `mean_dtype`, or (X, Y) if `transposed`, and start\n"
            "anew.");
}

}  // namespace iosfast
