// What all bindings share: checks of arrays, types of pixels, progress and Ctrl-C.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "frame_source.hpp"
#include "parallel_for.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace iosfast {

using Images32 = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Integers = py::array_t<std::int64_t, py::array::c_style>;

inline std::string shape_of(const py::array& a) {
    return py::str(a.attr("shape")).cast<std::string>();
}

inline void need(bool holds, const std::string& message) {
    if (!holds) throw py::value_error(message);
}

inline void need_shape(const py::array& a, const char* name,
                       const std::vector<py::ssize_t>& shape) {
    bool same = a.ndim() == static_cast<py::ssize_t>(shape.size());
    for (py::ssize_t i = 0; same && i < a.ndim(); ++i)
        same = a.shape(i) == shape[static_cast<std::size_t>(i)];
    if (same) return;
    py::tuple expected = py::cast(shape);
    throw py::value_error(std::string(name) + " must have shape " +
                          py::str(expected).cast<std::string>() + ", not " + shape_of(a));
}

inline void need_stack(const py::array& a, const char* name) {
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

inline py::ssize_t signed_size(std::size_t n) {
    return static_cast<py::ssize_t>(n);
}

using Progress = std::optional<std::function<void(std::size_t)>>;

// Lets Ctrl-C through, and tells the caller how far the work is.
inline Poll poll_for(const Progress& progress) {
    return [&progress](std::size_t done) {
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (progress) (*progress)(done);
    };
}

inline PixelType pixel_type(const py::dtype& dtype) {
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

inline py::dtype dtype_of(PixelType type) {
    return visit_type(type, [](auto pixel) { return py::dtype::of<decltype(pixel)>(); });
}

// One function for each file of bindings.
void bind_sources(py::module_& m);
void bind_binning(py::module_& m);
void bind_change(py::module_& m);
void bind_masks(py::module_& m);
void bind_fronts(py::module_& m);
void bind_polygons(py::module_& m);

}  // namespace iosfast
