"""Where waves begin and end: as they were tracked in coarse cells, and as they were outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .wave_tracks import GAP_MAPS

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
#: A wave that is less sure than this part of a surer one at the same time tells no ends: what is
#: left of that one, or swings back after it, is often taken for a wave.
_LESS_SURE = 0.7
#: But it does if its outlines change by this part of what those of the surer one do, while that was
#: tracked: it was tracked together with it.
_AS_STRONG = 0.8


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
        Change that a tenth of the outlined pixels exceed, in the direction of the sign.
    sign : {1, -1}
        Whether most of them change up or down.
    """

    maps: NDArray[np.intp]
    areas: NDArray[np.intp]
    strengths: NDArray[np.float64]
    sign: int

    @classmethod
    def of(cls, change: NDArray[np.float32], masks: NDArray[np.bool_], first: int) -> Outlined:
        """Take maps and masks, both (T, Y, X), the first of which is map `first`."""
        seen = np.flatnonzero(masks.any(axis=(1, 2)))
        within = [change[t][masks[t]] for t in seen]
        sign = 1 if sum(float(part.sum(dtype=np.float64)) for part in within) > 0 else -1
        strengths = np.array([np.quantile(sign * part, 0.9) for part in within], np.float64)
        return cls(seen + first, masks[seen].sum(axis=(1, 2)), strengths, sign)

    @classmethod
    def as_tracked(cls, start: int, end: int, sign: int) -> Outlined:
        """Take the maps of a track for those in which its wave was outlined."""
        maps = np.arange(start, end + 1)
        return cls(maps, np.ones_like(maps), np.zeros(len(maps)), sign)

    def clear(self, start: int, end: int) -> Outlined:
        """Leave out maps that are much fainter than most, or far from the others.

        The latter are those before `start` or after `end` with a gap towards the others.
        """
        kept = self.strengths >= _SHOWN * self.typical()
        clear = np.flatnonzero(kept)
        for piece in np.split(clear, np.flatnonzero(np.diff(self.maps[clear]) > GAP_MAPS + 1) + 1):
            if len(piece) and (self.maps[piece[-1]] < start or self.maps[piece[0]] > end):
                kept[piece] = False
        return Outlined(self.maps[kept], self.areas[kept], self.strengths[kept], self.sign)

    def comes(self) -> bool:
        """Tell whether the wave was not there before the first of these maps."""
        return self._fades(0)

    def leaves(self) -> bool:
        """Tell whether the wave has gone after the last of these maps."""
        return self._fades(-1)

    def _fades(self, at: int) -> bool:
        return bool(
            self.areas[at] <= _SMALLER * np.median(self.areas)
            or self.strengths[at] <= _FAINTER * self.typical()
        )

    def typical(self) -> float:
        """Change that most maps show."""
        half = len(self.strengths) // 2
        return float(np.median(np.sort(self.strengths)[half:])) if len(self.strengths) else 0.0


def ends_of(
    tracked: Sequence[tuple[int, int]],
    signs: Sequence[int],
    confidence: Sequence[float],
    outlined: Sequence[Outlined],
) -> list[tuple[int, int]]:
    """Return the first and the last map of each wave of an episode.

    Parameters
    ----------
    tracked : sequence of (int, int)
        First and last map of each wave as it was tracked.
    signs : sequence of {1, -1}
        Whether what was tracked of each brightens or darkens.
    confidence : sequence of float
        Of each wave, 0 to 1.
    outlined : sequence of Outlined
        What was followed from there, of the same waves.
    """
    ends = []
    sure = []
    for span, sign, seen in zip(tracked, signs, outlined, strict=True):
        first, last, is_sure = _ends(*span, sign, seen.clear(*span))
        ends.append((first, last))
        sure.append((first, last) if is_sure else None)
    ends = [
        (first, last if of_wave else _not_after(first, last, sure))
        for (first, last), of_wave in zip(ends, sure, strict=True)
    ]
    strengths = [
        seen.typical() if of_wave else 0.0 for seen, of_wave in zip(outlined, sure, strict=True)
    ]
    bounds = []
    for number, (first, last) in enumerate(ends):
        surer = [
            ends[other]
            for other, (start, end) in enumerate(tracked)
            if _LESS_SURE * confidence[other] > confidence[number]
            and not (
                strengths[number] >= _AS_STRONG * strengths[other]
                and first >= start - _NEAR
                and last <= end + _NEAR
            )
        ]
        bounds.append(_within((first, last), surer))
    return bounds


def _ends(start: int, end: int, sign: int, seen: Outlined) -> tuple[int, int, bool]:
    """First and last map of one wave, and whether outlines say until when it lasts."""
    if not len(seen.maps):
        return start, end, False
    first, last = int(seen.maps[0]), int(seen.maps[-1])
    if seen.sign != sign and last > end:  # what was outlined is the wake of what was tracked
        return start, end, True
    if seen.sign != sign and 2 * len(seen.maps) > end - start:  # and the other way round
        return first, last, True
    far = max(3, int((end - start + 1) * _OTHER))
    begins = min(first, end) if first <= start + far else start
    if first < start - _NEAR and not seen.comes():
        begins = start
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


def _within(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What a span has in common with that of the others with which it has most in common."""
    common = [(max(span[0], first), min(span[1], last)) for first, last in others]
    first, last = max(common, key=lambda part: part[1] - part[0], default=span)
    return (first, last) if first <= last else span
