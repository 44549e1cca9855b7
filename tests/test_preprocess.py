"""Arrays to maps: all of the pipeline against the reference, to the bit."""

from __future__ import annotations

import math
import os
import re
import sys
import warnings
from datetime import datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest
import reference
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

import iosfast
from iosfast import IosfastWarning, Recipe

#: The module, which the function of the same name hides.
preprocess_module = sys.modules["iosfast.preprocess"]

sides = st.integers(1, 45)
shapes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32)
dtypes = st.sampled_from([np.uint8, np.uint16])
odd = st.integers(0, 6).map(lambda n: 2 * n + 1)
THREADS = (1, 2, 7)


def run(frames, options, **arguments):
    """Preprocess by options with the reference's names; return maps and what was warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        maps = iosfast.preprocess(frames, recipe=Recipe.from_dict(options), **arguments)
    assert all(w.category is IosfastWarning for w in caught)
    return maps, [str(w.message) for w in caught]


def same(maps, expected):
    for name, dtype in (("binned", np.uint16), ("change", np.float32), ("rgb", np.uint8)):
        got = getattr(maps, name)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, getattr(expected, name), name)
    assert maps.times_s.tolist() == expected.times_s.tolist()
    assert maps.bin_times_s.tolist() == expected.bin_times_s.tolist()
    assert maps.bin_frames.tolist() == expected.bin_frames
    assert len(maps) == len(expected.times_s)


def check(frames, options, *, rate_hz=None, times_s=None, mask=None, **arguments):
    """Compare all that is returned, noted and warned with the reference."""
    expected = reference.preprocess(frames, options, rate_hz=rate_hz, times_s=times_s, mask=mask)
    if not expected.times_s.size:
        with pytest.raises(ValueError, match=r"too few for a map|less than one bin"):
            run(frames, options, frame_rate_hz=rate_hz, times=times_s, mask=mask, **arguments)
        return None
    maps, warned = run(
        frames, options, frame_rate_hz=rate_hz, times=times_s, mask=mask, **arguments
    )
    same(maps, expected)
    notes = list(maps.notes)
    # Whether frames are missing by their times is tested elsewhere.
    warned = [w for w in warned if "by their given times" not in w]
    if expected.partial:
        kept = {"keep": "kept", "drop": "dropped"}[options["partial_bin"]]
        assert f"the last bin has only {expected.partial:,} frames and is {kept} (partial_bin)" in (
            notes
        )
    else:
        assert not any("partial_bin" in note for note in notes)
    gaps = times_s is not None and bool(
        (np.diff(expected.bin_times_s) > 1.5 * options["bin_seconds"]).any()
    )
    assert [m for m in warned if "bins are missing" in m] == (warned[:1] if gaps else [])
    undefined = [m for m in warned if "without a colour scale" in m]
    assert len(undefined) == bool(expected.undefined)
    for message in undefined:
        assert message.startswith(f"{len(expected.undefined)} map")
        listed = re.findall(r"\d+", message.partition(": map")[2])
        assert listed == [str(n) for n in expected.undefined[:5]]
    assert len(warned) == gaps + len(undefined)
    assert set(warned) <= set(notes)
    return maps


def with_mask(shape, seed, masked):
    if not masked:
        return None
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask[0, 0] = True
    return mask


# By count


@given(shapes, dtypes, st.integers(1, 4), st.integers(6, 13), st.booleans(), seeds)
@example((30, 50), np.uint16, 2, 8, False, 2)  # full scale: zeros around make the only change
@example((70, 90), np.uint16, 3, 8, True, 1)
def test_the_published_pipeline(shape, dtype, per_bin, bins, masked, seed):
    frames = reference.sample((bins * per_bin + seed % per_bin, *shape), dtype, seed)
    mask = with_mask(shape, seed, masked)
    maps = check(frames, reference.PUBLISHED, rate_hz=per_bin, mask=mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IosfastWarning)
        named = iosfast.preprocess(frames, recipe="published", frame_rate_hz=per_bin, mask=mask)
    same(named, maps_as_result(maps))
    if mask is not None:
        np.testing.assert_array_equal(maps.mask, mask)
        assert (maps.rgb[:, ~mask] == reference.jet()[0]).all()


def maps_as_result(maps):
    return reference.Result(
        maps.binned, maps.change, maps.rgb, maps.times_s, maps.bin_times_s,
        maps.bin_frames.tolist(), [], 0,
    )  # fmt: skip


@pytest.mark.parametrize("options", [reference.PUBLISHED, {**reference.DEFAULT, "change": "ratio"}])
@pytest.mark.parametrize("later_too", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_darkness_makes_no_numbers_and_infinite_ones(options, later_too, masked):
    """0/0 is NaN, which a map's scale skips; x/0 is infinite, and leaves no scale."""
    frames = reference.sample((11, 80, 90), np.uint16, seed=4)
    frames[: 6 if later_too else 1, :50, :60] = 0
    maps = check(frames, options, rate_hz=1, mask=with_mask((80, 90), 1, masked))
    dark = maps.change[0, :30, :40]
    assert np.isnan(dark).all() if later_too else np.isinf(dark).all()
    assert np.isfinite(maps.change[0, 66:, 76:]).all()


