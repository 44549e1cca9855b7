"""A file in the page cache: as fast as reading it, and many times faster than NumPy and SciPy."""

import numpy as np
import tifffile
from conftest import FRAME_RATE_HZ, plain_read
from peer import numpy_scipy_maps

import iosfast


def test_whole_file(race, recording, note):
    colors = iosfast.Recipe.published().colors()[:256]
    plain_read(recording)

    def ours():
        return iosfast.preprocess(recording, recipe="published", frame_rate_hz=FRAME_RATE_HZ)

    maps = ours()
    binned, change, rgb = numpy_scipy_maps(recording, int(FRAME_RATE_HZ), colors)
    first = tifffile.memmap(recording, mode="r")[:60].astype(np.float64).mean(axis=0)
    np.testing.assert_array_equal(maps.binned[0], np.floor(first + 0.5))
    assert np.abs(maps.binned.astype(int) - binned).max() <= 1  # float32 means round otherwise
    np.testing.assert_allclose(maps.change, change, atol=2e-4)
    assert np.mean(np.abs(maps.rgb.astype(int) - rgb) > 8) < 0.01

    race(
        "path to maps, published recipe, cached file",
        ours,
        {
            "read() in 8 MiB blocks": (lambda: plain_read(recording), "0.8"),
            "tifffile.imread + NumPy + SciPy": (
                lambda: numpy_scipy_maps(recording, int(FRAME_RATE_HZ), colors),
                "0.167",
            ),
            "tifffile.memmap + NumPy + SciPy": (
                lambda: numpy_scipy_maps(recording, int(FRAME_RATE_HZ), colors, tifffile.memmap),
                "",
            ),
        },
        rounds=7,
    )


def test_default_recipe(race, recording):
    def ours():
        return iosfast.preprocess(recording, frame_rate_hz=FRAME_RATE_HZ)

    published = iosfast.preprocess(recording, recipe="published", frame_rate_hz=FRAME_RATE_HZ)
    inside = np.s_[1:, 32:-32, 32:-32]  # the published first image is smoothed otherwise
    assert len(published) > 1
    np.testing.assert_array_equal(ours().binned, published.binned)
    np.testing.assert_allclose(1 + ours().change[inside], published.change[inside], atol=2e-4)
    race(
        "path to maps, default recipe, cached file",
        ours,
        {"read() in 8 MiB blocks": (lambda: plain_read(recording), "0.8")},
    )


def test_stages(recording, note, benchmark):
    """Binning is nearly all of a run; the table shows the next bottleneck."""
    plain_read(recording)
    runs = [
        iosfast.preprocess(recording, recipe="published", frame_rate_hz=FRAME_RATE_HZ).timings
        for _ in range(5)
    ]
    benchmark.pedantic(lambda: None, rounds=1)
    totals = [sum(stage.total_s for stage in run.values()) for run in runs]
    after = [
        1 - run["read and bin"].total_s / total for run, total in zip(runs, totals, strict=True)
    ]
    assert all(0 < share < 1 for share in after)
    best = runs[int(np.argsort(totals)[len(totals) // 2])]
    note(f"Share of a run after binning (median of 5): {np.median(after):.1%}; aim: 10 %.")
    note("")
    note("| stage (published recipe) | calls | mean (ms) | min (ms) | max (ms) |")
    note("|---|---|---|---|---|")
    for name, stage in best.items():
        times = " | ".join(f"{1e3 * t:.2f}" for t in (stage.mean_s, stage.min_s, stage.max_s))
        note(f"| {name} | {stage.calls} | {times} |")
    note("")
