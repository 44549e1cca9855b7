"""TIFF stacks, filled as a run proceeds, that Fiji opens with axes, interval and pixel size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from numpy.typing import DTypeLike

from . import __version__

#: Classic TIFF, which every reader opens, holds offsets below 4 GiB; some room for tags.
CLASSIC_TIFF_BYTES = 2**32 - 2**25

#: What the directory of one image takes at most, with its values. Where those of all images do not
#: fit, tifffile writes only one, which many programs take for a single image.
DIRECTORY_BYTES = 256


def is_classic(shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Tell whether images, of which the first axis is the number, fit into classic TIFF."""
    import numpy as np

    image_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    return shape[0] * (image_bytes + DIRECTORY_BYTES) <= CLASSIC_TIFF_BYTES


def make_stack(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    step_s: float,
    pixel_size_mm: float | None,
    display_range: tuple[float, float] | None = None,
) -> int:
    """Make a TIFF file of zeros with all its tags.

    ImageJ's own format up to 4 GiB; beyond that, and for float64, OME-TIFF as BigTIFF, which
    Fiji opens, too.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (T, Y, X), or (T, Y, X, 3) for RGB.
    dtype : numpy dtype
        Stored little-endian.
    step_s : float
        Seconds from image to image.
    pixel_size_mm : float or None
    display_range : tuple of float, optional
        Values shown as black and white.

    Returns
    -------
    int
        Where the pixels begin; they lie one after another.
    """
    import numpy as np
    import tifffile

    axes = "TYXS" if len(shape) == 4 else "TYX"
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "rgb" if len(shape) == 4 else "minisblack"}
    # Float64 is nothing that ImageJ's own format knows.
    if not is_classic(shape, dtype) or np.dtype(dtype) == np.float64:
        options |= {"bigtiff": True, "ome": True}
        metadata |= {"TimeIncrement": step_s, "TimeIncrementUnit": "s"}
        facts = f"{path.name} {shape} {np.dtype(dtype)} {step_s} {pixel_size_mm}"
        metadata["UUID"] = str(uuid5(NAMESPACE_OID, facts))  # the same bytes in every run
        if pixel_size_mm is not None:
            metadata |= {f"PhysicalSize{a}": pixel_size_mm for a in "XY"}
            metadata |= {f"PhysicalSize{a}Unit": "mm" for a in "XY"}
    else:
        options |= {"imagej": True}
        metadata |= {"finterval": step_s, "fps": 1 / step_s, "tunit": "s", "loop": False}
        if display_range is not None:
            metadata |= {"min": display_range[0], "max": display_range[1]}
        if pixel_size_mm is not None:
            metadata["unit"] = "mm"
            options["resolution"] = (1 / pixel_size_mm,) * 2
    tifffile.imwrite(
        path,
        shape=shape,
        dtype=dtype,
        byteorder="<",
        metadata=metadata,
        software=f"iosfast {__version__}",
        **options,
    )
    with tifffile.TiffFile(path) as tif:
        offset = tif.series[0].dataoffset
    assert offset is not None
    return int(offset)
