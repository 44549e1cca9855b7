"""How well, and how fast, waves are outlined from one point, beside scikit-image's methods.

``pytest benchmarks/test_segmentation.py --results benchmarks/RESULTS.md`` writes the tables;
``--pictures FOLDER`` draws the worst clips of each level with the outlines.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import segmentation_clips as definition
from segmentation_clips import COUNTS, LEVELS, LabelledClip, clips, labelled_clip, maps_of
from segmentation_peers import PEERS, WHOLE_MAP_WALKER
from segmentation_scores import draw_clip, mean_dice, score, tables

import iosfast
from iosfast.simulate import Simulation

OURS = "iosfast, method front"
TITLE = "Segmentation from one point"
#: Least mean Dice of each level.
AIMS = {1: 0.92, 2: 0.87, 3: 0.75}
WORST = 3
WALKER = "random walker per map (scikit-image)"


def front(change, times_s, pixel_size_mm, prompts):
    """Masks (objects, T, Y, X) of the method under test."""
    count, height, width = change.shape
    clip = iosfast.Clip(
        change=change,
        times_s=times_s,
        names=tuple(f"{index:03d}" for index in range(count)),
        rgb=np.zeros((count, height, width, 3), np.uint8),
        pixel_size_mm=pixel_size_mm,
    )
    return iosfast.segment(clip, prompts, method="front").masks


METHODS = {OURS: front, **PEERS}


def prompts_of(clip: LabelledClip) -> list[iosfast.Prompt]:
    return [
        iosfast.Prompt(map_index=first, object_id=number, points=[point], labels=[1])
        for number, (first, point) in enumerate(clip.prompts, 1)
    ]


def masks_of(method, clip: LabelledClip) -> np.ndarray:
    return method(clip.change, clip.times_s, clip.pixel_size_mm, prompts_of(clip))


def test_every_fifth_image_makes_the_maps_of_the_default_recipe(benchmark):
    recording = Simulation(shape=(64, 80), duration_s=41, frame_rate_hz=1, waves=())
    maps = iosfast.preprocess(recording)
    found = benchmark.pedantic(lambda: maps_of(recording.read()[::5]), rounds=1)
    np.testing.assert_array_equal(found, maps.change)


def test_quality(benchmark, timed, section, pytestconfig):
    count = COUNTS["test"] if timed else 1
    scores = [
        score(name, masks_of(method, clip), clip)
        for level in LEVELS
        for clip in clips(level, "test", count)
        for name, method in METHODS.items()
    ]
    benchmark.pedantic(lambda: None, rounds=1)
    if not timed:
        assert mean_dice(scores, OURS, 1) > 0.8
        return
    lines = section(TITLE)
    ranges = "; ".join(f"{level}: {LEVELS[level].low} to {LEVELS[level].high}" for level in LEVELS)
    lines += [
        *(definition.__doc__ or "").partition("-----------\n")[2].strip().splitlines(),
        "",
        f"`PRESENT` {definition.PRESENT}, `SPOILED` {definition.SPOILED}, `PROMPT_PIXELS` "
        f"{definition.PROMPT_PIXELS}; signal-to-noise ratio at levels {ranges}; levels 2 and 3 "
        "also have spells that spoil pictures (`iosfast.simulate.Noise.level`).",
        "",
        "Dice: mean over the maps, from that of the prompt on, in which the truth or the outline "
        "is not empty; of a clip with two waves, the mean of both; then the mean over clips. In "
        "the column of all maps, one where both are empty counts 1.",
        "",
        *tables(scores, OURS),
    ]
    folder = pytestconfig.getoption("--pictures")
    for level in LEVELS if folder else ():
        ours = [s for s in scores if s.level == level and s.method == OURS]
        for worst in sorted(ours, key=lambda s: s.dice)[:WORST]:
            clip = labelled_clip(level, "test", int(worst.clip.rpartition("-")[2]))
            title = f"{clip.name} {clip.generator} {' '.join(clip.kinds)}: Dice {worst.dice:.3f}"
            draw_clip(clip, masks_of(front, clip), title, folder / f"{clip.name}.png")
    for level, aim in AIMS.items():
        dice = {name: mean_dice(scores, name, level) for name in METHODS}
        assert dice[OURS] >= aim, dice
        assert dice[OURS] == max(dice.values()), dice


def test_speed(race, timed):
    clip = labelled_clip(1, "test", 0)
    if not timed:
        (first, _), *_ = clip.prompts
        clip = replace(clip, change=clip.change[: first + 2], times_s=clip.times_s[: first + 2])
    race(
        f"{len(clip.change)} maps of 512 x 512, one wave",
        lambda: masks_of(front, clip),
        {
            "random walker on each whole map": (lambda: masks_of(WHOLE_MAP_WALKER, clip), "0.05"),
            "random walker near the last mask": (lambda: masks_of(PEERS[WALKER], clip), ""),
            "threshold gated by the previous mask": (
                lambda: masks_of(PEERS["threshold gated by the previous mask"], clip),
                "",
            ),
        },
        rounds=3,
        section=TITLE,
    )
