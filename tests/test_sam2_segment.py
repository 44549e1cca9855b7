"""iosfast.segment by method sam2: prompts and masks in the pixels of maps, as sam2 takes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sam2_reference
import torch
from sam2_reference import SIZE
from wave_maps import maps_of, noise, wave

import iosfast
from iosfast import Clip, Prompt, segment
from iosfast.front import Followed
from iosfast.sam2 import Model, outline
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.outline import enlarged, scaled

pytestmark = pytest.mark.sam2

MAPS, SHAPE = 18, (96, 160)


def clip_of(seed, count=MAPS, shape=SHAPE):
    rgb = sam2_reference.moving(seed, count, shape)
    change = rgb.mean(-1).astype(np.float32)
    names = tuple(f"map{i:02d}" for i in range(count))
    return Clip(change, np.arange(float(count)), names, rgb)


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


@pytest.fixture(scope="module")
def clip():
    return clip_of(3)


@pytest.fixture
def sam2_run(sam2_folder, clip):
    predictor = build_predictor(sam2_folder / "checkpoint.pt", SIZE)
    return sam2_reference.Clip(predictor, clip.rgb)


MASK = np.zeros(SHAPE, bool)
MASK[30:77, 12:63] = True
OTHER = np.zeros(SHAPE, bool)
OTHER[5:20, 100:140] = True
POLYGON = [(20.3, 30.2), (70.8, 35.1), (60.5, 80.9), (15.1, 70.4)]


def test_masks_are_those_of_sam2(model, clip, sam2_run):
    prompts = [
        Prompt(0, 1, points=[(30, 62), (90.5, 20.25)], labels=[1, 0]),
        Prompt(0, 2, box=(10, 40, 50, 90), points=[(33, 60)]),
        Prompt(0, 3, polygon=POLYGON),
    ]
    found = segment(clip, prompts, "sam2", model=model)
    state, predictor = sam2_run.state, sam2_run.predictor
    predictor.add_new_points_or_box(state, 0, 1, np.array(prompts[0].points), np.array([1, 0]))
    predictor.add_new_points_or_box(
        state, 0, 2, np.array([(33, 60)]), np.array([1]), box=np.array([10, 40, 50, 90])
    )
    predictor.add_new_mask(state, 0, 3, prompts[2].drawing(SHAPE))
    masks = np.stack([video[:, 0].numpy() > 0 for video in sam2_run.videos(0)], axis=1)
    assert (found.masks[2, 0] == prompts[2].drawing(SHAPE)).all()
    assert (masks[2, 0] ^ found.masks[2, 0]).mean() < 0.02  # sam2 gives back what was shrunk
    masks[2, 0] = found.masks[2, 0]
    both = (masks & found.masks).sum((2, 3))
    either = (masks | found.masks).sum((2, 3))
    # a pixel whose logit is 0 but for rounding may fall on either side
    assert (either - both <= np.maximum(1, 1e-4 * either)).all()
    assert 0.05 < found.masks.mean() < 0.95
    assert found.objects == (1, 2, 3)
    assert found.method == "sam2"
    assert found.prompted[:, 0].all()
    assert not found.prompted[:, 1:].any()
    assert found.confidence[2, 0] == 1
    drawn = found.masks.any((2, 3))
    assert (found.confidence[~drawn] == 0).all()
    assert ((found.confidence[drawn] > 0) & (found.confidence[drawn] <= 1)).all()


def test_the_confidence_is_that_of_the_object_and_its_mask(model, clip):
    from iosfast.sam2.propagate import Said, Task, propagate

    images = [
        np.asarray(sam2_reference.Image.fromarray(one).resize((SIZE, SIZE))) for one in clip.rgb[:4]
    ]
    point = Said(np.array([[30 / 160, 62 / 96]], np.float32) * SIZE, np.ones(1, np.float32))
    task = Task(images.__getitem__, 4, {5: {0: point}})
    found = segment(clip_of(3, 4), [Prompt(0, 5, points=[(30, 62)])], "sam2", model=model)
    for one in propagate(model, [task], rows=1):
        expected = torch.tensor(one.score).sigmoid().item() * one.quality
        if found.masks[0, one.index].any():
            assert found.confidence[0, one.index] == pytest.approx(expected, abs=1e-6)


def test_what_is_drawn_later_counts_from_there(model):
    clip = clip_of(3, 11)
    first = Prompt(2, points=[(30, 62)])
    empty = Prompt(7, mask=np.zeros(SHAPE, bool))
    plain = segment(clip, [first], "sam2", model=model)
    found = segment(clip, [empty, first], "sam2", model=model)
    assert not plain.masks[0, :2].any()
    assert (found.masks[0, :7] == plain.masks[0, :7]).all()
    assert not found.masks[0, 7].any()
    assert found.confidence[0, 7] == 0
    assert (found.masks[0, 8:] != plain.masks[0, 8:]).any()
    back = segment(
        clip, [empty, first], "sam2", model=model, direction="both", correct_backwards=True
    )
    assert back.masks[0, :2].any()
    assert (back.masks[0, 3:7] != plain.masks[0, 3:7]).any()


def test_clips_of_different_sizes_at_once(model):
    clips = [clip_of(3, 8), clip_of(4, 5, (128, 128)), clip_of(5, 7, (160, 96))]
    prompts = [
        [Prompt(3, 1, mask=MASK)],
        [Prompt(0, 3, points=[(30, 62)]), Prompt(2, 1, box=(10, 40, 50, 90))],
        [Prompt(1, 1, points=[(20, 50)]), Prompt(4, 1, points=[(40, 60)], labels=[0])],
    ]
    told = []
    together = segment(
        clips, prompts, "sam2", model=model, batch_size=3, progress=lambda *done: told.append(done)
    )
    # maps from the first prompt of a clip on
    assert told[0] == (0, 5 + 5 + 6)
    assert told[-1] == (16, 16)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 6
    for one, some, found in zip(clips, prompts, together, strict=True):
        alone = segment(one, some, "sam2", model=model, batch_size=1)
        assert found.objects == alone.objects
        assert found.masks.shape == (len(found.objects), *one.change.shape)
        assert (found.masks != alone.masks).mean() <= 1e-4
        np.testing.assert_allclose(found.confidence, alone.confidence, atol=1e-5)


def test_points_on_a_map_are_taken_together(model, clip):
    one = [
        Prompt(0, points=[(30, 62), (90, 20)], labels=[1, 0], box=(2, 0, 130, 80)),
        Prompt(1, mask=MASK | OTHER),
    ]
    several = [
        Prompt(0, points=[(30, 62)]),
        Prompt(0, points=[(90, 20)], labels=[0], box=(10, 0, 130, 80)),
        Prompt(1, mask=MASK),
        Prompt(0, box=(2, 10, 120, 60)),
        Prompt(1, mask=OTHER),
    ]
    short = clip_of(3, 3)
    found, expected = (segment(short, some, "sam2", model=model) for some in (several, one))
    assert (found.masks == expected.masks).all()
    assert (found.masks[0, 1] == one[1].mask).all()


def test_nothing_is_outlined_outside_of_the_cortex(model):
    cortex = np.zeros(SHAPE, bool)
    cortex[10:60, 20:130] = True
    whole = clip_of(3, 3)
    prompts = [Prompt(0, points=[(30, 62)]), Prompt(2, mask=MASK)]
    found = segment(replace(whole, mask=cortex), prompts, "sam2", model=model)
    plain = segment(whole, prompts, "sam2", model=model)
    assert (found.masks[0, :2] == (plain.masks[0, :2] & cortex)).all()
    assert (plain.masks[0, :2] & ~cortex).any()
    assert (found.masks[0, 2] == MASK).all()


def test_waves_of_episodes_are_followed_in_their_maps(model, monkeypatch):
    given = []

    def follow(clips, used, **_options):
        assert used is model
        given.extend(clips)
        shapes = [(len(told), *clip.change.shape) for clip, told, _ in clips]
        names = [tuple(prompt.object_id for prompt in told) for _, told, _ in clips]
        return [
            Followed(np.ones(shape, bool), each, np.full(shape[:2], 0.5), ("where it ran",))
            for shape, each in zip(shapes, names, strict=True)
        ]

    monkeypatch.setattr(outline, "follow", follow)
    maps = maps_of(noise(150) + wave(150, 30) + wave(150, 90, origin=(50, 20)))
    found = segment(maps, "auto", "sam2", model=model)
    episodes, proposed = iosfast.find_episodes(maps), iosfast.propose_prompts(maps)
    assert len(episodes) == len(given) == 2
    assert found.objects == (1, 2)
    assert found.notes == ("where it ran",)
    starts = [part.names[0] for part, _, _ in given]
    for row, ((part, (prompt,), both), own) in enumerate(zip(given, proposed, strict=True)):
        first = found.names.index(starts[row])
        assert prompt.points == own.points
        assert both
        assert prompt.map_index + first == own.map_index
        inside = np.zeros(150, bool)
        inside[first : first + len(part)] = True
        assert len(part) < 60
        assert (found.masks[row].all((1, 2)) == inside).all()
        assert (found.masks[row].any((1, 2)) == inside).all()
        assert (found.confidence[row] == 0.5 * inside).all()


def test_where_it_ran_is_noted(sam2_folder):
    short = clip_of(3, 2)
    folder = sam2_folder / "model"
    found = segment(short, [Prompt(0, points=[(9, 9)])], "sam2", model=folder, threads=1)
    (note,) = found.notes
    assert note.startswith("sam2.1_hiera_tiny at 128 pixels, fp32, on CPUExecutionProvider of ONNX")
    with pytest.raises(RuntimeError, match="device is 'cuda', but the installed ONNX Runtime has"):
        segment(short, [Prompt(0, points=[(9, 9)])], "sam2", model=folder, device="cuda")


@pytest.mark.parametrize(
    ("prompts", "options", "error", "message"),
    [
        ([Prompt(0, points=[(9, 9)])], {"method": "sam2"}, ValueError, "'sam2' needs model="),
        ([Prompt(0, points=[(9, 9)])], {"model": "x", "method": "front"}, ValueError, "no model"),
        ([Prompt(0, points=[(9, 9)])], {"batch_size": 0}, ValueError, "batch_size must be at"),
        ([Prompt(0, points=[(9, 9)])], {"batch_size": "all"}, TypeError, "batch_size must be a"),
        ([Prompt(0, points=[(9, 9)])], {"device": "cuda"}, ValueError, "was loaded for 'cpu'"),
        ([Prompt(0, points=[(9, 9)], labels=[0])], {}, ValueError, "must say where the object is"),
        ([Prompt(0, mask=np.zeros(SHAPE, bool))], {}, ValueError, "must say where the object is"),
        ([Prompt(7, points=[(9, 9)])], {}, ValueError, "the clip has only the maps 0 to 1"),
        ([Prompt(0, points=[(160, 9)])], {}, ValueError, "lies outside of the image"),
        ([], {}, ValueError, "prompts are empty"),
    ],
)
def test_what_does_not_fit_is_refused(model, prompts, options, error, message):
    options = {"method": "sam2", **options}
    if options["method"] == "sam2" and "needs" not in message:
        options["model"] = model
    with pytest.raises(error, match=message):
        segment(clip_of(3, 2), prompts, **options)
    with pytest.raises(error, match=message):  # the clip is named where there are several
        segment([clip_of(3, 2)], [prompts], **options)


def test_the_clip_that_does_not_fit_is_named(model):
    good = [Prompt(0, points=[(9, 9)])]
    with pytest.raises(ValueError, match=r"^clip 1: the prompt of object 1 on map 5"):
        segment([clip_of(3, 2)] * 2, [good, [Prompt(5, points=[(9, 9)])]], "sam2", model=model)


@pytest.mark.parametrize("shape", [(64, 64), (96, 40), (32, 32), (33, 7), (20, 31)])
def test_logits_are_enlarged_as_in_torch(shape):
    logits = np.random.default_rng(0).standard_normal((32, 32), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], size=shape, mode="bilinear", align_corners=False
    )
    # of a place between pixels the last bits differ
    np.testing.assert_allclose(enlarged(logits, shape), expected[0, 0].numpy(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (200, 300), (512, 512)])
def test_masks_are_scaled_as_in_sam2(shape):
    rough = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    small = sam2_reference.Image.fromarray(rough[::8, ::8])
    mask = np.asarray(small.resize(shape[::-1], sam2_reference.Image.Resampling.BICUBIC)) > 0
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(),
        size=(SIZE, SIZE),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    expected = (expected >= 0.5)[0, 0].numpy()
    assert 0.1 < expected.mean() < 0.9
    # sums of other order, where exactly half of a pixel is covered
    assert (scaled(mask, SIZE) != expected).mean() <= 1e-3
