"""Simulated recordings: reading, files, arguments."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from some_simulations import BUSY, BUSY_FRAMES, QUIET, quiet

from iosfast.errors import WriteError
from iosfast.simulate import Noise, Simulation, Wave


@given(st.lists(st.integers(0, len(BUSY)), max_size=6), st.randoms())
def test_any_chunks_in_any_order_give_the_same_bits(cuts, random):
    edges = sorted({0, len(BUSY), *cuts})
    chunks = list(itertools.pairwise(edges))
    random.shuffle(chunks)
    again = Simulation(
        shape=(13, 21),
        duration_s=1.0,
        pixel_size_mm=0.4,
        waves=BUSY.waves,
        noise=BUSY.noise,
        seed=3,
    )
    got = np.zeros_like(BUSY_FRAMES)
    for start, stop in chunks:
        got[start:stop] = again.read(start, stop)
    np.testing.assert_array_equal(got, BUSY_FRAMES)


def test_blocks_are_the_frames():
    np.testing.assert_array_equal(np.concatenate(list(BUSY.blocks(7))), BUSY_FRAMES)


def test_seeds_change_vessels_noise_and_gaps():
    noise = replace(QUIET, electrons_per_count=0.5, dropped_fraction=0.1)
    first, again, other = (quiet(waves=(), noise=noise, duration_s=1, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.read(), again.read())
    assert not np.array_equal(first.background(), other.background())
    assert not np.array_equal(first.times_s, other.times_s)
    residuals = [(s.read(0, 1)[0] - s.background()).ravel() for s in (first, other)]
    assert abs(np.corrcoef(residuals)[0, 1]) < 0.1


def test_successive_frames_have_independent_noise():
    still = quiet(noise=replace(QUIET, electrons_per_count=1.0), waves=(), duration_s=0.1)
    first, second = (still.read(0, 2) - still.background()).reshape(2, -1)
    assert first.std() > 50
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_range_is_checked():
    with pytest.raises(IndexError):
        BUSY.read(0, len(BUSY) + 1)


def test_hours_take_no_memory():
    tracemalloc.start()
    try:
        long = Simulation(shape=(64, 64), duration_s=9000)
        frame = long.read(len(long) - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert long.nbytes > 4e9
    assert frame.shape == (1, 64, 64)
    assert peak < 1e8


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.uint8, np.uint16]))
def test_any_frame_shape(rows, columns, dtype):
    small = Simulation(
        shape=(rows, columns), duration_s=0.1, frame_rate_hz=30, baseline_counts=100, dtype=dtype
    )
    assert small.shape == (3, rows, columns)
    frames = small.read()
    assert frames.shape == small.shape
    assert frames.dtype == small.dtype == dtype
    assert small.background().shape == small.cortex_mask().shape == (rows, columns)
    assert small.cortex_mask().any()
    assert small.background()[small.cortex_mask()].mean() == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_written_file_holds_the_frames(tmp_path, dtype):
    recording = Simulation(
        shape=(13, 21), duration_s=0.5, baseline_counts=150, dtype=dtype, pixel_size_mm=0.04
    )
    path = recording.write(tmp_path / "wave.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["wave.tif"]
    np.testing.assert_array_equal(tifffile.imread(path), recording.read())
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "TYX"
        assert tiff.series[0].dataoffset is not None
        pixels, units = tiff.pages[0].tags["XResolution"].value
        assert units / pixels == pytest.approx(0.04)
        assert tiff.imagej_metadata["unit"] == "mm"
        assert tiff.imagej_metadata["finterval"] == pytest.approx(1 / 60)
        assert len(tiff.pages) == 30
    np.testing.assert_array_equal(tifffile.memmap(path, mode="r"), recording.read())


def test_a_file_is_only_replaced_when_asked(tmp_path):
    path = tmp_path / "wave.tif"
    path.write_bytes(b"mine")
    with pytest.raises(WriteError, match=r"overwrite=True"):
        BUSY.write(path)
    assert path.read_bytes() == b"mine"
    BUSY.write(path, overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(path), BUSY_FRAMES)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    recording = quiet(duration_s=0.2)
    original = recording._read

    def failing(start, stop):
        if start <= 5 < stop:
            raise OSError("disk full")
        return original(start, stop)

    monkeypatch.setattr(recording, "_read", failing)
    with pytest.raises(WriteError, match="disk full"):
        recording.write(tmp_path / "wave.tif")
    assert not list(tmp_path.iterdir())
    with pytest.raises(WriteError, match="could not be written"):
        BUSY.write(tmp_path / "no folder" / "wave.tif")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("shape", "disc", ValueError),
        ("origin_mm", 3.0, TypeError),
        ("origin_mm", (1.0, 2.0, 3.0), ValueError),
        ("origin_mm", (1.0, np.nan), ValueError),
        ("origin_mm", "ab", TypeError),
        ("direction_deg", np.inf, ValueError),
        ("opening_deg", 0, ValueError),
        ("opening_deg", 361, ValueError),
        ("speed_mm_min", 0, ValueError),
        ("speed_mm_min", -3.5, ValueError),
        ("speed_mm_min", np.nan, ValueError),
        ("speed_mm_min", "3.5", TypeError),
        ("speed_mm_min", None, TypeError),
        ("amplitude_percent", 0, ValueError),
        ("amplitude_percent", 100.5, ValueError),
        ("amplitude_percent", -101, ValueError),
        ("amplitude_percent", True, TypeError),
        ("start_s", -1, ValueError),
        ("duration_s", 0, ValueError),
        ("duration_s", np.nan, ValueError),
        ("band_s", 0, ValueError),
    ],
)
def test_bad_wave(name, value, error):
    with pytest.raises(error, match=name):
        Wave(**{name: value})


@pytest.mark.parametrize("name", list(Noise.__dataclass_fields__))
@pytest.mark.parametrize(
    ("value", "error"), [(-0.1, ValueError), (np.nan, ValueError), ("1", TypeError)]
)
def test_bad_noise(name, value, error):
    with pytest.raises(error, match=name):
        Noise(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("electrons_per_count", 0),
        ("heartbeat_hz", 0),
        ("breathing_hz", 0),
        ("drift_period_s", 0),
        ("drift_percent", 101),
        ("jitter_px", 1.5),
        ("dropped_fraction", 1),
    ],
)
def test_noise_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        Noise(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("shape", (512,), ValueError),
        ("shape", 512, TypeError),
        ("shape", (3, 4, 5), ValueError),
        ("shape", (0, 5), ValueError),
        ("shape", (5.0, 5), TypeError),
        ("duration_s", 0, ValueError),
        ("duration_s", np.nan, ValueError),
        ("duration_s", 0.001, ValueError),
        ("frame_rate_hz", -60, ValueError),
        ("pixel_size_mm", 0, ValueError),
        ("pixel_size_mm", np.inf, ValueError),
        ("waves", Wave(), TypeError),
        ("waves", (None,), TypeError),
        ("noise", None, TypeError),
        ("baseline_counts", 0, ValueError),
        ("baseline_counts", 65536, ValueError),
        ("dtype", np.float32, TypeError),
        ("dtype", ">u2", TypeError),
        ("dtype", "counts", TypeError),
        ("seed", -1, ValueError),
        ("seed", 0.5, TypeError),
        ("seed", None, TypeError),
    ],
)
def test_bad_simulation(name, value, error):
    with pytest.raises(error, match=name):
        Simulation(**{name: value})


def test_uint8_needs_a_baseline_that_fits():
    with pytest.raises(ValueError, match=r"baseline_counts must be .* at most 255, not 20000"):
        Simulation(dtype=np.uint8)


@pytest.mark.parametrize("wave", [1, -1, 0.0])
def test_bad_wave_number(wave):
    with pytest.raises((IndexError, ValueError, TypeError), match="wave"):
        BUSY.activation_time_s(wave)
    with pytest.raises((IndexError, ValueError, TypeError), match="wave"):
        BUSY.active_masks([1.0], 5, wave=wave)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"times_s": 3.0}, ValueError),
        ({"times_s": [np.nan]}, ValueError),
        ({"times_s": ["a"]}, TypeError),
        ({"interval_s": 0}, ValueError),
        ({"bin_seconds": -1}, ValueError),
    ],
)
def test_bad_map_times(options, error):
    with pytest.raises(error, match=next(iter(options))):
        BUSY.active_masks(**{"times_s": [1.0], "interval_s": 5, **options})


def test_bad_signal_time():
    with pytest.raises(ValueError, match="time_s"):
        BUSY.signal(np.nan)
