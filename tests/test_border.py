"""The border to the core: whatever does not fit is refused, nothing is copied or cast silently."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from iosfast import _core

T, Y, X = 4, 6, 10
_ERASE = -1


def one_pixel(value):
    """Maps of no change but for one pixel, the last of a map in the middle."""
    maps = np.zeros((T, Y, X), np.float32)
    maps[T // 2, -1, -1] = value
    return maps


def good(name):
    """Arguments of a binding that fit."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 2**16, (T, Y, X), np.uint16)
    images = random.uniform(1, 2**16, (T, Y, X)).astype(np.float32)
    return {
        "from_array": lambda: {"frames": frames},
        "bin_frames": lambda: {
            "source": _core.FrameSource.from_array(frames),
            "edges": np.array([0, 1, T], np.int64),
            "out": np.full((2, Y, X), 77, np.uint16),
        },
        "mean": lambda: {"out": np.full((Y, X), 77, np.uint16)},
        "box_mean": lambda: {
            "images": frames,
            "size": 3,
            "border": _core.Border.zero,
            "rounded": True,
            "out": np.full((T, Y, X), 77, np.float32),
        },
        "change_maps": lambda: {
            "earlier": images,
            "later": images[::-1].copy(),
            "kind": _core.Change.ratio,
            "range": (0.0, 2.0),
            "colors": random.integers(0, 256, (257, 3), np.uint8),
            "mask": np.ones((Y, X), np.uint8),
            "change": np.full((T, Y, X), 77, np.float32),
            "rgb": np.full((T, Y, X, 3), 77, np.uint8),
        },
        "mask_geometry": lambda: {
            "masks": random.integers(0, 2, (2, T, Y, X), np.uint8),
            "out": np.full((2, Y, X), 77, np.int32),
            "outline": np.full((2, Y, X), 77, np.uint8),
        },
        "delaunay": lambda: {
            "points": np.array([[0, 1], [2, 0], [2, 3]], np.int32),
            "wide": 1.0,
            "high": 1.0,
        },
        "groups_to_one_region": lambda: {
            "triangles": np.array([[0, 1, 2], [2, 1, 3]], np.int32),
            "neighbours": np.array([[-1, 1, -1], [0, -1, -1]], np.int32),
            "order": np.array([1, 0]),
            "ends": np.array([1, 2]),
            "points": 4,
        },
        "fit_arrival": lambda: {
            "first": random.integers(-1, T, (Y, X)).astype(np.int32),
            "times_s": np.arange(T, dtype=np.float64),
            "sigma_px": 2.0,
            "out": np.full((5, Y, X), 77, np.float64),
        },
        "fill_polygons": lambda: {
            "points": np.array([[0, 0], [5, 0], [5, 4], [2, 2], [8, 2], [8, 5]], np.float64),
            "starts": np.array([0, 3, 6], np.int64),
            "image_of": np.array([0, T - 1], np.int64),
            "object_of": np.array([1, _ERASE], np.int64),
            "filled": np.full((2, T, Y, X), 1, np.uint8),
        },
        "trace_masks": lambda: {"stack": (frames % 2).astype(np.uint8)},
        "find_crossings": lambda: {
            "points": np.array([[0, 0], [5, 0], [5, 4], [2, 2], [8, 2], [8, 5]], np.float64),
            "starts": np.array([0, 3, 6], np.int64),
        },
        "follow_fronts": lambda: {
            "change": random.normal(size=(T, Y, X)).astype(np.float32),
            "inside": np.ones((Y, X), np.uint8),
            "times": np.arange(T, dtype=np.float64),
            "side": 2,
            "reach_px": 3.0,
            "independence": 0.3,
            "places": np.array([[0, 1], [1, 0], [1, 2]], np.int64),
            "said": np.ones((3, 3, 5), np.uint8),
            "objects": 2,
            "backwards": False,
            "masks": np.full((2, T, Y, X), 77, np.uint8),
        },
        "believe": lambda: {
            "cost": random.uniform(size=(Y, X, 7)).astype(np.float32),
            "step": 0.2,
            "longest": 1.0,
            "edge": 0.7,
            "sweeps": 2,
        },
        "FrameSource": lambda: {
            "paths": ["never opened"],
            "segments": np.array([[0, 0, 120, 2], [0, 960, 120, 2]], np.int64),
            "shape": (Y, X),
            "dtype": np.dtype("<u2"),
        },
    }[name]()


def call(name, arguments):
    if name == "from_array":
        return _core.FrameSource.from_array(**arguments)
    if name == "mean":
        sums = _core.BinAccumulator((Y, X), np.dtype("u2"))
        sums.add(_core.FrameSource.from_array(np.ones((1, Y, X), np.uint8)), 0, 1)
        return sums.mean(**arguments)
    return getattr(_core, name)(**arguments)


