"""Simulated waves and their truth against closed forms and independent measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from some_simulations import QUIET, centres_mm, quiet

from iosfast.simulate import Simulation, Wave


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
