"""SAM 2 beside sam2's own video predictor: speed, agreement, memory, several clips at once.

``pytest benchmarks/test_sam2.py --results benchmarks/RESULTS.md`` writes the tables. Weights are
random unless ``--sam2-checkpoint FILE`` gives others; ``--sam2-models FOLDER`` keeps the exported
models for the next run. All methods work on the same maps in turns: one map each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import sam2_reference
import torch
from PIL import Image

from iosfast.sam2 import Model, export
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.manifest import FileRecord
from iosfast.sam2.outline import enlarged
from iosfast.sam2.propagate import Said, Task, propagate

TITLE = "SAM 2"
SIDE = 512
THREADS = 2
#: Between turns, so that idle threads of one library do not spin into the time of the next one.
PAUSE_S = 0.05
#: Least speed, sam2 in the same float type being 1.
AIMS = {(512, "fp32", "cpu"): 1.2, (1024, "fp32", "cpu"): 1.3}
NARROW_AIM = 2.0
TABLE = [
    "| image size | maps | what | maps/s | to sam2, same float type | to sam2, float32 | aim "
    "| by CPU time | largest difference of logits | least IoU | area |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


@pytest.fixture(scope="module")
def checkpoint(pytestconfig, tmp_path_factory):
    given = pytestconfig.getoption("--sam2-checkpoint")
    if given is not None:
        return given
    path = tmp_path_factory.mktemp("sam2") / "checkpoint.pt"
    torch.save({"model": sam2_reference.predictor(sam2_reference.SIZE).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def exported(pytestconfig, checkpoint, tmp_path_factory):
    """A function that exports a model, or finds it where it was kept."""
    kept = pytestconfig.getoption("--sam2-models")
    root = kept or tmp_path_factory.mktemp("models")

    def folder(size: int, precision: str) -> Path:
        place = root / f"{size}-{precision}"
        if not place.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is not the official checkpoint
                export(checkpoint, place, image_size=size, precision=precision)
        model = Model(place, device="cpu")
        if kept is None or model.manifest.checkpoint == FileRecord.of(checkpoint):
            return place
        pytest.fail(f"{place} was exported from another checkpoint; give --sam2-checkpoint")

    return folder


@dataclass
class Run:
    """A method at work: what it gives, map by map, and how long each takes."""

    name: str
    maps: Iterator[np.ndarray]
    times_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)

    def step(self) -> None:
        time.sleep(PAUSE_S)
        begin, used = time.perf_counter(), time.process_time()
        self.logits.append(next(self.maps))
        self.times_s.append(time.perf_counter() - begin)
        self.cpu_s.append(time.process_time() - used)

    @property
    def rate(self) -> float:
        return len(self.times_s) / sum(self.times_s)


def of_sam2(predictor, images, bfloat16: bool) -> Iterator[np.ndarray]:
    """sam2's own predictor; it has read and scaled the maps before."""
    run = sam2_reference.Clip(predictor, images)

    def maps():
        run.add_points(1, 0, POINT * (images.shape[1] / predictor.image_size), [1])
        for _, logits in run.follow(0):
            yield logits[0].astype(np.float32)

    found = maps()
    while True:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = next(found, None)
        if logits is None:
            return
        yield logits


def scaled(images, size) -> Callable[[int], np.ndarray]:
    return lambda i: np.asarray(Image.fromarray(images[i]).resize((size, size)))


POINT = np.array([[60, 124]], np.float32)


def of_ours(model, images) -> Iterator[np.ndarray]:
    """Ours, with the scaling of maps and masks."""
    size = model.manifest.image_size
    task = Task(scaled(images, size), len(images), {1: {0: Said(POINT, np.ones(1, np.float32))}})
    for found in propagate(model, [task], rows=1):
        assert enlarged(found.logits, images.shape[1:3]).shape == images.shape[1:3]
        yield found.logits


def agreement(found, expected) -> tuple[float, float, float]:
    """Largest difference of logits, least IoU, mean relative difference of the area."""
    apart = max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
    overlap, area = [], []
    for a, b in zip(found, expected, strict=True):
        ours, theirs = a > 0, b > 0
        either = (ours | theirs).sum()
        overlap.append((ours & theirs).sum() / either if either else 1.0)
        area.append(abs(int(ours.sum()) - int(theirs.sum())) / max(1, theirs.sum()))
    return apart, float(min(overlap)), float(np.mean(area))


