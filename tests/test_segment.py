"""Outlines of waves as a whole: what is taken, refused and returned, and what is written."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from some_clips import PIXEL_MM, SHAPE, band, clip_of, inner_point, noise, plane, truth_of
from some_maps import files_in
from wave_maps import maps_of
from wave_maps import noise as map_noise
from wave_maps import wave as map_wave

import iosfast
from iosfast import Annotations, Clip, Prompt, Segmentation, WriteError, segment
from iosfast.cli import main
from iosfast.segment_files import write_segmentation

COUNT = 14
BAND = band(plane(), COUNT)
TRUTH = truth_of(BAND)
CLIP = clip_of(BAND + noise(COUNT))
START = Prompt(4, points=[inner_point(TRUTH[4])])
#: An hour with two waves; quiet maps around them.
HOUR = map_noise(150) + map_wave(150, 30) + map_wave(150, 90, origin=(50, 20))


def hour(**options):
    return maps_of(HOUR, **options)


# What is taken and refused


def test_result():
    found = segment(CLIP, [START, Prompt(9, 5, mask=TRUTH[3])])
    assert isinstance(found, Segmentation)
    assert found.masks.dtype == np.bool_
    assert found.masks.shape == (2, COUNT, *SHAPE)
    assert found.objects == (1, 5)
    assert found.confidence.shape == found.prompted.shape == found.look_at.shape == (2, COUNT)
    assert (found.confidence >= 0).all()
    assert (found.confidence <= 1).all()
    assert found.prompted.nonzero()[1].tolist() == [4, 9]
    assert found.names == CLIP.names
    assert found.times_s is CLIP.times_s
    assert (found.pixel_size_mm, found.method, len(found)) == (PIXEL_MM, "front", COUNT)
    assert found.prompts[0] is START
    assert "14 maps of 96 x 128 pixels by front: object 1 in 10, object 5 in " in repr(found)


def test_a_list_of_clips_is_as_one_by_one():
    other = clip_of(-BAND + noise(COUNT, seed=3))
    calls = []
    several = segment(
        [CLIP, other], [[START], [START, Prompt(8, mask=TRUTH[8])]],
        progress=lambda *done: calls.append(done),
    )  # fmt: skip
    single = [segment(CLIP, [START]), segment(other, [START, Prompt(8, mask=TRUTH[8])])]
    for got, expected in zip(several, single, strict=True):
        assert not expected.empty
        np.testing.assert_array_equal(got.masks, expected.masks)
        np.testing.assert_array_equal(got.confidence, expected.confidence)
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prompts": []}, ValueError, "prompts are empty: give at least one Prompt, or 'auto'"),
        ({"prompts": START}, TypeError, "prompts must be a list of Prompt, or 'auto'"),
        ({"prompts": [(4, 5)]}, TypeError, "prompts must be a list of Prompt, or 'auto'"),
        ({"prompts": None}, TypeError, "prompts must be a list of Prompt, or 'auto', not None"),
        ({"prompts": "all"}, ValueError, "prompts must be a list of Prompt, or 'auto', not 'all'"),
        ({"prompts": [Prompt(COUNT, box=(1, 1, 5, 5))]}, ValueError, "only the maps 0 to 13"),
        ({"prompts": [Prompt(0, points=[(128, 5)])]}, ValueError, "lies outside of the image"),
        ({"prompts": [Prompt(0, polygon=[(1, 1), (5, 5)])]}, ValueError, "at least three (x, y)"),
        (
            {"prompts": [Prompt(0, polygon=[(1, 1), (9, 9), (9, 1), (1, 9)])]},
            ValueError,
            "the prompt of object 1 on map 0: polygon crosses itself",
        ),
        ({"method": "sam"}, ValueError, "method must be one of 'front', 'sam2', not 'sam'"),
        ({"direction": "back"}, ValueError, "direction must be one of 'forward', 'both'"),
        ({"pixel_size_mm": 0}, ValueError, "pixel_size_mm must be above 0, not 0"),
        ({"max_speed_mm_min": -1}, ValueError, "max_speed_mm_min must be above 0, not -1"),
        ({"max_speed_mm_min": "10"}, TypeError, "max_speed_mm_min must be a number, not '10'"),
        ({"threads": -1}, ValueError, "threads must be at least 0"),
        ({"maps_or_clip": CLIP.change}, TypeError, "maps_or_clip must be Maps, a Clip or a folder"),
        ({"maps_or_clip": [CLIP]}, ValueError, "clip 0: prompts are empty"),
        ({"maps_or_clip": [CLIP, CLIP]}, ValueError, "a list for each of 2 clips, not 1"),
        ({"maps_or_clip": [CLIP], "prompts": 5}, TypeError, "prompts must be a list for each clip"),
        ({"maps_or_clip": "nowhere"}, iosfast.ReadError, "nowhere: no such folder of images"),
    ],
)
def test_what_is_refused(options, error, message):
    given = {"maps_or_clip": CLIP, "prompts": [START], **options}
    if isinstance(given["maps_or_clip"], list) and "prompts" not in options:
        given["prompts"] = [[]]
    with pytest.raises(error, match=re.escape(message)):
        segment(**given)


def test_maps_that_are_not_finite_are_named():
    change = CLIP.change.copy()
    change[6, 3, 4] = np.nan
    with pytest.raises(
        ValueError, match=r"map 6 \(map_06\) of change is not finite in 1 of 12,288"
    ):
        clip_of(change)
    with pytest.raises(ValueError, match=r"map 6 .* is not finite in 1 of"):
        segment(maps_of(change), [START])


# Proposals


def test_waves_are_proposed():
    maps = hour()
    prompts = iosfast.propose_prompts(maps)
    assert [p.object_id for p in prompts] == [1, 2]
    found = segment(maps, "auto")
    assert found.objects == (1, 2)
    assert found.notes == ()
    for number, (first, last) in enumerate([(30, 62), (90, 118)]):
        shown = np.flatnonzero(found.masks[number].any(axis=(1, 2)))
        assert first <= shown[0] <= first + 4
        assert last - 6 <= shown[-1] <= last + 4
        noise_free = map_wave(150, 30) if number == 0 else map_wave(150, 90, origin=(50, 20))
        truth = truth_of(noise_free)
        prompt = found.prompts[number]
        ((x, y),) = prompt.points
        assert truth[prompt.map_index, round(y), round(x)]
        both = 2 * (found.masks[number] & truth).sum(axis=(1, 2))
        size = (found.masks[number].astype(int) + truth).sum(axis=(1, 2))
        at = np.arange(prompt.map_index, last - 6)
        assert (both[at] / size[at]).mean() > 0.75


def test_clips_and_folders_propose_the_same(tmp_path):
    maps = hour()
    maps.save(tmp_path / "maps")
    whole = segment(maps, "auto")
    loaded = segment(tmp_path / "maps", "auto")
    np.testing.assert_array_equal(loaded.masks, whole.masks)
    clip = Clip.of(maps)
    of_clip = segment(clip, "auto")
    assert of_clip.objects == whole.objects
    for got, expected in zip(of_clip.prompts, whole.prompts, strict=True):
        assert abs(got.map_index - expected.map_index) <= 1
    # What the change is, is not known of a clip, so that a faint map may be on either side.
    pairs = zip(iosfast.find_episodes(clip), iosfast.find_episodes(maps), strict=True)
    for episode, expected in pairs:
        assert abs(episode.start - expected.start) <= 1
        assert abs(episode.end - expected.end) <= 1
        assert episode.names == (clip.names[episode.start], clip.names[episode.end])


def test_nothing_is_proposed_in_noise():
    found = segment(maps_of(map_noise(60)), "auto")
    assert found.empty
    assert (found.objects, found.prompts) == ((), ())
    assert found.masks.shape == (0, 60, 60, 64)
    assert found.notes == ("no wave was found: there is nothing to outline",)
    assert len(found.annotations()) == 60


def test_proposals_without_the_size_of_a_pixel():
    with pytest.warns(iosfast.IosfastWarning, match="the size of a pixel is not known") as seen:
        found = segment(hour(pixel_size_mm=None), "auto")
    assert len(seen) == 1
    assert "pixel_size_mm=0.1562" in found.notes[0]
    np.testing.assert_array_equal(found.masks, segment(hour(), "auto").masks)


# Labels and files


@pytest.mark.parametrize("kind", ["isat", "labelme", "coco", "coco-rle", "png", "tiff"])
def test_labels_keep_every_pixel(tmp_path, kind):
    found = segment(CLIP, [START, Prompt(12, 3, mask=TRUTH[5] & (np.indices(SHAPE)[0] > 40))])
    suffix = {"coco": ".json", "coco-rle": ".json", "tiff": ".tif"}.get(kind, "")
    place = tmp_path / f"labels{suffix}"
    found.annotations("wave").write(place, format=kind)
    read = Annotations.read(place)
    assert read.objects == (("wave", 1), ("wave", 3))
    np.testing.assert_array_equal(read.masks(names=found.names), found.masks)


def command(capsys, *arguments):
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err.splitlines()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hour().save(tmp_path / "maps")
    return tmp_path


def test_command_with_proposals(saved, capsys):
    code, lines, errors = command(capsys, "segment", "maps", "--format", "isat", "coco")
    assert (code, errors) == (0, [])
    found = segment("maps", "auto")
    assert lines[0].split() == ["object", "maps", "first", "last", "confidence", "look", "at"]
    for number, line in enumerate(lines[1:3]):
        shown = np.flatnonzero(found.masks[number].any(axis=(1, 2)))
        first, last = found.names[shown[0]], found.names[shown[-1]]
        assert line.split()[:4] == [str(number + 1), str(shown.size), first, last]
    out = saved / "maps-segmented"
    assert lines[3] == f"segmentation: {out}"
    assert sorted(p.name for p in out.iterdir()) == [
        "coco.json", "isat", "masks.tif", "outlines.png", "prompts.json",
    ]  # fmt: skip
    for place in ("isat", "coco.json", "masks.tif"):
        read = Annotations.read(out / place).masks(names=found.names)
        np.testing.assert_array_equal(read, found.masks)
    maps = iosfast.load("maps")
    for name, image in zip(found.names, maps.rgb, strict=True):
        np.testing.assert_array_equal(tifffile.imread(out / "isat" / f"{name}.tiff"), image)
    info = json.loads((out / "isat" / f"{found.names[0]}.json").read_text())["info"]
    assert info["folder"] == str(out / "isat")
    assert info["name"] == f"{found.names[0]}.tiff"
    again = segment("maps", iosfast.read_prompts(out / "prompts.json"))
    assert again.objects == found.objects
    with Image.open(out / "outlines.png") as picture:
        colors = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colors) > 50


def test_command_with_prompts_on_a_clip_of_images(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip").mkdir()
    grey = np.clip(128 + 4000 * (BAND + noise(COUNT)), 1, 255).astype(np.uint8)
    names = [f"20230922_2214{5 * t:02d}" for t in range(12)] + [
        "20230922_221500",
        "20230922_221505",
    ]
    for name, image in zip(names, grey, strict=True):
        Image.fromarray(image).save(tmp_path / "clip" / f"{name}.png")
    drawn = Prompt(4, 2, mask=TRUTH[6])  # overlaps the other one in some maps
    iosfast.write_prompts("prompts.json", [START, drawn])
    before = files_in("clip")
    code, lines, errors = command(
        capsys, "segment", "clip", "--prompts", "prompts.json", "--out", "new/out",
        "--pixel-size-mm", "10/128", "--direction", "both", "--max-speed-mm-min", "9",
        "--no-picture", "--category", "csd", "--correct-backwards",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    assert lines[1].split()[0] == "1"
    assert files_in("clip") == before
    found = segment(
        "clip", [START, drawn], pixel_size_mm=PIXEL_MM, direction="both", max_speed_mm_min=9,
        correct_backwards=True,
    )  # fmt: skip
    out = tmp_path / "new" / "out"
    overlap = (found.masks.sum(axis=0) > 1).any()
    assert sorted(p.name for p in out.iterdir()) == [
        "isat", "masks" if overlap else "masks.tif", "prompts.json",
    ]  # fmt: skip
    read = Annotations.read(out / "isat")
    assert {key.category for key in read.objects} == {"csd"}
    np.testing.assert_array_equal(read.masks(names=found.names), found.masks)
    info = json.loads((out / "isat" / f"{names[0]}.json").read_text())["info"]
    assert (info["folder"], info["name"]) == (str(tmp_path / "clip"), f"{names[0]}.png")
    assert sorted(p.suffix for p in (out / "isat").iterdir())[:-1] == [".json"] * COUNT


def test_overlapping_objects_have_a_stack_each(tmp_path):
    half = TRUTH[4] & (np.indices(SHAPE)[0] > 40)
    found = segment(CLIP, [Prompt(4, 1, mask=TRUTH[4]), Prompt(4, 2, mask=half)])
    out = write_segmentation(found, CLIP, tmp_path / "out", formats=[], picture=False)
    assert sorted(p.name for p in (out / "masks").iterdir()) == ["signal_1.tif", "signal_2.tif"]
    read = Annotations.read(out / "masks").masks(names=found.names)
    np.testing.assert_array_equal(read, found.masks)


def test_nothing_found_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maps_of(map_noise(20)).save("maps")
    code, lines, errors = command(capsys, "segment", "maps", "--out", "out")
    assert (code, errors) == (0, [])
    assert lines == [
        "note: no wave was found: there is nothing to outline", f"segmentation: {'out'}",
    ]  # fmt: skip
    assert not tifffile.imread("out/masks.tif").any()
    iosfast.write_prompts("prompts.json", [Prompt(3, points=[(20, 20)])])
    code, lines, errors = command(
        capsys, "segment", "maps", "--out", "out", "--prompts", "prompts.json", "--overwrite"
    )
    assert (code, errors) == (0, [])
    assert lines[1].split() == ["1", "0", "-", "-", "-"]
    assert lines[2].startswith("note: object 1: no wave was found that the prompt on map 3")
    assert len(json.loads((tmp_path / "out" / "prompts.json").read_text())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such folder of images"),
        (["maps", "--prompts", "none.json"], "none.json: the prompts cannot be read"),
        (["maps", "--prompts", "cut.json"], "cut.json: the prompts cannot be read"),
        (["maps", "--prompts", "late.json"], "map 150: the clip has only the maps 0 to 149"),
        (["maps", "--out", "maps"], "exists and holds other files than a segmentation"),
        (["maps", "--out", "cut.json"], "cut.json: exists and is no folder"),
        (["maps", "--out", "full"], "full: holds a segmentation already; choose another out"),
        (["maps", "--out", "mixed", "--overwrite"], "mixed: exists and holds other files than"),
        (["maps", "--max-speed-mm-min", "0"], "max_speed_mm_min must be above 0"),
        (["maps", "--pixel-size-mm", "-1"], "pixel_size_mm must be above 0"),
        (["maps", "--threads", "-1"], "threads must be at least 0"),
        (["maps", "--category", "__background__"], "__background__ is the category of holes"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(saved, capsys, arguments, message):
    (saved / "cut.json").write_text('[{"map_index": 3, ')
    iosfast.write_prompts("late.json", [Prompt(150, points=[(3, 4)])])
    for name in ("full", "mixed"):
        (saved / name).mkdir()
        (saved / name / "prompts.json").write_text("[]")
    (saved / "mixed" / "thesis.txt").write_text("years")
    before = files_in(saved)
    code, lines, errors = command(capsys, "segment", *arguments)
    assert (code, lines, len(errors)) == (1, [], 1)
    assert errors[0].startswith("iosfast: error: ")
    assert message in errors[0]
    assert files_in(saved) == before
    assert not (saved / "maps-segmented").exists()


def test_an_earlier_segmentation_is_replaced_as_a_whole(tmp_path):
    half = TRUTH[4] & (np.indices(SHAPE)[0] > 40)
    two = segment(CLIP, [Prompt(4, 1, mask=TRUTH[4]), Prompt(4, 2, mask=half)])
    one = segment(CLIP, [START])
    out = write_segmentation(two, CLIP, tmp_path / "out", picture=False)
    with pytest.raises(WriteError, match="holds a segmentation already"):
        write_segmentation(one, CLIP, out)
    write_segmentation(one, CLIP, out, formats=[], overwrite=True)
    assert sorted(files_in(out)) == ["masks.tif", "outlines.png", "prompts.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_demo_outlines_its_wave(tmp_path, capsys):
    code, lines, _ = command(capsys, "demo", "--out", tmp_path / "demo")
    assert code == 0
    assert any(line.startswith("labels: ") and "1 wave, outlined in " in line for line in lines)
    found = sorted(p.name for p in (tmp_path / "demo").iterdir())
    assert found == [
        "contact_sheet.png",
        "maps",
        "outlines.png",
        "recording.tif",
        "report",
        "segmented",
    ]
    from iosfast.demo import demo_recording

    maps = iosfast.load(tmp_path / "demo" / "maps")
    labels = Annotations.read(tmp_path / "demo" / "segmented" / "isat")
    (masks,) = labels.masks(names=iosfast.clips.map_names(maps.info))
    truth = demo_recording().active_masks(maps.times_s, interval_s=5.0)
    truth = truth[0] if truth.ndim == 4 else truth
    shown = masks.any(axis=(1, 2)).nonzero()[0]
    assert shown.size > 25
    both = (masks & truth)[shown].sum(axis=(1, 2))
    assert (both / masks[shown].sum(axis=(1, 2))).mean() > 0.6
