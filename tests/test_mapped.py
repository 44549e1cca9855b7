"""Files in the page cache are read through a memory map, which must change nothing."""

import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import iosfast
from iosfast import _core

SHAPE = (128, 256)
FRAME_BYTES = 2 * SHAPE[0] * SHAPE[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems read instead")


def source_of(path, frames, offset=0, stride=FRAME_BYTES, dtype="<u2"):
    segments = np.array([[0, offset, stride, frames]], np.int64)
    return _core.FrameSource([path], segments, SHAPE, np.dtype(dtype))


def means(source, bins, threads=0):
    out = np.empty((bins, *SHAPE), np.uint16)
    edges = np.linspace(0, source.frames, bins + 1).astype(np.int64)
    _core.bin_frames(source, edges, out, threads)
    return out


def means_while_cut(source, bins, path, size, delay_s):
    """Bin frames while a file is cut; return the error, if there is one, and the means."""
    cut = threading.Thread(target=lambda: (time.sleep(delay_s), os.truncate(path, size)))
    cut.start()
    try:
        return None, means(source, bins)
    except iosfast.ReadError as error:
        return error, None
    finally:
        cut.join()


def forget(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize(("offset", "gap"), [(0, 0), (8, 0), (4098, 6), (10, 5000), (3, 1)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_mapped_and_read_are_the_same(tmp_path, offset, gap, threads):
    frames = np.random.default_rng(0).integers(0, 65536, (61, *SHAPE)).astype("<u2")
    path = tmp_path / "frames.raw"
    path.write_bytes(bytes(offset) + b"".join(f.tobytes() + bytes(gap) for f in frames))
    source = source_of(path, len(frames), offset, FRAME_BYTES + gap)
    assert source.is_mapped(0, len(frames))
    mapped = means(source, 7, threads)
    np.testing.assert_array_equal(mapped, means(_core.FrameSource.from_array(frames), 7, threads))
    forget(path)
    if not source.is_mapped(0, len(frames)):  # some file systems keep all files in memory
        np.testing.assert_array_equal(mapped, means(source, 7, threads))


def test_what_is_not_mapped(tmp_path):
    path = tmp_path / "frames.raw"
    path.write_bytes(bytes(4 * FRAME_BYTES + 1))
    assert source_of(path, 4).is_mapped(0, 4)
    assert source_of(path, 4, offset=1).is_mapped(0, 4)  # at any address
    assert source_of(path, 4, dtype=">u2").is_mapped(0, 4)  # in either byte order
    assert not source_of(path, 5).is_mapped(0, 5)  # cut
    assert source_of(path, 5).is_mapped(0, 4)
    assert not _core.FrameSource.from_array(np.zeros((4, 5, 6), np.uint8)).is_mapped(0, 4)
    with pytest.raises(ValueError, match="outside"):
        source_of(path, 4).is_mapped(2, 5)


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_shrinks_while_it_is_mapped(tmp_path, seed):
    """Right pixels or ReadError, and no SIGBUS; when the file is cut is left to chance."""
    path = tmp_path / "frames.raw"
    frames = np.full((400, *SHAPE), 1000, "<u2")
    chance = random.Random(seed)
    for _ in range(12):
        frames.tofile(path)
        source = source_of(path, len(frames))
        size, delay_s = chance.randrange(frames.nbytes), chance.uniform(0, 0.006)
        told, got = means_while_cut(source, 40, path, size, delay_s)
        if told is None:
            np.testing.assert_array_equal(got, 1000)
        else:
            assert told.path == str(path)
            assert (told.frame + 1) * FRAME_BYTES > size


BUS_ERROR_ELSEWHERE = """
import mmap, os, sys
import numpy as np
from iosfast import _core
path = sys.argv[1]
open(path, "wb").write(bytes(65536))
source = _core.FrameSource([path], np.array([[0, 0, 8192, 8]]), (64, 64), np.dtype("<u2"))
assert source.is_mapped(0, 8)
_core.bin_frames(source, np.array([0, 4, 8]), np.empty((2, 64, 64), np.uint16))
with open(path, "rb") as file:
    other = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    os.truncate(path, 0)
    other[5]
print("went on")
"""


def test_bus_errors_elsewhere_end_the_process_as_ever(tmp_path):
    command = [sys.executable, "-c", BUS_ERROR_ELSEWHERE, str(tmp_path / "file")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0  # -SIGBUS, unless a sanitizer reports it instead
    assert "went on" not in result.stdout
    assert "Traceback" not in result.stderr


# Runs of frames in several places


@pytest.mark.parametrize("n_files", [1, 3, 70])
@pytest.mark.parametrize("stored", ["<u2", ">u2", "u1", ">f4"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_runs_are_mapped_and_read_alike(tmp_path, n_files, stored, threads):
    """Runs shorter and longer than what is summed at a time, in one file or in several in turns."""
    stored = np.dtype(stored)
    random = np.random.default_rng(0)
    runs = random.integers(1, 8, 90).tolist()
    frames = random.integers(0, 250, (sum(runs), *SHAPE)).astype(stored)
    contents = [bytearray(bytes(3)) for _ in range(n_files)]
    segments, at = [], 0
    for i, count in enumerate(runs):
        content = contents[i % n_files]
        segments.append((i % n_files, len(content), frames[0].nbytes + 5, count))
        for frame in frames[at : at + count]:
            content += frame.tobytes() + bytes(5)
        at += count
    paths = [tmp_path / f"{i}.raw" for i in range(n_files)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    source = _core.FrameSource(paths, np.array(segments), SHAPE, stored)
    assert source.is_mapped(0, at) == (n_files == 1)
    native = _core.FrameSource.from_array(frames.astype(stored.newbyteorder("=")))
    edges = np.array([2, 3, 40, 90, at - 1])
    expected, got = (
        np.empty((4, *SHAPE), _core.mean_dtype(native.read(0, 1).dtype)) for _ in range(2)
    )
    _core.bin_frames(native, edges, expected, 1)
    _core.bin_frames(source, edges, got, threads)
    np.testing.assert_array_equal(got, expected)
    for path in paths:  # now they are brought from the disk while others are summed
        forget(path)
    got[...] = 0
    _core.bin_frames(source, edges, got, threads)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("seed", range(3))
def test_files_that_shrink_while_they_are_read(tmp_path, seed):
    """Right pixels or ReadError; when a file is cut is left to chance."""
    chance = random.Random(seed)
    paths = [tmp_path / f"{i}.raw" for i in range(80)]
    segments = np.array([[i, 0, FRAME_BYTES, 4] for i in range(80)])
    frames = np.full((4, *SHAPE), 1000, "<u2")
    for _ in range(8):
        for path in paths:
            frames.tofile(path)
        source = _core.FrameSource(paths, segments, SHAPE, np.dtype("<u2"))
        victim, size, delay_s = chance.randrange(80), chance.randrange(8193), chance.random() / 300
        told, got = means_while_cut(source, 40, paths[victim], size, delay_s)
        if told is None:
            np.testing.assert_array_equal(got, 1000)
        else:
            assert told.path == str(paths[victim])
            assert 4 * victim <= told.frame < 4 * victim + 4


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("n_files", [40, 80])
@pytest.mark.parametrize("what", ["gone", "cut"])
def test_a_bad_file_among_those_read_ahead(tmp_path, cached, n_files, what):
    """It is told with its own frame, and does not hurt the frames before it."""
    frames = np.random.default_rng(0).integers(0, 65536, (n_files, *SHAPE)).astype("<u2")
    paths = [tmp_path / f"{i}.raw" for i in range(n_files)]
    for path, frame in zip(paths, frames, strict=True):
        frame.tofile(path)
        if not cached:
            forget(path)
    segments = np.array([[i, 0, FRAME_BYTES, 1] for i in range(n_files)])
    source = _core.FrameSource(paths, segments, SHAPE, np.dtype("<u2"))
    if what == "gone":
        paths[31].unlink()
    else:
        os.truncate(paths[31], FRAME_BYTES - 1)
    np.testing.assert_array_equal(source.read(0, 31), frames[:31])
    with pytest.raises(iosfast.ReadError, match="frame 31") as told:
        source.read(0, n_files)
    assert told.value.path == str(paths[31])
    assert told.value.frame == 31
    with pytest.raises(iosfast.ReadError):
        means(source, 4)


@pytest.mark.parametrize("frames_cached", [0, 3, 300])
def test_records_of_a_file_that_is_not_in_memory(tmp_path, frames_cached):
    """Records are the same whether they lie in memory, on the disk, or in part behind the end."""
    path = tmp_path / "records"
    content = np.random.default_rng(0).integers(0, 256, 300 * 9000, np.uint8)
    content.tofile(path)
    forget(path)
    with open(path, "rb") as file:
        file.read(frames_cached * 9000)
    records = _core.read_records(path, 8990, 9000, 400, 20)
    expected = [content[8990 + i * 9000 :][:20] for i in range(299)]
    np.testing.assert_array_equal(records, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_that_is_needed_again_and_again_among_many(tmp_path, threads):
    """It is closed for others, and opened anew."""
    many = 80
    frames = np.random.default_rng(0).integers(0, 65536, (2 * many, *SHAPE)).astype("<u2")
    paths = [tmp_path / f"{i}.raw" for i in range(many + 1)]
    frames[::2].tofile(paths[0])
    for path, frame in zip(paths[1:], frames[1::2], strict=True):
        frame.tofile(path)
    segments = []
    for i in range(many):
        segments += [[0, i * FRAME_BYTES, FRAME_BYTES, 1], [i + 1, 0, FRAME_BYTES, 1]]
    source = _core.FrameSource(paths, np.array(segments), SHAPE, np.dtype("<u2"))
    expected = means(_core.FrameSource.from_array(frames), 4)
    for _ in range(2):
        np.testing.assert_array_equal(means(source, 4, threads), expected)
        for path in paths:
            forget(path)
    np.testing.assert_array_equal(means(source, 4, threads), expected)
