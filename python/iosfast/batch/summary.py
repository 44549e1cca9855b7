"""What was done, what was not, and why: tables over all recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..staging import file_beside
from .display import line_about
from .markers import Marker, place_of
from .place import folder_of
from .planning import Plan, Planned
from .steps import BY_NAME
from .tasks import LOG, Outcome

SUMMARY, EVENTS = "summary.csv", "events.parquet"

COLUMNS = (
    "recording", "animal", "condition", "state", "steps_done", "reason", "error", "log", "retried",
    "bytes", "seconds", "GB_per_s", "frames", "maps", "episodes", "waves", "source", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One recording in the summary.

    Attributes
    ----------
    state : {"done", "up to date", "failed", "stopped"}
        Done in this run; done before; failed; not come to, as the run was ended.
    """

    planned: Planned
    folder: Path
    state: str
    outcome: Outcome | None = None
    facts: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> str:
        """One line, or nothing."""
        told = self.planned.problem or (self.outcome.error if self.outcome else None)
        return told or ""

    def cells(self, out: Path) -> tuple[Any, ...]:
        """Return the row of the table."""
        planned, outcome = self.planned, self.outcome
        facts = self.facts or {}
        steps = outcome.steps if outcome else ()
        done = [step.step for step in steps if step.reason is not None]
        reading = sum(s.seconds for s in steps if s.reason and BY_NAME[s.step].reads_source)
        log = self.folder / LOG
        return (
            planned.name,
            planned.animal,
            planned.condition,
            self.state,
            " ".join(done),
            "; ".join(dict.fromkeys(f"{n}: {why}" for n, why in planned.reasons.items())),
            self.error,
            log.relative_to(out).as_posix() if self.error and log.exists() else "",
            outcome.retried if outcome else 0,
            planned.nbytes,
            round(sum(step.seconds for step in steps), 3),
            round(planned.nbytes / reading / 1e9, 3) if reading > 0 else "",
            *(facts.get(name, "") for name in ("frames", "maps", "episodes", "waves")),
            " | ".join(planned.source.paths) if planned.source else "",
            " | ".join(self.notes),
        )


def row_of(planned: Planned, plan: Plan, outcome: Outcome | None) -> Row:
    """Return the row of a recording, with what its markers tell."""
    folder = folder_of(plan.out, planned.name)
    facts: dict[str, Any] = {}
    notes: list[str] = []
    if outcome is not None and outcome.error is None:
        for step in outcome.steps:
            facts |= step.facts
            notes += step.notes
    else:
        for chosen in plan.steps:
            try:
                marker = Marker.read(folder, chosen.name)
            except ValueError:
                continue
            if marker is not None:
                facts |= marker.facts
                notes += marker.notes
    if planned.problem:
        state = "failed"
    elif outcome is None:
        state = "stopped" if planned.reasons else "up to date"
    else:
        state = "done" if outcome.error is None else "failed"
    return Row(planned, folder, state, outcome, facts, tuple(dict.fromkeys(notes)))


def write_summary(out: Path, rows: Iterable[Row]) -> Path:
    """Write ``summary.csv``, a row for each recording."""
    with (
        file_beside(out / SUMMARY) as work,
        work.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(row.cells(out) for row in rows)
    return out / SUMMARY


def write_events(out: Path, rows: Sequence[Row]) -> Path | None:
    """Write ``events.parquet``: the waves of all recordings, each a row with its recording.

    One recording after the other, so that memory does not grow. None if none has been measured.
    """
    measured = [
        row for row in rows if _events(row).is_file() and place_of(row.folder, "measure").is_file()
    ]
    if not measured:
        (out / EVENTS).unlink(missing_ok=True)
        return None
    import pyarrow
    import pyarrow.parquet as parquet

    schemas = [parquet.read_schema(_events(row)).remove_metadata() for row in measured]
    common = pyarrow.unify_schemas(schemas, promote_options="permissive")
    names = ("recording", "animal", "condition")
    schema = pyarrow.schema([*((name, pyarrow.string()) for name in names), *common])
    with file_beside(out / EVENTS) as work, parquet.ParquetWriter(work, schema) as writer:
        for row in measured:
            table = parquet.read_table(_events(row))
            told = (row.planned.name, row.planned.animal, row.planned.condition)
            columns = [pyarrow.array([text] * len(table), pyarrow.string()) for text in told]
            for field in common:
                columns.append(
                    table[field.name].cast(field.type)
                    if field.name in table.column_names
                    else pyarrow.nulls(len(table), field.type)
                )
            writer.write_table(pyarrow.table(columns, schema=schema))
    return out / EVENTS


def _events(row: Row) -> Path:
    return row.folder / "measures" / "events.parquet"


def report_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Tell what was done and what was not."""
    states = [row.state for row in rows]
    counts = ", ".join(
        f"{states.count(state):,} {state}"
        for state in ("done", "up to date", "failed", "stopped")
        if state in states
    )
    yield f"{len(rows):,} recordings: {counts or 'none was found'}"
    for row in rows:
        if row.state == "failed":
            told = line_about(row.outcome) if row.outcome else f"{row.planned.name}: {row.error}"
            log = row.folder / LOG
            yield f"failed: {told}" + (f" (log: {log})" if log.exists() else "")