@pytest.mark.parametrize("level", [0, 1, 65535])
def test_maps_of_nothing_are_told(level):
    frames = np.full((70, 6, 7), level, np.uint16)
    options = {**reference.PUBLISHED, "smoothing_px": 1, "smoothing_first_px": 1}
    maps = check(frames, options, rate_hz=2)
    assert (maps.rgb == reference.jet()[0]).all()
    assert any("6 maps without a colour scale" in note for note in maps.notes)


recipes = st.fixed_dictionaries(
    {
        "partial_bin": st.sampled_from(["drop", "keep"]),
        "interval_bins": st.integers(1, 4),
        "change": st.sampled_from(["ratio", "difference", "dff"]),
        "baseline_bins": st.none() | st.integers(1, 6),
        "smoothing_px": odd,
        "smoothing_first_px": st.none() | odd,
        "smoothing_border": st.sampled_from(["zero", "inside"]),
        "smoothing_rounded": st.booleans(),
        "scale": st.sampled_from(["percent", "range", "per_map"]),
        "scale_percent": st.sampled_from([0.1, 1.0, 30.0]),
        "scale_range": st.sampled_from([(-1.0, 0.5), (0.99, 1.2), (-300.0, 200.0)]),
        "colormap": st.sampled_from(["matlab_jet", "RdBu_r", "viridis"]),
    }
).map(
    lambda options: (
        {**options, "scale": "per_map"}
        if (options["scale"], options["change"]) == ("percent", "difference")
        else options
    )
)
#: Bins by length and frame rate, also such that a bin is no whole number of frames.
lengths = st.sampled_from(
    [
        *[(None, n, rate) for n in (1, 2, 7) for rate in (10.0, 29.97)],
        *[(1.0, None, rate) for rate in (1.0, 2.5, 3.3, 7.49)],
        *[(0.1, None, rate) for rate in (10.0, 29.97, 30.0, 60.0)],
        *[(1 / 3, None, rate) for rate in (3.0, 3.1, 9.0, 10.0)],
        *[(0.7, None, rate) for rate in (1.43, 10.0, 5.1)],
        *[(1.3, None, rate) for rate in (3.0, 6.0)],  # 39 / (1.3 x 3) is not quite 10
    ]
)


@settings(max_examples=300)
@given(recipes, lengths, shapes, dtypes, st.integers(1, 16), st.booleans(), seeds)
def test_every_option(recipe, length, shape, dtype, bins, masked, seed):
    bin_seconds, bin_frames, rate_hz = length
    options = {**recipe, "bin_seconds": bin_seconds, "bin_frames": bin_frames}
    count = math.ceil(bins * reference.frames_per_bin(options, rate_hz)) + seed % 3
    frames = reference.sample((count, *shape), dtype, seed)
    check(frames, options, rate_hz=rate_hz, mask=with_mask(shape, seed, masked))


