"""Many clips and objects, followed from map to map as sam2's video predictor does, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import warn
from .memory import Pool, Remembered
from .model import Model
from .sessions import host

Float = NDArray[np.float32]

#: Largest absolute logit that is fed back as a prompt, as in sam2.
_LARGEST_LOGIT = 32.0
#: Score of an object that was drawn, as in sam2; its negative of one that was drawn empty.
_DRAWN = 10.0
_BEFORE, _FORWARD, _BACKWARD = 0, 1, -1


@dataclass(frozen=True, eq=False)
class Said:
    """A prompt as the model takes it: a mask, points, or a mask that is then corrected by points.

    Attributes
    ----------
    points : ndarray of float32, shape (P, 2)
        In pixels of the scaled image.
    labels : ndarray of float32, shape (P,)
        1 object, 0 background, 2 and 3 for the corners of a box, which come first.
    mask : ndarray of bool, shape (S, S), or None
    """

    points: Float = field(default_factory=lambda: np.empty((0, 2), np.float32))
    labels: Float = field(default_factory=lambda: np.empty(0, np.float32))
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A clip and its prompts.

    Attributes
    ----------
    image : callable
        Returns a map as an image of uint8, shape (S, S, 3), where S is the model's image size.
    count : int
        Number of maps.
    said : dict
        Of each object, by its number, the prompts by their maps.
    both : bool
        Follow objects backwards from their first prompt, too, after all was followed forwards.
    at_once : bool
        Take all prompts before anything is followed, so that each counts for all maps. Otherwise
        prompts after the first one correct what was followed up to there.
    """

    image: Callable[[int], NDArray[np.uint8]]
    count: int
    said: Mapping[int, Mapping[int, Said]]
    both: bool = False
    at_once: bool = False

    def steps(self) -> list[tuple[int, int]]:
        """Return the maps to look at, one after the other, each with a direction."""
        starts = [min(said) for said in self.said.values()]
        found = [(index, _FORWARD) for index in range(min(starts), self.count)]
        if self.at_once:
            prompted = sorted({index for said in self.said.values() for index in said})
            found = [(index, _BEFORE) for index in prompted] + found
        if self.both:
            found += [(index, _BACKWARD) for index in range(max(starts) - 1, -1, -1)]
        return found


@dataclass(frozen=True, eq=False)
class Found:
    """An object on a map.

    Attributes
    ----------
    task, name, index : int
        Number of the task, the object, and the map.
    logits : ndarray of float32, shape (4 h, 4 h)
        Of its mask; above 0 inside.
    score : float
        Above 0 if the object is there.
    quality : float
        Overlap (IoU) of the mask with the object, as the model predicts it.
    """

    task: int
    name: int
    index: int
    logits: Float
    score: float
    quality: float


@dataclass(eq=False)
class _Active:
    """A task that is being worked on."""

    number: int
    task: Task
    steps: list[tuple[int, int]]
    objects: dict[int, Remembered]

    @classmethod
    def of(cls, number: int, task: Task) -> _Active:
        objects = {
            name: Remembered(min(said), task.both, len(said) if task.at_once else 1)
            for name, said in sorted(task.said.items())
        }
        return cls(number, task, task.steps(), objects)

    @property
    def needs(self) -> tuple[int, int]:
        each = [known.needs for known in self.objects.values()]
        return sum(need for need, _ in each), sum(need for _, need in each)

    def rows(self, index: int, direction: int) -> list[_Row]:
        """Return what is to be done on a map."""
        made = []
        for name, known in self.objects.items():
            said = self.task.said[name].get(index)
            ago = (index - known.start) * direction
            if direction == _BEFORE:
                begins = said is not None
            elif self.task.at_once:
                begins = False
            else:
                begins = ago == 0 and direction == _FORWARD
            if self.task.at_once and direction != _BEFORE:
                if said is not None:
                    continue  # found before
                said = None
            if begins or (direction != _BEFORE and ago > 0):
                said = None if direction == _BACKWARD else said
                made.append(_Row(self, name, known, index, direction, begins, said))
        return made


@dataclass(frozen=True, eq=False)
class _Row:
    """An object on a map, before it is found there."""

    active: _Active
    name: int
    known: Remembered
    index: int
    direction: int
    begins: bool
    said: Said | None

    @property
    def kind(self) -> tuple[bool, bool, int]:
        """Rows of one kind go through the same graphs together."""
        if self.said is None:
            return (False, False, 0)
        return (self.begins, self.said.mask is not None, len(self.said.points))


@dataclass(frozen=True, eq=False)
class _Frame:
    """Where a map is among those that were encoded together."""

    batch: int
    encoded: dict[str, Any]
    position: int