ARRAYS = [
    ("from_array", "frames"),
    ("bin_frames", "edges"),
    ("bin_frames", "out"),
    ("mean", "out"),
    ("box_mean", "images"),
    ("box_mean", "out"),
    ("change_maps", "earlier"),
    ("change_maps", "later"),
    ("change_maps", "colors"),
    ("change_maps", "mask"),
    ("change_maps", "change"),
    ("change_maps", "rgb"),
    ("mask_geometry", "masks"),
    ("mask_geometry", "out"),
    ("mask_geometry", "outline"),
    ("delaunay", "points"),
    ("groups_to_one_region", "triangles"),
    ("groups_to_one_region", "neighbours"),
    ("groups_to_one_region", "order"),
    ("groups_to_one_region", "ends"),
    ("fit_arrival", "first"),
    ("fit_arrival", "times_s"),
    ("fit_arrival", "out"),
    ("fill_polygons", "points"),
    ("fill_polygons", "starts"),
    ("fill_polygons", "image_of"),
    ("fill_polygons", "object_of"),
    ("fill_polygons", "filled"),
    ("trace_masks", "stack"),
    ("find_crossings", "points"),
    ("find_crossings", "starts"),
    ("follow_fronts", "change"),
    ("follow_fronts", "inside"),
    ("follow_fronts", "times"),
    ("follow_fronts", "places"),
    ("follow_fronts", "said"),
    ("follow_fronts", "masks"),
    ("believe", "cost"),
    ("FrameSource", "segments"),
]
OUTPUTS = ("out", "rgb", "filled")
OUTPUTS_OF = [("change_maps", "change"), ("follow_fronts", "masks"), ("mask_geometry", "outline")]
#: Arrays of any size.
ANY_SIZE = ("filled", "stack", "cost", "order", "ends")
DTYPES = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", "F", "O", "S2", "M8[s]"]


#: Arrays of one axis.
LISTS = ("starts", "image_of", "object_of", "order", "ends")
LAYOUTS = {
    **reference.LAYOUTS,
    "list": lambda a: a.tolist(),
    "bytes": lambda a: a.tobytes(),
    "text": lambda a: "an array",
    "a number": lambda a: 5,
    "one axis more": lambda a: a[np.newaxis],
    "one axis less": lambda a: a[0],
    "flat": lambda a: a.reshape(-1),
    "no axis": lambda a: np.array(a.reshape(-1)[0]),
    "empty": lambda a: a[:0],
    "empty rows": lambda a: a[..., :0].copy(),
    "nothing": lambda a: None,
}
#: What is not refused, as it is the same to the binding.
SAME = {
    "swapped": ("colors", "mask", "masks", "rgb", "filled", "stack", "inside", "said", "outline"),
    "unaligned": (
        "frames",
        "colors",
        "mask",
        "masks",
        "rgb",
        "filled",
        "stack",
        "inside",
        "said",
        "outline",
    ),
    "columns first": ("edges", "times_s", "times", *LISTS),
    "part of rows": ("edges", "times_s", "times", *LISTS),
    "flat": ("edges", "times_s", "times", *LISTS),
    "nothing": ("mask", "outline"),
    "empty": ("segments", "ends"),
    "empty rows": ("ends",),
}


def refuses(name, arguments):
    """Call it with arguments that do not fit; nothing may be written."""
    kept = {k: v.copy() for k, v in arguments.items() if isinstance(v, np.ndarray)}
    with pytest.raises((TypeError, ValueError)):
        call(name, arguments)
    for key, before in kept.items():
        np.testing.assert_array_equal(arguments[key], before)


@pytest.mark.parametrize("name", sorted({name for name, _ in ARRAYS}))
def test_what_fits_is_taken(name):
    call(name, good(name))


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, argument, layout):
    arguments = good(name)
    arguments[argument] = LAYOUTS[layout](arguments[argument])
    if argument in SAME.get(layout, ()):
        call(name, arguments)
    else:
        refuses(name, arguments)


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
@pytest.mark.parametrize("code", DTYPES)
def test_dtypes(name, argument, code):
    arguments = good(name)
    fits = {arguments[argument].dtype}
    if name == "from_array":
        fits |= {np.dtype(d) for d in ("u1", "i2", "i4", "u4", "f4", "f8")}
    if name == "box_mean" and argument == "images":
        fits |= {np.dtype("f4"), np.dtype("f8")}
    arguments[argument] = arguments[argument].astype(code)
    if np.dtype(code) in fits:
        call(name, arguments)
    else:
        refuses(name, arguments)


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_read_only_inputs_are_taken_and_outputs_refused(name, argument):
    arguments = good(name)
    arguments[argument].flags.writeable = False
    if argument in OUTPUTS or (name, argument) in OUTPUTS_OF:
        refuses(name, arguments)
    else:
        call(name, arguments)


