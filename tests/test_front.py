"""Method "front" on moving bands whose place is known."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from some_clips import (
    INTERVAL_S,
    NOISE,
    PIXEL_MM,
    SHAPE,
    band,
    clip_of,
    inner_point,
    noise,
    plane,
    ring,
    truth_of,
)  # fmt: skip

from iosfast import IosfastWarning, Prompt, _core, segment

COUNT, FIRST = 26, 4
ARRIVALS = {
    "plane": plane(),
    "ring": ring((30, 40)),
    "from below": 1 + (SHAPE[0] - 1 - np.indices(SHAPE)[0]) / 4.0,
    "slow and aslant": 1 + (np.indices(SHAPE)[1] + 0.4 * np.indices(SHAPE)[0]) / 3.0,
}


def dice(masks, truth):
    """Dice of each map; 1 where both are empty."""
    both = 2.0 * (masks & truth).sum(axis=(-2, -1))
    size = masks.sum(axis=(-2, -1)) + truth.sum(axis=(-2, -1))
    return np.where(size, both / np.maximum(size, 1), 1.0)


def point_in(truth, index=FIRST, object_id=1):
    y, x = np.nonzero(truth[index])
    middle = len(x) // 2
    return Prompt(index, object_id, points=[(float(x[middle]), float(y[middle]))])


def outline_of(mask):
    """A polygon through the first and last pixel of each row of a mask without gaps."""
    rows = np.flatnonzero(mask.any(axis=1))
    left = [(int(np.flatnonzero(mask[y])[0]), int(y)) for y in rows]
    right = [(int(np.flatnonzero(mask[y])[-1]), int(y)) for y in rows]
    return left + right[::-1]


def prompts_on(truth, index=FIRST):
    y, x = np.nonzero(truth[index])
    told = {
        "point": point_in(truth, index),
        "box": Prompt(index, box=(x.min(), y.min(), x.max(), y.max())),
        "mask": Prompt(index, mask=truth[index]),
    }
    polygon = outline_of(truth[index])
    drawn = Prompt(index, polygon=polygon)
    if (drawn.drawing(SHAPE) == truth[index]).all():
        told["polygon"] = drawn
    return told


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", ARRIVALS)
@pytest.mark.parametrize(("sd", "bound"), [(NOISE, 0.93), (3 * NOISE, 0.87)])
def test_a_band_is_outlined_from_any_prompt(shape, sign, sd, bound):
    maps = band(ARRIVALS[shape], COUNT)
    truth = truth_of(maps)
    clip = clip_of(sign * maps + noise(COUNT, sd))
    kinds = prompts_on(truth)
    assert len(kinds) >= 3
    for kind, prompt in kinds.items():
        found = segment(clip, [prompt])
        assert not found.masks[0, :FIRST].any()
        scores = dice(found.masks[0], truth)[FIRST:][truth[FIRST:].sum(axis=(1, 2)) > 100]
        assert scores.mean() > bound, (kind, scores)
        assert scores[:-1].min() > bound - 0.25, (kind, scores)
        assert not found.notes


def test_pixels_that_were_drawn_stay_as_they_are():
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    clip = clip_of(maps + noise(COUNT))
    drawn = np.zeros(SHAPE, bool)
    drawn[7:80, 20:33] = True
    (masks,) = segment(clip, [Prompt(5, mask=drawn)]).masks
    np.testing.assert_array_equal(masks[5], drawn)
    box = Prompt(5, box=(10, 20, 40, 60))
    (masks,) = segment(clip, [box]).masks
    assert masks[5].any()
    assert not (masks[5] & ~box.within(SHAPE)).any()
    halves = [np.where(half, truth[5], False) for half in np.array_split(np.eye(2, dtype=bool), 2)
              for half in [np.repeat(half[0], SHAPE[0] // 2)[:, None]]]  # fmt: skip
    (masks,) = segment(clip, [Prompt(5, mask=half) for half in halves]).masks
    np.testing.assert_array_equal(masks[5], truth[5])


def test_two_boxes_of_one_map_are_taken_together():
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    clip = clip_of(maps + noise(COUNT))
    boxes = [Prompt(FIRST, box=(8, 5, 28, 40)), Prompt(FIRST, box=(8, 60, 28, 90))]
    (masks,) = segment(clip, boxes).masks
    assert dice(masks, truth)[FIRST + 1 :].mean() > 0.9
    either = boxes[0].within(SHAPE) | boxes[1].within(SHAPE)
    assert (masks[FIRST] & boxes[0].within(SHAPE)).any()
    assert (masks[FIRST] & boxes[1].within(SHAPE)).any()
    assert not (masks[FIRST] & ~either).any()


def two_bands():
    """A band from the left, and a darkening one from the right, until they meet."""
    x = np.indices(SHAPE)[1]
    one, two = plane(), 9 + (SHAPE[1] - 1 - x) / 6.0
    first = one <= two
    one, two = np.where(first, one, np.inf), np.where(first, np.inf, two)
    return band(one, COUNT), -band(two, COUNT)


def test_objects_that_start_later():
    one, two = two_bands()
    truths = np.array([truth_of(one), truth_of(two, -1)])
    clip = clip_of(one + two + noise(COUNT))
    later = 12
    told = [point_in(truths[1], later, object_id=7), point_in(truths[0], FIRST, object_id=2)]
    found = segment(clip, told)
    assert found.objects == (2, 7)
    assert not found.masks[1, :later].any()
    for masks, truth, start in zip(found.masks, truths, (FIRST, later), strict=True):
        assert dice(masks, truth)[start:16].mean() > 0.9
        assert not masks[20:].any()


MEETING = {
    "crossing": (ARRIVALS["plane"], ARRIVALS["from below"], 1.5, 0.75),
    "one behind the other": (ring((30, 40)), 9 + ring((36, 44)), 1.6, 0.9),
}


@pytest.mark.parametrize("meeting", MEETING)
@pytest.mark.parametrize("turned", [False, True])
def test_waves_that_meet_are_told_apart(meeting, turned):
    one, two, height, bound = MEETING[meeting]
    maps = [band(one, COUNT), height * band(two, COUNT)]
    if turned:
        maps.reverse()
    truths = np.array([truth_of(each) for each in maps])
    clip = clip_of(maps[0] + maps[1] + noise(COUNT))
    starts = [int((truth.sum(axis=(1, 2)) > 100).argmax()) for truth in truths]
    found = segment(
        clip, [point_in(t, at, o) for t, at, o in zip(truths, starts, (1, 2), strict=True)]
    )
    for masks, truth, start in zip(found.masks, truths, starts, strict=True):
        seen = truth.sum(axis=(1, 2)) > 100
        assert dice(masks, truth)[seen & (np.arange(COUNT) > start)].mean() > bound


def test_a_correction_before_the_start_of_another_object():
    one, two = two_bands()
    truths = np.array([truth_of(one), truth_of(two, -1)])
    clip = clip_of(one + two + noise(COUNT))
    told = [
        point_in(truths[0], FIRST, object_id=1),
        Prompt(7, 1, mask=truths[0][7]),
        point_in(truths[1], 12, object_id=2),
    ]
    found = segment(clip, told)
    np.testing.assert_array_equal(found.masks[0, 7], truths[0][7])
    assert found.masks[1, 12:16].any(axis=(1, 2)).all()


def forked():
    """Two bands of the same kind, one above the other; a point marks the upper one."""
    y = np.indices(SHAPE)[0]
    upper = band(np.where(y < 40, plane(), np.inf), COUNT)
    lower = band(np.where(y > 56, plane(first=6.0), np.inf), COUNT)
    return upper, lower


@pytest.mark.parametrize("backwards", [False, True])
def test_corrections_hold_from_their_map_on(backwards):
    upper, lower = forked()
    clip = clip_of(upper + lower + noise(COUNT))
    prompt = point_in(truth_of(upper), FIRST)
    alone = segment(clip, [prompt])
    more = Prompt(13, mask=truth_of(upper)[13] | truth_of(lower)[13])
    found = segment(clip, [prompt, more], correct_backwards=backwards)
    below = np.s_[0, :, 60:]
    np.testing.assert_array_equal(found.masks[0, 13], more.mask)
    assert found.masks[below][14:18].any(axis=(1, 2)).all()
    if backwards:
        assert found.masks[below][8:13].any(axis=(1, 2)).all()
    else:
        np.testing.assert_array_equal(found.masks[0, :13], alone.masks[0, :13])
        assert not alone.masks[below].any()
    assert found.prompted[0].nonzero()[0].tolist() == [FIRST, 13]


def test_an_object_that_is_said_to_be_gone():
    maps = band(plane(), COUNT)
    clip = clip_of(maps + noise(COUNT))
    start = point_in(truth_of(maps), FIRST)
    gone = Prompt(12, mask=np.zeros(SHAPE, bool))
    (masks,) = segment(clip, [start, gone]).masks
    (alone,) = segment(clip, [start]).masks
    np.testing.assert_array_equal(masks[:12], alone[:12])
    assert not masks[12].any()


def test_negative_points():
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    clip = clip_of(maps + noise(COUNT))
    x, y = inner_point(truth[FIRST])
    both = Prompt(FIRST, points=[(x, 30.0), (x, 80.0)], labels=[1, 0])
    (masks,) = segment(clip, [both]).masks
    assert masks[FIRST, 30, int(x)]
    assert not masks[FIRST, 80, int(x)]
    near = Prompt(FIRST, points=[(x, y), (x, y + 2)], labels=[1, 0])  # in one cell
    (masks,) = segment(clip, [near]).masks
    assert masks[FIRST, int(y), int(x)]
    assert not masks[FIRST, int(y) + 2, int(x)]
    assert dice(masks, truth)[FIRST + 2 : 20].mean() > 0.9


@pytest.mark.parametrize("sd", [20 * NOISE, 0.0])
def test_maps_that_show_nothing_do_not_lose_the_wave(sd):
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    spoiled = [9, 10, 15]
    change = maps + noise(COUNT)
    change[spoiled] = noise(3, sd, seed=4) if sd else 0.0
    found = segment(clip_of(change), [point_in(truth)])
    scores = dice(found.masks[0], truth)
    good = np.setdiff1d(np.arange(FIRST, 26), spoiled)
    assert scores[good].mean() > 0.9
    assert scores[spoiled].min() > 0.6
    assert found.look_at[0].nonzero()[0].tolist() == spoiled
    assert found.confidence[0, spoiled].max() < 0.6 < found.confidence[0, good[:-6]].min()


def test_a_wave_that_ends_or_leaves_is_not_outlined_any_more():
    for arrival, last in ((ring((64, 48), radius_px=30), 9), (plane(speed_px=12.0), 15)):
        maps = band(arrival, COUNT)
        found = segment(clip_of(maps + noise(COUNT)), [point_in(truth_of(maps))])
        assert found.masks[0, FIRST].any()
        assert not found.masks[0, last:].any()
        assert (found.confidence[0, last:] == 0).all()
        assert not found.look_at[0, last:].any()


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_outlined(seed):
    clip = clip_of(noise(COUNT, seed=seed))
    told = [
        [Prompt(FIRST, points=[(40, 50)])],
        [Prompt(FIRST, box=(20, 20, 60, 60))],
        [Prompt(FIRST, points=[(100, 20)]), Prompt(FIRST + 6, points=[(60, 20)])],
    ]
    for prompts in told:
        found = segment(clip, prompts)
        assert found.empty
        (note,) = found.notes
        assert note.startswith(f"object 1: no wave was found that the prompt on map {FIRST}")
        assert not found.confidence.any()
        assert not found.look_at.any()


def test_maps_without_any_change():
    found = segment(clip_of(np.zeros((8, *SHAPE))), [Prompt(2, points=[(40, 50)])])
    assert found.empty
    assert len(found.notes) == 1
    found = segment(clip_of(np.ones((1, *SHAPE))), [Prompt(0, points=[(40, 50)])])
    assert found.empty
    drawn = np.zeros(SHAPE, bool)
    drawn[20:40, 30:50] = True
    found = segment(clip_of(noise(8)), [Prompt(2, mask=drawn)])
    np.testing.assert_array_equal(found.masks[0, 2], drawn)
    assert not np.delete(found.masks[0], 2, axis=0).any()


@pytest.mark.parametrize(("fast_px", "count"), [(120.0, 18), (30.0, 28)])
def test_no_front_is_faster_than_it_can_be(fast_px, count):
    """A band that runs two or more times as fast as is allowed from some place on."""
    shape = (96, 500)
    x = np.indices(shape)[1]
    maps = band(1 + np.where(x < 100, x / 10.0, 10 + (x - 100) / fast_px), count)
    px_mm_min = PIXEL_MM * 60 / INTERVAL_S
    prompt = point_in(truth_of(maps))
    clip = clip_of(maps + noise(count, shape=shape))
    bound = segment(clip, [prompt], max_speed_mm_min=15 * px_mm_min)
    assert bound.masks[0, FIRST:11].any(axis=(1, 2)).all()
    assert not bound.masks[0, :, :, 300:].any()
    free = segment(clip, [prompt], max_speed_mm_min=150 * px_mm_min)
    assert free.masks[0, :, :, 400:].any()


def test_back_in_time():
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    clip = clip_of(maps + noise(COUNT))
    prompt = point_in(truth, 12)
    forward = segment(clip, [prompt])
    both = segment(clip, [prompt], direction="both")
    np.testing.assert_array_equal(both.masks[0, 12:], forward.masks[0, 12:])
    assert not forward.masks[0, :12].any()
    scores = dice(both.masks[0], truth)
    assert scores[2:12].mean() > 0.85
    assert (both.confidence[0, 3:12] > 0.6).all()


def test_times_that_are_not_regular():
    times = np.cumsum([0, 1, 1, 0.5, 0.5, 1, 1, 2, 1, 1, 1, 0.25, 0.75, 1, 1, 3, 1, 1, 1, 1])
    maps = band(plane(), len(times), times=times)
    truth = truth_of(maps)
    found = segment(clip_of(maps + noise(len(times)), times=times), [point_in(truth)])
    assert dice(found.masks[0], truth)[FIRST:].mean() > 0.9


def test_a_gap_of_days_ends_the_wave():
    times = np.arange(COUNT) + 20_000.0 * (np.arange(COUNT) >= 14)
    maps = band(plane(), COUNT)
    maps[14:] = 0
    truth = truth_of(maps)
    found = segment(clip_of(maps + noise(COUNT), times=times), [point_in(truth)])
    assert dice(found.masks[0], truth)[FIRST:14].mean() > 0.93
    assert not found.masks[0, 14:].any()


def test_results_are_the_same_with_any_number_of_threads():
    one, two = two_bands()
    clip = clip_of(one + two + noise(COUNT, 3 * NOISE))
    told = [
        point_in(truth_of(one)), Prompt(9, mask=truth_of(one)[9]),
        point_in(truth_of(two, -1), 12, object_id=2),
    ]  # fmt: skip
    single = segment(clip, told, threads=1, direction="both")
    assert single.masks.any(axis=(2, 3)).sum() > 20
    for threads in (2, 3, 8, 0):
        many = segment(clip, told, threads=threads, direction="both")
        np.testing.assert_array_equal(many.masks, single.masks)
        np.testing.assert_array_equal(many.confidence, single.confidence)


@pytest.mark.parametrize("exponent", [-110, -40, 30, 115])
def test_the_unit_of_the_change_does_not_matter(exponent):
    maps = band(plane(), COUNT)
    change = (maps + noise(COUNT)).astype(np.float32)
    told = [point_in(truth_of(maps))]
    plain = segment(clip_of(change), told)
    scaled = segment(clip_of(np.ldexp(change, exponent)), told)
    assert not plain.empty
    np.testing.assert_array_equal(scaled.masks, plain.masks)
    np.testing.assert_array_equal(scaled.confidence, plain.confidence)


def test_pixels_outside_of_the_cortex_do_not_count():
    maps = band(plane(), COUNT)
    truth = truth_of(maps)
    y, x = np.indices(SHAPE)
    cortex = (y - 48) ** 2 / 45**2 + (x - 64) ** 2 / 62**2 < 1
    change = (maps + noise(COUNT)).astype(np.float32)
    told = [Prompt(FIRST, points=[(18, 48)])]
    found = segment(clip_of(change, mask=cortex), told)
    assert not (found.masks & ~cortex).any()
    shown = (truth & cortex).sum(axis=(1, 2)) > 200
    shown[:FIRST] = False
    assert dice(found.masks[0], truth & cortex)[shown].mean() > 0.9


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 40), (40, 1), (3, 5), (7, 9), (9, 33), (33, 31), (95, 97), (101, 130)]
)
def test_images_of_any_size(shape):
    maps = band(plane(speed_px=max(0.5, shape[1] / 12), shape=shape), 16)
    truth = truth_of(maps)
    prompt = point_in(truth, 5) if truth[5].any() else Prompt(5, points=[(0, 0)])
    found = segment(clip_of(maps + noise(16, 0.2 * NOISE, shape=shape)), [prompt])
    assert found.masks.shape == (1, 16, *shape)
    if min(shape) > 30:
        assert dice(found.masks[0], truth)[5:14].mean() > 0.8
    drawn = segment(clip_of(maps), [Prompt(5, mask=np.ones(shape, bool))])
    assert drawn.masks[0, 5].all()


def test_without_the_size_of_a_pixel_a_field_of_10_mm_is_taken():
    maps = band(plane(), COUNT)
    told = [point_in(truth_of(maps))]
    change = maps + noise(COUNT)
    with pytest.warns(IosfastWarning, match="the size of a pixel is not known"):
        guessed = segment(clip_of(change, pixel_size_mm=None), told)
    assert guessed.pixel_size_mm is None
    assert "pixel_size_mm=0.07812" in guessed.notes[0]
    known = segment(clip_of(change, pixel_size_mm=None), told, pixel_size_mm=PIXEL_MM)
    np.testing.assert_array_equal(guessed.masks, known.masks)
    assert known.notes == ()
    assert known.pixel_size_mm == PIXEL_MM


@pytest.mark.parametrize("speed", [1e-300, 1e300])
def test_any_limit_of_speed_is_taken(speed):
    maps = band(plane(), COUNT)
    clip = clip_of(maps + noise(COUNT))
    found = segment(clip, [point_in(truth_of(maps))], max_speed_mm_min=speed)
    assert found.masks.shape == (1, COUNT, *SHAPE)
    if speed > 1:
        assert dice(found.masks[0], truth_of(maps))[FIRST:20].mean() > 0.9


@pytest.mark.parametrize(
    "first",
    [
        Prompt(3, points=[(40, 50)], labels=[0]),
        Prompt(3, mask=np.zeros(SHAPE, bool)),
    ],
)
def test_the_first_prompt_says_where_an_object_is(first):
    later = Prompt(5, points=[(40, 50)])
    with pytest.raises(ValueError, match="the prompt of object 1 on map 3 is the first one, and m"):
        segment(clip_of(noise(8)), [later, first])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("cells", "labels"), [(1, 3), (2, 5), (4, 5), (7, 3), (6, 1)])
@pytest.mark.parametrize(
    ("step", "longest", "edge"), [(0.2, 1.0, 0.5), (0.5, 0.7, 2.0), (0.3, 0.0, 0.3), (9.0, 2.0, 0)]
)
def test_beliefs_on_a_chain_are_least_costs(cells, labels, step, longest, edge, axis):
    cost = np.random.default_rng(cells).uniform(0, 2, (cells, labels + 1)).astype(np.float32)
    grid = np.expand_dims(cost, axis)
    beliefs = _core.believe(np.ascontiguousarray(grid), step, longest, edge, 1).squeeze(axis)
    least = reference.least_costs(cost, step, longest, edge)
    above = [b - b.min(axis=1, keepdims=True) for b in (beliefs, least)]  # up to a number a cell
    np.testing.assert_allclose(*above, atol=1e-5)
