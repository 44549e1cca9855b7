"""Channels (wavelengths) that a recording holds in turn, each as a recording of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording import ClockName, Recording


class ChannelRecording(Recording):
    """Frames of one channel; those of the others are not read, if that is possible.

    Parameters
    ----------
    whole : Recording
        All channels. It must not be closed before.
    name : str
    number, count : int
        Which of so many channels this is, counted from 0.
    frames : ndarray of int64, shape (T,)
        Which frames of the whole recording are those of the channel, increasing.
    """

    def __init__(
        self, whole: Recording, name: str, number: int, count: int, frames: NDArray[np.int64]
    ) -> None:
        rate = whole.frame_rate_hz
        later_s = None if rate is None else number / rate
        super().__init__(
            source=whole.source,
            shape=(frames.size, *whole.shape[1:]),
            dtype=whole.dtype,
            frame_rate_hz=None if rate is None else rate / count,
            pixel_size_mm=whole.pixel_size_mm,
            start_s=None if whole.start_s is None else whole.start_s + (later_s or 0.0),
            metadata={**whole.metadata, "channel": name, "channels": count},
            notes=whole.notes,
            times_s=lambda: None if (times_s := whole.times_s) is None else times_s[frames],
        )
        self._whole = whole
        self._name, self._number = name, number
        self._frames = frames
        self._count = count
        if whole.layout is not None:
            self._lay_out(whole.layout.selected(frames, count))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._core_source is not None:
            return self._core_source.read(start, stop)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        frames = self._frames[start:stop]
        if self._whole.chunk_frames == 1:  # the frames between need not be decoded
            for frame, image in zip(frames.tolist(), out, strict=True):
                image[...] = self._whole.read(frame, frame + 1)[0]
        elif frames.size:
            first = int(frames[0])
            out[...] = self._whole.read(first, int(frames[-1]) + 1)[frames - first]
        return out

    @property
    def chunk_frames(self) -> int:
        """Frames of this channel in a chunk of all."""
        return max(1, self._whole.chunk_frames // self._count)

    @property
    def as_stored(self) -> Recording | None:
        """Frames of this channel with rows and columns exchanged, if they are stored so."""
        stored = self._whole.as_stored
        if stored is None:
            return None
        return ChannelRecording(stored, self._name, self._number, self._count, self._frames)

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return the times of this channel's frames."""
        return self._whole.clock_s(clock)[self._frames]


def split_channels(
    whole: Recording, names: tuple[str, ...], slots: NDArray[np.int64] | None
) -> dict[str, tuple[ChannelRecording, NDArray[np.int64]]]:
    """Split a recording into its channels.

    Parameters
    ----------
    whole : Recording
    names : tuple of str
        Of the channels, in the order of their frames.
    slots : ndarray of int64, shape (T,), optional
        When each frame was due, counted from that of the first channel, so that the channels
        stay apart where frames are missing. Without it, frames are counted.

    Returns
    -------
    dict of str to (ChannelRecording, ndarray of int64)
        With the number of every frame in the whole recording.
    """
    turns = (np.arange(len(whole)) if slots is None else slots) % len(names)
    channels = {}
    for number, name in enumerate(names):
        frames = np.flatnonzero(turns == number).astype(np.int64)
        channels[name] = ChannelRecording(whole, name, number, len(names), frames), frames
    return channels
