"""Simulated noise against closed forms and independent measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from some_simulations import QUIET, quiet

from iosfast.simulate import Noise, Simulation, Wave


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


def fractions(recording):
    """Frames as a fractional change of the background, (T, Y, X)."""
    return recording.read() / recording.background().astype(float) - 1


def still(noise, **options):
    settings = {"shape": (96, 128), "frame_rate_hz": 1, "waves": (), **options}
    return Simulation(**settings, noise=replace(QUIET, **noise), baseline_counts=30000)


def test_vasomotion_has_its_size_and_period_and_is_smooth():
    recording = still({"vasomotion_percent": 1.0, "vasomotion_period_s": 20}, duration_s=400)
    change = fractions(recording)[:, recording.cortex_mask()]
    assert change.std() == pytest.approx(0.01, rel=0.15)
    assert abs(change.mean(axis=0)).max() < 0.004
    power = (abs(np.fft.rfft(change, axis=0)) ** 2).mean(axis=1)
    mean_hz = (np.fft.rfftfreq(400, 1) * power).sum() / power.sum()
    assert 1 / 30 < mean_hz < 1 / 13
    picture = fractions(recording)[7]
    assert np.corrcoef(picture[:, 1:].ravel(), picture[:, :-1].ravel())[0, 1] > 0.8


def spoiled(noise, **options):
    recording = still({"spell_per_min": 6, "spell_s": 4, **noise}, duration_s=600, **options)
    change = fractions(recording)
    return recording, change, abs(change).max(axis=(1, 2)) > 3e-4


def test_spells_come_as_often_and_last_as_long_as_asked():
    bands = [spoiled({"spell_bands_percent": 1.0}, seed=seed)[2] for seed in range(4)]
    part = np.mean(bands)
    assert part == pytest.approx(1 - np.exp(-6 * 4 / 60), rel=0.2)  # spells at random instants
    runs = sum(
        int(seconds[0]) + np.count_nonzero(np.diff(seconds.astype(int)) == 1) for seconds in bands
    )
    assert 3 < sum(map(np.sum, bands)) / runs < 7.5  # some follow one another


def test_bands_are_stripes_of_their_size():
    _, change, hit = spoiled({"spell_bands_percent": 2.0})
    spread = np.array([(p.std(axis=1).max(), p.std(axis=0).max()) for p in change[hit]])
    assert (spread.max(axis=1) > 0.003).all()
    assert (spread.min(axis=1) < 1e-3).mean() > 0.6  # in the others, two spells meet
    assert 0.012 < abs(change).max() < 0.042  # two spells may meet


def test_flicker_is_one_sided_and_lasts():
    recording, change, hit = spoiled({"spell_flicker_percent": 2.0})
    mean = change[hit][:, recording.cortex_mask()].mean(axis=1)
    assert (mean > 0.003).any()
    assert (mean < -0.003).any()
    assert abs(change).max() < 0.06
    picture = change[hit][0]
    y, x = np.indices(picture.shape)
    plane = np.stack([np.ones(picture.size), y.ravel(), x.ravel()], axis=1)
    left = np.linalg.lstsq(plane, picture.ravel(), rcond=None)[1]
    assert left[0] < 1e-3 * (picture**2).sum()


def test_clouds_of_a_spell_are_new_in_each_frame():
    _, change, hit = spoiled({"spell_clouds_percent": 1.0})
    both = np.flatnonzero(hit[1:] & hit[:-1])
    assert both.size
    for index in both[:5]:
        first, second = change[index].ravel(), change[index + 1].ravel()
        assert 0.003 < first.std() < 0.02
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.6


def test_a_spell_of_movement_is_a_constant_shift():
    recording, change, hit = spoiled({"spell_shift_px": 0.8})
    background = recording.background().astype(float)
    slopes = np.stack([g.ravel() for g in np.gradient(background)], axis=1)
    moved = (change[hit] * background).reshape(hit.sum(), -1)
    shifts = -np.linalg.lstsq(slopes, moved.T, rcond=None)[0].T
    size = np.hypot(*shifts.T)
    assert 0.31 < np.median(size) < 0.81
    assert size.max() < 1.7


def test_new_kinds_of_noise_change_no_other_draw():
    base = quiet(noise=Noise(), duration_s=1)
    more = quiet(
        noise=Noise(vasomotion_percent=0.1, spell_per_min=60, spell_bands_percent=1), duration_s=1
    )
    assert not np.array_equal(base.read(), more.read())
    np.testing.assert_array_equal(base.background(), more.background())
    off = quiet(noise=Noise(spell_per_min=60, spell_s=1), duration_s=1)
    np.testing.assert_array_equal(base.read(), off.read())


@pytest.mark.parametrize("frames", [1, 7, 60])
def test_noise_of_means_is_that_of_means(frames):
    noise = replace(
        QUIET,
        electrons_per_count=0.5,
        read_noise_counts=80,
        heartbeat_percent=0.5,
        breathing_percent=0.3,
        vessel_factor=0,
    )
    options = {"waves": (), "shape": (40, 50), "seed": 2}
    fast = Simulation(**options, noise=noise, duration_s=30, frame_rate_hz=60)
    slow = Simulation(
        **options,
        noise=noise.of_means(frames, 60),
        duration_s=30 - frames / 60,
        frame_rate_hz=60 / frames,
    )
    movie = fast.read(0, len(fast) // frames * frames).astype(float)
    means = movie.reshape(-1, frames, 40, 50).mean(axis=1)[: len(slow)]
    for got, expected in (
        (slow.read(), means),
        (np.diff(slow.read().astype(float)), np.diff(means)),
    ):
        assert got.std(axis=0).mean() == pytest.approx(expected.std(axis=0).mean(), rel=0.05)


def test_scaled_noise_is_in_proportion():
    noise = Noise(spell_per_min=20, spell_clouds_percent=0.5, vasomotion_percent=0.2, jitter_px=0.1)
    options = {"waves": (), "shape": (60, 60), "duration_s": 20, "frame_rate_hz": 2}
    small, large = (
        Simulation(**options, noise=n, baseline_counts=20000) for n in (noise, noise.scaled(3))
    )
    first, second = (r.read().astype(float) - r.background() for r in (small, large))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.999
    assert second.std() / first.std() == pytest.approx(3, rel=0.02)
    assert noise.scaled(100).jitter_px == 1
    assert Noise.none().scaled(5) == Noise.none()


@pytest.mark.parametrize(
    ("level", "low", "high", "percent"),
    [(1, 16, 30, 3.0), (2, 9, 16, -0.5), (3, 4.5, 8.5, 1.0)],
)
def test_levels_have_the_signal_to_noise_ratio_that_they_say(level, low, high, percent):
    noise = Noise.level(level, percent).of_means(60, 60)
    wave = Wave(amplitude_percent=percent, start_s=0)
    settings = {"duration_s": 201, "frame_rate_hz": 1, "noise": noise, "seed": level}
    empty = Simulation(**settings, waves=())

    def maps(images):
        smooth = np.array([uniform_filter(image.astype(float), 21) for image in images])
        return smooth[1:] / smooth[:-1] - 1

    cortex = empty.cortex_mask()
    inside = maps([empty.read(t, t + 1)[0] for t in range(0, 201, 5)])[:, cortex]
    middle = np.median(inside, axis=1, keepdims=True)
    deviation = 1.4826 * np.median(abs(inside - middle), axis=1)
    lone = Simulation(**{**settings, "noise": QUIET}, waves=(wave,))
    alone = maps([lone.background() * (1 + lone.signal(t)) for t in range(0, 201, 5)])
    extreme = (alone[:, cortex] * np.sign(percent)).max(axis=1)
    signal = np.median(extreme[extreme > 0.1 * extreme.max()])
    assert low < signal / np.median(deviation) < high
    spoiled = deviation > 1.7 * np.median(deviation)
    assert spoiled.any() == (level > 1)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: Noise.level(0), "level"),
        (lambda: Noise.level(4), "level"),
        (lambda: Noise.level(1, 0), "amplitude_percent"),
        (lambda: Noise().scaled(0), "factor"),
        (lambda: Noise().of_means(0, 60), "frames"),
        (lambda: Noise().of_means(60, 0), "frame_rate_hz"),
        (lambda: Noise(spell_s=0), "spell_s"),
        (lambda: Noise(vasomotion_period_s=0), "vasomotion_period_s"),
        (lambda: Noise(spell_shift_px=1.1), "spell_shift_px"),
    ],
)
def test_bad_levels_and_factors(call, error):
    with pytest.raises(ValueError, match=error):
        call()
