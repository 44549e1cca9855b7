"""Episodes in maps of which the waves are known."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from wave_maps import PIXEL_MM, SHAPE, maps_of, noise, wave

import iosfast.wave_tracks as wave_tracks
from iosfast import IosfastWarning, Recipe, find_episodes, load, preprocess
from iosfast.simulate import Simulation, Wave


def test_a_wave_that_crosses():
    change = noise(150) + wave(150, 40)
    (episode,) = find_episodes(maps_of(change), midline=10)
    # The front leaves x = 0 in map 40 and reaches x = 63 with 63 / 2 maps more, and rises for 2.5.
    assert abs(episode.start - 40) <= 1
    assert abs(episode.end - (40 + 63 / 2 + 2)) <= 2
    assert len(episode) == episode.end - episode.start + 1
    assert episode.labels == ("1",)
    assert episode.hemisphere == "right"
    assert 0.8 < episode.confidence <= 1
    assert episode.start_s == 5.0 * (episode.start + 1)
    assert episode.names[0] < episode.names[1]
    at, (x, _) = episode.waves[0].seed
    assert at == episode.start
    assert x <= 6


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ["dff", "ratio", "difference", "baseline"])
def test_kinds_of_change(sign, kind):
    change = noise(120) + sign * wave(120, 40)
    recipe, made = Recipe(), change
    if kind == "ratio":
        recipe, made = Recipe(change="ratio"), 1 + change
    elif kind == "difference":
        recipe, made = Recipe(change="difference", scale="per_map"), 1000 * change
    elif kind == "baseline":
        recipe, made = Recipe(baseline_bins=5), np.cumsum(change, axis=0)
    (episode,) = find_episodes(maps_of(made, recipe))
    assert abs(episode.start - 40) <= 1
    assert abs(episode.end - 73) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_wave(seed):
    smooth = scipy.ndimage.gaussian_filter(noise(400, seed), (0, 2, 2))
    assert find_episodes(maps_of(smooth)) == []


def disturbed(kind, count):
    random = np.random.default_rng(7)
    pattern = scipy.ndimage.gaussian_filter(random.normal(size=SHAPE), 2)
    pattern /= pattern.std()
    images = np.zeros((count + 1, 1, 1))
    if kind == "breathing":
        images = 0.004 * np.sin(np.arange(count + 1) * 2.5)[:, None, None]
        return np.diff(images * (1 + 0.5 * pattern), axis=0)
    if kind == "drift":
        images = 0.05 * np.sin(np.arange(count + 1) / 30)[:, None, None]
        return np.diff(images * np.ones(SHAPE), axis=0)
    if kind == "movement":
        images = np.where(random.random(count + 1) < 0.1, 0.02, 0)[:, None, None]
        return np.diff(images * pattern, axis=0)
    if kind == "bursts":
        images = 0.02 * scipy.ndimage.gaussian_filter(
            random.normal(size=(count + 1, *SHAPE)), (0, 2, 2)
        )
        return np.diff(images * (random.random(count + 1) < 0.1)[:, None, None], axis=0)
    assert kind == "flickering spot"
    y, x = np.indices(SHAPE)
    spot = np.exp(-((y - 30) ** 2 + (x - 20) ** 2) / 60)
    return np.diff(0.02 * np.cumsum(random.normal(size=count + 1))[:, None, None] * spot, axis=0)


@pytest.mark.parametrize("kind", ["breathing", "drift", "movement", "bursts", "flickering spot"])
def test_disturbances_are_no_waves(kind):
    change = disturbed(kind, 250) + noise(250)
    assert find_episodes(maps_of(change)) == []
    (episode,) = find_episodes(maps_of(change + wave(250, 100)))
    assert abs(episode.start - 100) <= 2
    assert abs(episode.end - 133) <= 2


def test_waves_apart_and_at_once():
    count = 300
    change = noise(count) + wave(count, 30, origin=(5, 5), maps_long=15)
    change += wave(count, 150, origin=(8, 30), maps_long=12)
    change += wave(count, 153, origin=(55, 30), maps_long=10)
    first, second = find_episodes(maps_of(change), midline=[(32, 59), (32, 0)])
    assert first.labels == ("1",)
    assert second.labels == ("2-1", "2-2")
    assert [w.hemisphere for w in second.waves] == ["left", "right"]
    assert second.hemisphere is None
    assert abs(second.start - 150) <= 1
    assert abs(second.waves[1].start - 153) <= 1
    for found, origin in zip(second.waves, [(8, 30), (55, 30)], strict=True):
        assert np.hypot(*np.subtract(found.seed[1], origin)) <= 5


def test_spoiled_maps_do_not_tear_a_wave():
    change = noise(150) + wave(150, 40)
    images = np.zeros((151, *SHAPE))
    random = np.random.default_rng(3)
    for at in (48, 55, 56, 64):
        images[at] = scipy.ndimage.gaussian_filter(random.normal(0, 0.3, SHAPE), 2)
    (episode,) = find_episodes(maps_of(change + np.diff(images, axis=0)))
    assert abs(episode.start - 40) <= 1
    assert abs(episode.end - 73) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_faster_than_any_wave(seed):
    change = noise(150, seed) + wave(150, 40, speed_px=20)  # 37.5 mm/min
    assert find_episodes(maps_of(change)) == []


def test_blocks_files_and_unknown_pixels(tmp_path, monkeypatch):
    change = noise(150) + wave(150, 40)
    mask = np.ones(SHAPE, bool)
    mask[:, :7] = False
    change[60, 3, 3] = np.nan
    whole = find_episodes(maps_of(change, mask=mask))
    assert len(whole) == 1
    maps_of(change, mask=mask).save(tmp_path / "maps")
    monkeypatch.setattr(wave_tracks, "BLOCK_BYTES", 7 * 4 * 60 * 64)
    assert find_episodes(load(tmp_path / "maps")) == whole
    change[61, 3, 8] = np.nan
    with pytest.raises(ValueError, match="map 61 of maps is not finite within the cortex"):
        find_episodes(maps_of(change, mask=mask))


def test_large_maps_are_seen_on_a_coarse_grid():
    change = noise(100, shape=SHAPE).repeat(3, axis=1).repeat(3, axis=2)
    change += wave(100, 30, speed_px=6.0, shape=(180, 192))
    maps = maps_of(change, pixel_size_mm=PIXEL_MM / 3)
    course = wave_tracks.Course.of(maps)
    assert course.block_px == 3
    assert course.z.shape == (100, *SHAPE)
    (episode,) = find_episodes(maps)
    assert abs(episode.start - 30) <= 1
    assert episode.waves[0].seed[1][0] < 20


def test_pixels_of_unknown_size():
    maps = maps_of(noise(120) + wave(120, 40), pixel_size_mm=None)
    with pytest.warns(IosfastWarning, match="the size of a pixel is not known; episodes are so"):
        guessed = find_episodes(maps)
    assert guessed == find_episodes(maps, pixel_size_mm=PIXEL_MM)


def test_limits():
    maps = maps_of(noise(150) + wave(150, 40, origin=(30, 30), maps_long=6))
    (episode,) = find_episodes(maps)
    assert find_episodes(maps, min_area_mm2=60) == []
    assert find_episodes(maps, min_maps=len(episode) + 2) == []
    assert find_episodes(maps_of(noise(3))) == []
    assert find_episodes(maps_of(np.zeros((50, *SHAPE)))) == []


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"midline": "left"}, TypeError, "midline must be a number, not 'left'"),
        ({"midline": [(1, 2)]}, ValueError, "midline must be x, or two or more finite"),
        ({"midline": [(1, 2), (3, np.nan)]}, ValueError, "two or more finite"),
        ({"midline": [(1, 2), (3, 9), (2, 5)]}, ValueError, "y has to increase"),
        ({"midline": [(1, 2), "ab"]}, TypeError, "midline must be x"),
        ({"pixel_size_mm": 0}, ValueError, "pixel_size_mm must be above 0"),
        ({"max_speed_mm_min": -1}, ValueError, "max_speed_mm_min must be above 0"),
        ({"min_area_mm2": 0}, ValueError, "min_area_mm2 must be above 0"),
        ({"min_maps": 1}, ValueError, "min_maps must be at least 2"),
    ],
)
def test_arguments_that_do_not_fit(options, error, told):
    with pytest.raises(error, match=told):
        find_episodes(maps_of(noise(10)), **options)


def test_what_is_no_maps():
    with pytest.raises(TypeError, match="maps must be Maps, as preprocess and load return them"):
        find_episodes(noise(10))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.7))
def test_patches_are_those_of_scipy(seed, share):
    active = np.random.default_rng(seed).random((3, 9, 11)) < share
    for image, patches in zip(active, wave_tracks._patches(active), strict=True):
        labels, count = scipy.ndimage.label(image, np.ones((3, 3)))
        expected = {
            frozenset(zip(*np.nonzero(labels == n), strict=True)) for n in range(1, count + 1)
        }
        assert {frozenset(map(tuple, patch.tolist())) for patch in patches} == expected
        assert len(patches) == count


def test_outliers_by_a_plain_loop():
    random = np.random.default_rng(2)
    course = random.normal(size=(400, 3)).astype(np.float32)
    course[::17] *= 20
    sigma = np.array([0.5, 1, 2], np.float32)
    expected = course.copy()
    for t in range(400):
        for cell in range(3):
            near = [course[min(max(t + d, 0), 399), cell] for d in range(-2, 3)]
            if abs(course[t, cell] - np.median(near)) > 3 * sigma[cell]:
                expected[t, cell] = np.median(near)
    wave_tracks._remove_outliers(course, sigma)
    np.testing.assert_array_equal(course, expected)


def test_common_change_under_a_wave():
    random = np.random.default_rng(4)
    cells = random.normal(0, 0.1, (50, 2000)).astype(np.float32)
    cells[:, :1100] += random.uniform(1, 6, 1100).astype(np.float32)  # more than half
    cells += np.arange(50, dtype=np.float32)[:, None]
    assert abs(wave_tracks._common(cells) - np.arange(50)).max() < 0.05


def test_common_change_under_the_wake_of_a_wave():
    random = np.random.default_rng(5)
    cells = random.normal(0, 0.1, (50, 2000)).astype(np.float32)
    cells[20:30, :900] = random.normal(-2, 0.05, (10, 900))  # closer together than those at rest
    cells[20:30, 900:1200] = random.uniform(-2, 4, (10, 300))
    assert abs(wave_tracks._common(cells)).max() < 0.05


def test_a_wave_in_the_wake_of_another_one():
    count = 150
    change = noise(count) + wave(count, 40, size=-0.02, maps_long=20)
    change += wave(count, 46, size=0.04, maps_long=20)
    (episode,) = find_episodes(maps_of(change))
    assert abs(episode.start - 40) <= 1
    assert abs(episode.end - 68) <= 1
    assert episode.waves[0].end <= 63
    assert abs(episode.waves[1].start - 46) <= 1


def test_a_front_is_not_followed_into_the_wake_of_another_one():
    count = 150
    change = noise(count) + wave(count, 40, size=-0.02, maps_long=12)
    change += wave(count, 46, size=0.03, origin=(63, 30))
    (episode,) = find_episodes(maps_of(change))
    assert {wave.seed[0] for wave in episode.waves} == {episode.start, 46}
    assert abs(episode.waves[0].end - 54) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_the_wake_of_a_strong_wave_is_no_wave(seed):
    """It is clear, too, and as it is so in most of these maps, it seems as strong as the front."""
    recording = Simulation(
        shape=(64, 64),
        duration_s=150,
        frame_rate_hz=2,
        pixel_size_mm=10 / 64,
        waves=[Wave(shape="ring", origin_mm=(1.5, 8.5), amplitude_percent=3, start_s=15)],
        seed=seed,
    )
    (episode,) = find_episodes(preprocess(recording))
    assert len(episode.waves) == 1
    assert abs(episode.start - 4) <= 1