@pytest.mark.parametrize(
    ("name", "argument", "axis"),
    [
        (name, argument, axis)
        for name, argument in ARRAYS
        for axis in range(good(name)[argument].ndim)
        if name != "from_array"
        and argument not in ANY_SIZE
        and (argument, axis) not in (("segments", 0), ("masks", 1), ("times_s", 0))
        and (name, argument, axis) != ("delaunay", "points", 0)
    ],
)
@pytest.mark.parametrize("more", [-1, 1])
def test_sizes_that_do_not_agree(name, argument, axis, more):
    arguments = good(name)
    shape = list(arguments[argument].shape)
    shape[axis] += more
    arguments[argument] = np.resize(arguments[argument], shape)
    refuses(name, arguments)


@pytest.mark.parametrize(
    "edges",
    [
        [0, 0, 1],
        [1, 0, 2],
        [0, 3, 2],
        [-1, 0, 1],
        [-3, -2, -1],
        [0, 1, T + 1],
        [T, T + 1, T + 2],
        [0, 2**63 - 1, 1],
        [-(2**63), 0, 2**63 - 1],
        [2**62, 2**62 + 1, 2**62 + 2],
    ],
)
def test_edges_lie_in_the_source_and_increase(edges):
    arguments = good("bin_frames")
    arguments["edges"] = np.array(edges, np.int64)
    with pytest.raises(ValueError, match=r"edges|65537"):
        call("bin_frames", arguments)


@pytest.mark.parametrize("edges", [[], [0]])
def test_edges_hold_a_bin(edges):
    arguments = good("bin_frames")
    arguments["edges"] = np.array(edges, np.int64)
    arguments["out"] = np.empty((0, Y, X), np.uint16)
    with pytest.raises(ValueError, match="edges must hold at least two"):
        call("bin_frames", arguments)


SCALARS = [
    ("bin_frames", "source", None),
    ("bin_frames", "source", np.ones((T, Y, X), np.uint16)),
    ("bin_frames", "threads", -1),
    ("bin_frames", "threads", 2.5),
    ("bin_frames", "threads", 2**40),
    ("bin_frames", "progress", 5),
    ("box_mean", "size", -3),
    ("box_mean", "size", 3.0),
    ("box_mean", "size", None),
    ("box_mean", "border", "zero"),
    ("box_mean", "border", 0),
    ("box_mean", "rounded", "yes"),
    ("change_maps", "kind", "ratio"),
    ("change_maps", "kind", None),
    ("change_maps", "range", 1.0),
    ("change_maps", "range", (0.0,)),
    ("change_maps", "range", (1.0, 1.0)),
    ("change_maps", "range", (2.0, 1.0)),
    ("change_maps", "range", (float("nan"), 1.0)),
    ("change_maps", "range", (0.0, float("inf"))),
    ("follow_fronts", "times", np.array([0.0, 1.0, 1.0, 2.0])),
    ("follow_fronts", "times", np.array([0.0, 1.0, 2.0, np.nan])),
    ("follow_fronts", "change", np.full((T, Y, X), np.nan, np.float32)),
    ("follow_fronts", "change", np.full((T, Y, X), -1e30, np.float32)),
    *[("follow_fronts", "change", one_pixel(value)) for value in (np.nan, -np.inf, 1e12)],
    ("follow_fronts", "side", 0),
    ("follow_fronts", "side", 65),
    *[("follow_fronts", "reach_px", value) for value in (0.0, -1.0, np.nan, np.inf, 1e300)],
    *[("follow_fronts", "independence", value) for value in (0.0, np.nan, np.inf)],
    ("follow_fronts", "objects", 0),
    ("follow_fronts", "objects", 3),
    ("follow_fronts", "said", np.full((3, 3, 5), 3, np.uint8)),
    ("follow_fronts", "said", np.full((3, 3, 5), 2, np.uint8)),
    *[
        ("follow_fronts", "places", np.array(places, np.int64))
        for places in (
            [[0, 1], [1, 0], [2, 2]],
            [[0, 1], [1, 0], [-1, 2]],
            [[0, 1], [1, 0], [1, T]],
            [[0, 1], [1, 0], [1, -1]],
            [[0, 1], [1, 2], [1, 2]],
            [[0, 1], [0, 2], [0, 3]],
        )
    ],
    *[("believe", name, value) for name in ("step", "longest", "edge") for value in (-1.0, np.nan)],
    ("believe", "step", 0.0),
    ("believe", "sweeps", -1),
    ("believe", "sweeps", 10**6),
    ("FrameSource", "paths", "one path"),
    ("FrameSource", "paths", [5]),
    ("FrameSource", "paths", []),
    ("FrameSource", "shape", (Y,)),
    ("FrameSource", "shape", (0, X)),
    ("FrameSource", "shape", (Y, 0)),
    ("FrameSource", "shape", (-1, X)),
    ("FrameSource", "shape", (2**33, 2**33)),
    ("FrameSource", "dtype", "<u2"),
    ("FrameSource", "dtype", np.uint16),
    *[("FrameSource", "dtype", np.dtype(d)) for d in ("i1", "u8", "f2", "?", "S2", "u1,u1", "O")],
    *[("FrameSource", "row_bytes", value) for value in (-1, 5, 2**62, 2**70, 0.5, None, "9")],
]


