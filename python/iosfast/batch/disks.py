"""On which disk a path lies, and whether that disk turns."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Where the system tells of devices by their numbers.
_DEVICES = Path("/sys/dev/block")

#: Beginnings of the names of buses of virtual machines: KVM, Xen, Hyper-V.
_VIRTUAL = ("virtio", "vbd-", "VMBUS")


@dataclass(frozen=True)
class Disk:
    """A disk, as far as it can be told.

    Attributes
    ----------
    name : str
        Of the device, such as ``sdb``; else that of the file system.
    spinning : bool or None
        None where nothing tells, as of disks in a network, and of those of virtual machines, which
        call any disk one that turns.
    """

    name: str
    spinning: bool | None


def disk_of(path: Path) -> Disk:
    """Return the disk that holds a path; of paths that do not exist, that of their folder."""
    while not path.exists() and path != path.parent:
        path = path.parent
    number = os.stat(path).st_dev
    if not sys.platform.startswith("linux"):
        return Disk(f"device {number}", None)
    return _of_number(number)


@cache
def _of_number(number: int) -> Disk:
    block = _DEVICES / f"{os.major(number)}:{os.minor(number)}"
    if not block.exists():  # as of btrfs, whose file systems have numbers of their own
        source = _mounted(number)
        try:
            about = os.stat(source)
        except OSError:
            return Disk(source or f"device {number}", None)
        block = _DEVICES / f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
        if not about.st_rdev or not block.exists():
            return Disk(source, None)
    device = block.resolve()
    for folder in (device, device.parent):  # of a partition, that of its disk
        try:
            told = (folder / "queue" / "rotational").read_text().strip()
        except OSError:
            continue
        turns = told == "1"
        virtual = any(part.startswith(_VIRTUAL) for part in device.parts)
        return Disk(folder.name, None if turns and virtual else turns)
    return Disk(device.name, None)


def _mounted(number: int) -> str:
    """Return what is mounted as a file system of that number."""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[2] == wanted and "-" in fields:
            return fields[fields.index("-") + 2].encode().decode("unicode_escape")
    return ""
