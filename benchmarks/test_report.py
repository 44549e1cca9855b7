"""The report of a session of 40 episodes: how long it takes, how large it is, how fast it opens."""

import time
from dataclasses import replace

import browser
import numpy as np
import pytest
import wave_maps
from conftest import SHAPE, SMALL_SHAPE
from scipy.ndimage import gaussian_filter

import iosfast
from iosfast.figures import ColorScale
from iosfast.maps import Maps

#: Maps of an episode, and of it with the quiet maps around it; the data set has 30 on average.
EPISODE_MAPS, PERIOD_MAPS = 30, 44
TITLE = "Report of a session"


@pytest.fixture(scope="module")
def maps(timed, tmp_path_factory):
    """Planes that cross the cortex one after the other, each with noise of its own place."""
    episodes, shape = (40, SHAPE) if timed else (2, SMALL_SHAPE)
    count, random = episodes * PERIOD_MAPS, np.random.default_rng(0)
    speed_px = shape[1] / EPISODE_MAPS
    one = wave_maps.wave(PERIOD_MAPS, 6, speed_px, shape=shape).astype(np.float32)
    noise = gaussian_filter(random.normal(size=(24, *shape)), (0, 3, 3)).astype(np.float32)
    noise *= 0.001 / noise.std()
    change = np.concatenate([one] * episodes)
    for number, image in enumerate(change):
        image += np.roll(noise[number % 24], random.integers(0, shape[1], 2), (0, 1))
    plain = wave_maps.maps_of(change[:1], pixel_size_mm=10 / shape[1])
    times = 5.0 * np.arange(count + 1)
    info = replace(
        plain.info,
        times_s=times[1:],
        bin_times_s=times,
        bin_frames=np.full(count + 1, 300),
        recipe=iosfast.Recipe(bin_seconds=5.0, interval_bins=1),
    )
    level = 20_000 + 3_000 * gaussian_filter(random.normal(size=shape), 3)
    binned = np.empty((count + 1, *shape), np.uint16)
    for image in binned:
        image[...] = level + random.normal(0, 20, shape[1])
    rgb = np.empty((*change.shape, 3), np.uint8)
    scale = ColorScale.of(info.recipe)
    for image, colored in zip(change, rgb, strict=True):
        colored[...] = scale.rgb(image)
    session = Maps(info, None, _stacks={"change": change, "rgb": rgb, "binned": binned})
    return iosfast.load(session.save(tmp_path_factory.mktemp("session") / "maps"))


def test_report(maps, timed, folder, section, benchmark):
    def made():
        return iosfast.report(maps, folder / "report", overwrite=True)

    begin = time.perf_counter()
    page = benchmark.pedantic(made, rounds=1)
    took_s = time.perf_counter() - begin
    text = page.read_text(encoding="utf-8")
    count = len(maps) // PERIOD_MAPS
    assert text.count('<article class="episode"') == text.count("<video ") == count
    if not timed:
        return
    lines = section(TITLE)
    height, width = maps.info.shape
    lines += [
        f"{len(maps):,} maps of {height} x {width} pixels with {count} episodes, in the page "
        f"cache: {took_s:.0f} s, page of {page.stat().st_size / 1e6:.0f} MB with the videos "
        f"{'in' if '<video ' in text and 'data:video' in text else 'beside'} it.",
    ]
    if browser.chromium() is not None:
        found = browser.opened(page)
        assert found["errors"] == found["requests"] == []
        lines += [
            f"Chromium has loaded it, all pictures and what videos tell of themselves, after "
            f"{found['load_ms'] / 1000:.1f} s."
        ]