def propagate(
    model: Model,
    tasks: Sequence[Task],
    *,
    rows: int,
    ahead: int = 1,
    done: Callable[[int], None] | None = None,
) -> Iterator[Found]:
    """Follow the objects of all tasks; yield what is found, map after map of each task.

    At each step one map of every task that is being worked on is looked at, and the objects on all
    of them are the rows of one batch. When a task ends, the next one takes its place. What is found
    does not depend on that, up to the order of sums in products of matrices of other sizes.

    Parameters
    ----------
    model : Model
    tasks : sequence of Task
    rows : int
        Objects at a time; if the memory does not suffice, fewer, with a warning.
    ahead : int
        Maps that are encoded at a time, if so many are needed.
    done : callable, optional
        Called after each step with how many maps were looked at in it.
    """
    yield from _Loop(model, rows, ahead).run(tasks, done or (lambda maps: None))


class _Loop:
    def __init__(self, model: Model, rows: int, ahead: int) -> None:
        self._model, self._rows, self._ahead = model, rows, ahead
        self._encoder_rows = ahead
        self._pool: Pool

    def run(self, tasks: Sequence[Task], done: Callable[[int], None]) -> Iterator[Found]:
        waiting = [_Active.of(number, task) for number, task in enumerate(tasks)]
        self._pool = self._room(waiting)
        working: list[_Active] = []
        while waiting or working:
            self._admit(waiting, working)
            window = max(1, self._ahead // len(working))
            frames = self._encode(working, window)
            for _ in range(window):
                going = [active for active in working if active.steps]
                made = [row for active in going for row in active.rows(*active.steps.pop(0))]
                yield from self._step(made, frames)
                done(len(going))
            for active in [active for active in working if not active.steps]:
                for known in active.objects.values():
                    self._pool.take_back(known)
                working.remove(active)

    def _room(self, waiting: Sequence[_Active]) -> Pool:
        """Preallocate what `rows` objects remember, or those of the largest task."""
        while True:
            sizes = []
            for i in range(2):
                total = [active.needs[i] for active in waiting]
                each = max(known.needs[i] for a in waiting for known in a.objects.values())
                sizes.append(min(sum(total), max(*total, self._rows * each)))
            try:
                return Pool(self._model, *sizes)
            except MemoryError as error:
                if self._rows == 1:
                    raise
                self._halve(error)

    def _admit(self, waiting: list[_Active], working: list[_Active]) -> None:
        while waiting:
            count = sum(len(active.objects) for active in working)
            if working and count + len(waiting[0].objects) > self._rows:
                return
            if not self._pool.lend(list(waiting[0].objects.values())):
                return
            working.append(waiting.pop(0))

    def _encode(self, working: Sequence[_Active], window: int) -> dict[tuple[int, int], _Frame]:
        """Encode the maps of the next steps, in the order in which they are needed."""
        wanted = dict.fromkeys(
            (active.number, active.steps[i][0])
            for i in range(window)
            for active in working
            if i < len(active.steps) and active.rows(*active.steps[i])
        )
        tasks = {active.number: active.task for active in working}
        frames: dict[tuple[int, int], _Frame] = {}
        keys, batch = list(wanted), 0
        while keys:
            some = keys[: self._encoder_rows]
            images = np.stack([tasks[number].image(index) for number, index in some])
            try:
                encoded = self._model.bound("image_encoder", {"images": images})
            except MemoryError as error:
                if len(some) == 1:
                    raise
                self._encoder_rows = len(some) // 2
                warn(f"no memory for {len(some)} maps at a time ({error}); going on with fewer")
                continue
            frames |= {key: _Frame(batch, encoded, position) for position, key in enumerate(some)}
            keys, batch = keys[len(some) :], batch + 1
        return frames

    def _step(
        self, made: Sequence[_Row], frames: Mapping[tuple[int, int], _Frame]
    ) -> Iterator[Found]:
        def together(row: _Row) -> tuple[tuple[bool, bool, int], int]:
            return row.kind, frames[row.active.number, row.index].batch

        for _, group in groupby(sorted(made, key=together), key=together):
            left = list(group)
            while left:
                some = left[: self._rows]
                places = [frames[row.active.number, row.index] for row in some]
                try:
                    found = _Rows(self._model, self._pool, some, places).find()
                except MemoryError as error:
                    if len(some) == 1:
                        raise
                    self._rows = len(some)
                    self._halve(error)
                    continue
                yield from found
                left = left[len(some) :]

    def _halve(self, error: MemoryError) -> None:
        self._rows //= 2
        warn(f"no memory for {2 * self._rows} objects at a time ({error}); going on with fewer")


class _Rows:
    """Rows of one kind on maps that were encoded together."""

    def __init__(
        self, model: Model, pool: Pool, rows: Sequence[_Row], frames: Sequence[_Frame]
    ) -> None:
        self._model, self._pool, self._rows = model, pool, rows
        self._encoded = frames[0].encoded
        self._positions = np.array([frame.position for frame in frames], np.int64)

    def find(self) -> list[Found]:
        """Find the objects, and remember them."""
        begins, drawn, points = self._rows[0].kind
        self._features, finer, finest = map(self._take, ("features", "finer", "finest"))
        self._finer = {"finer": finer, "finest": finest}
        if not (drawn or points):
            found = self._decode(self._attend())
        elif drawn and not points:
            found = self._drawn()
        elif begins:
            conditioned = self._features.numpy() + self._constant("no_memory")[:, :, None, None]
            found = self._corrected(conditioned, self._drawn() if drawn else None)
        else:
            conditioned = self._attend()
            before = self._drawn() if drawn else self._decode(conditioned)
            found = self._corrected(conditioned, before)
        self._remember(found)
        logits, score, quality = (host(found[key]) for key in ("logits", "score", "quality"))
        return [
            Found(
                row.active.number,
                row.name,
                row.index,
                logits[i, 0],
                float(score[i, 0]),
                float(quality[i, 0]),
            )
            for i, row in enumerate(self._rows)
        ]

    def _take(self, name: str) -> Any:
        inputs = {"values": self._encoded[name], "rows": self._positions}
        return self._model.bound("take", inputs)["taken"]

    def _constant(self, name: str) -> Float:
        return self._model.constants[name][None]

    def _attend(self) -> Any:
        """Return features conditioned on what was remembered."""
        banks = [
            row.known.bank(row.index, row.active.task.count, row.direction) for row in self._rows
        ]
        inputs = self._pool.read(banks)
        name = "memory_attention_padded" if "memory_counts" in inputs else "memory_attention"
        return self._model.bound(name, {"pixels": self._take("pixels"), **inputs})["conditioned"]

    def _decode(
        self, conditioned: Any, tokens: Any = None, dense: Any = None, several: bool = True
    ) -> dict[str, Any]:
        rows = len(self._rows)
        inputs = {
            "conditioned": conditioned,
            **self._finer,
            "tokens": self._model.constants["no_points"].repeat(rows, 0)
            if tokens is None
            else tokens,
            "dense": self._constant("no_mask")[:, :, None, None] if dense is None else dense,
            "several": np.full(rows, several),
        }
        return self._model.bound("mask_decoder", inputs)

    def _corrected(self, conditioned: Any, before: dict[str, Any] | None) -> dict[str, Any]:
        """Decode points, and what was found before them."""
        points = np.stack([_said(row).points for row in self._rows])
        labels = np.stack([_said(row).labels for row in self._rows])
        prompt = self._model.bound("point_prompt", {"points": points, "labels": labels})
        dense = None
        if before is not None:
            logits = np.clip(host(before["logits"]), -_LARGEST_LOGIT, _LARGEST_LOGIT)
            dense = self._model.bound("logit_prompt", {"logits": logits})["dense"]
        return self._decode(conditioned, prompt["tokens"], dense, points.shape[1] <= 1)

    def _drawn(self) -> dict[str, Any]:
        """Return masks as they were drawn, and pointers to them."""
        drawn = [said.mask for said in map(_said, self._rows) if said.mask is not None]
        masks = np.stack(drawn)[:, None]
        shrunk = self._model.bound("mask_prompt", {"mask": masks.astype(np.float32)})
        dense = self._model.bound("logit_prompt", {"logits": shrunk["prompt"]})["dense"]
        found = self._decode(self._features, None, dense, False)
        there = np.array([[mask.any()] for mask in drawn])
        return {
            "logits": shrunk["logits"],
            "score": np.where(there, np.float32(_DRAWN), np.float32(-_DRAWN)),
            "quality": there.astype(np.float32),
            "pointer": np.where(there, host(found["pointer"]), self._constant("no_pointer")),
        }

    def _remember(self, found: Mapping[str, Any]) -> None:
        inputs = {
            "features": self._features,
            "logits": found["logits"],
            "score": found["score"],
            "prompted": np.array([row.said is not None for row in self._rows]),
        }
        memory = self._model.bound("memory_encoder", inputs)["memory"]
        places = [row.known.place(row.index, row.direction, first=row.begins) for row in self._rows]
        self._pool.write(places, memory, host(found["pointer"]))


def _said(row: _Row) -> Said:
    assert row.said is not None
    return row.said
