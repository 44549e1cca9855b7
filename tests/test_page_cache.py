"""What opening a recording leaves in the memory of the system."""

from __future__ import annotations

import mmap
import os
import sys

import h5py
import numpy as np
import pytest

from iosfast import open_recording
from iosfast.readers.page_cache import forget_unless_held

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
PAGE = mmap.PAGESIZE


def held(path, place):
    """Whether a byte of a file is in memory."""
    with open(path, "rb", buffering=0) as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], place, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def forget(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if held(path, path.stat().st_size - 1):  # where no test looks: asking brings it
        pytest.skip("this file system keeps everything in memory")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(64 << 20))
    return path


def test_what_nothing_else_was_held_of_is_forgotten(file):
    forget(file)
    with open(file, "rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        opened.read(PAGE)
    assert held(file, 0)
    forget_unless_held(file, [16 << 20, 32 << 20, 48 << 20])
    assert not held(file, 0)


def test_what_is_held_otherwise_stays(file):
    forget(file)
    file.read_bytes()
    forget_unless_held(file, [16 << 20, 32 << 20, 48 << 20])
    assert all(held(file, place) for place in range(0, 64 << 20, 1 << 20))


def test_chunks_of_a_frame(tmp_path):
    """The index lies between the chunks; opening a file leaves nothing of it in memory."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        frames = np.random.default_rng(0).integers(0, 9, (600, 256, 256), np.uint16)
        data = file.create_dataset("movie", data=frames, chunks=(1, 256, 256))
        ends = [data.id.get_chunk_info(i).byte_offset + frames[0].nbytes for i in range(600)]
        begins = [data.id.get_chunk_info(i).byte_offset for i in range(1, 600)]
    gaps = [end for end, begin in zip(ends[:-1], begins, strict=True) if begin > end]
    assert gaps
    forget(path)
    with h5py.File(path) as file:
        file["movie"].id.chunk_iter(lambda info: None)
    there = [held(path, gap) for gap in gaps]
    forget(path)
    with open_recording(path) as recording:
        left = [held(path, gap) for gap in gaps]
        np.testing.assert_array_equal(recording.read(), frames)
    assert sum(left) < sum(there)
