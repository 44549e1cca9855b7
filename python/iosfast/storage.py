"""Maps on disk: TIFF stacks or one TIFF per map, with a JSON file; complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, cast, get_args
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .errors import ReadError, WriteError
from .maps import Info, Maps
from .recipe import Recipe

Layout = Literal["stack", "published"]

FORMAT_VERSION = 1
#: Classic TIFF, which every reader opens, holds offsets below 4 GiB; some room for tags.
CLASSIC_TIFF_BYTES = 2**32 - 2**25

_STACKS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "binned": (np.uint16, ()),
    "change": (np.float32, ()),
    "rgb": (np.uint8, (3,)),
}


def checked_layout(layout: str) -> Layout:
    """Return the layout, or raise ValueError."""
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {get_args(Layout)}, not {layout!r}")
    return cast(Layout, layout)


class MapsWriter:
    """Writes maps to a folder beside their place, and renames it when they are complete.

    Use as a context manager: whatever ends the block before `finish` removes what was written.

    Parameters
    ----------
    out : path
        The folder to make.
    info : Info
        What is known before the first map: shape, recipe, calibration; for ``published`` also
        the times, as they make the names.
    bins : int
        Number of binned images that will be written.
    maps : int
        Number of maps that will be written.
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
        self._out = Path(out)
        self._info = info
        self._mask = mask
        self._layout = layout
        self._overwrite = overwrite
        maps = info.times_s.size
        self._counts = {"binned": bins, "change": maps, "rgb": maps}
        self._files: dict[str, tuple[BinaryIO, int]] = {}
        self._names: dict[str, list[str]] = {}
        check_place(self._out, overwrite)
        needed = sum(self._stack_bytes(name) for name in _STACKS)
        free = shutil.disk_usage(_existing_parent(self._out)).free
        if needed > free:
            raise WriteError(
                f"{self._out}: the maps take {needed / 1e9:.3f} GB, but only {free / 1e9:.3f} GB "
                "are free there; nothing was written"
            )
        self._work = self._out.parent / f".{self._out.name}.partial-{uuid4().hex[:8]}"
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._work.mkdir()
            self._open()
        except OSError as error:
            self.abort()
            raise _write_error(self._out, error) from error
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
        binned: NDArray[np.uint16],
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
            raise _write_error(self._out, error) from error

    def finish(self, info: Info) -> Path:
        """Write the JSON file, close everything and move the folder to its place."""
        try:
            self._close()
            description = _description(info, self._layout, mask=self._mask is not None)
            text = json.dumps(description, indent=1, allow_nan=False)
            (self._work / "maps.json").write_text(text + "\n", encoding="utf-8")
            self._publish()
        except OSError as error:
            raise _write_error(self._out, error) from error
        return self._out

    def abort(self) -> None:
        """Remove what was written, unless it was finished."""
        self._close()
        shutil.rmtree(self._work, ignore_errors=True)

    def _stack_bytes(self, name: str) -> int:
        dtype, extra = _STACKS[name]
        return self._counts[name] * int(np.prod((*self._info.shape, *extra))) * dtype().itemsize

    def _open(self) -> None:
        from PIL import Image

        if self._mask is not None:
            Image.fromarray(self._mask.astype(np.uint8) * 255).save(self._work / "mask.png")
        if self._layout == "published":
            bin_names = self._info.bin_names()
            map_names = [bin_names[i] for i in self._info.map_bins()]
            for name in _STACKS:
                self._names[name] = bin_names if name == "binned" else map_names
                (self._work / name).mkdir()
            return
        for name in _STACKS:
            path = self._work / f"{name}.tif"
            offset = _make_stack(
                path, name, self._counts[name], self._info, self._stack_bytes(name)
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
            path = self._work / name / f"{self._names[name][first + i]}.tiff"
            _write_image(path, image, self._info)

    def _close(self) -> None:
        files, self._files = self._files, {}
        for file, _ in files.values():
            file.close()

    def _publish(self) -> None:
        check_place(self._out, self._overwrite)
        if not self._out.exists():
            self._work.rename(self._out)
            return
        old = self._out.parent / f".{self._out.name}.replaced-{uuid4().hex[:8]}"
        self._out.rename(old)
        try:
            self._work.rename(self._out)
        except OSError:
            old.rename(self._out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def check_place(out: Path, overwrite: bool) -> None:
    """Raise WriteError unless a folder of maps may be made here."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise WriteError(f"{out}: exists and is no folder; choose another out")
    if out.exists() and any(out.iterdir()):
        if not (out / "maps.json").is_file():
            raise WriteError(
                f"{out}: exists and holds other files than maps; choose another out "
                "(overwrite replaces maps only)"
            )
        if not overwrite:
            raise WriteError(f"{out}: holds maps already; choose another out, or overwrite=True")
    parent = _existing_parent(out)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise WriteError(f"{out}: {parent} is not a folder that can be written to")


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
        what = "no maps.json in it" if folder.is_dir() else "no such folder"
        raise ReadError(f"holds no maps ({what}); was the run interrupted?", folder) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"maps.json cannot be read: {error}", folder) from error
    try:
        description = json.loads(text)
        if description["format"] != "iosfast maps":
            raise ReadError("maps.json is not one of iosfast", folder)
        if description["format_version"] > FORMAT_VERSION:
            raise ReadError("was written by a newer iosfast; update to read it", folder)
        info = _info(description)
        layout = checked_layout(description["layout"])
        masked = bool(description["mask"])
    except ReadError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(f"maps.json is damaged ({error!r})", folder) from error

    counts = {"binned": info.bin_times_s.size, "change": info.times_s.size}
    counts["rgb"] = counts["change"]
    stacks: dict[str, Any] = {}
    for name, (dtype, extra) in _STACKS.items():
        shape = (counts[name], *info.shape, *extra)
        if layout == "stack":
            stacks[name] = _mapped(folder / f"{name}.tif", shape, np.dtype(dtype))
        else:
            names = info.bin_names()
            if name != "binned":
                names = [names[i] for i in info.map_bins()]
            paths = [folder / name / f"{stem}.tiff" for stem in names]
            missing = [p for p in paths if not p.is_file()]
            if missing:
                raise ReadError(f"{len(missing)} files are missing, such as this one", missing[0])
            stacks[name] = _Images(paths, shape, np.dtype(dtype))
    mask = _read_mask(folder / "mask.png", info.shape) if masked else None
    return Maps(info, mask, folder, _stacks=stacks)


class _Images:
    """Images in single files, read as one stack when called."""

    def __init__(self, paths: list[Path], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._paths, self._shape, self._dtype = paths, shape, dtype

    def __call__(self) -> NDArray[Any]:
        import tifffile

        stack = np.empty(self._shape, self._dtype)
        for i, path in enumerate(self._paths):
            try:
                image = tifffile.imread(path)
            except (tifffile.TiffFileError, OSError, ValueError) as error:
                raise ReadError(f"cannot be read: {error}", path) from error
            if image.shape != stack.shape[1:] or image.dtype != self._dtype:
                raise ReadError(f"is {image.shape} {image.dtype}, not as maps.json says", path)
            stack[i] = image
        return stack


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            offset, found = series.dataoffset, np.dtype(series.dtype)
            if offset is None or found != dtype or int(np.prod(series.shape)) != np.prod(shape):
                raise ReadError(f"is {series.shape} {found}, not {shape} {dtype}", path)
        return np.memmap(path, dtype, "r", offset, shape)
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise ReadError(f"cannot be read: {error}", path) from error
    except ReadError:
        raise
    except ValueError as error:
        raise ReadError(f"is cut: {error}", path) from error


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    from .masks import read_mask

    return read_mask(path, shape)


def _make_stack(path: Path, name: str, count: int, info: Info, nbytes: int) -> int:
    """Make a TIFF file of zeros with all its tags; return where its pixels begin."""
    import tifffile

    dtype, extra = _STACKS[name]
    recipe = info.recipe
    step_s = float(np.median(np.diff(info.bin_times_s))) if info.bin_times_s.size > 1 else 1.0
    if name != "binned":
        step_s *= recipe.interval_bins
    axes = "TYXS" if extra else "TYX"
    big = nbytes > CLASSIC_TIFF_BYTES
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "rgb" if extra else "minisblack"}
    if big:  # ImageJ's own format ends at 4 GiB; beyond it Fiji opens OME-TIFF
        options |= {"bigtiff": True, "ome": True}
        metadata |= {"TimeIncrement": step_s, "TimeIncrementUnit": "s"}
        if info.pixel_size_mm is not None:
            metadata |= {f"PhysicalSize{a}": info.pixel_size_mm for a in "XY"}
            metadata |= {f"PhysicalSize{a}Unit": "mm" for a in "XY"}
    else:
        options |= {"imagej": True}
        metadata |= {"finterval": step_s, "fps": 1 / step_s, "tunit": "s", "loop": False}
        if name == "change" and recipe.color_range is not None:
            low, high = recipe.color_range
            metadata |= {"min": low, "max": high}
        if info.pixel_size_mm is not None:
            metadata["unit"] = "mm"
            options["resolution"] = (1 / info.pixel_size_mm,) * 2
    tifffile.imwrite(
        path,
        shape=(count, *info.shape, *extra),
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


def _write_image(path: Path, image: NDArray[Any], info: Info) -> None:
    import tifffile

    options: dict[str, Any] = {}
    if info.pixel_size_mm is not None:
        options = {"resolution": (10 / info.pixel_size_mm,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path,
        image,
        byteorder="<",
        photometric="rgb" if image.ndim == 3 else "minisblack",
        metadata=None,
        software=f"iosfast {__version__}",
        **options,
    )


def _description(info: Info, layout: Layout, *, mask: bool) -> dict[str, Any]:
    return {
        "format": "iosfast maps",
        "format_version": FORMAT_VERSION,
        "iosfast_version": __version__,
        "layout": layout,
        "mask": "mask.png" if mask else None,
        "recipe": info.recipe.to_dict(),
        "source": info.source,
        "shape": list(info.shape),
        "frame_rate_hz": info.frame_rate_hz,
        "pixel_size_mm": info.pixel_size_mm,
        "start_s": info.start_s,
        "notes": list(info.notes),
        "times_s": info.times_s.tolist(),
        "bin_times_s": info.bin_times_s.tolist(),
        "bin_frames": info.bin_frames.tolist(),
    }


def _info(description: dict[str, Any]) -> Info:
    recipe = dict(description["recipe"])
    if recipe.get("scale_range") is not None:
        recipe["scale_range"] = tuple(recipe["scale_range"])
    y, x = description["shape"]
    info = Info(
        recipe=Recipe.from_dict(recipe),
        shape=(int(y), int(x)),
        times_s=np.array(description["times_s"], np.float64),
        bin_times_s=np.array(description["bin_times_s"], np.float64),
        bin_frames=np.array(description["bin_frames"], np.int64),
        frame_rate_hz=description["frame_rate_hz"],
        pixel_size_mm=description["pixel_size_mm"],
        start_s=description["start_s"],
        source=dict(description["source"]),
    )
    return replace(info, notes=tuple(description["notes"]))


def _existing_parent(path: Path) -> Path:
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return parent


def _write_error(out: Path, error: OSError) -> WriteError:
    reason = error.strerror or str(error)
    return WriteError(error.errno, f"{reason}; nothing was left there", os.fspath(out))
