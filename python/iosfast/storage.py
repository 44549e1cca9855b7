"""Maps on disk: TIFF stacks or one TIFF per map, with a JSON file; complete or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from . import __version__, arguments
from .errors import ReadError, warn
from .maps import Info, Maps
from .recipe import Recipe
from .staging import (
    FORMAT,
    FORMAT_VERSION,
    STACKS,
    Staging,
    channel_folders,
    surely,
    write_error,
)
from .tiff_stack import make_stack

Layout = Literal["stack", "published"]

_BIN_DTYPES = ("uint16", "float32", "float64")


def _dtype(info: Info, name: str) -> np.dtype[Any]:
    return info.bin_dtype if name == "binned" else np.dtype("f4" if name == "change" else "u1")


def checked_layout(layout: str) -> Layout:
    """Return the layout, or raise ValueError."""
    arguments.choice("layout", layout, get_args(Layout))
    return cast(Layout, layout)


class MapsWriter:
    """Writes maps to a folder beside their place, and renames it when they are complete.

    Use as a context manager: whatever ends the block before `finish` removes what was written.

    Parameters
    ----------
    out : path
        The folder to make.
    info : Info
        What is known before the first map: shape, times, recipe, calibration.
    bins : int
        Number of binned images that will be written.
    mask : ndarray of bool, shape (Y, X), optional
    layout : {"stack", "published"}
        Of the latter, the times make the names.
    overwrite : bool
        Replace maps, but nothing else.

    Raises
    ------
    WriteError
        If maps cannot be made there; nothing is left.
    ValueError
        If two maps would get the same name.
    """

    def __init__(
        self,
        out: str | PathLike[str],
        info: Info,
        *,
        bins: int,
        mask: NDArray[np.bool_] | None = None,
        layout: Layout = "stack",
        overwrite: bool = False,
    ) -> None:
        self._info = info if layout == "stack" else with_start(info)
        self._mask = mask
        self._layout = layout
        maps = info.times_s.size
        self._counts = {"binned": bins, "change": maps, "rgb": maps}
        self._files: dict[str, tuple[BinaryIO, int]] = {}
        self._names = _image_names(self._info) if layout == "published" else {}
        self._text(self._info)  # what JSON cannot hold is told before anything is written
        self._place = Staging(out, overwrite, sum(self._stack_bytes(name) for name in STACKS))
        try:
            self._open()
        except OSError as error:
            self.abort()
            raise write_error(self._place.out, error) from error
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def write(
        self,
        first_bin: int,
        binned: NDArray[Any],
        first_map: int,
        change: NDArray[np.float32],
        rgb: NDArray[np.uint8],
    ) -> None:
        """Write some bins and maps, beginning at these numbers."""
        try:
            for name, first, stack in (
                ("binned", first_bin, binned),
                ("change", first_map, change),
                ("rgb", first_map, rgb),
            ):
                self._write(name, first, np.ascontiguousarray(stack))
        except OSError as error:
            raise write_error(self._place.out, error) from error

    def finish(self, info: Info) -> Path:
        """Write the JSON file, close everything and move the folder to its place."""
        try:
            self._close()
            (self._place.work / "maps.json").write_text(self._text(info), encoding="utf-8")
        except OSError as error:
            raise write_error(self._place.out, error) from error
        return self._place.finish()

    def abort(self) -> None:
        """Remove what was written, unless it was finished; put back what was to be replaced."""
        with ExitStack() as steps:  # the last is taken first; all are, whatever the others raise
            steps.callback(self._place.abort)
            steps.callback(surely, self._close)

    def _text(self, info: Info) -> str:
        if self._layout == "published" and info.start_s is None:
            info = replace(info, start_s=self._info.start_s, notes=self._info.notes)
        description = _description(info, self._layout, mask=self._mask is not None)
        return json.dumps(description, indent=1, allow_nan=False) + "\n"

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self._counts[name], *self._info.shape, *((3,) if name == "rgb" else ()))

    def _stack_bytes(self, name: str) -> int:
        return int(np.prod(self._shape(name), dtype=np.int64)) * _dtype(self._info, name).itemsize

    def _open(self) -> None:
        if self._mask is not None:
            from PIL import Image

            Image.fromarray(self._mask.astype(np.uint8) * 255).save(self._place.work / "mask.png")
        if self._layout == "published":
            for name in STACKS:
                (self._place.work / name).mkdir()
            return
        steps_s = np.diff(self._info.bin_times_s)
        bin_s = float(np.median(steps_s)) if steps_s.size else 1.0
        recipe = self._info.recipe
        for name in STACKS:
            path = self._place.work / f"{name}.tif"
            offset = make_stack(
                path,
                self._shape(name),
                _dtype(self._info, name),
                step_s=bin_s * (1 if name == "binned" else recipe.interval_bins),
                pixel_size_mm=self._info.pixel_size_mm,
                display_range=recipe.color_range if name == "change" else None,
            )
            self._files[name] = (path.open("r+b"), offset)

    def _write(self, name: str, first: int, stack: NDArray[Any]) -> None:
        if self._layout == "stack":
            file, offset = self._files[name]
            if stack.size:
                file.seek(offset + first * stack[0].nbytes)
                file.write(stack.data)
            return
        for i, image in enumerate(stack):
            path = self._place.work / name / self._names[name][first + i]
            write_image(path, image, self._info)

    def _close(self) -> None:
        files, self._files = self._files, {}
        errors = []
        for file, _ in files.values():
            try:
                file.close()
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def load(path: str | PathLike[str]) -> Maps:
    """Open maps that `preprocess` or `Maps.save` wrote.

    Parameters
    ----------
    path : path
        The folder.

    Returns
    -------
    Maps
        Stacks are memory-mapped, read-only; maps in single files are read when first used.

    Raises
    ------
    ReadError
        If the folder is not a complete set of maps.
    """
    folder = Path(path)
    try:
        text = (folder / "maps.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        if channels := channel_folders(folder):
            told = ", ".join(channels)
            what = f"holds maps of several channels, each in a folder of its own: {told}"
            raise ReadError(what, folder) from None
        what = "no maps.json in it" if folder.is_dir() else "no such folder"
        raise ReadError(f"holds no maps ({what}); was the run interrupted?", folder) from None
    except NotADirectoryError:
        what = "is a file, not a folder of maps; iosfast preprocess makes maps of a recording"
        raise ReadError(what, folder) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"maps.json cannot be read: {error}", folder) from error
    try:
        description = json.loads(text)
        if description["format"] != FORMAT:
            raise ReadError("maps.json is not one of iosfast", folder)
        if arguments.integer("format_version", description["format_version"], 1) > FORMAT_VERSION:
            raise ReadError("was written by a newer iosfast; update to read it", folder)
        info = _info(description)
        layout = checked_layout(description["layout"])
        masked = description["mask"] is not None
    except ReadError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ReadError(f"maps.json is damaged ({error!r})", folder) from error

    stacks: dict[str, Any] = {}
    names = _image_names(info) if layout == "published" else {}
    for name in STACKS:
        times_s = info.bin_times_s if name == "binned" else info.times_s
        shape = (times_s.size, *info.shape, *((3,) if name == "rgb" else ()))
        dtype = _dtype(info, name)
        if layout == "stack":
            stacks[name] = _mapped(folder / f"{name}.tif", shape, dtype)
        else:
            stacks[name] = _Images(folder / name, names[name], shape, dtype)
    mask = _read_mask(folder / "mask.png", info.shape) if masked else None
    return Maps(info, mask, folder, _stacks=stacks)


class _Images:
    """Images in single files, read as one stack when called."""

    def __init__(
        self, folder: Path, names: list[str], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._paths = [folder / name for name in names]
        self._shape, self._dtype = shape, dtype
        there = set(os.listdir(folder)) if folder.is_dir() else set()
        missing = [name for name in names if name not in there]
        if missing:
            what = f"is missing, as {len(missing):,} of {len(names):,} files are"
            raise ReadError(what, folder / missing[0])

    def __call__(self) -> NDArray[Any]:
        from .readers.tiff_parsing import opened

        stack = np.empty(self._shape, self._dtype)
        for path, out in zip(self._paths, stack, strict=True):
            with opened(path) as tif:
                image = tif.pages.first.asarray()
            if image.shape != out.shape or image.dtype != self._dtype:
                raise ReadError(f"is {image.shape} {image.dtype}, not as maps.json says", path)
            out[...] = image
        return stack


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    from .readers.tiff_parsing import opened

    if not path.is_file():
        raise ReadError("is missing", path)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size < nbytes:
        raise ReadError("is cut", path)
    with opened(path) as tif:
        series = tif.series[0]
        offset, found = series.dataoffset, np.dtype(series.dtype)
        order = tif.byteorder
    sizes, expected = ([n for n in s if n > 1] for s in (series.shape, shape))
    if order != "<":
        raise ReadError("is big-endian, as another program wrote it; make the maps anew", path)
    if offset is None or found != dtype or sizes != expected:
        raise ReadError(f"is {series.shape} {found}, not {shape} {dtype} in one piece", path)
    if path.stat().st_size < offset + nbytes:
        raise ReadError("is cut", path)
    return np.memmap(path, dtype.newbyteorder("<"), "r", offset, shape)


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    from .masks import read_mask

    try:
        return read_mask(path, shape)
    except ReadError:
        raise
    except (ValueError, TypeError) as error:
        raise ReadError(f"is not as maps.json says: {error}", path) from error


def with_start(info: Info) -> Info:
    """Give names something to begin with, if there is no wall-clock time."""
    if info.start_s is not None:
        return info
    note = "the time of day is not known; names count from 1970-01-01 00:00:00"
    warn(note)
    return replace(info, start_s=0.0, notes=(*info.notes, note))


def _image_names(info: Info) -> dict[str, list[str]]:
    """Return the names of all files of the published layout."""
    bins = [f"{stem}.tiff" for stem in info.bin_names()]
    if len(set(bins)) < len(bins):
        raise ValueError(
            "layout='published' names maps by the millisecond, in which there are several bins; "
            "use longer bins, or layout='stack'"
        )
    maps = [bins[i] for i in info.map_bins()]
    return {"binned": bins, "change": maps, "rgb": maps}


def write_image(path: Path, image: NDArray[Any], info: Info) -> None:
    """Write one image of the published layout, with the size of a pixel."""
    import tifffile

    options: dict[str, Any] = {}
    if info.pixel_size_mm is not None:
        options = {"resolution": (10 / info.pixel_size_mm,) * 2, "resolutionunit": "CENTIMETER"}
    buffer = io.BytesIO()  # so that a full disk is told as such
    tifffile.imwrite(
        buffer,
        image,
        byteorder="<",
        photometric="rgb" if image.ndim == 3 else "minisblack",
        metadata=None,
        software=f"iosfast {__version__}",
        **options,
    )
    path.write_bytes(buffer.getbuffer())


def _description(info: Info, layout: Layout, *, mask: bool) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "iosfast_version": __version__,
        "layout": layout,
        "mask": "mask.png" if mask else None,
        "recipe": info.recipe.to_dict(),
        "source": info.source,
        "shape": list(info.shape),
        "bin_dtype": str(info.bin_dtype),
        "frame_rate_hz": info.frame_rate_hz,
        "pixel_size_mm": info.pixel_size_mm,
        "start_s": info.start_s,
        "dropped_frames": info.dropped_frames,
        "doubled_frames": info.doubled_frames,
        "notes": list(info.notes),
        "times_s": info.times_s.tolist(),
        "bin_times_s": info.bin_times_s.tolist(),
        "bin_frames": info.bin_frames.tolist(),
    }


def _info(description: Mapping[str, Any]) -> Info:
    """Return what maps.json tells; whatever is wrong in it raises TypeError or ValueError."""
    recipe = dict(description["recipe"])
    if recipe.get("scale_range") is not None:
        recipe["scale_range"] = tuple(recipe["scale_range"])
    times_s, bin_times_s = (_times(description, name) for name in ("times_s", "bin_times_s"))
    frames = [arguments.integer("bin_frames", n, 1) for n in description["bin_frames"]]
    bin_frames = np.array(frames, np.int64)
    if not np.isin(times_s, bin_times_s).all() or bin_frames.shape != bin_times_s.shape:
        raise ValueError("times_s, bin_times_s and bin_frames do not fit together")
    start_s = description["start_s"]
    bin_dtype = description["bin_dtype"]
    arguments.choice("bin_dtype", bin_dtype, _BIN_DTYPES)
    return Info(
        recipe=Recipe.from_dict(recipe),
        shape=arguments.image_shape("shape", description["shape"]),
        bin_dtype=np.dtype(bin_dtype),
        times_s=times_s,
        bin_times_s=bin_times_s,
        bin_frames=bin_frames,
        frame_rate_hz=arguments.positive("frame_rate_hz", description["frame_rate_hz"]),
        pixel_size_mm=arguments.positive("pixel_size_mm", description["pixel_size_mm"]),
        start_s=None if start_s is None else arguments.number("start_s", start_s),
        dropped_frames=_count(description, "dropped_frames"),
        doubled_frames=_count(description, "doubled_frames"),
        source=dict(description["source"]),
        notes=tuple(map(str, description["notes"])),
    )


def _count(description: Mapping[str, Any], name: str) -> int | None:
    value = description[name]
    return None if value is None else arguments.integer(name, value, 0)


def _times(description: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    times_s = np.array([arguments.number(name, value) for value in description[name]])
    if not times_s.size or (np.diff(times_s) <= 0).any():
        raise ValueError(f"{name} must increase")
    return times_s
