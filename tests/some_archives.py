"""Small archives of recordings, and what a batch of them should give."""

from __future__ import annotations

import numpy as np
import tifffile
from some_maps import files_in

#: Of all recordings here; four seconds a map.
RATE_HZ = 5.0
OPTIONS = {"frame_rate_hz": RATE_HZ, "picture": False, "recipe": {"interval_bins": 2}}


def frames(seed=0, count=30, shape=(24, 32)):
    return np.random.default_rng(seed).integers(1000, 60_000, (count, *shape), np.uint16)


def write_tiff(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, frames(seed, **options), photometric="minisblack")
    return path


def write_folder(folder, seed=0, count=30):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames(seed, count)):
        tifffile.imwrite(folder / f"f{number}.tif", frame, photometric="minisblack")
    return folder


def archive_of(root, count=3):
    for number in range(count):
        write_tiff(root / f"m{number}" / "s.tif", number)
    return root


def results(out, *, without=()):
    """All files of a batch but its own, by their paths; markers without what is of the moment."""
    held = files_in(out)
    own = ("index.html", "summary.csv", "batch.json", ".lock", "error.log")
    return {
        path: held[path]
        for path in held
        if path.rpartition("/")[2] not in own and "/done/" not in path and path not in without
    }
