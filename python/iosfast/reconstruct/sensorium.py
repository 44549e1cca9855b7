"""Trials of the Sensorium 2023 data set: videos, responses, behaviour and pupil of one mouse.

A folder holds ``data/videos/N.npy`` (Y, X, T), ``data/responses/N.npy`` (neurons, T),
``data/behavior/N.npy`` and ``data/pupil_center/N.npy`` (2, T), ``meta/neurons/*.npy`` and
``meta/trials/tiers.npy``. Arrays of shorter trials are filled up with NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import ReadError

FRAME_RATE_HZ = 30.0


@dataclass(frozen=True)
class Trial:
    """A movie and what was recorded meanwhile, all of T frames at 30 Hz.

    Parameters
    ----------
    number : int
    movie : ndarray of float32, shape (T, Y, X)
        From 0 to 255.
    responses : ndarray of float32, shape (neurons, T), or None
        None where the data set keeps them back.
    behaviour : ndarray of float32, shape (4, T)
        Pupil dilation, running speed, and the centre of the pupil: what the models know.
    tier : str
        Such as ``train`` or ``oracle``; empty without ``tiers.npy``.
    """

    number: int
    movie: NDArray[np.float32]
    responses: NDArray[np.float32] | None
    behaviour: NDArray[np.float32]
    tier: str


class Mouse:
    """The folder of a mouse; trials are read one by one.

    Parameters
    ----------
    folder : path

    Attributes
    ----------
    folder : Path
    trials : tuple of int
        Numbers of the trials, ascending.
    tiers : tuple of str
        Of each.
    neurons : int or None
        Their number, by ``meta/neurons``.
    coordinates : ndarray of float, shape (neurons, 3), or None
        Of the cells, in micrometres.
    unit_ids : ndarray of int, shape (neurons,), or None

    Raises
    ------
    ReadError
        If there is no such folder, or it holds no trials.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        videos = self.folder / "data" / "videos"
        if not videos.is_dir():
            raise ReadError("holds no data/videos, as trials of Sensorium 2023 have", self.folder)
        numbers = sorted(int(p.stem) for p in videos.glob("*.npy") if p.stem.isdecimal())
        if not numbers:
            raise ReadError("holds no trials (0.npy, 1.npy, ...)", videos)
        self.trials = tuple(numbers)
        tiers = self._meta("trials/tiers.npy", 1, "U")
        if tiers is not None and numbers[-1] >= len(tiers):
            raise ReadError(
                f"meta/trials/tiers.npy names {len(tiers)} trials, but there is a trial "
                f"{numbers[-1]}",
                self.folder,
            )
        self.tiers = tuple("" if tiers is None else str(tiers[n]) for n in numbers)
        self.unit_ids = self._meta("neurons/unit_ids.npy", 1, "iu")
        self.coordinates = self._meta("neurons/cell_motor_coordinates.npy", 2, "iuf")
        counts = {len(x) for x in (self.unit_ids, self.coordinates) if x is not None}
        if len(counts) > 1:
            raise ReadError("the files of meta/neurons differ in their neurons", self.folder)
        self.neurons = counts.pop() if counts else None

    def __len__(self) -> int:
        return len(self.trials)

    def read(self, number: int) -> Trial:
        """Read a trial; what is NaN in its behaviour at the end is cut off.

        Parameters
        ----------
        number : int
            As in the names of files.

        Returns
        -------
        Trial

        Raises
        ------
        ValueError
            If there is no such trial.
        ReadError
            If a file is missing or damaged, or files do not fit together.
        """
        number = arguments.integer("number", number, 0)
        if number not in self.trials:
            raise ValueError(f"number must be a trial of {self.folder}, not {number}")
        data, name = self.folder / "data", f"{number}.npy"
        video = _array(data / "videos" / name, 3, "uif")
        behavior = _array(data / "behavior" / name, 2, "uif")
        pupil = _array(data / "pupil_center" / name, 2, "uif")
        beside = [(data / "behavior" / name, behavior), (data / "pupil_center" / name, pupil)]
        responses = None
        if (data / "responses" / name).exists():
            responses = _array(data / "responses" / name, 2, "uif")
            beside.append((data / "responses" / name, responses))
            if self.neurons is not None and len(responses) != self.neurons:
                raise ReadError(
                    f"has {len(responses)} neurons, but meta/neurons has {self.neurons}",
                    data / "responses" / name,
                )
        for path, array in beside:
            if array.shape[1] != video.shape[2]:
                raise ReadError(
                    f"has {array.shape[1]} frames, but the video has {video.shape[2]}", path
                )
        for path, array in beside[:2]:
            if len(array) != 2:
                raise ReadError(f"must have 2 channels, not {len(array)}", path)
        behaviour = np.concatenate([behavior, pupil]).astype(np.float32)
        missing = np.isnan(behaviour).any(axis=0) | np.isnan(video).any(axis=(0, 1))
        frames = int(np.argmax(missing)) if missing.any() else video.shape[2]
        if frames == 0:
            raise ReadError("has NaN from its first frame on", data / "behavior" / name)
        if not missing[frames:].all():
            raise ReadError(
                f"has NaN in frame {frames}, but not from there to its end",
                data / "videos" / name,
            )
        return Trial(
            number=number,
            movie=np.ascontiguousarray(video[..., :frames].transpose(2, 0, 1), dtype=np.float32),
            responses=None if responses is None else responses[:, :frames].astype(np.float32),
            behaviour=behaviour[:, :frames],
            tier=self.tiers[self.trials.index(number)],
        )

    def _meta(self, name: str, dimensions: int, kinds: str) -> NDArray[Any] | None:
        path = self.folder / "meta" / name
        return _array(path, dimensions, kinds) if path.exists() else None


def _array(path: Path, dimensions: int, kinds: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ReadError("is missing", path) from error
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(f"cannot be read: {error}", path) from error
    if not isinstance(array, np.ndarray) or array.ndim != dimensions:
        raise ReadError(f"must hold an array of {dimensions} axes", path)
    if array.dtype.kind not in kinds or not array.size:
        raise ReadError(f"holds {array.dtype} of shape {array.shape}", path)
    return array