def test_the_change_is_that_of_exact_numbers_but_for_float32():
    """Two roundings to float32 of the smoothed images, one of the change: 3 x 2^-24."""
    frames = np.random.default_rng(0).integers(5000, 60000, (30, 64, 65), np.uint16)
    maps = iosfast.preprocess(frames, frame_rate_hz=2.0)
    weight = uniform_filter(np.ones((64, 65)), 21, mode="constant")
    smooth = [
        uniform_filter(image.astype(np.float64), 21, mode="constant") / weight
        for image in maps.binned
    ]
    for map_number, (earlier, later) in enumerate([(0, 5), (5, 10)]):
        exact = smooth[later] / smooth[earlier] - 1
        got = maps.change[map_number]
        assert np.abs(got - exact).max() <= 3 * 2**-24 * (1 + np.abs(exact).max())


# By the clock


@st.composite
def clocks(draw, origin_ms):
    """Times in whole milliseconds, several or none in a second, some of them equal."""
    steps = st.sampled_from([0, 1, 16, 17, 250, 333, 500, 1000, 1001, 3200])
    steps_ms = draw(st.lists(steps, min_size=1, max_size=60))
    return (origin_ms + np.cumsum(steps_ms)) / 1000


MIDNIGHT_MS = round(datetime(2023, 9, 23).timestamp()) // 86400 * 86400 * 1000


@given(
    st.sampled_from([0, 1, 500, -7250, MIDNIGHT_MS - 5000]).flatmap(clocks),
    st.sampled_from([1.0, 2.0, 0.5, 0.25, 1 / 3]),
    st.none() | st.sampled_from([4.0, 30.0, 60.0]),
    recipes,
    seeds,
)
def test_by_the_clock(times_s, bin_seconds, rate_hz, recipe, seed):
    frames = reference.sample((len(times_s), 4, 5), np.uint16, seed)
    options = {**recipe, "bin_seconds": bin_seconds, "bin_frames": None}
    check(frames, options, rate_hz=rate_hz, times_s=times_s)


@pytest.mark.parametrize("bins_per_s", [1, 2, 3, 4, 7, 10, 20, 30, 60, 100])
@pytest.mark.parametrize("origin_s", [0, -3, 1_695_420_871])
def test_a_frame_at_the_edge_of_a_bin_is_its_first(origin_s, bins_per_s):
    frames = reference.sample((60, 3, 4), np.uint16, seed=0)
    times_s = [float(origin_s + Fraction(i, 2 * bins_per_s)) for i in range(60)]
    maps, warned = run(frames, Recipe(bin_seconds=1 / bins_per_s).to_dict(), times=times_s)
    assert warned == []
    assert maps.bin_frames.tolist() == [2] * 30


@pytest.mark.parametrize("as_type", [list, np.float32, np.int64, np.uint16])
def test_times_may_be_of_any_kind_of_number(as_type):
    times_s = [0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 6]
    frames = reference.sample((12, 9, 9), np.uint16, seed=0)
    options = {**reference.DEFAULT, "partial_bin": "keep"}
    given_times = list(times_s) if as_type is list else np.array(times_s, as_type)
    maps, _ = run(frames, options, times=given_times)
    same(maps, reference.preprocess(frames, options, times_s=times_s))
    assert "bins hold 1 to 3 frames" in maps.notes
    assert maps.source["timed_by"] == "given times"


def test_bins_have_the_names_of_their_seconds_also_over_midnight():
    frames = reference.sample((14, 3, 4), np.uint16, seed=0)
    start = datetime(2023, 9, 22, 23, 59, 56, 700_000)
    maps = iosfast.preprocess(frames, frame_rate_hz=2.0, start_time=str(start))
    seconds = [start.replace(microsecond=0) + timedelta(seconds=n) for n in range(7)]
    assert maps.info.bin_names() == [f"{s:%Y%m%d_%H%M%S}" for s in seconds]
    assert maps.info.bin_names()[4].startswith("20230923_0000")
    assert maps.info.map_bins().tolist() == [5]
    short = iosfast.preprocess(
        frames, recipe=Recipe(bin_seconds=0.5), frame_rate_hz=2.0, start_time=start
    )
    halves = [start + timedelta(seconds=n / 2) for n in range(14)]
    assert short.info.bin_names() == [
        f"{h:%Y%m%d_%H%M%S}_{h.microsecond // 1000:03d}" for h in halves
    ]


