"""Image series of NWB (Neurodata Without Borders) files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ReadError, warn
from .clocks import clock_seconds
from .hdf5 import Found, damage, is_frames, plain_attributes, plain_value, several

if TYPE_CHECKING:
    import h5py

_MM = {"meters": 1e3, "meter": 1e3, "m": 1e3, "millimeters": 1.0, "millimeter": 1.0, "mm": 1.0}
_MM |= dict.fromkeys(("micrometers", "micrometer", "microns", "micron", "um", "µm", "μm"), 1e-3)
_MM |= dict.fromkeys(("centimeters", "centimeter", "cm"), 10.0)
_MM |= dict.fromkeys(("nanometers", "nanometer", "nm"), 1e-6)
#: Series of frames lie in groups of groups at most.
_DEPTH = 2
_MAX_GROUPS = 1000


def find(path: Path, file: h5py.File, name: str | None) -> Found | None:
    """Return the image series of this name, or the only one below ``/acquisition``.

    The schema has the axes (time, x, y), so that frames are turned to (T, Y, X); see `_axes`. The
    data set itself, named with its full path, is read as it is stored: then None is returned.

    Raises
    ------
    ReadError
        If there is none, if there are several, or if its frames are in other files.
    """
    import h5py

    with damage(path):
        if name is not None:
            item = file.get(name) if name in file else None
            acquired = file.get("acquisition")
            if item is None and isinstance(acquired, h5py.Group) and name in acquired:
                item = acquired[name]
            if not isinstance(item, h5py.Group):
                return None
            found = [item]
        else:
            found = _series(file.get("acquisition"))
        frames = [group for group in found if _data(group) is not None]
        if len(frames) == 1:
            return _described(path, file, frames[0])
        if len(frames) > 1:
            raise several(path, [(g.name, g["data"]) for g in frames])
        for group in found:
            if outside := _outside(group):
                raise ReadError(
                    f"its series {group.name} holds no frames, but tells of files that do; open "
                    f"these: {outside}",
                    path,
                )
        where = "acquisition" if name is None else name
        raise ReadError(f"has no series of frames (time, x, y) in {where}; give dataset=", path)


def _data(group: h5py.Group) -> h5py.Dataset | None:
    """Return the frames of a series, if it has any of its own."""
    import h5py

    data = group.get("data")
    if not isinstance(data, h5py.Dataset) or "external_file" in group:
        return None
    return data if is_frames(data) else None


def _series(acquired: Any) -> list[h5py.Group]:
    """Return the groups that hold frames, or tell of files that do, in order of their names."""
    import h5py

    found: list[h5py.Group] = []
    waiting = [(acquired, 0)]
    seen: list[h5py.Group] = []
    while waiting:
        group, depth = waiting.pop()
        if not isinstance(group, h5py.Group) or group in seen or len(seen) > _MAX_GROUPS:
            continue
        seen.append(group)
        if _data(group) is not None or "external_file" in group:
            found.append(group)
        elif depth < _DEPTH:
            waiting += [(group.get(name), depth + 1) for name in sorted(group)]
    return sorted(found, key=lambda g: str(g.name))


def _outside(group: h5py.Group) -> str:
    if "external_file" not in group:
        return ""
    names = [plain_value(n) or "?" for n in group["external_file"][:5].reshape(-1)]
    return ", ".join(map(str, names))


def _described(path: Path, file: h5py.File, group: h5py.Group) -> Found:
    data = group["data"]
    turned, note = _axes(group, data)
    metadata: dict[str, Any] = {
        "format": "NWB",
        "dataset": group.name,
        "attributes": {**plain_attributes(group), **plain_attributes(data)},
    }
    plane = group.get("imaging_plane")
    if plane is not None:
        metadata["imaging_plane"] = {**plain_attributes(plane), **_scalars(plane, plane)}
    owner = group if "device" in group or plane is None else plane
    if (device := owner.get("device")) is not None:
        link = owner.get("device", getlink=True)
        name = str(getattr(link, "path", device.name)).rpartition("/")[2]
        metadata["device"] = {"name": name, **plain_attributes(device)}
    metadata |= _scalars(
        file, [name for name in file if name.startswith(("session", "identifier"))]
    )
    facts: dict[str, Any] = {"metadata": metadata, "pixel_size_mm": _pixel_size(plane)}
    begin = _begin(path, file)
    times = group.get("timestamps")
    start = group.get("starting_time")
    if times is None and start is not None and start.shape == ():
        facts["frame_rate_hz"] = _positive(start.attrs.get("rate"))
        first = plain_value(start[()])
        begin = begin + first if begin is not None and isinstance(first, int | float) else None
    elif times is None:
        facts["frame_rate_hz"] = _positive(metadata.get("imaging_plane", {}).get("imaging_rate"))
    facts["start_s"] = begin
    return Found(data, turned, times, facts, (f"{path}: {note}",))


def _axes(group: h5py.Group, data: h5py.Dataset) -> tuple[bool, str]:
    """Tell whether the axes are (T, X, Y), and return a note that says so.

    The schema has (time, x, y), and NeuroConv and MatNWB write that; many scripts store
    (time, y, x). Where a series tells its `dimension`, which is (x, y), that decides.
    """
    stored = tuple(data.shape[1:])
    said = group.get("dimension")
    told = tuple(int(n) for n in said[:3]) if said is not None and said.shape == (2,) else None
    if told is not None and stored[0] != stored[1] and told == stored[::-1]:
        return False, (
            f"{group.name}/data has the axes (time, y, x), by the dimension (x, y) = {told} that "
            "its series tells"
        )
    return True, (
        f"{group.name}/data is turned from (time, x, y), as the NWB schema has it, to (T, Y, X); "
        f"if it was stored as (time, y, x), open it with dataset={group.name + '/data'!r}"
    )


def _scalars(group: h5py.Group, names: Iterable[str]) -> dict[str, Any]:
    """Return single numbers and short texts of a group's own data sets of these names."""
    import h5py

    found: dict[str, Any] = {}
    for name in sorted(names)[:200]:
        item = group.get(name)
        if isinstance(item, h5py.Dataset) and item.size is not None and item.size <= 3:
            value = plain_value(item[()])
            if value is not None:
                found[name] = value
    return found


def _positive(value: Any) -> float | None:
    number = plain_value(value)
    if isinstance(number, int | float) and math.isfinite(number) and number > 0:
        return float(number)
    return None


def _pixel_size(plane: h5py.Group | None) -> float | None:
    """Return the side of a square pixel in mm, if the plane tells its spacing in x and y."""
    spacing = None if plane is None else plane.get("grid_spacing")
    if spacing is None or spacing.size is None or not 2 <= spacing.size <= 3:
        return None
    x, y = (_positive(v) for v in spacing[:2])
    scale = _MM.get(str(plain_value(spacing.attrs.get("unit", "meters"))), 0.0)
    if not x or not y or not scale or abs(x - y) > 1e-3 * x:
        return None
    return float(f"{x * scale:.9g}")


def _begin(path: Path, file: h5py.File) -> float | None:
    """Return the moment to which times refer, by the clock of the place that the text tells."""
    for name in ("timestamps_reference_time", "session_start_time"):
        if name in file:
            text = plain_value(file[name][()])
            try:
                return clock_seconds(datetime.fromisoformat(str(text)))
            except ValueError:
                warn(f"{path}: its {name} {text!r} is no time, and left out")
    return None
