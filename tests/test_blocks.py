"""Frames block by block, read ahead in threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from recordings import Chunks, some_frames

from iosfast import ReadError, open_recording
from iosfast.readers.recording import BLOCK_BYTES

FRAMES = some_frames((12, 9, 14))


def test_blocks_are_about_sixteen_megabytes():
    frames = np.zeros((40, 512, 1024), np.uint16)
    sizes = [len(block) for block in open_recording(frames).blocks()]
    assert sizes == [16, 16, 8]
    assert frames[:16].nbytes == BLOCK_BYTES
    assert len(next(open_recording(np.zeros((2, 4096, 4096), np.uint16)).blocks())) == 1


@pytest.mark.parametrize("threads", [1, 2, 5, 0])
def test_blocks_end_where_chunks_do(threads, monkeypatch):
    monkeypatch.setattr("iosfast.readers.recording.BLOCK_BYTES", 12 * FRAMES[0].nbytes)
    frames = some_frames((47, 9, 14))
    recording = Chunks(frames)
    blocks = list(recording.blocks(start=3, stop=41, threads=threads))
    np.testing.assert_array_equal(np.concatenate(blocks), frames[3:41])
    assert sorted(recording.asked) == [(3, 10), (10, 20), (20, 30), (30, 40), (40, 41)]
    recording.asked.clear()
    assert [len(b) for b in recording.blocks(20, threads=threads)] == [20, 20, 7]
    assert list(recording.blocks(start=7, stop=7, threads=threads)) == []
    with pytest.raises(IndexError, match="which has 47"):
        recording.blocks(start=7, stop=48, threads=threads)


def test_threads_share_a_short_recording():
    """Each has many blocks to read, so that none waits long for the last one."""
    frames = np.zeros((960, 128, 1024), np.uint8)  # 120 MiB
    recording = Chunks(frames, chunk_frames=8)
    assert sum(len(block) for block in recording.blocks(threads=2)) == 960
    assert 32 <= len(recording.asked) <= 64


def test_an_error_in_a_block_read_ahead_comes_after_the_blocks_before_it():
    recording = Chunks(FRAMES, fails_at=7)
    blocks = recording.blocks(2, threads=3)
    for start in (0, 2, 4):
        np.testing.assert_array_equal(next(blocks), FRAMES[start : start + 2])
    with pytest.raises(ReadError, match="frame 7: is broken"):
        next(blocks)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_function_is_called_on_each_block_by_its_reader(threads):
    recording, readers, callers = Chunks(FRAMES), set(), set()
    read = recording._read
    recording._read = lambda *part: readers.add(threading.get_ident()) or read(*part)

    def note(first, block):
        callers.add(threading.get_ident())
        return first, len(block), int(block.sum())

    found = list(recording.map_blocks(note, 5, start=1, threads=threads))
    assert found == [(a, b - a, int(FRAMES[a:b].sum())) for a, b in ((1, 6), (6, 11), (11, 12))]
    assert callers == readers
    assert (threading.get_ident() in callers) == (threads == 1)

    def fail(first, block):
        raise RuntimeError(f"at {first}")

    with pytest.raises(RuntimeError, match="at 1"):
        list(recording.map_blocks(fail, 5, start=1, threads=threads))


def test_blocks_read_ahead_stop_with_their_reader():
    recording = Chunks(some_frames((1000, 9, 14)))
    for _ in recording.blocks(5, threads=2):
        break
    assert len(recording.asked) <= 5


def test_memory_of_blocks_read_ahead_is_bounded(monkeypatch):
    monkeypatch.setattr("iosfast.readers.recording.AHEAD_BYTES", 25 * FRAMES[0].nbytes)
    recording = Chunks(some_frames((100, 9, 14)), chunk_frames=10)
    threads = set()
    read = recording._read
    recording._read = lambda *part: threads.add(threading.get_ident()) or read(*part)
    assert sum(len(b) for b in recording.blocks(threads=8)) == 100
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("wrong", ["short", "wide", "another dtype"])
def test_a_reader_that_does_not_keep_its_promise(wrong):
    class Wrong(Chunks):
        def _read(self, start, stop):
            frames = super()._read(start, stop)
            kinds = {"short": frames[:-1], "wide": frames.repeat(2, 2)}
            return kinds.get(wrong, frames.astype(np.uint8))

    with pytest.raises(ReadError, match=r"its reader gave .* for frames \[3, 7\)"):
        Wrong(FRAMES).read(3, 7)
    with pytest.raises(ReadError, match="its reader gave"):
        list(Wrong(FRAMES).blocks(threads=2))
