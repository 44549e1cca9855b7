"""Clips: successive maps that are looked at together, from maps or from images of one folder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from . import arguments
from .errors import ReadError
from .maps import Info, Maps

if TYPE_CHECKING:
    from tifffile import TiffFile

#: Endings of images that a folder of a clip may hold; other files in it are left alone.
IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")

_NAME_TIME = re.compile(r"(\d{8})_(\d{6})(?:_(\d{3}))?(?!\d)")
_SOFTWARE, _X_RESOLUTION = 305, 282
_OUTSIDE, _UNKNOWN = 256, 257


@dataclass(frozen=True, eq=False)
class Clip:
    """Successive maps, with what is known of them.

    Attributes
    ----------
    change : ndarray of float32, shape (T, Y, X)
        Interval change. Of images read from disk, the index of the colour / 255, which is affine to
        the change, with a scale that may differ from map to map.
    times_s : ndarray of float64, shape (T,)
        Time of each map, seconds; increasing.
    names : tuple of str
        Of the images, without ending; all different.
    rgb : ndarray of uint8, shape (T, Y, X, 3)
    pixel_size_mm : float or None
    mask : ndarray of bool, shape (Y, X), or None
        Pixels of the cortex.
    path : Path or None
        Where the clip or its maps came from.
    largest : float
        Largest change of either sign; found, not given.

    Raises
    ------
    TypeError, ValueError
        If parts do not fit together, or a map is not finite; the error names the map.
    """

    change: NDArray[np.float32]
    times_s: NDArray[np.float64]
    names: tuple[str, ...]
    rgb: NDArray[np.uint8]
    pixel_size_mm: float | None = None
    mask: NDArray[np.bool_] | None = None
    path: Path | None = None
    largest: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every part."""
        change = _checked("change", self.change, np.dtype(np.float32), "(T, Y, X)", 3)
        count, height, width = change.shape
        if not change.size:
            raise ValueError(f"change must hold a map with pixels, not shape {change.shape}")
        times_s = _checked("times_s", self.times_s, np.dtype(np.float64), "(T,)", 1)
        rgb = _checked("rgb", self.rgb, np.dtype(np.uint8), "(T, Y, X, 3)", 4)
        names = tuple(self.names)
        if not all(isinstance(name, str) and name for name in names):
            raise TypeError(f"names must be texts, not {names!r}")
        if times_s.shape != (count,) or len(names) != count:
            raise ValueError(
                f"change holds {count} maps, but there are {times_s.size} times_s and "
                f"{len(names)} names"
            )
        if rgb.shape != (count, height, width, 3):
            raise ValueError(f"rgb must be {(count, height, width, 3)}, not {rgb.shape}")
        if not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
            raise ValueError("times_s must be finite and increase")
        if len(set(names)) < count:
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"names must all be different, but {twice!r} is there twice")
        largest = 0.0
        for i, image in enumerate(change):
            least, most = float(image.min()), float(image.max())  # NaN if any is NaN
            largest = max(largest, -least, most)
            if not (math.isfinite(least) and math.isfinite(most)):
                bad = int((~np.isfinite(image)).sum())
                raise ValueError(
                    f"map {i} ({names[i]}) of change is not finite in {bad:,} of {image.size:,} "
                    "pixels; leave that map out, or give a mask without these pixels"
                )
        if self.mask is not None:
            mask = _checked("mask", self.mask, np.dtype(np.bool_), "(Y, X)", 2)
            if mask.shape != (height, width):
                raise ValueError(f"mask must be {(height, width)}, not {mask.shape}")
            if not mask.any():
                raise ValueError("mask is empty: no pixel is cortex")
        size = arguments.positive("pixel_size_mm", self.pixel_size_mm)
        object.__setattr__(self, "largest", largest)
        object.__setattr__(self, "pixel_size_mm", size)
        object.__setattr__(self, "names", names)

    @classmethod
    def of(cls, maps: Maps, start: int = 0, stop: int | None = None) -> Self:
        """Return the clip of the maps [start, stop).

        Values that are not finite become "no change" outside of the mask, where nothing is known;
        only then are the maps copied. Those of a folder stay on disk, however many there are.

        Parameters
        ----------
        maps : Maps
        start, stop : int
            Numbers of the first map, and of the one after the last; None: to the end.

        Raises
        ------
        ValueError
            If there are no such maps, or one of them is not finite within the mask.
        """
        if not isinstance(maps, Maps):
            raise TypeError(f"maps must be Maps, as preprocess and load return them, not {maps!r}")
        first = arguments.integer("start", start, 0, max(0, len(maps) - 1))
        last = len(maps) if stop is None else arguments.integer("stop", stop, first + 1, len(maps))
        change = np.asarray(maps.change[first:last])
        if maps.mask is not None:
            change = _known(change, maps.mask, 1 if maps.recipe.change == "ratio" else 0)
        return cls(
            change=change,
            times_s=maps.times_s[first:last].copy(),
            names=map_names(maps.info)[first:last],
            rgb=np.asarray(maps.rgb[first:last]),
            pixel_size_mm=maps.pixel_size_mm,
            mask=maps.mask,
            path=maps.path,
        )

    def part(self, start: int, stop: int) -> Self:
        """Return the clip of the maps [start, stop), without a copy."""
        return replace(
            self,
            change=self.change[start:stop],
            times_s=self.times_s[start:stop],
            names=self.names[start:stop],
            rgb=self.rgb[start:stop],
        )

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        t, y, x = self.change.shape
        return f"<Clip {t} maps of {y} x {x} pixels, {self.names[0]} to {self.names[-1]}>"


