"""Speed of fronts whose truth is known, where that of the centroid fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import iosfast
from iosfast.activation import fit_arrival
from iosfast.simulate import Noise, Simulation, Wave

PIXEL_MM = 10 / 512
#: Shape, origin as parts of the field, direction and opening in degrees.
SHAPES = {
    "plane": ("plane", (0.0, 0.0), 20, 360),
    "ring": ("ring", (0.5, 0.5), 0, 360),
    "half ring": ("sector", (0.1, 0.5), 0, 180),
    "quarter ring": ("sector", (0.1, 0.1), 45, 90),
}


def arrival_s(name, speed, side, pixel_mm=(PIXEL_MM, PIXEL_MM)):
    """When the front comes to each pixel, infinite where it does not."""
    shape, origin, direction, opening = SHAPES[name]
    wave = Wave(shape=shape, direction_deg=direction, opening_deg=opening, speed_mm_min=speed)
    y, x = np.indices((side, side))
    return wave.delay_s((x - origin[0] * side) * pixel_mm[1], (y - origin[1] * side) * pixel_mm[0])


def moving_bands(arrival, speed, step_s, band_px=None, jitter_px=0.0, first_px=20):
    """Masks of a band behind the front, its outline shaken anew in every map, and their times."""
    random = np.random.default_rng(4)
    px_per_s = speed / 60 / PIXEL_MM
    last = arrival[np.isfinite(arrival)].max()
    times = np.arange(first_px / px_per_s, last + step_s, step_s) + 1e6
    fields = [gaussian_filter(random.standard_normal(arrival.shape), 3) for _ in range(3)]
    masks = np.empty((len(times), *arrival.shape), bool)
    for mask, time in zip(masks, times, strict=True):
        ahead = (time - 1e6 - arrival) * px_per_s
        if jitter_px:
            field = fields[random.integers(len(fields))]
            shift = random.integers(0, arrival.shape[0], 2)
            ahead += np.roll(field, shift, (0, 1)) * (jitter_px / field.std())
        mask[:] = (ahead >= 0) & np.isfinite(arrival)
        if band_px is not None:
            mask &= ahead <= band_px
    return masks, times


def speeds(masks, times, pixel_mm=(PIXEL_MM, PIXEL_MM)):
    result = iosfast.measure(masks, times, pixel_mm)
    return result, result.front_speed_mm_min[0]


@pytest.mark.parametrize("jitter_px", [0.0, 1.5])
@pytest.mark.parametrize("step_s", [1.0, 5.0])
@pytest.mark.parametrize("speed", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("name", SHAPES)
def test_speed(name, speed, step_s, jitter_px):
    advance_px = speed * step_s / 60 / PIXEL_MM
    arrival = arrival_s(name, speed, 448 if advance_px > 20 else 192 if advance_px > 5 else 144)
    band_px = max(25.0, 1.5 * advance_px)
    masks, times = moving_bands(arrival, speed, step_s, band_px, jitter_px)
    result, speed_map = speeds(masks, times)
    event = result.events.iloc[0]
    told = np.isfinite(speed_map)
    assert event.front_speed_median_mm_min == pytest.approx(speed, rel=0.02)
    assert np.median(np.abs(speed_map[told] / speed - 1)) < 0.1
    assert np.mean(np.abs(speed_map[told] / speed - 1)) < 0.1
    later = np.isfinite(result.activation_time_s[0]) & (result.activation_time_s[0] > times[0])
    assert told.sum() > 0.85 * later.sum()
    assert not told[~later].any()
    assert speed_map[told].max() < 2 * speed
    error_s = (result.arrival_time_s[0] - 1e6 - arrival)[told]
    assert np.abs(np.median(error_s)) < (2 + jitter_px) / (speed / 60 / PIXEL_MM)


def test_centroid_fails_where_the_front_does_not():
    masks, times = moving_bands(arrival_s("ring", 3.0, 192), 3.0, 5.0, 25)
    event = speeds(masks[:6], times[:6])[0].events.iloc[0]  # until it leaves the field
    assert event.net_speed_mm_min < 0.1
    assert event.front_speed_median_mm_min == pytest.approx(3, rel=0.02)
    assert event.front_speed_q25_mm_min == pytest.approx(3, rel=0.05)
    assert event.front_speed_q75_mm_min == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("jitter_px", [0.0, 1.5])
@pytest.mark.parametrize("band_px", [25, 42])
@pytest.mark.parametrize("name", SHAPES)
def test_bands_that_are_narrower_than_the_advance(name, band_px, jitter_px):
    """The front goes 43 pixels from map to map, so no mask covers what lies between."""
    masks, times = moving_bands(arrival_s(name, 10.0, 448), 10.0, 5.0, band_px, jitter_px)
    result, speed_map = speeds(masks, times)
    event = result.events.iloc[0]
    assert event.front_speed_median_mm_min == pytest.approx(10, rel=0.02)
    assert event.front_gaps >= len(times) // 2
    assert np.nanmax(speed_map) < 20
    assert not np.isfinite(speed_map[~masks.any(axis=0)]).any()


def test_no_gap_where_there_is_none():
    masks, times = moving_bands(arrival_s("quarter ring", 3.0, 192), 3.0, 5.0, 25, 1.5)
    assert speeds(masks, times)[0].events.front_gaps.item() == 0


def test_simulated_recording():
    """The masks of the simulation, in which a band appears, moves and fades."""
    wave = Wave(shape="sector", origin_mm=(1.0, 5.0), opening_deg=180, speed_mm_min=3.0)
    scene = Simulation(
        shape=(256, 256), pixel_size_mm=10 / 256, duration_s=260, waves=[wave], noise=Noise.none()
    )
    times = np.arange(20.0, 200.0, 5.0)
    masks = scene.active_masks(times, 5.0)
    event = iosfast.measure(masks, times, 10 / 256).events.iloc[0]
    assert event.front_speed_median_mm_min == pytest.approx(3, rel=0.02)


def test_pixels_that_are_not_square():
    pixel_mm = (2 * PIXEL_MM, PIXEL_MM)
    arrival = arrival_s("ring", 3.0, 192, pixel_mm)
    times = np.arange(30.0, np.floor(arrival.max()), 5.0)
    masks = times[:, None, None] >= arrival
    assert speeds(masks, times, pixel_mm)[0].events.front_speed_median_mm_min.item() == (
        pytest.approx(3, rel=0.02)
    )


def test_maps_at_uneven_times():
    random = np.random.default_rng(6)
    arrival = arrival_s("plane", 3.0, 192)
    times = 10 + np.cumsum(random.uniform(1, 9, 30))
    masks = times[:, None, None] >= arrival
    result, _ = speeds(masks, times)
    assert result.events.front_speed_median_mm_min.item() == pytest.approx(3, rel=0.02)


def test_two_speeds_side_by_side():
    """A map of speeds, and not one speed."""
    _y, x = np.indices((200, 300))
    slow, fast = 2.0, 5.0
    per_px = 60 * PIXEL_MM
    arrival = np.where(x < 150, x * per_px / slow, 150 * per_px / slow + (x - 150) * per_px / fast)
    times = np.arange(30, arrival.max() + 5, 5.0)
    _, speed_map = speeds(times[:, None, None] >= arrival, times)
    assert np.nanmedian(speed_map[:, 60:110]) == pytest.approx(slow, rel=0.02)
    assert np.nanmedian(speed_map[:, 190:250]) == pytest.approx(fast, rel=0.02)


def test_nothing_is_told_where_fronts_collide_or_rest():
    _y, x = np.indices((160, 320))
    per_px = 60 * PIXEL_MM / 3
    # Two planes meet in the middle, at x = 160.
    arrival = np.minimum(x, 319 - x) * per_px
    times = np.arange(10.0, arrival.max() + 10, 5.0)
    _, speed_map = speeds(times[:, None, None] >= arrival, times)
    assert np.isnan(speed_map[:, 158:162]).all()
    assert np.nanmax(speed_map) < 6
    assert np.nanmedian(speed_map) == pytest.approx(3, rel=0.02)
    # A front that rests for two minutes at x = 160.
    arrival = x * per_px + np.where(x >= 160, 120.0, 0.0)
    times = np.arange(10.0, arrival.max() + 10, 5.0)
    _, speed_map = speeds(times[:, None, None] >= arrival, times)
    assert np.nanmin(speed_map) > 0.3
    assert np.nanmax(speed_map) < 4.5
    assert np.nanmedian(speed_map) == pytest.approx(3, rel=0.02)


def test_all_at_once_has_no_speed():
    masks = np.zeros((3, 60, 60), bool)
    masks[0, 10:20, 10:20] = True
    masks[1, 5:50, 5:50] = True
    result, speed_map = speeds(masks, [0.0, 1.0, 2.0])
    assert np.isnan(speed_map).all()
    assert np.isnan(result.events.front_speed_median_mm_min.item())
    np.testing.assert_array_equal(
        result.activation_time_s[0][[15, 30, 55], [15, 30, 55]], [0.0, 1.0, np.nan]
    )


def test_speed_does_not_depend_on_threads_or_turns():
    masks, times = moving_bands(arrival_s("half ring", 3.0, 128), 3.0, 5.0, 25, 1.0)
    one = iosfast.measure(masks, times, PIXEL_MM, threads=1).front_speed_mm_min
    for threads in (2, 5):
        again = iosfast.measure(masks, times, PIXEL_MM, threads=threads).front_speed_mm_min
        np.testing.assert_array_equal(one, again)
    turned = iosfast.measure(np.swapaxes(masks, 1, 2), times, PIXEL_MM).front_speed_mm_min
    np.testing.assert_allclose(np.swapaxes(turned, 1, 2), one, rtol=1e-9)


def test_isochrones_are_where_the_front_is():
    arrival = arrival_s("ring", 3.0, 192)
    masks, times = moving_bands(arrival, 3.0, 5.0, 25)
    result, _ = speeds(masks, times)
    found = result.isochrones(0, times[2:5])
    assert [t for t, _ in found] == times[2:5].tolist()
    for time, lines in found:
        radius = np.hypot(*(np.vstack(lines) - 96).T)
        np.testing.assert_allclose(radius, (time - 1e6) * 3 / 60 / PIXEL_MM, atol=1.0)
    with pytest.raises(ValueError, match="levels_s"):
        result.isochrones(0, [np.nan])
    with pytest.raises(ValueError, match="number"):
        result.isochrones(1)


def test_no_front_at_all():
    nothing = fit_arrival(np.full((5, 6), -1, np.int32), np.array([0.0]), (1.0, 1.0))
    assert nothing.gaps == 0
    assert np.isnan(nothing.speed_mm_min).all()
    assert nothing.time_s.shape == (5, 6)
