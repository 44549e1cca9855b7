"""What objects leave behind on maps: preallocated on the device, whatever the length of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .manifest import MEMORIES, POINTERS
from .model import Model

#: How far back memory attention looks: memories and pointers of maps without a first prompt.
NEAR, FAR = MEMORIES - 1, POINTERS - 1


@dataclass(frozen=True)
class Bank:
    """What memory attention takes for a row: places in a `Pool`, and how old what is there is.

    Attributes
    ----------
    memories, ages : list of int
        Of as many memories; ages are rows of the temporal encoding.
    pointers : list of int
    times : list of float
        Of as many pointers: how many maps ago, relative to the span of pointers.
    """

    memories: list[int]
    ages: list[int]
    pointers: list[int]
    times: list[float]


@dataclass(eq=False)
class Remembered:
    """Where in a `Pool` the memories and pointers of an object are, by their maps.

    Those of first prompts are kept as long as the object is. Of the others those are kept that can
    still be looked at; if it is followed backwards later, also those next to its start.
    """

    start: int
    backwards: bool
    prompts: int = 1
    prompted: dict[int, tuple[int, int]] = field(default_factory=dict)
    memories: dict[int, int] = field(default_factory=dict)
    pointers: dict[int, int] = field(default_factory=dict)
    free: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))

    @property
    def needs(self) -> tuple[int, int]:
        """How many memories and pointers it holds at most."""
        sides = 1 + self.backwards
        return self.prompts + sides * NEAR, self.prompts + sides * FAR

    def bank(self, index: int, count: int, direction: int) -> Bank:
        """Return what is looked at from a map of a clip of `count` maps."""
        span = min(count, POINTERS) - 1
        near = [ago for ago in range(NEAR, 0, -1) if index - direction * ago in self.memories]
        far = [ago for ago in range(1, span + 1) if index - direction * ago in self.pointers]
        past = [at for at in self.prompted if (index - at) * direction >= 0]
        return Bank(
            [memory for memory, _ in self.prompted.values()]
            + [self.memories[index - direction * ago] for ago in near],
            [MEMORIES - 1] * len(self.prompted) + [ago - 1 for ago in near],
            [self.prompted[at][1] for at in past]
            + [self.pointers[index - direction * ago] for ago in far],
            [(index - at) * direction / span for at in past] + [ago / span for ago in far],
        )

    def place(self, index: int, direction: int, *, first: bool) -> tuple[int, int]:
        """Return the places for a new memory and pointer, where what is not seen again gives way.

        Parameters
        ----------
        index, direction : int
        first : bool
            Whether they are of a first prompt.
        """
        if first:
            if index not in self.prompted:
                self.prompted[index] = self.free[0].pop(), self.free[1].pop()
            return self.prompted[index]
        places = []
        for held, free, window in (
            (self.memories, self.free[0], NEAR),
            (self.pointers, self.free[1], FAR),
        ):
            for at in [at for at in held if self._passed(at, window, index, direction)]:
                free.append(held.pop(at))
            if index not in held:
                held[index] = free.pop()
            places.append(held[index])
        return places[0], places[1]

    def _passed(self, at: int, window: int, index: int, direction: int) -> bool:
        if direction > 0 and self.backwards and at < self.start + window:
            return False
        return abs(index - at) >= window


class Pool:
    """Preallocated memories (M, h h, 64) on the device, and pointers (P, 256) beside it.

    Parameters
    ----------
    model : Model
    memories, pointers : int
    """

    def __init__(self, model: Model, memories: int, pointers: int) -> None:
        self._model = model
        self._memories = model.place(np.zeros((memories, model.manifest.side**2, 64), np.float32))
        self._pointers = np.zeros((pointers, 256), np.float32)
        self._free = (list(range(memories)), list(range(pointers)))

    def lend(self, objects: Sequence[Remembered]) -> bool:
        """Give objects their places, if there are enough for all of them."""
        memories, pointers = self._free
        if len(memories) < sum(known.needs[0] for known in objects) or len(pointers) < sum(
            known.needs[1] for known in objects
        ):
            return False
        for known in objects:
            first, second = known.needs
            known.free = (
                [memories.pop() for _ in range(first)],
                [pointers.pop() for _ in range(second)],
            )
        return True

    def take_back(self, known: Remembered) -> None:
        """Take all places of an object."""
        held = list(known.prompted.values())
        self._free[0].extend([m for m, _ in held] + [*known.memories.values()] + known.free[0])
        self._free[1].extend([p for _, p in held] + [*known.pointers.values()] + known.free[1])

    def write(self, places: Sequence[tuple[int, int]], memory: Any, pointer: NDArray[Any]) -> None:
        """Put memories (B, h h, 64), an OrtValue, and pointers (B, 256) in their places."""
        rows = np.array([[place] for place, _ in places], np.int64)
        inputs = {"pool": self._memories, "rows": rows, "values": memory}
        self._model.bound("put", inputs, {"kept": self._memories})
        self._pointers[[place for _, place in places]] = pointer

    def read(self, banks: Sequence[Bank]) -> dict[str, Any]:
        """Return inputs of memory attention; those of the padded one if lengths differ."""
        memories, known = _table([bank.memories for bank in banks], np.int64)
        ages, _ = _table([bank.ages for bank in banks], np.int64)
        pointers, timed = _table([bank.pointers for bank in banks], np.int64)
        times, _ = _table([bank.times for bank in banks], np.float32)
        taken = self._model.bound("take", {"values": self._memories, "rows": memories})
        inputs = {
            "memories": taken["taken"],
            "ages": ages,
            "pointers": self._pointers[pointers],
            "times": times,
        }
        if not (known.all() and timed.all()):
            inputs |= {"memory_counts": known, "pointer_counts": timed}
        return inputs


def _table(lists: Sequence[Sequence[float]], dtype: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return lists as rows, padded with the first value of each, and what is not padding."""
    longest = max(map(len, lists))
    padded = [[*one, *[one[0]] * (longest - len(one))] for one in lists]
    lengths = np.array([len(one) for one in lists])
    return np.array(padded, dtype), np.arange(longest) < lengths[:, None]
