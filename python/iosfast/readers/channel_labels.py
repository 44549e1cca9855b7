"""Names of channels whose frames follow each other in turn."""

from __future__ import annotations

from collections.abc import Sequence

#: More are no channels of a camera, but another axis.
MOST_CHANNELS = 64


def channel_names(told: Sequence[str], number: int) -> tuple[str, ...]:
    """Return names that are told, if there is a different one for each, else numbers from 0 on."""
    if number > MOST_CHANNELS:
        return ()
    if len(told) == number and all(told) and len(set(told)) == number:
        return tuple(told)
    return tuple(map(str, range(number)))


def repeated_names(labels: Sequence[str], number: int) -> tuple[str, ...]:
    """Return names of channels by labels of all frames, which must repeat at each time."""
    first = tuple(labels[:number])
    repeats = len(labels) % number == 0 and all(
        label == first[i % number] for i, label in enumerate(labels)
    )
    return channel_names(first if repeats else (), number)