@pytest.mark.parametrize(("name", "argument", "value"), SCALARS)
def test_other_arguments(name, argument, value):
    refuses(name, {**good(name), argument: value})


@pytest.mark.parametrize("row", range(2))
@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[(0, -1), (0, 1), (0, 2**63 - 1)],
        *[(1, -1), (1, 2**63 - 1)],
        *[(2, -1), (2, 2**63 - 1)],
        *[(3, 0), (3, -1), (3, 2**63 - 1)],
    ],
)
def test_segments_name_a_file_and_lie_within_reach(row, column, value):
    arguments = good("FrameSource")
    arguments["segments"][row, column] = value
    refuses("FrameSource", arguments)


@pytest.mark.parametrize(("start", "stop"), [(0, T + 1), (2, 1), (T + 1, T + 1), (0, 2**62)])
def test_frames_outside_of_a_source(start, stop):
    source = _core.FrameSource.from_array(good("from_array")["frames"])
    with pytest.raises(ValueError, match="outside"):
        source.read(start, stop)
    with pytest.raises(ValueError, match="outside"):
        _core.BinAccumulator((Y, X), np.dtype("u2")).add(source, start, stop)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0.0, 1), (None, 1), ("0", 1), (0, 2**70)])
def test_frame_numbers_are_whole_and_not_negative(start, stop):
    source = _core.FrameSource.from_array(good("from_array")["frames"])
    with pytest.raises(TypeError):
        source.read(start, stop)
    with pytest.raises(TypeError):
        _core.BinAccumulator((Y, X), np.dtype("u2")).add(source, start, stop)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_accumulator_has_pixels(shape):
    with pytest.raises(ValueError, match="at least"):
        _core.BinAccumulator(shape, np.dtype("u2"))


@pytest.mark.parametrize("shape", [(Y, X), (X, Y - 1), (X + 1, Y), (Y * X, 1)])
def test_transposed_means_have_rows_and_columns_exchanged(shape):
    arguments = good("bin_frames")
    arguments |= {"out": np.full((2, *shape), 77, np.uint16), "transposed": True}
    refuses("bin_frames", arguments)
    refuses("mean", {"out": np.full(shape, 77, np.uint16), "transposed": True})
    arguments["out"] = np.full((2, X, Y), 77, np.uint16)
    call("bin_frames", arguments)
    call("mean", {"out": np.full((X, Y), 77, np.uint16), "transposed": True})


@pytest.mark.parametrize("shape", [(Y, X + 1), (Y - 1, X), (X, Y), (1, Y * X)])
def test_an_accumulator_takes_frames_of_its_shape(shape):
    sums = _core.BinAccumulator(shape, np.dtype("u2"))
    source = _core.FrameSource.from_array(good("from_array")["frames"])
    with pytest.raises(ValueError, match="another shape"):
        sums.add(source, 0, 1)
    assert sums.frames == 0
    with pytest.raises(ValueError, match="no frame"):
        sums.mean(np.empty(shape, np.uint16))


def test_a_source_without_frames_has_nothing_to_bin():
    source = _core.FrameSource([], np.empty((0, 4), np.int64), (Y, X), np.dtype("u1"))
    assert source.shape == (0, Y, X)
    assert source.read(0, 0).shape == (0, Y, X)
    arguments = {**good("bin_frames"), "source": source}
    refuses("bin_frames", arguments)


@pytest.mark.parametrize(
    "expected",
    [[(0, b"ab", b"a")], [(0, b"", b"a")], [(-1, b"a", b"a")], [(0, "ab", 5)], [(0, b"a")], 5],
)
def test_probe_files_checks_what_it_expects(expected):
    with pytest.raises((TypeError, ValueError)):
        _core.probe_files([], expected)


@pytest.mark.parametrize("argument", ["offset", "stride", "count", "bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, None, 2**63])
def test_read_records_checks_its_numbers(files, argument, value):
    arguments = {"offset": 0, "stride": 1, "count": 2, "bytes": 1, argument: value}
    with pytest.raises((TypeError, ValueError)):
        _core.read_records(files(b"abc"), **arguments)