def ways(size: int, timed: bool) -> list[tuple[str, str]]:
    """Precision of the export, and where it runs."""
    if not timed:
        return [("fp32", "cpu")]
    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    narrow = [("fp32", "openvino-bf16")] if able else []
    if size != SIDE:  # an export alone takes minutes
        return [("fp32", "cpu"), *narrow]
    others = [("int8", "cpu"), ("fp32", "openvino")]
    return [("fp32", "cpu"), *others, *narrow, ("fp16", "cpu")]


#: Image sizes and maps of a clip.
SIZES = [(512, 10), (1024, 5)]


def test_beside_sam2(benchmark, timed, section, checkpoint, exported):
    benchmark.pedantic(lambda: None, rounds=1)
    lines = []
    for size, count in SIZES if timed else [(sam2_reference.SIZE, 3)]:
        lines += side_by_side(timed, checkpoint, exported, size, count)
    if timed:
        section(TITLE).extend([*ABOUT, "", *TABLE, *lines])


def side_by_side(timed, checkpoint, exported, size, count) -> list[str]:
    """Rows of the table, after the answers were compared."""
    torch.set_num_threads(THREADS)
    images = sam2_reference.moving(3, count, (SIDE, SIDE))
    predictor = build_predictor(checkpoint, size)
    chosen = ways(size, timed)
    models = {way: Model(exported(size, way[0]), device=way[1], threads=THREADS) for way in chosen}
    runs: dict[object, Run] = {}
    with torch.inference_mode():
        for bfloat16 in (False, True):
            for _ in islice(of_sam2(predictor, images, bfloat16), 2):
                pass  # warm up
            runs[bfloat16] = Run("sam2", of_sam2(predictor, images, bfloat16))
        for way, model in models.items():
            for _ in islice(of_ours(model, images), 2):
                pass
            runs[way] = Run(" ".join(way), of_ours(model, images))
        for _ in range(count):
            for run in runs.values():
                run.step()
    plain = runs[False]
    lines = [
        line(size, NAMES[way], aim_of(size, *way), runs[way], runs[is_bfloat16(way)], plain)
        for way in chosen
    ]
    lines.append(line(size, "sam2 itself, bfloat16", "", runs[True], runs[True], plain))
    for way in chosen:
        if way[0] == "fp32" and not is_bfloat16(way):
            apart, overlap, _ = agreement(runs[way].logits, plain.logits)
            assert apart <= 1e-5 * max(1, np.abs(plain.logits).max())
            assert overlap >= 0.9998  # a pixel on the border may fall on either side
    return lines


def is_bfloat16(way: tuple[str, str]) -> bool:
    return way[1].endswith("bf16")


def aim_of(size: int, precision: str, device: str) -> str:
    narrow = precision == "int8" or is_bfloat16((precision, device))
    return str(AIMS.get((size, precision, device), NARROW_AIM if narrow else ""))


def line(size: int, name: str, aim: str, run: Run, same: Run, plain: Run) -> str:
    """A row of the table; `same` is sam2 in the same float type, and `plain` in float32."""
    apart, overlap, area = agreement(run.logits, plain.logits)
    cells = [
        size,
        len(run.logits),
        name,
        f"{run.rate:.3g}",
        f"{run.rate / same.rate:.2f}",
        f"{run.rate / plain.rate:.2f}",
        aim,
        f"{sum(plain.cpu_s) / sum(run.cpu_s):.2f}",
        f"{apart:.1e}",
        f"{overlap:.4f}",
        f"{100 * area:.2f} %",
    ]
    return f"| {' | '.join(map(str, cells))} |"


NAMES = {
    ("fp32", "cpu"): "float32, ONNX Runtime",
    ("int8", "cpu"): "int8, ONNX Runtime",
    ("fp16", "cpu"): "float16 weights, ONNX Runtime",
    ("fp32", "openvino"): "float32, OpenVINO",
    ("fp32", "openvino-bf16"): "bfloat16, OpenVINO",
}

