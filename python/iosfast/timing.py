"""Where the time of a run goes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StageTime:
    """Wall-clock seconds of one stage over all blocks of a run."""

    calls: int = 0
    total_s: float = 0.0
    min_s: float = float("inf")
    max_s: float = 0.0

    @property
    def mean_s(self) -> float:
        """Seconds per call."""
        return self.total_s / self.calls if self.calls else 0.0


class Stopwatch:
    """Collects the times of named stages."""

    def __init__(self) -> None:
        self.stages: dict[str, StageTime] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens within."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            stage = self.stages.setdefault(name, StageTime())
            stage.calls += 1
            stage.total_s += took
            stage.min_s = min(stage.min_s, took)
            stage.max_s = max(stage.max_s, took)
