// The border to Python: checks, allocation, the GIL. Only this folder knows pybind11.
#include <pybind11/stl/filesystem.h>

#include <exception>
#include <filesystem>
#include <string>

#include "border.hpp"
#include "frame_source.hpp"

using namespace iosfast;

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
    bind_masks(m);
    bind_fronts(m);
    bind_polygons(m);
}