@pytest.mark.parametrize("bin_seconds", [1.0, 0.5, 0.1, 1 / 3, 2 / 60])
def test_the_first_bin_begins_at_or_before_the_first_frame(tmp_path, bin_seconds):
    """Bins are cut by the wall clock, of which a day has some 10^5 seconds, and 1970 10^9."""
    first_ns = 1_695_420_871_123_456_789
    for i in range(40):
        tifffile.imwrite(tmp_path / f"f{i:02d}.tif", np.full((3, 4), 100 + i, np.uint16))
        at_ns = first_ns + i * round(bin_seconds * 1e9)
        os.utime(tmp_path / f"f{i:02d}.tif", ns=(at_ns, at_ns))
    recipe = Recipe(bin_seconds=bin_seconds)
    maps = iosfast.preprocess(tmp_path, recipe=recipe, times="mtime")
    first_s = os.stat(tmp_path / "f00.tif").st_mtime
    utc_offset = datetime.fromtimestamp(first_s).astimezone().utcoffset()
    first_local_s = first_s + utc_offset.total_seconds()
    assert maps.start_s - 1e-6 <= first_local_s < maps.start_s + bin_seconds + 1e-6


# What must not change the result

FRAMES = reference.sample((64, 17, 23), np.uint16, seed=0)
RECIPES = [
    reference.PUBLISHED,
    {**reference.DEFAULT, "interval_bins": 2},
    {**reference.DEFAULT, "interval_bins": 3, "baseline_bins": 7},
    {**reference.DEFAULT, "interval_bins": 7, "baseline_bins": 3, "partial_bin": "keep"},
]


@pytest.mark.parametrize("options", RECIPES)
@pytest.mark.parametrize("threads", [0, *THREADS])
def test_threads(options, threads):
    check(FRAMES, options, rate_hz=3.1, threads=threads)


