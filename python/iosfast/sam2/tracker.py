"""Objects of one clip, followed from map to map: what each remembers, and one step for all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .manifest import MEMORIES, NO_OBJECT, POINTERS
from .model import Model

Float = NDArray[np.float32]

#: Encoded maps that are kept.
_ENCODED = 4
#: Largest absolute logit that is fed back as a prompt, as in sam2.
_LARGEST_LOGIT = 32.0


@dataclass(frozen=True, eq=False)
class Remembered:
    """What an object leaves behind on a map.

    Attributes
    ----------
    logits : ndarray of float32, shape (4 h, 4 h)
        Of its mask.
    score : float
        Above 0 if the object is there.
    pointer : ndarray of float32, shape (256,)
    memory : ndarray of float32, shape (h h, 64)
    """

    logits: Float
    score: float
    pointer: Float
    memory: Float


@dataclass(eq=False)
class TrackedObject:
    """All that is remembered of an object: maps with its first prompts, and others."""

    prompted: dict[int, Remembered] = field(default_factory=dict)
    followed: dict[int, Remembered] = field(default_factory=dict)
    tracked: dict[int, int] = field(default_factory=dict)  # map to direction

    def at(self, index: int) -> Remembered | None:
        """Return what was found on a map."""
        return self.prompted.get(index) or self.followed.get(index)

    def keep(self, index: int, found: Remembered) -> None:
        """Remember a prompted map: a correction of a tracked map stays one among others."""
        if index in self.tracked and index not in self.prompted:
            self.followed[index] = found
        else:
            self.prompted[index] = found
            self.followed.pop(index, None)

    def begun(self, index: int, direction: int) -> bool:
        """Tell whether an object has a prompt at a map, or before it in this direction."""
        return any((index - at) * direction >= 0 for at in self.prompted)

    def bank(self, index: int, count: int, direction: int) -> dict[str, NDArray[Any]]:
        """Return what memory attention takes at a map of a clip of `count` maps."""
        memories = [(MEMORIES - 1, found) for found in self.prompted.values()]
        memories += [
            (ago - 1, self.followed[index - direction * ago])
            for ago in range(MEMORIES - 1, 0, -1)
            if index - direction * ago in self.followed
        ]
        span = min(count, POINTERS) - 1
        pointers = [
            ((index - at) * direction, found)
            for at, found in self.prompted.items()
            if (index - at) * direction >= 0
        ]
        pointers += [
            (ago, self.followed[index - direction * ago])
            for ago in range(1, span + 1)
            if index - direction * ago in self.followed
        ]
        return {
            "memories": np.stack([found.memory for _, found in memories]),
            "ages": np.array([age for age, _ in memories], np.int64),
            "pointers": np.stack([found.pointer for _, found in pointers]),
            "times": np.array([ago for ago, _ in pointers], np.float32) / np.float32(span),
        }


class Tracker:
    """Follows the objects of one clip as sam2's video predictor does, all in one step.

    Parameters
    ----------
    model : Model
    image : callable
        Returns a map as an image of uint8, shape (S, S, 3), where S is the model's image size.
    count : int
        Number of maps.
    """

    def __init__(self, model: Model, image: Callable[[int], NDArray[np.uint8]], count: int) -> None:
        self._model, self._image, self._count = model, image, count
        self._encoded: OrderedDict[int, dict[str, Float]] = OrderedDict()
        self.objects: dict[int, TrackedObject] = {}

    def add_points(self, name: int, index: int, points: Float, labels: Float) -> Float:
        """Prompt an object on a map by points; return its logits.

        Parameters
        ----------
        name, index : int
            The object and the map.
        points : ndarray of float32, shape (P, 2)
            In pixels of the scaled image.
        labels : ndarray of float32, shape (P,)
            1 object, 0 background, 2 and 3 for the corners of a box, which come first.
        """
        known = self.objects.setdefault(name, TrackedObject())
        encoded, tokens = self._encode(index), self._tokens(points, labels)
        before = known.at(index)
        if index in known.tracked:
            bank = known.bank(index, self._count, known.tracked[index])
            conditioned = self._attend(encoded, [bank])
        else:
            conditioned = encoded["features"] + self._no_memory()
        dense = self._no_mask()
        if before is not None:
            logits = np.clip(before.logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)[None, None]
            dense = self._model.run("logit_prompt", {"logits": logits})["dense"]
        found = self._decode(encoded, conditioned, tokens, dense, len(points) <= 1)
        return self._keep_prompted(known, index, encoded, found)

    def add_mask(self, name: int, index: int, mask: NDArray[np.bool_]) -> Float:
        """Prompt an object on a map by its mask, shape (S, S); return its logits."""
        known = self.objects.setdefault(name, TrackedObject())
        encoded = self._encode(index)
        shrunk = self._model.run("mask_prompt", {"mask": mask[None, None].astype(np.float32)})
        dense = self._model.run("logit_prompt", {"logits": shrunk["prompt"]})["dense"]
        conditioned = encoded["features"]
        found = self._decode(encoded, conditioned, self._model.constants["no_points"], dense, False)
        found |= {"logits": shrunk["logits"], "score": np.full((1, 1), 10, np.float32)}
        return self._keep_prompted(known, index, encoded, found)

    def follow(self, start: int, *, reverse: bool = False) -> Iterator[tuple[int, Float]]:
        """Follow all objects from a map to an end of the clip; yield maps and logits of each.

        Yields
        ------
        index : int
        logits : ndarray of float32, shape (objects, 4 h, 4 h)
        """
        direction = -1 if reverse else 1
        side = 4 * self._model.manifest.side
        hidden = np.full((side, side), NO_OBJECT, np.float32)
        for index in range(start, -1 if reverse else self._count, direction):
            started = [known for known in self.objects.values() if known.begun(index, direction)]
            self._step(index, direction, [one for one in started if index not in one.prompted])
            for known in started:
                known.tracked[index] = direction
            found = [known.at(index) for known in self.objects.values()]
            yield index, np.stack([hidden if one is None else one.logits for one in found])

    def _step(self, index: int, direction: int, rows: Sequence[TrackedObject]) -> None:
        if not rows:
            return
        encoded = self._encode(index)
        banks = [known.bank(index, self._count, direction) for known in rows]
        conditioned = self._attend(encoded, banks)
        tokens = np.repeat(self._model.constants["no_points"], len(rows), axis=0)
        found = self._decode(encoded, conditioned, tokens, self._no_mask(), True)
        for known, one in zip(rows, self._remember(encoded, found, False), strict=True):
            known.followed[index] = one

    def _keep_prompted(
        self, known: TrackedObject, index: int, encoded: dict[str, Float], found: dict[str, Float]
    ) -> Float:
        (one,) = self._remember(encoded, found, True)
        known.keep(index, one)
        return one.logits

    def _encode(self, index: int) -> dict[str, Float]:
        if index not in self._encoded:
            found = self._model.run("image_encoder", {"images": self._image(index)[None]})
            self._encoded[index] = found
            if len(self._encoded) > _ENCODED:
                self._encoded.popitem(last=False)
        return self._encoded[index]

    def _attend(self, encoded: dict[str, Float], banks: Sequence[dict[str, NDArray[Any]]]) -> Float:
        """Return features conditioned on memories, for each row."""
        pixels = np.repeat(encoded["pixels"], len(banks), axis=0)
        sizes = {(len(bank["ages"]), len(bank["times"])) for bank in banks}
        if len(sizes) == 1:
            name = "memory_attention"
            inputs = {key: np.stack([bank[key] for bank in banks]) for key in banks[0]}
        else:
            name, inputs = "memory_attention_padded", padded(banks)
        return self._model.run(name, {"pixels": pixels, **inputs})["conditioned"]

    def _decode(
        self,
        encoded: dict[str, Float],
        conditioned: Float,
        tokens: Float,
        dense: Float,
        several: bool,
    ) -> dict[str, Float]:
        rows = len(conditioned)
        inputs = {
            "conditioned": conditioned,
            "finer": np.repeat(encoded["finer"], rows, axis=0),
            "finest": np.repeat(encoded["finest"], rows, axis=0),
            "tokens": tokens,
            "dense": dense,
            "several": np.full(rows, several),
        }
        return self._model.run("mask_decoder", inputs)

    def _remember(
        self, encoded: dict[str, Float], found: dict[str, Float], prompted: bool
    ) -> list[Remembered]:
        rows = len(found["logits"])
        inputs = {
            "features": np.repeat(encoded["features"], rows, axis=0),
            "logits": found["logits"],
            "score": found["score"],
            "prompted": np.full(rows, prompted),
        }
        memory = self._model.run("memory_encoder", inputs)["memory"]
        return [
            Remembered(
                found["logits"][row, 0], float(found["score"][row, 0]), found["pointer"][row],
                memory[row],
            )
            for row in range(rows)
        ]  # fmt: skip

    def _tokens(self, points: Float, labels: Float) -> Float:
        inputs = {"points": points[None], "labels": labels[None]}
        return self._model.run("point_prompt", inputs)["tokens"]

    def _no_memory(self) -> Float:
        return self._model.constants["no_memory"][None, :, None, None]

    def _no_mask(self) -> Float:
        return self._model.constants["no_mask"][None, :, None, None]


def padded(banks: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return banks of different lengths as one, and what counts in each row."""
    made: dict[str, NDArray[Any]] = {}
    for first, second, counts in (
        ("memories", "ages", "memory_counts"),
        ("pointers", "times", "pointer_counts"),
    ):
        lengths = [len(bank[second]) for bank in banks]
        for key in (first, second):
            shape = (len(banks), max(lengths), *banks[0][key].shape[1:])
            made[key] = np.zeros(shape, banks[0][key].dtype)
            for row, bank in enumerate(banks):
                made[key][row, : lengths[row]] = bank[key]
        made[counts] = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return made
