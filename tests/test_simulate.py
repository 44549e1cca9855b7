"""Simulated recordings against closed forms and independent measurements."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from iosfast.errors import WriteError
from iosfast.simulate import Noise, Simulation, Wave

QUIET = Noise.none()
#: Everything switched on and strong, dropped frames too, on an odd and non-square frame.
BUSY = Simulation(
    shape=(13, 21),
    duration_s=1.0,
    pixel_size_mm=0.4,
    waves=(Wave(start_s=0, speed_mm_min=200, band_s=1),),
    noise=Noise(jitter_per_min=120, dropped_fraction=0.1),
    seed=3,
)
BUSY_FRAMES = BUSY.read()


def quiet(**options):
    return Simulation(**{"noise": QUIET, "shape": (40, 60), "pixel_size_mm": 0.15, **options})


def centres_mm(simulation):
    _, rows, columns = simulation.shape
    y, x = np.mgrid[:rows, :columns]
    return (y + 0.5) * simulation.pixel_size_mm, (x + 0.5) * simulation.pixel_size_mm


# Reading


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


# Waves


@pytest.mark.parametrize("angle", [0, 90, 200])
def test_a_plane_arrives_after_distance_over_speed(angle):
    wave = Wave("plane", (3.0, 2.0), direction_deg=angle, speed_mm_min=6, start_s=5)
    recording = quiet(waves=(wave,))
    y, x = centres_mm(recording)
    radians = np.deg2rad(angle)
    ahead = (x - 3) * np.cos(radians) + (y - 2) * np.sin(radians)
    expected = np.where((ahead >= 0) & recording.cortex_mask(), 5 + ahead / 0.1, np.nan)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(recording.activation_time_s(), expected, rtol=1e-12)


@pytest.mark.parametrize(("direction", "opening"), [(30, 90), (-100, 180), (170, 300), (0, 360)])
def test_a_sector_is_the_part_of_the_ring_within_its_angle(direction, opening):
    ring = Wave("ring", (4.1, 2.6), speed_mm_min=3, start_s=0)
    sector = replace(ring, shape="sector", direction_deg=direction, opening_deg=opening)
    recording = quiet(waves=(ring, sector))
    y, x = centres_mm(recording)
    expected = np.where(recording.cortex_mask(), np.hypot(x - 4.1, y - 2.6) / 0.05, np.nan)
    np.testing.assert_allclose(recording.activation_time_s(0), expected, rtol=1e-12)
    off = (np.rad2deg(np.arctan2(y - 2.6, x - 4.1)) - direction + 180) % 360 - 180
    expected[abs(off) > opening / 2] = np.nan
    np.testing.assert_allclose(recording.activation_time_s(1), expected, rtol=1e-12)


def test_duration_stops_the_front():
    stopped = quiet(waves=(Wave(speed_mm_min=6, start_s=2, duration_s=15),))
    time = stopped.activation_time_s()
    assert 16.5 < np.nanmax(time) <= 17
    assert np.isnan(time[stopped.cortex_mask()]).any()
    never = np.isnan(time)
    assert not any(stopped.signal(t)[never].any() for t in range(2, 60, 3))


def test_an_origin_far_outside_is_allowed():
    far = quiet(waves=(Wave(origin_mm=(-1000.0, 3.0)),), duration_s=1)
    assert np.nanmin(far.activation_time_s()) > 60 * 1000 / 3.5
    assert not far.signal(1).any()


@pytest.mark.parametrize(
    ("wave", "line"),
    [
        (Wave("plane", (0.0, 0.0), speed_mm_min=3.5), "x"),
        (Wave("plane", (0.0, 0.0), direction_deg=90, speed_mm_min=2.0), "y"),
        (Wave("ring", (0.0, 5.0), speed_mm_min=5.0), "x"),
        (Wave("sector", (5.0, 0.0), 90, 60, speed_mm_min=3.0, amplitude_percent=-1), "y"),
    ],
)
def test_the_front_in_the_frames_has_the_speed_given(wave, line):
    recording = Simulation(
        shape=(160, 160),
        pixel_size_mm=10 / 160,
        waves=(wave,),
        noise=QUIET,
        duration_s=140,
        frame_rate_hz=1,
    )
    background = recording.background()
    index = np.flatnonzero(recording.times_s * wave.speed_mm_min / 60 > 2)[:60:5]
    positions = []
    for frame in (recording.read(i, i + 1)[0] for i in index):
        change = frame / background - 1
        along = change[80] if line == "x" else change[:, 80]
        part = along / (wave.amplitude_percent / 100)
        last = np.flatnonzero(part >= 0.5)[-1]
        positions.append(last + (part[last] - 0.5) / (part[last] - part[last + 1]))
    slope = np.polyfit(recording.times_s[index], positions, 1)[0] * recording.pixel_size_mm
    assert slope * 60 == pytest.approx(wave.speed_mm_min, rel=0.01)


@pytest.mark.parametrize("percent", [0.1, 6.0, -3.0])
def test_the_amplitude_is_reached_and_not_passed(percent):
    recording = quiet(
        waves=(Wave(amplitude_percent=percent, start_s=0),),
        baseline_counts=40000,
        frame_rate_hz=2,
        duration_s=60,
    )
    y, x = np.argwhere(recording.activation_time_s() < 10)[0]
    course = recording.read()[:, y, x] / recording.background()[y, x].astype(float) - 1
    extreme = course[np.argmax(abs(course))] * 100
    assert extreme == pytest.approx(percent, rel=0.01, abs=0.003)
    assert (np.sign(percent) * course >= -2e-5).all()


def test_signal_begins_at_the_activation_time_and_lasts_the_band():
    recording = quiet(waves=(Wave(start_s=4, band_s=12),))
    time = recording.activation_time_s()
    y, x = np.unravel_index(np.nanargmax(time), time.shape)
    at = [recording.signal(time[y, x] + after)[y, x] for after in (-0.01, 0.1, 4, 11.9, 12.01)]
    assert at[0] == 0
    assert at[1] > 0
    assert at[2] == pytest.approx(0.02)
    assert at[3] > 0
    assert at[4] == 0


def test_waves_add_up():
    first, second = Wave(start_s=0), Wave(origin_mm=(2.0, 2.0), amplitude_percent=-1)
    both = quiet(waves=(first, second))
    alone = [quiet(waves=(wave,)).signal(40) for wave in (first, second)]
    assert alone[0].any()
    assert alone[1].any()
    np.testing.assert_allclose(both.signal(40), alone[0] + alone[1], atol=1e-8)


def test_x_is_the_last_axis():
    wave = Wave("plane", (0.0, 0.0), start_s=0)
    along_x = quiet(waves=(wave,), shape=(20, 50)).signal(60)
    along_y = quiet(waves=(replace(wave, direction_deg=90),), shape=(50, 20)).signal(60)
    middle = along_x[10]
    assert np.ptp(middle) > 0.01
    assert np.ptp(along_x[5:15, 25]) == 0
    np.testing.assert_allclose(along_y.T, along_x, atol=1e-7)
    ring = quiet(waves=(Wave(origin_mm=(0.15 * 40.5, 0.15 * 12.5)),))
    time = ring.activation_time_s()
    assert np.unravel_index(np.nanargmin(time), time.shape) == (12, 40)


# Truth for maps


def brute_force_mask(recording, later_s, interval_s, amplitude):
    later, earlier = (
        np.mean(
            [1 + recording.signal(b + s).astype(float) for s in (np.arange(40) + 0.5) / 40], axis=0
        )
        for b in (later_s, later_s - interval_s)
    )
    change = (later - earlier) / earlier * np.sign(amplitude)
    return change > change.max() / 2


@pytest.mark.parametrize("amplitude", [4.0, -4.0])
def test_active_masks_are_half_the_extreme_of_the_map(amplitude):
    recording = quiet(
        waves=(Wave(origin_mm=(2.71, 1.83), amplitude_percent=amplitude),), pixel_size_mm=0.1
    )
    times = np.array([0, 22, 35, 50, 300.0])
    masks = recording.active_masks(times, 5)
    assert masks.shape == (5, 40, 60)
    assert masks.dtype == bool
    for mask, time in zip(masks[1:4], times[1:4], strict=True):
        expected = brute_force_mask(recording, time, 5, amplitude)
        assert (mask & expected).sum() > 0.97 * (mask | expected).sum() > 0
    assert not masks[[0, 4]].any()


def test_a_change_below_two_percent_of_the_amplitude_is_no_activity():
    recording = quiet(waves=(Wave(origin_mm=(0.15 * 30.5, 0.15 * 20.5), start_s=10, band_s=36),))
    assert recording.signal(10.5).any()
    assert not recording.active_masks([9.6], 5).any()
    assert recording.active_masks([12], 5).any()


def test_active_masks_of_a_weak_wave_beside_a_strong_one():
    strong = Wave("plane", (0.0, 0.0), amplitude_percent=6)
    weak = Wave("plane", (9.0, 0.0), direction_deg=180, amplitude_percent=-0.5)
    recording = quiet(waves=(strong, weak))
    both, first, second = (recording.active_masks([40], 5, wave=w)[0] for w in (None, 0, 1))
    assert first.any()
    assert second.any()
    assert not (first & second).any()
    np.testing.assert_array_equal(both, first | second)


def test_active_band_is_20_to_30_pixels_wide():
    recording = Simulation(shape=(8, 512), waves=(Wave("plane", (0.0, 0.0)),), noise=QUIET)
    width = recording.active_masks([60, 90, 120], 5)[:, 4].sum(axis=1)
    assert (width >= 20).all()
    assert (width <= 30).all()


# Noise


def test_variance_is_that_of_shot_and_read_noise():
    noise = replace(QUIET, electrons_per_count=2.5, read_noise_counts=40)
    recording = Simulation(
        shape=(64, 64), waves=(), noise=noise, baseline_counts=8000, duration_s=10, frame_rate_hz=40
    )
    frames = recording.read().astype(float)
    background = recording.background().astype(float)
    np.testing.assert_allclose(frames.mean(axis=0), background, rtol=0.025)
    expected = background / 2.5 + 40**2
    ratio = frames.var(axis=0) / expected
    for part in (background < np.median(background), background >= np.median(background)):
        assert ratio[part].mean() == pytest.approx(1, abs=0.015)
    slope, at_zero = np.polyfit(background.ravel(), frames.var(axis=0).ravel(), 1)
    assert slope == pytest.approx(1 / 2.5, rel=0.05)
    assert at_zero == pytest.approx(1600, rel=0.1)


def test_read_noise_alone():
    noise = replace(QUIET, read_noise_counts=30)
    recording = quiet(waves=(), noise=noise, duration_s=0.5)
    residual = recording.read() - recording.background()
    assert residual.std() == pytest.approx(30, rel=0.02)


@pytest.mark.parametrize(("kind", "hz"), [("heartbeat", 8.3), ("breathing", 2.1)])
def test_the_pulse_is_at_its_frequency_and_stronger_in_vessels(kind, hz):
    noise = replace(QUIET, **{f"{kind}_percent": 0.5, f"{kind}_hz": hz, "vessel_factor": 3})
    recording = quiet(waves=(), noise=noise, duration_s=20, shape=(100, 120))
    frames = recording.read().astype(np.float32)
    trace = frames.mean(axis=(1, 2))
    spectrum = abs(np.fft.rfft(trace - trace.mean()))
    peak = np.fft.rfftfreq(len(trace), 1 / 60)[spectrum.argmax()]
    assert peak == pytest.approx(hz, abs=0.05)
    mask, background = recording.cortex_mask(), recording.background()
    depth = frames.std(axis=0) * np.sqrt(2) / background * 100
    assert np.percentile(depth[mask], 2) == pytest.approx(0.5, rel=0.05)
    assert 0.7 < depth.max() < 2.0
    lightness = background / uniform_filter(background, 21)
    inner = np.s_[25:-25, 25:-25]
    assert np.corrcoef(lightness[inner].ravel(), depth[inner].ravel())[0, 1] < -0.5


def test_drift_has_its_period_and_amplitude():
    noise = replace(QUIET, drift_percent=2.0, drift_period_s=40)
    recording = quiet(waves=(), noise=noise, duration_s=80, frame_rate_hz=2)
    trace = recording.read().mean(axis=(1, 2))
    part = trace / trace.mean() - 1
    assert part.max() == pytest.approx(0.02, rel=0.02)
    assert part.min() == pytest.approx(-0.02, rel=0.02)
    np.testing.assert_allclose(part[:80], part[80:], atol=1e-4)
    np.testing.assert_allclose(part[:40], -part[40:80], atol=1e-4)


def test_jitter_is_a_small_shift_now_and_then():
    noise = replace(QUIET, jitter_px=0.3, jitter_per_min=20)
    recording = Simulation(shape=(96, 96), waves=(), noise=noise, duration_s=20, seed=1)
    background = recording.background().astype(float)
    slopes = np.stack([g.ravel() for g in np.gradient(background)], axis=1)
    residual = (recording.read() - background).reshape(len(recording), -1)
    shifts = -np.linalg.lstsq(slopes, residual.T, rcond=None)[0].T
    size = np.hypot(*shifts.T)
    assert 0.1 < size.max() <= 0.301
    assert 0.03 < (size > 0.01).mean() < 0.5
    # The largest against a true shift of the picture, by phases in Fourier space.
    largest = size.argmax()
    fy, fx = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96)
    phase = np.exp(-2j * np.pi * (fy * shifts[largest, 0] + fx * shifts[largest, 1]))
    shifted = np.fft.irfft2(np.fft.rfft2(background) * phase, s=(96, 96))
    inner = np.s_[8:-8, 8:-8]
    seen = residual[largest].reshape(96, 96)[inner]
    left = seen - (shifted - background)[inner]
    assert left.std() < 0.4 * seen.std()


def test_dropped_frames_leave_gaps_and_change_no_other():
    full = quiet(shape=(9, 11), noise=Noise(dropped_fraction=0), duration_s=20)
    gappy = quiet(shape=(9, 11), noise=Noise(dropped_fraction=0.05), duration_s=20)
    assert len(full) == 1200
    assert len(gappy) == 1200 - 60
    assert "60 of 1200" in gappy.notes[0]
    assert not full.notes
    np.testing.assert_allclose(full.times_s, np.arange(1200) / 60)
    numbers = gappy.times_s * 60
    np.testing.assert_allclose(numbers, np.rint(numbers), atol=1e-9)
    assert gappy.times_s[0] == 0
    assert not gappy.times_s.flags.writeable
    steps = np.diff(np.rint(numbers).astype(int))
    assert steps.min() == 1
    assert (steps - 1).sum() + 1199 - round(numbers[-1]) == 60
    some = np.rint(numbers).astype(int)[:50]
    np.testing.assert_array_equal(gappy.read(0, 50), full.read()[some])


@pytest.mark.parametrize("seed", range(4))
def test_the_first_frame_is_never_dropped(seed):
    sparse = quiet(shape=(2, 2), noise=replace(QUIET, dropped_fraction=0.95), seed=seed)
    assert sparse.times_s[0] == 0
    assert len(sparse) == 360


def test_none_means_none():
    still = quiet(waves=(), duration_s=1)
    frames = still.read()
    assert (frames == frames[0]).all()
    np.testing.assert_array_equal(frames[0], np.rint(still.background()))
    assert len(still) == 60


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_counts_are_clipped_at_both_ends(dtype):
    top = int(np.iinfo(dtype).max)
    noise = replace(QUIET, read_noise_counts=top * 0.05)
    bright = quiet(waves=(), noise=noise, dtype=dtype, baseline_counts=top, duration_s=0.1).read()
    assert (bright == top).mean() > 0.2
    assert (bright < 0.1 * top).mean() < 0.01
    wave = Wave("plane", (0.0, 0.0), speed_mm_min=1e5, amplitude_percent=-100, start_s=0, band_s=3)
    dark = quiet(waves=(wave,), noise=noise, dtype=dtype, baseline_counts=top / 4, duration_s=2)
    frame = dark.read(60, 61)[0][dark.cortex_mask()]
    assert (frame == 0).mean() > 0.3
    assert (frame < top / 2).all()


# Files


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


# Wrong arguments


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