def read_only(frames):
    copy = frames.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    **reference.LAYOUTS,
    "read only": read_only,
    "time last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "every second frame": lambda a: np.repeat(a, 2, axis=0)[::2],
    "swapped backwards": lambda a: a[::-1].astype(a.dtype.newbyteorder("S"))[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", RECIPES[:3])
def test_layouts(layout, options):
    frames = LAYOUTS[layout](FRAMES)
    check(frames, options, rate_hz=4)
    np.testing.assert_array_equal(frames, FRAMES)


@pytest.mark.parametrize("options", RECIPES)
@pytest.mark.parametrize("bins_per_block", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("layout", ["read only", "swapped"])
def test_blocks(monkeypatch, options, bins_per_block, layout):
    per_bin = 17 * 23 * (2 + 7 / options["interval_bins"])
    monkeypatch.setattr(preprocess_module, "BLOCK_BYTES", math.ceil(per_bin * bins_per_block) + 1)
    maps = check(LAYOUTS[layout](FRAMES), options, rate_hz=3)
    blocks = math.ceil(len(maps.bin_times_s) / bins_per_block)
    assert maps.timings["read and bin"].calls == blocks


@pytest.mark.parametrize("options", RECIPES)
def test_maps_on_disk_are_those_in_memory(monkeypatch, tmp_path, options):
    monkeypatch.setattr(preprocess_module, "BLOCK_BYTES", 17 * 23 * 20)
    maps = check(FRAMES, options, rate_hz=3, out=tmp_path / "maps")
    assert maps.path == tmp_path / "maps"
    assert maps.timings["read and bin"].calls > 1
    check(FRAMES, options, rate_hz=3, out=tmp_path / "maps", overwrite=True)


def test_progress_counts_frames():
    seen = []
    frames = FRAMES[:61]
    iosfast.preprocess(frames, frame_rate_hz=10, progress=lambda *a: seen.append(a))
    assert seen == sorted(seen)
    assert seen[-1] == (60, 60)
    swapped = []
    iosfast.preprocess(
        frames.astype(">u2"), frame_rate_hz=10, progress=lambda *a: swapped.append(a)
    )
    assert swapped[-1] == (60, 60)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_an_error_in_progress_ends_the_run(tmp_path, error, dtype):
    def stop(done, frames):
        raise error("enough")

    for out in (None, tmp_path / "maps"):
        with pytest.raises(error, match="enough"):
            iosfast.preprocess(FRAMES.astype(dtype), frame_rate_hz=10, progress=stop, out=out)
    assert list(tmp_path.iterdir()) == []


# Longest bins, assumptions


def test_the_longest_bins():
    longest = 65537
    frames = np.full((2 * longest, 1, 1), 65535, np.uint16)
    frames[longest:] -= 1
    recipe = Recipe(bin_frames=longest, interval_bins=1, change="ratio")
    maps = iosfast.preprocess(frames, recipe=recipe, frame_rate_hz=60)
    assert maps.binned.ravel().tolist() == [65535, 65534]
    assert maps.change.item() == np.float32(65534 / 65535)
    assert maps.bin_times_s.tolist() == [0, longest / 60]


def test_an_unknown_frame_rate_is_assumed_with_a_warning():
    frames = reference.sample((360, 3, 4), np.uint16, seed=0)
    with pytest.warns(IosfastWarning, match="60 Hz is assumed") as warned:
        maps = iosfast.preprocess(frames)
    assert maps.frame_rate_hz == 60.0
    assert str(warned[0].message) in maps.notes
    same(maps, reference.preprocess(frames, reference.DEFAULT, rate_hz=60))


@pytest.mark.parametrize(
    ("about", "frames", "arguments"),
    [
        ("60 Hz is assumed", FRAMES[:12], {"recipe": Recipe(bin_frames=2)}),
        (
            "bins are missing",
            FRAMES[:12],
            {"times": [0, 0.3, 1, 2.2, 3, 4.4, 5, 7, 8, 9, 10.6, 11]},
        ),
        ("without a colour scale", FRAMES[:7] * 0, {"recipe": "published", "frame_rate_hz": 1}),
    ],
)
def test_warnings_point_to_the_caller(about, frames, arguments):
    with pytest.warns(IosfastWarning, match=about) as warned:
        iosfast.preprocess(frames, **arguments)
    assert [w.filename for w in warned] == [__file__]


# What makes no sense

TOO_SHORT = (ValueError, r"too few for a map with interval_bins")
ERRORS = {
    **{
        f"{name}={value!r}": ({name: value}, error, name)
        for name in ("frame_rate_hz", "pixel_size_mm")
        for value, error in [
            *[(v, ValueError) for v in (0, -1.0, math.nan, math.inf)],
            *[(v, TypeError) for v in ("60", True, [60], 1j)],
        ]
    },
    **{
        f"threads={value!r}": ({"threads": value}, error, "threads")
        for value, error in [(-1, ValueError), (1025, ValueError), (2.0, TypeError)]
    },
    "recipe": ({"recipe": "best"}, ValueError, "recipe must be"),
    "colormap": ({"recipe": Recipe(colormap="nonesuch")}, ValueError, "nonesuch"),
    "layout": ({"layout": "folder"}, ValueError, "layout"),
    "start_time": ({"start_time": "yesterday"}, ValueError, "start_time"),
    "start_time as a number": ({"start_time": 5}, TypeError, "start_time"),
    "shape": ({"shape": (3, 4)}, ValueError, "no meaning"),
    "argument": ({"smoothing": 3}, TypeError, "smoothing"),
    "short interval": ({"recipe": Recipe(interval_bins=6)}, *TOO_SHORT),
    "few frames": ({"frame_rate_hz": 12.0}, *TOO_SHORT),
    "baseline": ({"recipe": Recipe(baseline_bins=6)}, ValueError, "baseline_bins=6"),
    "no full bin": ({"frame_rate_hz": 61.0}, ValueError, "less than one bin"),
    "frames slower than bins": ({"frame_rate_hz": 0.9}, ValueError, "shorter than one frame"),
    "long bins": ({"recipe": Recipe(bin_seconds=6554.0)}, ValueError, "65,540 frames"),
    "times by a clock it has not": ({"times": "mtime"}, ValueError, "mtime"),
    "times by no clock": ({"times": "sundial"}, ValueError, "times must be one of"),
    "times of another length": ({"times": np.arange(59)}, ValueError, r"\(60,\), not \(59,\)"),
    "times in two axes": ({"times": np.zeros((60, 1))}, ValueError, r"\(60,\)"),
    "one time": ({"times": 5.0}, ValueError, r"\(60,\)"),
    "times as text": ({"times": ["0"] * 60}, TypeError, "times must be numbers"),
    "times as yes or no": ({"times": np.zeros(60, bool)}, TypeError, "times must be numbers"),
    "times as dates": ({"times": np.zeros(60, "M8[s]")}, TypeError, "times must be numbers"),
    "times that are NaN": (
        {"times": np.where(np.arange(60) == 7, np.nan, 1.0)}, ValueError, "frame 7 has nan"
    ),
    "times without end": (
        {"times": np.where(np.arange(60) == 7, np.inf, 1.0)}, ValueError, "frame 7 has inf"
    ),
    "times that decrease": (
        {"times": np.where(np.arange(60) == 7, 0.5, 1.0)}, ValueError, r"frame 7 \(0.5 s\)"
    ),
    "times in milliseconds": (
        {"times": 1_695_420_871_000.0 + np.arange(60)}, ValueError, "milliseconds"
    ),
    "times that are equal": ({"times": np.ones(60)}, *TOO_SHORT),
    "times and bins of frames": (
        {"times": np.arange(60) / 10, "recipe": Recipe(bin_frames=2)}, ValueError, "bin_frames"
    ),
    "mask of another size": ({"mask": np.ones((23, 17))}, ValueError, r"\(23, 17\).*\(17, 23\)"),
    "empty mask": ({"mask": np.zeros((17, 23))}, ValueError, "empty"),
    "mask as text": ({"mask": np.full((17, 23), "x")}, TypeError, "numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_arguments_that_make_no_sense(tmp_path, case):
    arguments, error, match = ERRORS[case]
    with pytest.raises(error, match=match):
        iosfast.preprocess(
            FRAMES[:60], **{"frame_rate_hz": 10.0, "out": tmp_path / "maps", **arguments}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_second_may_hold_too_many_frames():
    frames = np.ones((65538 + 5, 1, 1), np.uint8)
    times_s = np.concatenate([np.zeros(65538), np.arange(1, 6)])
    recipe = Recipe(interval_bins=1, partial_bin="keep")
    with pytest.raises(ValueError, match="65,538 frames is more than the 65,537"):
        iosfast.preprocess(frames, recipe=recipe, times=times_s)
    maps, _ = run(frames[1:], recipe.to_dict(), times=times_s[1:])
    assert maps.bin_frames.tolist() == [65537, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("frames", "error", "match"),
    [
        (np.ones((60, 5), np.uint16), ValueError, r"\(T, Y, X\)"),
        (np.ones((60, 5, 5, 3), np.uint16), ValueError, r"\(T, Y, X\)"),
        (np.ones((0, 5, 5), np.uint16), ValueError, "not empty"),
        (np.ones((60, 0, 5), np.uint16), ValueError, "not empty"),
        *[
            (np.ones((60, 5, 5), dtype), TypeError, "frames must be one of uint8, uint16")
            for dtype in ("?", "i1", "i8", "u8", "f2", "c8", "S2", "O")
        ],
        (5, TypeError, "source must be"),
        (None, TypeError, "source must be"),
    ],
)
def test_frames_that_are_none(frames, error, match):
    with pytest.raises(error, match=match):
        iosfast.preprocess(frames, frame_rate_hz=10)
