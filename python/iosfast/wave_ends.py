"""Where waves begin and end: as they were tracked in coarse cells, and as they were outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A map shows a wave if its change reaches this part of what most maps show; what is fainter is
#: left of it, or swings back after it.
_SHOWN = 0.3
#: A wave leaves if its last outline is so much smaller than most, or its change so much fainter;
#: outlines that stop otherwise have lost it.
_SMALLER, _FAINTER = 0.4, 0.5
#: Maps by which an end may be earlier than tracked in any case.
_NEAR = 3
#: Outlines whose ends differ by more than this part of the tracked wave are of something else.
_OTHER = 0.5
#: A wave that is not outlined, and has this part of its maps in common with one that is, was
#: taken for a wave by mistake, and does not outlast it.
_COVERED = 0.75


@dataclass(frozen=True)
class Outlined:
    """The maps in which a wave was outlined.

    Attributes
    ----------
    maps : ndarray of int, shape (N,)
        Their numbers; none if it was not outlined.
    areas : ndarray of int, shape (N,)
        Of the outlines, px.
    strengths : ndarray of float64, shape (N,)
        Change that a tenth of the outlined pixels exceed.
    """

    maps: NDArray[np.intp]
    areas: NDArray[np.intp]
    strengths: NDArray[np.float64]

    @classmethod
    def of(cls, change: NDArray[np.float32], masks: NDArray[np.bool_], first: int) -> Outlined:
        """Take maps and masks, both (T, Y, X), the first of which is map `first`."""
        seen = np.flatnonzero(masks.any(axis=(1, 2)))
        strengths = [np.quantile(abs(change[t][masks[t]]), 0.9) for t in seen]
        return cls(seen + first, masks[seen].sum(axis=(1, 2)), np.array(strengths, np.float64))

    def clear(self) -> Outlined:
        """Leave out maps that are much fainter than most."""
        kept = self.strengths >= _SHOWN * self._typical()
        return Outlined(self.maps[kept], self.areas[kept], self.strengths[kept])

    def leaves(self) -> bool:
        """Tell whether the wave has gone after the last of these maps."""
        return bool(
            self.areas[-1] <= _SMALLER * np.median(self.areas)
            or self.strengths[-1] <= _FAINTER * self._typical()
        )

    def _typical(self) -> float:
        half = len(self.strengths) // 2
        return float(np.median(np.sort(self.strengths)[half:])) if len(self.strengths) else 0.0


def ends_of(
    tracked: Sequence[tuple[int, int]], outlined: Sequence[Outlined]
) -> list[tuple[int, int]]:
    """Return the first and the last map of each wave of an episode.

    Parameters
    ----------
    tracked : sequence of (int, int)
        First and last map of each wave as it was tracked.
    outlined : sequence of Outlined
        What was followed from there, of the same waves.
    """
    ends = []
    sure = []
    for span, seen in zip(tracked, outlined, strict=True):
        first, last, is_sure = _ends(*span, seen.clear())
        ends.append((first, last))
        sure.append((first, last) if is_sure else None)
    return [
        (first, last if of_wave else _not_after(first, last, sure))
        for (first, last), of_wave in zip(ends, sure, strict=True)
    ]


def _ends(start: int, end: int, seen: Outlined) -> tuple[int, int, bool]:
    """First and last map of one wave, and whether outlines say until when it lasts."""
    if not len(seen.maps):
        return start, end, False
    first, last = int(seen.maps[0]), int(seen.maps[-1])
    far = max(3, int((end - start + 1) * _OTHER))
    begins = min(first, end) if first <= start + far else start
    if last < end - far:
        return begins, end, False
    if last < end - _NEAR and not seen.leaves():
        return begins, end, True
    return begins, max(last, start), True


def _not_after(first: int, last: int, others: Sequence[tuple[int, int] | None]) -> int:
    """Last map of a wave by that of the first of others that has most maps in common with it."""
    for other in others:
        if other is None or other[1] >= last:
            continue
        common = min(last, other[1]) - max(first, other[0]) + 1
        if common >= _COVERED * (last - first + 1):
            return other[1]
    return last
