"""Recordings to time, and the table of ratios that a run ends with.

``pytest benchmarks --results benchmarks/RESULTS.md`` writes the table, and below it a section for
each file that makes one; what a run of some files did not make stays as it is (of the table, if it
was made on the same machine). With
``--benchmark-disable`` everything runs once on short recordings, for the answers only.
"""

from __future__ import annotations

import gc
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tifffile

FRAME_RATE_HZ = 60.0
SHAPE = (512, 512)
#: Without times: small, and wider than high, so that turned frames are told.
SMALL_SHAPE = (48, 64)

# The writers of files that no library writes are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / "tests"))


@dataclass
class Row:
    claim: str
    ours_s: float
    peer: str
    peer_s: float
    ratio: float
    limit: str
    section: str = ""


@dataclass
class Table:
    """What a run found: the table at the head of the results, and sections by their titles."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sections: dict[str, list[str]] = field(default_factory=dict)

    def of(self, section: str) -> list[Row]:
        return [row for row in self.rows if row.section == section]


def pytest_addoption(parser):
    parser.addoption("--results", type=Path, help="write the table of ratios to this file")
    parser.addoption("--pictures", type=Path, help="draw the worst clips into this folder")
    parser.addoption("--sam2-checkpoint", type=Path, help="weights; random ones are the default")
    parser.addoption("--sam2-models", type=Path, help="keep exported models in this folder")


def pytest_configure(config):
    config.iosfast_table = Table()


@pytest.fixture(scope="session")
def timed(pytestconfig) -> bool:
    """Whether times are taken; else everything runs once, and small."""
    return not pytestconfig.getoption("--benchmark-disable")


@pytest.fixture
def race(benchmark, timed, request):
    """Time ours and peers in turns, check nothing drifted apart, and keep the ratio of medians."""
    table: Table = request.config.iosfast_table

    def run(
        claim: str,
        ours: Callable[[], object],
        peers: dict[str, tuple[Callable[[], object], str]],
        *,
        rounds: int = 9,
        prepare: Callable[[], object] = lambda: None,
        seconds: Callable[[Callable[[], object]], float] = _wall_s,
        section: str = "",
    ) -> None:
        if not timed:
            benchmark(ours)
            for peer, _limit in peers.values():
                peer()
            return
        times: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
        functions = {"ours": ours, **{name: peer for name, (peer, _) in peers.items()}}
        for _ in range(rounds):
            for name, function in functions.items():
                prepare()
                gc.collect()  # so that none tidies up after another
                times[name].append(seconds(function))
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, (_, limit) in peers.items():
            ratio = medians["ours"] / medians[name]
            row = Row(claim, medians["ours"], name, medians[name], ratio, limit, section)
            table.rows.append(row)
            benchmark.extra_info[name] = {"median_s": medians[name], "ratio": ratio}
        benchmark.pedantic(ours, setup=lambda: prepare() and None, rounds=3 if rounds > 3 else 1)

    return run


def _wall_s(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


@pytest.fixture
def note(request):
    return request.config.iosfast_table.notes.append


@pytest.fixture
def row(request) -> Callable[[Row], None]:
    """Takes rows of the table that a benchmark has measured in its own way."""
    return request.config.iosfast_table.rows.append


@pytest.fixture
def section(request) -> Callable[[str], list[str]]:
    """Lines of a section of the results, by its title."""
    sections = request.config.iosfast_table.sections
    return lambda title: sections.setdefault(title, [])


@pytest.fixture(scope="session")
def frames(timed) -> int:
    return int(os.environ.get("IOSFAST_BENCH_FRAMES", 3600 if timed else 720))


@pytest.fixture(scope="session")
def movie(timed) -> np.ndarray:
    """Frames of a level and shot noise, uint16 (T, Y, X); no two have the same noise."""
    frames, shape = (1200, SHAPE) if timed else (420, SMALL_SHAPE)
    random = np.random.default_rng(0)
    level = random.integers(15_000, 25_000, shape).astype(np.float32)
    movie = np.empty((frames, *shape), np.uint16)
    for frame in movie:
        noise = random.standard_normal(shape, np.float32)
        frame[...] = level + np.sqrt(level) * noise + 0.5
    return movie


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder that goes at once: these files are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def recording(tmp_path_factory, frames) -> Path:
    """A contiguous TIFF of noisy frames with one bright spot that moves."""
    path = tmp_path_factory.mktemp("recording") / "recording.tif"
    random = np.random.default_rng(0)
    background = random.integers(15_000, 25_000, SHAPE).astype(np.float32)
    noise = [random.normal(0, 80, SHAPE).astype(np.float32) for _ in range(16)]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def images():
        for i in range(frames):
            spot = 1 + 0.01 * np.exp(-(((x - i / 10) ** 2 + (y - 200) ** 2) / 800))
            yield (background * spot + noise[i % 16]).astype(np.uint16)

    tifffile.imwrite(
        path, images(), shape=(frames, *SHAPE), dtype=np.uint16, photometric="minisblack"
    )
    return path


def plain_read(path: Path) -> int:
    """Read a file with read() in 8 MiB blocks."""
    buffer = bytearray(8 << 20)
    total = 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def files_of(source: Path) -> list[Path]:
    return [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())


def read_anew(source: Path) -> None:
    """Bring files into the page cache as reading does.

    Pages that a program wrote in small pieces stay in small pieces there, and are slower to map.
    """
    os.sync()
    for path in files_of(source):
        forget(path)
        plain_read(path)


def pytest_terminal_summary(terminalreporter, config):
    table: Table = config.iosfast_table
    if not table.rows and not table.notes and not table.sections:
        return
    made = _sections(table)
    terminalreporter.write_line("")
    terminalreporter.write_line("\n".join(made.values()))
    path = config.getoption("--results")
    if path:
        known = _split(path.read_text(encoding="utf-8")) if path.exists() else {}
        if "" in known and "" in made:
            made[""] = _with_others(table, known[""])
        parts = {**known, **made}.values()
        path.write_text("\n".join(part.rstrip() + "\n" for part in parts), encoding="utf-8")


def _split(text: str) -> dict[str, str]:
    """Sections of a file of results by their titles; the head's is empty."""
    parts = ("\n" + text).split("\n## ")
    return {"": parts[0].lstrip()} | {part.partition("\n")[0]: "## " + part for part in parts[1:]}


