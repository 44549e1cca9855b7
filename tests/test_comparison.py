"""Methods side by side on labelled clips."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from some_clips import PIXEL_MM, SHAPE, band, noise, plane, ring, truth_of

import iosfast
from iosfast import Annotations, Prompt, ReadError, WriteError, compare, read_clip, segment
from iosfast.cli import main
from iosfast.sam2 import Model

pytestmark = pytest.mark.sam2

COUNT = 12
NAMES = [f"20230922_2214{5 * i:02d}" for i in range(COUNT)]
CLIPS = {"a/one": plane(first=1.0), "b": ring((40, 30), first=2.0)}
#: Labelled maps of "b"; on the others there is no label file.
LABELLED = [0, 3, 4, 6, 9]


def truth(name):
    return truth_of(band(CLIPS[name], COUNT))


def write_clips(root):
    for seed, (name, arrival) in enumerate(CLIPS.items()):
        folder = root / name
        chosen = LABELLED if name == "b" else range(COUNT)
        masks = truth(name)[None, chosen]
        labels = Annotations.from_masks(masks, names=[NAMES[i] for i in chosen], objects=[("w", 3)])
        labels.write(folder, format="isat")
        grey = np.clip(128 + 4000 * (band(arrival, COUNT) + noise(COUNT, seed=seed)), 1, 255)
        for image, file in zip(grey.astype(np.uint8), NAMES, strict=True):
            Image.fromarray(image).save(folder / f"{file}.png")
    return root


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


def by_hand(root, name, prompt_of, scored_from=0, **options):
    """Dice and IoU of each labelled map, from masks found by one call for one clip."""
    at = np.array(LABELLED if name == "b" else range(COUNT))
    drawn = truth(name)[at]
    start = int(np.flatnonzero(drawn.any((1, 2)))[0])
    prompt = prompt_of(int(at[start]), drawn[start])
    found = segment(
        read_clip(root / name), [prompt], pixel_size_mm=PIXEL_MM, threads=1, **options
    ).masks[0]
    scores = {}
    for i, mask in list(zip(at, drawn, strict=True))[start + scored_from :]:
        both, sizes = (found[i] & mask).sum(), found[i].sum() + mask.sum()
        scores[int(i)] = (2 * both / sizes, both / (sizes - both)) if sizes else (1.0, 1.0)
    return scores


def box(index, mask):
    y, x = np.nonzero(mask)
    return Prompt(index, box=(x.min(), y.min(), x.max() + 1, y.max() + 1))


def drawn(index, mask):
    return Prompt(index, mask=mask)


@pytest.mark.parametrize(("kind", "prompt_of"), [("box", box), ("mask", drawn)])
def test_scores_are_those_of_each_clip_by_itself(labelled, model, kind, prompt_of):
    result = compare(labelled, [model], prompt=kind, pixel_size_mm=PIXEL_MM, threads=1)
    methods = {"front": {}, "sam2 128 fp32 cpu": {"method": "sam2", "model": model}}
    assert list(result.methods["method"]) == list(methods)
    for (name, options), (_, row) in zip(methods.items(), result.methods.iterrows(), strict=True):
        means = []
        for clip in CLIPS:
            expected = by_hand(labelled, clip, prompt_of, kind == "mask", **options)
            maps = result.maps[(result.maps["method"] == name) & (result.maps["clip"] == clip)]
            assert list(maps["map"]) == list(expected)
            assert list(maps["name"]) == [NAMES[i] for i in expected]
            np.testing.assert_allclose(maps[["dice", "iou"]], list(expected.values()), rtol=1e-12)
            means.append(np.mean(list(expected.values()), axis=0))
        np.testing.assert_allclose(row[["dice", "iou"]].to_list(), np.mean(means, 0), rtol=1e-12)
        assert (row["clips"], row["objects"]) == (2, 2)
        assert row["maps_per_s"] > 0
        assert row["dice_low"] <= row["dice"] <= row["dice_high"]
    assert "on CPUExecutionProvider of ONNX" in result.methods["ran_on"][1]
    assert "sam2 128 fp32 cpu: its weights are not the official ones." in result.notes


def test_a_point_is_the_innermost_pixel(labelled, monkeypatch):
    given = []

    def asked(clips, prompts, **options):
        given.extend(prompts)
        return segment(clips, prompts, **options)

    monkeypatch.setattr("iosfast.comparison.segment", asked)
    result = compare(labelled, pixel_size_mm=PIXEL_MM, threads=1)
    for (prompt,), clip in zip(given, CLIPS, strict=True):
        mask = truth(clip)[prompt.map_index]
        x, y = prompt.points[0]
        assert mask[int(y), int(x)]
        rows, columns = np.nonzero(~np.pad(mask, 1))
        y_all, x_all = np.nonzero(mask)
        ways = np.hypot(y_all[:, None] + 1 - rows, x_all[:, None] + 1 - columns).min(1)
        assert np.hypot(y + 1 - rows, x + 1 - columns).min() == ways.max()
        deepest = ways == ways.max()
        middle = np.hypot(y_all[deepest] - y_all.mean(), x_all[deepest] - x_all.mean())
        assert np.hypot(y - y_all.mean(), x - x_all.mean()) == middle.min()
    assert result.methods["dice"][0] > 0.8  # front, of clear clips


def test_clips_that_do_not_fit_into_memory_together(labelled, monkeypatch):
    whole = compare(labelled, pixel_size_mm=PIXEL_MM, threads=1)
    monkeypatch.setattr("iosfast.comparison._PIXELS", COUNT * SHAPE[0] * SHAPE[1])
    told = []
    parts = compare(
        labelled, pixel_size_mm=PIXEL_MM, threads=1, progress=lambda *done: told.append(done)
    )
    assert told == [(1, 2), (2, 2)]
    assert parts.maps.equals(whole.maps)


def test_the_command(labelled, sam2_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "compare", labelled, "--models", sam2_folder / "model", "--devices", "cpu", "openvino",
        "--pixel-size-mm", "10/128", "--threads", 1, "--out", out, "--prompt", "box",
    ]  # fmt: skip
    assert main([*map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = "method clips objects maps Dice J (IoU) F maps/s"
    assert lines[0].split() == heads.split()
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "front", "sam2 128 fp32 cpu", "sam2 128 fp32 openvino",
    ]  # fmt: skip
    with open(out / "methods.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    result = compare(labelled, prompt="box", pixel_size_mm=10 / 128, threads=1)
    assert float(rows[0]["dice"]) == result.methods["dice"][0]
    assert f"{float(rows[0]['dice']):.3f} [" in lines[1]
    assert float(rows[1]["dice"]) == pytest.approx(float(rows[2]["dice"]), abs=1e-3)
    assert lines[-1] == f"table: {out / 'maps.csv'}"
    assert main([*map(str, arguments)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"front": False}, ValueError, "there is nothing to compare: give models"),
        ({"models": "model"}, TypeError, "models must be a list of folders, not 'model'"),
        ({"prompt": "all"}, ValueError, "prompt must be one of 'point', 'box', 'mask'"),
        ({"models": ["absent"]}, ReadError, "absent: is not a folder with an exported model"),
        ({"labels": "absent"}, ReadError, "absent"),
    ],
)
def test_what_does_not_fit_is_refused(labelled, options, error, message):
    with pytest.raises(error, match=message):
        compare(labelled, **{"pixel_size_mm": PIXEL_MM, **options})


def test_clips_without_what_is_needed_are_refused(tmp_path, model, capsys):
    with pytest.raises(ValueError, match="two models are sam2 128 fp32 cpu"):
        compare(write_clips(tmp_path / "clips"), [model, model])
    (tmp_path / "clips" / "b" / f"{NAMES[4]}.png").unlink()
    with pytest.raises(ValueError, match=f"labels are of b/{NAMES[4]}, but .* has no such image"):
        compare(tmp_path / "clips", pixel_size_mm=PIXEL_MM)
    empty = Annotations.from_masks(np.zeros((1, 2, *SHAPE), bool), names=NAMES[:2])
    empty.write(tmp_path / "empty", format="isat")
    with pytest.raises(ValueError, match="no clip has a labelled object with a map after it"):
        compare(tmp_path / "empty")
    assert main(["compare", str(tmp_path / "clips"), "--methods", "sam2"]) == 1
    assert "--methods sam2 needs --models" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path / "clips"), "--methods", "walker"])
    assert "must be front, sam2 or both" in capsys.readouterr().err


def test_errors_of_writing_are_those_of_tables(labelled, tmp_path):
    result = compare(labelled, pixel_size_mm=PIXEL_MM, threads=1)
    result.write(tmp_path / "out")
    with pytest.raises(WriteError, match="exists already"):
        result.write(tmp_path / "out")
    assert iosfast.Comparison is type(result)
