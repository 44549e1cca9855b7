// Where frames lie: sources, and looks at many files.
#include <bit>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "border.hpp"
#include "file_frames.hpp"
#include "file_probing.hpp"

namespace iosfast {

namespace {

// A path as the core opens files: the system's own bytes, or UTF-8 on Windows. Of thousands,
// std::filesystem::path would take longer to be made than their files to be opened.
struct FileName {
    std::string text;
};

using FileNames = std::vector<FileName>;

std::vector<std::string> to_core(FileNames&& names) {
    std::vector<std::string> texts;
    texts.reserve(names.size());
    for (auto& name : names) texts.push_back(std::move(name.text));
    return texts;
}

}  // namespace

}  // namespace iosfast

template <>
struct pybind11::detail::type_caster<iosfast::FileName> {
    PYBIND11_TYPE_CASTER(iosfast::FileName, const_name("os.PathLike | str | bytes"));

    bool load(handle source, bool /*convert*/) {
        PyObject* bytes = nullptr;
        if (PyUnicode_FSConverter(source.ptr(), static_cast<void*>(&bytes)) == 0) {
            PyErr_Clear();
            return false;
        }
        const auto owner = reinterpret_steal<object>(bytes);
        value.text.assign(PyBytes_AS_STRING(bytes),
                          static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        return true;
    }
};

namespace iosfast {

namespace {

bool is_swapped(const py::dtype& dtype) {
    const char order = dtype.byteorder();
    if (order == '=' || order == '|') return false;
    return (order == '<') != (std::endian::native == std::endian::little);
}

std::unique_ptr<FileFrames> file_frames(FileNames&& paths, const Integers& segments,
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
    return std::make_unique<FileFrames>(to_core(std::move(paths)), std::move(list), shape.first,
                                        shape.second, type, is_swapped(dtype), row_bytes);
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

}  // namespace

void bind_sources(py::module_& m) {
    py::class_<FrameSource, std::shared_ptr<FrameSource>>(
        m, "FrameSource", "Frames in files or in memory, fetched by the core without Python.")
        .def(py::init([](FileNames paths, const Integers& segments,
                         std::pair<std::size_t, std::size_t> shape, const py::dtype& dtype,
                         std::size_t row_bytes) {
                 return std::shared_ptr<FrameSource>(
                     file_frames(std::move(paths), segments, shape, dtype, row_bytes));
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
            "Whether frames [start, stop) would now be read through a memory map: they lie in one\n"
            "file that is in the page cache.")
        .def("read", &read_frames, "start"_a, "stop"_a,
             "Frames [start, stop) as a new array in native byte order.");

    m.def(
        "read_records",
        [](const FileName& path, std::uint64_t offset, std::uint64_t stride, std::size_t count,
           std::size_t bytes) {
            Bytes out({signed_size(count), signed_size(bytes)});
            auto* to = reinterpret_cast<std::byte*>(out.mutable_data());
            std::size_t whole = 0;
            {
                const py::gil_scoped_release release;
                whole = read_records(path.text, offset, stride, count, bytes, to);
            }
            return py::object(out[py::slice(0, signed_size(whole), 1)]).cast<Bytes>();
        },
        "path"_a, "offset"_a, "stride"_a, "count"_a, "bytes"_a,
        "Bytes [offset + i stride, + bytes) of a file for i < count, as uint8 (n, bytes);\n"
        "n is smaller than count if the file ends before.");

    m.def(
        "probe_files",
        [](FileNames paths,
           const std::vector<std::tuple<std::uint64_t, py::bytes, py::bytes>>& expected,
           unsigned threads, const Progress& progress) {
            std::vector<HeaderPart> parts;
            for (const auto& [offset, bytes, mask] : expected) {
                const std::string b = bytes, k = mask;
                need(b.size() == k.size(), "bytes and mask must have the same length");
                parts.push_back({offset, {b.begin(), b.end()}, {k.begin(), k.end()}});
            }
            const std::vector<std::string> names = to_core(std::move(paths));
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

    m.def(
        "file_sizes",
        [](FileNames paths, unsigned threads) {
            const std::vector<std::string> names = to_core(std::move(paths));
            Integers sizes(signed_size(names.size()));
            const std::span<std::int64_t> out(sizes.mutable_data(), names.size());
            {
                const py::gil_scoped_release release;
                find_sizes(names, threads, out);
            }
            return sizes;
        },
        "paths"_a, "threads"_a = 0, "Bytes of every file, -1 where there is none; int64 (n,).");
}

}  // namespace iosfast