def _known(
    change: NDArray[np.float32], mask: NDArray[np.bool_], otherwise: float
) -> NDArray[np.float32]:
    """Replace what is not finite outside of the mask, in a copy if there is any."""
    copied = False
    for i in range(len(change)):
        unknown = ~np.isfinite(change[i]) & ~mask
        if unknown.any():
            change = change if copied else change.copy()
            copied = True
            change[i][unknown] = otherwise
    return change


def map_names(info: Info) -> tuple[str, ...]:
    """Name of every map without ending, that of its later bin, as the published layout has it.

    Where the time of day is not known, names count from 1970-01-01 00:00:00.
    """
    known = info if info.start_s is not None else replace(info, start_s=0.0)
    bins = known.bin_names()
    return tuple(bins[i] for i in known.map_bins().tolist())


def read_clip(
    folder: str | PathLike[str], *, colormap: str | None = None, interval_s: float | None = None
) -> Clip:
    """Read the images of one folder as a clip.

    Parameters
    ----------
    folder : path
        Images of one size (TIFF, PNG, ...), in the plain order of their names: 8-bit grey, or RGB
        in the colours of MATLAB's jet (published) or of iosfast's default. Other files in the
        folder, such as annotations, are left alone.
    colormap : str, optional
        Name of other colours, as `Recipe` takes it.
    interval_s : float, optional
        Seconds from image to image, where names do not begin with ``YYYYMMDD_HHMMSS``.

    Returns
    -------
    Clip
        `change` is the index of the colour / 255, and 0.5 outside of the cortex where the images
        tell: by black, or by colour entry 0 (grey: 0) in all of them. `times_s` begins with 0.

    Raises
    ------
    ReadError
        If there are no images, they differ in size, cannot be read, have unknown colours, or their
        names do not tell times.
    """
    path = Path(folder)
    interval_s = arguments.positive("interval_s", interval_s)
    files = _image_files(path)
    times_s = _name_times(files, interval_s)
    first, size = _read_image(files[0])
    rgb = np.empty((len(files), *first.shape[:2], 3), np.uint8)
    for file, out in zip(files, rgb, strict=True):
        image, _ = _read_image(file)
        if image.shape[:2] != first.shape[:2]:
            there, here = (" x ".join(map(str, i.shape[:2])) for i in (first, image))
            raise ReadError(f"has {here} pixels, but {files[0].name} has {there}", file)
        out[...] = image if image.ndim == 3 else image[..., np.newaxis]
    index, outside = _indices(rgb, files, colormap)
    change = index.astype(np.float32)
    change /= np.float32(255)
    mask = None
    if outside.any() and not outside.all():
        mask = ~outside
        change[:, outside] = 0.5
    names = tuple(file.stem for file in files)
    return Clip(change, times_s, names, rgb, size, mask, path)


def as_clip(maps_or_clip: Maps | Clip | str | PathLike[str]) -> Clip:
    """Return a clip as it is, of maps, or from a folder of maps or of images.

    Raises
    ------
    TypeError
        If it is none of these.
    ReadError
        If the folder cannot be read.
    """
    if isinstance(maps_or_clip, Clip):
        return maps_or_clip
    if isinstance(maps_or_clip, Maps):
        return Clip.of(maps_or_clip)
    if isinstance(maps_or_clip, str | PathLike):
        return as_clip(opened(maps_or_clip))
    raise TypeError(f"maps_or_clip must be Maps, a Clip or a folder, not {maps_or_clip!r}")


def opened(folder: str | PathLike[str]) -> Maps | Clip:
    """Return the maps, or the clip of images, in a folder.

    Raises
    ------
    ReadError
        If it holds neither.
    """
    path = Path(folder)
    if path.is_file() or (path / "maps.json").is_file():  # of a file, load tells what to do
        from .storage import load

        return load(path)
    return read_clip(path)


