"""
The compiled core of iosfast; its checks guard memory, the Python API explains.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import os
import typing

__all__: list[str] = [
    "BinAccumulator",
    "Border",
    "Change",
    "FrameSource",
    "MASK_COUNTS",
    "MAX_BOX",
    "MAX_COORDINATE",
    "MAX_FRAMES_PER_BIN",
    "MAX_MASK_SIDE",
    "believe",
    "bin_frames",
    "box_mean",
    "change_maps",
    "delaunay",
    "file_sizes",
    "fill_polygons",
    "find_crossings",
    "fit_arrival",
    "follow_fronts",
    "groups_to_one_region",
    "mask_geometry",
    "mean_dtype",
    "probe_files",
    "read_records",
    "trace_masks",
]

class FrameSource:
    """
    Frames in files or in memory, fetched by the core without Python.
    """
    @staticmethod
    def from_array(frames: typing.Any) -> FrameSource:
        """
        Frames of a C-contiguous array (T, Y, X), which is not copied.
        """
    def __init__(
        self,
        paths: collections.abc.Sequence[os.PathLike | str | bytes],
        segments: numpy.typing.NDArray[numpy.int64],
        shape: tuple[
            typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
        ],
        dtype: numpy.dtype[typing.Any],
        row_bytes: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> None:
        """
        Frames in files. `segments` is int64 (n, 4): index of the path, offset of the first
        frame, bytes from frame to frame, number of frames. `shape` is (Y, X). `row_bytes`
        is the distance of rows that are padded, else 0.
        """
    def is_mapped(
        self,
        start: typing.SupportsInt | typing.SupportsIndex,
        stop: typing.SupportsInt | typing.SupportsIndex,
    ) -> bool:
        """
        Whether frames [start, stop) would now be read through a memory map: they lie in one
        file that is in the page cache.
        """
    def read(
        self,
        start: typing.SupportsInt | typing.SupportsIndex,
        stop: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.ndarray[typing.Any, numpy.dtype[typing.Any]]:
        """
        Frames [start, stop) as a new array in native byte order.
        """
    @property
    def frames(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int, int]:
        """
        (T, Y, X)
        """

class BinAccumulator:
    """
    Mean of frames that arrive a few at a time.
    """
    def __init__(
        self,
        shape: tuple[
            typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
        ],
        dtype: numpy.dtype[typing.Any],
    ) -> None:
        """
        For frames of this dtype, or of another with the same mean.
        """
    def add(
        self,
        source: FrameSource,
        start: typing.SupportsInt | typing.SupportsIndex,
        stop: typing.SupportsInt | typing.SupportsIndex,
        threads: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> None:
        """
        Add frames [start, stop) of the source.
        """
    def mean(
        self, out: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], transposed: bool = False
    ) -> None:
        """
        Write the mean to out, (Y, X) of `mean_dtype`, or (X, Y) if `transposed`, and start
        anew.
        """
    def merge(self, other: BinAccumulator) -> None:
        """
        Add the frames of another one, which starts anew; only of whole numbers of 8 or 16
        bits, whose sums do not depend on the order.
        """
    @property
    def frames(self) -> int:
        """
        Frames since the last mean.
        """

class Border:
    """
    How a box filter treats the border of an image.

    Members:

      zero

      inside
    """

    __members__: typing.ClassVar[dict[str, Border]]
    inside: typing.ClassVar[Border]
    zero: typing.ClassVar[Border]
    @typing.overload
    def __eq__(self, other: Border) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: Border) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Change:
    """
    Change from an earlier image to a later one.

    Members:

      ratio

      difference

      dff
    """

    __members__: typing.ClassVar[dict[str, Change]]
    dff: typing.ClassVar[Change]
    difference: typing.ClassVar[Change]
    ratio: typing.ClassVar[Change]
    @typing.overload
    def __eq__(self, other: Change) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: Change) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def __str__(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

def believe(
    cost: numpy.typing.NDArray[numpy.float32],
    step: typing.SupportsFloat | typing.SupportsIndex,
    longest: typing.SupportsFloat | typing.SupportsIndex,
    edge: typing.SupportsFloat | typing.SupportsIndex,
    sweeps: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Cost of every label, with what the neighbours think of it, by min-sum belief
    propagation; float32 (rows, columns, labels + 1), the last for no label. Unlike labels
    of neighbours cost step for each step between them, but at most longest; edge if only
    one of them has a label.
    """

def bin_frames(
    source: FrameSource,
    edges: numpy.typing.NDArray[numpy.int64],
    out: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    progress: collections.abc.Callable[[int], None] | None = None,
    transposed: bool = False,
) -> None:
    """
    Write the mean of frames [edges[b], edges[b + 1]) to out[b].

    edges is int64 (B + 1,), increasing; out is (B, Y, X) of `mean_dtype`, rounded to whole
    numbers if that is uint16; (B, X, Y) if `transposed`.
    """