def _with_others(table: Table, known: str) -> str:
    """Return the head with rows and notes of an earlier one of the same machine."""
    lines = _lines_of(table)
    if all(line in known for line in _made_on()):
        earlier = known.splitlines()
        begin = next(i for i, line in enumerate(earlier) if line.startswith("|---")) + 1
        lines = {_key(line): line for line in earlier[begin:] if line} | lines
    return _head_of(lines)


def _lines_of(table: Table) -> dict[tuple[str, str], str]:
    notes = (line for note in table.notes for line in note.splitlines() if line)
    return {_key(line): line for line in (*_rows(table.of(""))[2:], *notes)}


def _key(line: str) -> tuple[str, str]:
    """What a row compares with what; what a note is about, and nothing."""
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) == 8:  # with what is before the first and after the last
        return cells[1], cells[3]
    return (cells[1] if len(cells) > 2 else line.partition(": ")[0]), ""


def _head_of(lines: dict[tuple[str, str], str]) -> str:
    rows = [line for key, line in lines.items() if key[1]]
    notes = [line for key, line in lines.items() if not key[1]]
    tables = [line for line in notes if line.startswith("|")]
    told = [line for line in notes if not line.startswith("|")]
    return "\n".join([*_head(), *_rows([]), *rows, "", *told, "", *tables, ""])


def _sections(table: Table) -> dict[str, str]:
    head = bool(table.of("") or table.notes)
    made = {"": _head_of(_lines_of(table))} if head else {}
    for title in dict.fromkeys((*table.sections, *(row.section for row in table.rows))):
        if not title:
            continue
        lines = table.sections.get(title, [])
        rows = _rows(table.of(title)) if table.of(title) else []
        made[title] = "\n".join([f"## {title}", "", *_made_on(), *lines, "", *rows, ""])
    return made


def _head() -> list[str]:
    return [
        "# Benchmark results",
        "",
        "Ratios of medians, ours to the peer, both timed in turns in one run; each answer is",
        "checked. Made by `python -m pytest benchmarks --results benchmarks/RESULTS.md`.",
        "",
        "The files of formats hold 20 s of a recording, so that the time to open them counts. From",
        "the page cache, what lies in several files has to be copied, and each file to be opened,",
        "where one file is only mapped; from disk, where a recording of hours is, both are hidden",
        "behind it. The disk and the cores are shared with others: cold files vary threefold",
        "between runs, and two threads do not always have two cores.",
        "",
        *_made_on(),
    ]


def _made_on() -> list[str]:
    return [f"Machine: {_machine()}", "", f"Versions: {_versions()}", ""]


def _rows(rows: list[Row]) -> list[str]:
    return [
        "| what | ours (ms) | peer | peer (ms) | ratio | aim |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.claim} | {1e3 * row.ours_s:.2f} | {row.peer} | {1e3 * row.peer_s:.2f} | "
            f"{row.ratio:.3f} | {row.limit} |"
            for row in rows
        ),
    ]


def _machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}"


def _versions() -> str:
    names = ("iosfast", "numpy", "scipy", "scikit-image", "tifffile", "pytest-benchmark")
    compiler = subprocess.run(["c++", "--version"], capture_output=True, text=True, check=False)
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {found}, {compiler.stdout.splitlines()[0]}"