def _checked(name: str, value: Any, dtype: np.dtype[Any], axes: str, ndim: int) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be an array of {dtype}, not {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, not {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must be {axes}, not of shape {value.shape}")
    return value


def _image_files(folder: Path) -> list[Path]:
    try:
        files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS]
    except OSError as error:
        raise ReadError(f"no such folder of images: {error.strerror}", folder) from error
    files = sorted((p for p in files if not p.name.startswith(".")), key=lambda p: p.name)
    if not files:
        raise ReadError(f"holds no images ({', '.join(IMAGE_ENDINGS)})", folder)
    by_stem: dict[str, Path] = {}
    for file in files:
        if by_stem.setdefault(file.stem, file) != file:
            raise ReadError(f"has the name of {by_stem[file.stem].name}", file)
    return files


def _name_times(files: list[Path], interval_s: float | None) -> NDArray[np.float64]:
    from .readers.clocks import clock_seconds

    if interval_s is not None:
        return np.arange(len(files), dtype=np.float64) * interval_s
    times = np.empty(len(files))
    for i, file in enumerate(files):
        match = _NAME_TIME.match(file.stem)
        try:
            if match is None:
                raise ValueError
            moment = datetime.strptime(match[1] + match[2], "%Y%m%d%H%M%S")
        except ValueError:
            raise ReadError(
                "has no name that begins with YYYYMMDD_HHMMSS; give interval_s, the seconds from "
                "image to image",
                file,
            ) from None
        times[i] = round(clock_seconds(moment)) + int(match[3] or 0) / 1000
        if i and times[i] <= times[i - 1]:
            raise ReadError(f"is not later than {files[i - 1].name}, by their names", file)
    times -= times[0]
    return times


def _read_image(path: Path) -> tuple[NDArray[np.uint8], float | None]:
    """Return an image, (Y, X) or (Y, X, 3), and its pixel size in mm if iosfast wrote it."""
    size = None
    if path.suffix.lower() in (".tif", ".tiff"):
        from .readers.tiff_parsing import opened

        with opened(path) as tif:
            image = np.asarray(tif.pages.first.asarray())
            size = _pixel_size_mm(tif)
    else:
        from PIL import Image

        try:
            with Image.open(path) as picture:
                image = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
        except Exception as error:  # what a library raises on a damaged image is open-ended
            raise ReadError(f"is damaged or no image: {error}", path) from error
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[..., :3]
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise ReadError(f"is {image.shape} {image.dtype}, not 8-bit grey or RGB", path)
    if not image.size:
        raise ReadError("holds no pixels", path)
    return image, size


def _pixel_size_mm(tif: TiffFile) -> float | None:
    tags = tif.pages.first.tags
    software, resolution = tags.get(_SOFTWARE), tags.get(_X_RESOLUTION)
    if software is None or resolution is None or not str(software.value).startswith("iosfast"):
        return None
    top, bottom = resolution.value
    unit = tags.get("ResolutionUnit")
    if unit is None or int(unit.value) != 3 or not top or not bottom:  # 3 is pixels per cm
        return None
    return float(f"{10 * bottom / top:.9g}")


def _indices(
    rgb: NDArray[np.uint8], files: list[Path], colormap: str | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the index of each colour, and the pixels that all images show as outside."""
    from .recipe import PUBLISHED_COLORMAP, Recipe

    names = [colormap] if colormap is not None else [PUBLISHED_COLORMAP, Recipe().colormap]
    tables = {name: Recipe(colormap=name).colors() for name in names}
    tables["grey"] = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    stranger = (0, "")  # the image up to which some table fits, and its first unknown colour
    for table in tables.values():
        index = np.empty(rgb.shape[:3], np.uint8)
        outside = np.ones(rgb.shape[1:3], bool)
        lookup, black = _turned_round(table)
        for i, image in enumerate(rgb):
            found = lookup[_packed(image)]
            unknown = found == _UNKNOWN
            if unknown.any():
                stranger = max(stranger, (i, str(tuple(image[unknown][0].tolist()))))
                break
            outside &= found == black
            index[i] = np.where(found == _OUTSIDE, 0, found)
        else:
            return index, outside
    raise ReadError(
        f"has colour {stranger[1]}, which is none of {', '.join(tables)}; give the colormap that "
        "the images were made with, or save them without loss (JPEG changes colours) or as 8-bit "
        "grey",
        files[stranger[0]],
    )


def _turned_round(table: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], int]:
    """Return the index of every colour there is, and that of pixels outside of the cortex."""
    lookup = np.full(1 << 24, _UNKNOWN, np.uint16)
    if len(table) > 256:
        lookup[_packed(table[256])] = _OUTSIDE
    lookup[_packed(table[255::-1])] = np.arange(255, -1, -1)  # of equal colours, the lower index
    outside = int(lookup[_packed(table[-1])]) if len(table) > 256 else 0
    return lookup, outside


def _packed(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = colors.astype(np.uint32)
    red, green, blue = (wide[..., channel] for channel in range(3))
    packed: NDArray[np.uint32] = np.left_shift(red, 16) + np.left_shift(green, 8) + blue
    return packed
