"""Recordings of very many pages or files are open in seconds, and in little memory."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

SHAPE = (16, 16)
PAGES, FILES = 1_000_000, 100_000

#: Every script says how many frames there are, the sum of the last one (or of all), and what it
#: took. Peak memory is that of the process alone: getrusage would tell of its parent's, too.
REPORT = """
status = open("/proc/self/status").read()
print(count, int(total), time.perf_counter() - begin, status.partition("VmHWM:")[2].split()[0])
"""
IOSFAST = """
import sys, time, iosfast
begin = time.perf_counter()
recording = iosfast.open_recording(sys.argv[1])
count, total = len(recording), recording.read(len(recording) - 1).sum()
"""
IOSFAST_ALL = """
import sys, time, iosfast
begin = time.perf_counter()
recording = iosfast.open_recording(sys.argv[1])
count, total = len(recording), sum(int(block.sum()) for block in recording.blocks())
"""
TIFFFILE_PAGES = """
import sys, time, tifffile
begin = time.perf_counter()
tif = tifffile.TiffFile(sys.argv[1])
count = len(tif.pages)
total = tif.pages[count - 1].asarray().sum()
"""
TIFFFILE_SEQUENCE = """
import sys, time, tifffile
begin = time.perf_counter()
files = tifffile.TiffSequence(sys.argv[1] + "/*.tif")
count, total = len(files), tifffile.imread(files[-1]).sum()
"""
TIFFFILE_ALL = """
import sys, time, tifffile
begin = time.perf_counter()
movie = tifffile.imread(sys.argv[1] + "/*.tif")
count, total = len(movie), movie.sum()
"""


def some_pixels(count, begin=0):
    """Frames (count, Y, X) that are all different, without keeping them all."""
    numbers = np.arange(begin, begin + count, dtype=np.uint32)
    pixels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint32)
    return (numbers[:, np.newaxis] * 7 + pixels * 31).astype("<u2").reshape(-1, *SHAPE)


def write_pages(path: Path, count: int) -> None:
    """Write a BigTIFF of pages with a directory each, as tifffile would, but in seconds.

    A file of three pages by tifffile is the pattern: its second page stands for all others.
    """
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for frame in some_pixels(3):
            tif.write(frame, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as tif:
        starts = [page.offset for page in tif.pages]
        places = [page.dataoffsets[0] for page in tif.pages]
        second = tif.pages[1]
        at = second.tags["StripOffsets"].valueoffset - starts[1]
        following = 8 + 20 * len(second.tags)
    pattern = path.read_bytes()
    stride = starts[2] - starts[1]
    assert starts[1] - starts[0] == places[1] - places[0] == stride
    page = np.frombuffer(pattern, np.uint8)[starts[1] : starts[2]]
    place, nbytes = places[1] - starts[1], SHAPE[0] * SHAPE[1] * 2
    with open(path, "wb") as file:
        file.write(pattern[: starts[0]])
        for begin in range(0, count, 50_000):
            numbers = np.arange(begin, min(count, begin + 50_000), dtype=np.uint64)
            pages = np.tile(page, (len(numbers), 1))
            here = np.uint64(starts[0]) + numbers * np.uint64(stride)
            last = numbers == count - 1
            put(pages, at, here + np.uint64(place))
            put(pages, following, np.where(last, np.uint64(0), here + np.uint64(stride)))
            frames = some_pixels(len(numbers), begin)
            pages[:, place : place + nbytes] = frames.view(np.uint8).reshape(len(numbers), -1)
            pages.tofile(file)


def put(pages: np.ndarray, at: int, values: np.ndarray) -> None:
    pages[:, at : at + 8] = values.astype("<u8").view(np.uint8).reshape(-1, 8)


def write_files(folder: Path, count: int) -> None:
    """Write single-frame TIFFs: one by tifffile, the others with its bytes around their pixels."""
    frames = some_pixels(count)
    tifffile.imwrite(folder / "pattern.tif", frames[0], metadata=None)
    pattern = (folder / "pattern.tif").read_bytes()
    (folder / "pattern.tif").unlink()
    place = pattern.index(frames[0].tobytes())
    head, tail = pattern[:place], pattern[place + frames[0].nbytes :]
    for i, frame in enumerate(frames):
        (folder / f"frame_{i:06d}.tif").write_bytes(head + frame.tobytes() + tail)


@pytest.fixture
def opened(race, note):
    """Run the scripts in turns, compare their answers, and note times and memory."""

    def run(claim, path, count, total, ours, peers, rounds):
        peaks: dict[str, list[float]] = {}

        def script(name, text):
            def seconds():
                command = [sys.executable, "-c", text + REPORT, os.fspath(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found, summed, taken, peak_kib = done.stdout.split()
                assert (int(found), int(summed)) == (count, total)
                peaks.setdefault(name, []).append(int(peak_kib) / 1024)
                return float(taken)

            return seconds

        race(
            claim,
            script("iosfast", ours),
            {name: (script(name, text), limit) for name, (text, limit) in peers.items()},
            rounds=rounds,
            seconds=lambda function: function(),
        )
        told = ", ".join(f"{n} {statistics.median(mib):.0f} MiB" for n, mib in peaks.items())
        note(f"Peak resident memory, {claim}: {told}.")

    return run


def test_pages(opened, folder, timed):
    count = PAGES if timed else 2000
    path = folder / "pages.tif"
    write_pages(path, count)
    last = some_pixels(1, count - 1)
    opened(
        f"open a BigTIFF of {count:,} pages, read the last",
        path,
        count,
        int(last.sum(dtype=np.int64)),
        IOSFAST,
        {"tifffile: TiffFile, len(pages), last page": (TIFFFILE_PAGES, "1")},
        rounds=3,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory, timed):
    folder = tmp_path_factory.mktemp("files")
    write_files(folder, FILES if timed else 500)
    yield folder
    shutil.rmtree(folder)


def test_files(opened, files):
    count = len(os.listdir(files))
    opened(
        f"open a folder of {count:,} TIFFs, check all, read the last",
        files,
        count,
        int(some_pixels(1, count - 1).sum(dtype=np.int64)),
        IOSFAST,
        {"tifffile: TiffSequence (checks none), imread of the last": (TIFFFILE_SEQUENCE, "")},
        rounds=3,
    )


def test_all_of_files(opened, files):
    count = len(os.listdir(files))
    opened(
        f"open a folder of {count:,} TIFFs, read all",
        files,
        count,
        int(some_pixels(count).sum(dtype=np.int64)),
        IOSFAST_ALL,
        {"tifffile.imread": (TIFFFILE_ALL, "1")},
        rounds=3,
    )
