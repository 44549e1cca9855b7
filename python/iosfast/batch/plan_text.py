"""The plan of a batch as lines for people, with an estimate of what it takes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from .disks import Disk
from .planning import Plan
from .quantities import size_of, time_of

#: Part of a recording's bytes that its results take, at 60 frames a second and one bin a second:
#: per bin, 2 bytes of a mean image and 7 of a fifth of a map, for 60 frames of 2 bytes a pixel.
OUTPUT_PART = (2 + 7 / 5) / 120

#: Bytes a second that are assumed of a disk until some were measured.
ASSUMED_BYTES_S = {True: 150e6, False: 1e9, None: 110e6}


def describe(plan: Plan, most: int | None = None) -> list[str]:
    """Return the plan as lines for people; of recordings, at most so many that are to be done."""
    lines = []
    for each in plan.recordings:
        label = f" [{each.animal}{', ' * bool(each.animal and each.condition)}{each.condition}]"
        label = "" if label == " []" else label
        if each.problem:
            lines.append(f"{each.name}{label}: CANNOT BE DONE: {each.problem}")
        elif each.reasons:
            lines.append(
                f"{each.name}{label}: {size_of(each.nbytes)}; {told_reasons(each.reasons)}"
            )
        elif most is None:
            lines.append(f"{each.name}{label}: {size_of(each.nbytes)}; up to date")
    if most is not None and len(lines) > most:
        lines[most:] = [f"... and {len(lines) - most:,} more"]
    to_do, total = plan.to_do, sum(each.nbytes for each in plan.recordings)
    lines += [f"note: {note}" for note in plan.notes]
    lines.append(
        f"{len(plan.recordings):,} recordings, {size_of(total)}; {len(to_do):,} to do, of which "
        f"{size_of(plan.bytes_to_read)} are to be read"
    )
    needed = int(plan.bytes_to_read * OUTPUT_PART)
    place = plan.out
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if to_do:
        seconds, told = estimate(plan)
        lines += told
        lines.append(
            f"reading takes about {time_of(seconds)}, if the disks are read at once and nothing "
            f"else limits; results take about {size_of(needed)} at 60 Hz, {size_of(free)} are free"
        )
        if needed > free:
            lines.append(f"warning: {plan.out} is too small for the results")
    return lines


def estimate(plan: Plan) -> tuple[float, list[str]]:
    """Return seconds that reading takes, where disks are read at once, and what that rests on.

    By what was measured here before, else by what such disks do.
    """
    by_disk: dict[Disk, int] = {}
    for each in plan.to_do:
        if each.reads_source and each.disk is not None:
            by_disk[each.disk] = by_disk.get(each.disk, 0) + each.nbytes
    longest, lines = 0.0, []
    for disk, nbytes in by_disk.items():
        measured = plan.rates.get(disk.name)
        rate = measured or ASSUMED_BYTES_S[disk.spinning]
        kind = {True: "spinning", False: "solid state", None: "of unknown kind"}[disk.spinning]
        how = "measured here before" if measured else "assumed"
        longest = max(longest, nbytes / rate)
        lines.append(
            f"{disk.name} ({kind}): {size_of(nbytes)} at {rate / 1e9:.2f} GB/s ({how}): "
            f"{time_of(nbytes / rate)}"
        )
    return longest, lines


def told_reasons(reasons: Mapping[str, str]) -> str:
    """Put steps that are done for the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for step, reason in reasons.items():
        by_reason.setdefault(reason, []).append(step)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