ABOUT = [
    "`benchmarks/test_sam2.py`: one object from a point, maps of 512 x 512, two threads; sam2's",
    "own video predictor and all ways to run ours work in turns, map by map. Ratios are of maps",
    "per second, to sam2 in the same float type (float32 for int8) and in float32; by CPU time to",
    "sam2 in float32, which a busy machine changes less. Differences are from sam2 in float32: of",
    "logits, of masks and, as the mean over maps, of their area. Weights are random unless a",
    "checkpoint is given: they tell speed, and that the same is computed, but not how rounding",
    "changes the outlines of real weights.",
]

SCRIPT = """
import sys
import numpy as np
from iosfast.sam2 import Model
from iosfast.sam2.propagate import Said, Task, propagate

def kib(name):
    return int(open("/proc/self/status").read().partition(name + ":")[2].split()[0])

folder, count, objects = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = Model(folder, device="cpu", threads=2)
size = model.manifest.image_size
random = np.random.default_rng(0)
maps = random.integers(0, 256, (4, size, size, 3), np.uint8)
point = Said(np.full((1, 2), size / 3, np.float32), np.ones(1, np.float32))
task = Task(lambda i: maps[i % 4], count, {n: {0: point} for n in range(1, objects + 1)})
at = {}
for found in propagate(model, [task], rows=1):
    at[found.index] = kib("VmRSS")
print(at[min(99, count // 2)], at[count - 1], kib("VmHWM"))
"""


def resident_mib(folder, count, objects=1):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(count), str(objects)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(number) / 1024 for number in result.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory(benchmark, timed, section, exported):
    size, count, long = (1024, 9, 1800) if timed else (128, 2, 24)
    folder = exported(size, "fp32")
    model = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    *_, peak = benchmark.pedantic(lambda: resident_mib(folder, count), rounds=1)
    early, late, _ = resident_mib(exported(128, "fp32"), long)
    assert peak < 2048
    assert late < 1.02 * early + 2
    if timed:
        section(TITLE).extend(
            [
                "",
                f"Peak resident memory at {size} pixels, {count} maps, with Python and the model "
                f"of {model:.0f} MiB: {peak:.0f} MiB; aim: 2048 beside the model. A clip of "
                f"{long:,} maps at 128 pixels: {early:.0f} MiB at map 100, {late:.0f} MiB at the "
                "last one.",
            ]
        )


CLIPS = """
import sys, time
import numpy as np
from iosfast.sam2 import Model
from iosfast.sam2.propagate import Said, Task, propagate

folder, device, clips, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
model = Model(folder, device=device, threads=2)
size = model.manifest.image_size
random = np.random.default_rng(0)
maps = random.integers(0, 256, (4, size, size, 3), np.uint8)
point = Said(np.full((1, 2), size / 3, np.float32), np.ones(1, np.float32))
def follow(maps_each):
    tasks = [Task(lambda i: maps[i % 4], maps_each, {1: {0: point}})] * clips
    return sum(1 for _ in propagate(model, tasks, rows=clips, ahead=clips))
follow(2)
before = time.perf_counter()
done = follow(count)
print(done / (time.perf_counter() - before))
print(", ".join(model.providers))
"""


def test_several_clips_at_once(benchmark, timed, section, exported):
    """On a GPU where ONNX Runtime has one, else on the CPU with small numbers."""
    device = os.environ.get("IOSFAST_BENCH_DEVICE", "cpu")
    gpu = device == "cuda"
    assert not gpu or "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    size, count = (1024, 60) if gpu else ((SIDE, 4) if timed else (128, 3))
    folder = exported(size, "fp16" if gpu else "fp32")
    rates, ran = {}, ""
    for clips in (1, 8, 64) if gpu else (1, 4):
        command = [sys.executable, "-c", CLIPS, str(folder), device, str(clips), str(count)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        rate, ran = result.stdout.splitlines()
        rates[clips] = float(rate)
    benchmark.pedantic(lambda: None, rounds=1)
    if not timed:
        return
    told = "; ".join(
        f"{clips} at once: {rate:.3g} maps/s ({rate / rates[1]:.2f} of one)"
        for clips, rate in rates.items()
    )
    owed = "" if gpu else " Figures on a GPU are owed: `IOSFAST_BENCH_DEVICE=cuda` makes them."
    section(TITLE).extend(["", f"Clips at once at {size} pixels on {ran}: {told}.{owed}"])