@typing.overload
def box_mean(
    images: numpy.typing.NDArray[numpy.uint16],
    size: typing.SupportsInt | typing.SupportsIndex,
    border: Border,
    rounded: bool,
    out: numpy.typing.NDArray[numpy.float32],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Write the mean over a size x size box of every image, uint16, float32 or float64
    (N, Y, X), to out, float32 (N, Y, X).
    """

@typing.overload
def box_mean(
    images: numpy.typing.NDArray[numpy.float32],
    size: typing.SupportsInt | typing.SupportsIndex,
    border: Border,
    rounded: bool,
    out: numpy.typing.NDArray[numpy.float32],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Write the mean over a size x size box of every image, uint16, float32 or float64
    (N, Y, X), to out, float32 (N, Y, X).
    """

@typing.overload
def box_mean(
    images: numpy.typing.NDArray[numpy.float64],
    size: typing.SupportsInt | typing.SupportsIndex,
    border: Border,
    rounded: bool,
    out: numpy.typing.NDArray[numpy.float32],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Write the mean over a size x size box of every image, uint16, float32 or float64
    (N, Y, X), to out, float32 (N, Y, X).
    """

def change_maps(
    earlier: numpy.typing.NDArray[numpy.float32],
    later: numpy.typing.NDArray[numpy.float32],
    kind: Change,
    range: tuple[
        typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex
    ]
    | None,
    colors: numpy.typing.NDArray[numpy.uint8],
    mask: numpy.typing.NDArray[numpy.uint8] | None,
    change: numpy.typing.NDArray[numpy.float32],
    rgb: numpy.typing.NDArray[numpy.uint8],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[numpy.uint8]:
    """
    Change from earlier to later images, and its colours.

    earlier is float32 (N or 1, Y, X), later (N, Y, X); change, float32 (N, Y, X), and rgb,
    uint8 (N, Y, X, 3), are written. range is (low, high), or None for each map's own.
    colors is uint8 (257, 3), the last for pixels outside the mask (uint8 (Y, X) or None).
    Returns uint8 (N,): 1 where a map's own scale is undefined.
    """

def delaunay(
    points: numpy.typing.NDArray[numpy.int32],
    wide: typing.SupportsFloat | typing.SupportsIndex,
    high: typing.SupportsFloat | typing.SupportsIndex,
) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int32]]:
    """
    Delaunay triangles of points of a grid, int32 (M, 3), and their neighbours.

    points is int32 (N, 2), (x, y), sorted by x, then y, each once. Neighbours are those
    across the side from corner i to i + 1, or -1.
    """

def file_sizes(
    paths: collections.abc.Sequence[os.PathLike | str | bytes],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[numpy.int64]:
    """
    Bytes of every file, -1 where there is none; int64 (n,).
    """

def fill_polygons(
    points: numpy.typing.NDArray[numpy.float64],
    starts: numpy.typing.NDArray[numpy.int64],
    image_of: numpy.typing.NDArray[numpy.int64],
    object_of: numpy.typing.NDArray[numpy.int64],
    filled: numpy.typing.NDArray[numpy.uint8],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    progress: collections.abc.Callable[[int], None] | None = None,
) -> None:
    """
    Fill polygons into the masks filled, uint8 (objects, T, Y, X), in their order.

    points is float64 (N, 2), starts int64 (P + 1,): where each polygon begins, and N.
    image_of and object_of, int64 (P,), name the masks; image_of must not decrease, and an object
    of -1 clears the pixels in the masks of all objects.
    """

def find_crossings(
    points: numpy.typing.NDArray[numpy.float64],
    starts: numpy.typing.NDArray[numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[numpy.uint8]:
    """
    Whether each polygon crosses itself, uint8 (P,); see fill_polygons for the arguments.
    """

def fit_arrival(
    first: numpy.typing.NDArray[numpy.int32],
    times_s: numpy.typing.NDArray[numpy.float64],
    sigma_px: typing.SupportsFloat | typing.SupportsIndex,
    out: numpy.typing.NDArray[numpy.float64],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Fit planes to the times at which a front crosses between pixels.

    first is int32 (Y, X), an index of times_s or negative. Writes out, float64
    (5, Y, X): time (s), its gradient along x and y (s per pixel), the part of the
    variance of time that the plane explains, and how far (in sigma) the middle of the
    crossings lies away. NaN where there is nothing to fit.
    """

def follow_fronts(
    change: numpy.typing.NDArray[numpy.float32],
    inside: numpy.typing.NDArray[numpy.uint8],
    times: numpy.typing.NDArray[numpy.float64],
    side: typing.SupportsInt | typing.SupportsIndex,
    reach_px: typing.SupportsFloat | typing.SupportsIndex,
    independence: typing.SupportsFloat | typing.SupportsIndex,
    places: numpy.typing.NDArray[numpy.int64],
    said: numpy.typing.NDArray[numpy.uint8],
    objects: typing.SupportsInt | typing.SupportsIndex,
    backwards: bool,
    masks: numpy.typing.NDArray[numpy.uint8],
    progress: collections.abc.Callable[[int], None] | None = None,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple[
    numpy.typing.NDArray[numpy.float64],
    numpy.typing.NDArray[numpy.float32],
    numpy.typing.NDArray[numpy.float64],
    numpy.typing.NDArray[numpy.float64],
]:
    """
    Outline objects in maps, float32 (T, Y, X), from hints; writes masks, uint8
    (objects, T, Y, X).

    inside is uint8 (Y, X); times, float64 (T,), are in units of the distance of maps, in
    which a front moves at most reach_px. Hint i is of object places[i, 0] in map
    places[i, 1] (int64); said[i], uint8 (cells down, cells across) of side x side pixels,
    is 0 (nothing), 1 (the object) or 2 (not). independence: how many independent values of
    noise a cell stands for. backwards: whether maps are given last first. Returns support, float64 (objects, T), -1 without a mask;
    arrival, float32 (objects, cells down, cells across), NaN where the object never is; sign,
    typical height and evidence, float64 (objects, 3); noise of each map, float64 (T,).
    """

def groups_to_one_region(
    triangles: numpy.typing.NDArray[numpy.int32],
    neighbours: numpy.typing.NDArray[numpy.int32],
    order: numpy.typing.NDArray[numpy.int64],
    ends: numpy.typing.NDArray[numpy.int64],
    points: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    How many groups of triangles it takes until they hold all points in one piece.

    order is int64 (M,), numbers of triangles; ends, int64 (G,), where each group ends in
    it. One more than G if they never do.
    """

def mask_geometry(
    masks: numpy.typing.NDArray[numpy.uint8],
    out: numpy.typing.NDArray[numpy.int32],
    outline: numpy.typing.NDArray[numpy.uint8] | None = None,
    progress: collections.abc.Callable[[int], None] | None = None,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[numpy.int64]:
    """
    Counts of every mask, int64 (N, T, 17), named by MASK_COUNTS.

    masks is uint8 (N, T, Y, X), other than 0 inside. Writes out, int32 (N, Y, X): the
    first image that covers a pixel, or -1. Writes outline, uint8 (N, Y, X), if it is given: 1
    for pixels of any mask of which a neighbour in the row or column is not in that mask.
    """

def mean_dtype(dtype: numpy.dtype[typing.Any]) -> numpy.dtype[typing.Any]:
    """
    What the mean of frames is kept in: uint16 for uint8 and uint16, float32 for int16 and
    float32, float64 for 32-bit integers and float64.
    """

def probe_files(
    paths: collections.abc.Sequence[os.PathLike | str | bytes],
    expected: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, bytes, bytes]
    ],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    progress: collections.abc.Callable[[int], None] | None = None,
) -> tuple[
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.bool],
]:
    """
    Size (bytes), modification time (ns since 1970 UTC) and match of every file, as int64,
    int64 and bool (n,). `expected` lists (offset, bytes, mask); where the mask is 0 a byte
    may differ.
    """

def read_records(
    path: os.PathLike | str | bytes,
    offset: typing.SupportsInt | typing.SupportsIndex,
    stride: typing.SupportsInt | typing.SupportsIndex,
    count: typing.SupportsInt | typing.SupportsIndex,
    bytes: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.uint8]:
    """
    Bytes [offset + i stride, + bytes) of a file for i < count, as uint8 (n, bytes);
    n is smaller than count if the file ends before.
    """

def trace_masks(
    stack: numpy.typing.NDArray[numpy.uint8],
    tolerance_px: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    progress: collections.abc.Callable[[int], None] | None = None,
) -> tuple[
    numpy.typing.NDArray[numpy.float64],
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.int64],
]:
    """
    Outlines of a stack of masks, uint8 (N, Y, X).

    Returns points, float64 (M, 2), starts, int64 (P + 1,), and for each outline its mask and
    its layer, int64 (P,).
    """

MASK_COUNTS: tuple = (
    "area",
    "sum_x",
    "sum_y",
    "sum_xx",
    "sum_yy",
    "sum_xy",
    "min_x",
    "max_x",
    "min_y",
    "max_y",
    "cross_x",
    "cross_y",
    "cross_down",
    "cross_up",
    "border",
    "overlap",
    "new",
)
MAX_BOX: int = 255
MAX_COORDINATE: float = 1000000000.0
MAX_FRAMES_PER_BIN: int = 65537
MAX_MASK_SIDE: int = 32768
