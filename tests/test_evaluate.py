"""Scores of masks: against scikit-learn, SciPy and scikit-image, by hand, with intervals, files."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from skimage.metrics import hausdorff_distance
from skimage.morphology import dilation, disk
from sklearn.metrics import (
    cohen_kappa_score,
    f1_score,
    jaccard_score,
    precision_recall_fscore_support,
)

import iosfast
from iosfast import Annotations, IosfastWarning, ReadError, Scoring, WriteError
from iosfast.cli import main
from iosfast.mask_scores import davis_contour, distances, edge_of, hausdorff_95, published_contour

SHAPE = (34, 47)


def blobs(maps=6, seed=0, shape=SHAPE):
    """Smooth masks of any form, also at the border."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.standard_normal((maps, *shape)), (0, 3, 3))
    return noise > 0.4 * noise.std()


def moved(masks, by=2):
    return np.roll(masks, by, axis=2) & np.roll(masks, 1, axis=1)


masks_of_a_map = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).random((11, 9)) < (seed % 7) / 6
)


def test_scores_are_those_of_scikit_learn():
    truth, predicted = blobs(), moved(blobs(seed=1)) | blobs(seed=0)
    rows = iosfast.evaluate(predicted, truth).maps
    for row, a, b in zip(rows.itertuples(), predicted, truth, strict=True):
        a, b = a.ravel(), b.ravel()
        assert row.iou == pytest.approx(jaccard_score(b, a), abs=1e-12)
        assert row.dice == pytest.approx(f1_score(b, a), abs=1e-12)
        assert row.kappa == pytest.approx(cohen_kappa_score(b, a), abs=1e-12)
        assert row.j_and_f == (row.iou + row.contour_f) / 2
    clip = iosfast.evaluate(predicted, truth).clips.iloc[0]
    pooled = cohen_kappa_score(truth.ravel(), predicted.ravel())
    assert clip.kappa_pooled == pytest.approx(pooled, abs=1e-12)
    assert clip.iou == pytest.approx(rows.iou.mean())


@given(masks_of_a_map, masks_of_a_map)
def test_kappa_of_any_masks(a, b):
    (row,) = iosfast.evaluate(a[None], b[None], resamples=1).maps.itertuples()
    if a.all() == b.all() and a.any() == b.any() and (a.all() or not a.any()):
        assert math.isnan(row.kappa)  # chance alone explains all
    else:
        assert row.kappa == pytest.approx(cohen_kappa_score(a.ravel(), b.ravel()), abs=1e-12)
    exchanged = iosfast.evaluate(b[None], a[None], resamples=1).maps.iloc[0]
    np.testing.assert_equal(exchanged.kappa, row.kappa)


@given(masks_of_a_map, masks_of_a_map, st.floats(0.1, 3), st.floats(0.1, 3))
def test_distances_are_those_of_a_distance_transform(of, to, high, wide):
    if not to.any():
        return
    expected = ndimage.distance_transform_edt(~to, sampling=(high, wide))[of]
    np.testing.assert_allclose(distances(of, to, (high, wide)), expected, rtol=1e-12)


@given(masks_of_a_map, masks_of_a_map)
def test_hausdorff_is_between_edges(a, b):
    if not a.any() or not b.any():
        assert math.isnan(hausdorff_95(a, b))
        return
    edges = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    np.testing.assert_array_equal(edge_of(a), edges[0])
    directed = [
        np.percentile(ndimage.distance_transform_edt(~to)[of], 95)
        for of, to in (edges, edges[::-1])
    ]
    assert hausdorff_95(a, b) == max(directed)
    assert hausdorff_95(a, b) <= hausdorff_distance(*edges)


def test_distances_of_many_pixels_in_parts(monkeypatch):
    of, to = blobs(2)
    whole = distances(of, to)
    monkeypatch.setattr("iosfast.mask_scores._PAIRS", 100)
    np.testing.assert_array_equal(distances(of, to), whole)


def davis_reference(predicted, truth):
    """F of DAVIS, by loops and dilation."""

    def contour(mask):
        height, width = mask.shape
        found = np.zeros_like(mask)
        for y in range(height):
            for x in range(width):
                right = mask[y, x] != mask[y, x + 1] if x + 1 < width else False
                below = mask[y, x] != mask[y + 1, x] if y + 1 < height else False
                both = y + 1 < height and x + 1 < width and mask[y, x] != mask[y + 1, x + 1]
                found[y, x] = right or below or both
        return found

    ours, theirs = contour(predicted), contour(truth)
    np.testing.assert_array_equal(davis_contour(predicted), ours)
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    radius = math.ceil(0.008 * math.hypot(*predicted.shape))
    precision = (ours & dilation(theirs, disk(radius))).sum() / ours.sum()
    recall = (theirs & dilation(ours, disk(radius))).sum() / theirs.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def published_reference(predicted, truth):
    """F of the data set's script: the positive part of the gradient along y, pixel by pixel."""
    ours, theirs = (np.gradient(m.astype(float))[0] > 0 for m in (predicted, truth))
    np.testing.assert_array_equal(published_contour(predicted), ours)
    scores = precision_recall_fscore_support(
        theirs.ravel(), ours.ravel(), average="binary", zero_division=0
    )
    return scores[2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [SHAPE, (200, 9), (9, 160)])
def test_contour_scores(seed, shape):
    truth = blobs(3, seed, shape)
    predicted = moved(truth, 1 + seed)
    predicted[2] = True  # no contour of DAVIS and none published
    for contour, reference in (("davis", davis_reference), ("published", published_reference)):
        rows = iosfast.evaluate(predicted, truth, scoring=Scoring(contour=contour)).maps
        expected = [reference(a, b) for a, b in zip(predicted, truth, strict=True)]
        np.testing.assert_allclose(rows.contour_f, expected, atol=1e-12)


def test_the_published_contour_is_the_upper_edge_alone():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 5:15, 5:15] = True
    shorter = mask.copy()
    shorter[0, 8:] = False  # the lower part is gone
    row = iosfast.evaluate(shorter, mask, scoring=Scoring.published()).maps.iloc[0]
    assert row.iou == 0.3
    assert row.contour_f == 1
    assert iosfast.evaluate(shorter, mask).maps.iloc[0].contour_f < 0.8


def test_empty_masks_by_both_conventions():
    masks = np.zeros((3, *SHAPE), bool)
    masks[1, 5:9, 5:9] = True
    predicted = masks.copy()
    predicted[2, 0, 0] = True
    names = ["iou", "contour_f", "dice", "j_and_f"]
    rows = iosfast.evaluate(predicted, masks)
    assert rows.maps[names].to_numpy().tolist() == [[1] * 4, [1] * 4, [0] * 4]
    assert rows.maps.both_empty.tolist() == [True, False, False]
    assert rows.maps[["kappa", "hausdorff95_px"]].isna().to_numpy().tolist() == [
        [True, True], [False, False], [False, True]
    ]  # fmt: skip
    assert rows.summary.both_empty_maps.tolist() == [1]
    zero = iosfast.evaluate(predicted, masks, scoring=Scoring(empty="zero"))
    assert zero.maps[names].to_numpy().tolist() == [[0] * 4, [1] * 4, [0] * 4]
    assert zero.clips.iou[0] == pytest.approx(1 / 3)
    assert rows.clips.iou[0] == pytest.approx(2 / 3)


def several(lengths=(2, 5, 3, 4), seed=3):
    """Clips of different lengths and quality."""
    truth = {f"c{n}": blobs(length, seed + n) for n, length in enumerate(lengths)}
    return {name: moved(masks, 1 + int(name[1])) for name, masks in truth.items()}, truth


def test_averages_over_clips_over_maps_and_published():
    predicted, truth = several()
    levels = {"c0": 1, "c1": 1, "c2": 2, "c3": 2}
    by = {
        name: iosfast.evaluate(predicted, truth, levels=levels, scoring=Scoring(average=name))
        for name in ("clips", "maps", "published")
    }
    maps = by["clips"].maps
    of_clips = maps.groupby("clip").dice.mean()
    assert by["clips"].summary.level.tolist() == [1, 2, "overall"]
    expected = [of_clips[:2].mean(), of_clips[2:].mean(), of_clips.mean()]
    np.testing.assert_allclose(by["clips"].summary.dice, expected)
    over_maps = [*maps.groupby("level").dice.mean(), maps.dice.mean()]
    np.testing.assert_allclose(by["maps"].summary.dice, over_maps)
    np.testing.assert_allclose(by["published"].summary.dice, [*expected[:2], over_maps[2]])
    assert by["clips"].summary.maps.tolist() == [7, 7, 14]
    assert by["clips"].summary.clips.tolist() == [2, 2, 4]


def test_intervals_are_those_of_scipy():
    predicted, truth = several((2, 5, 3, 4, 6, 2, 3, 4, 3, 2))
    result = iosfast.evaluate(predicted, truth, confidence=0.9, resamples=20_000)
    row = result.summary.iloc[-1]
    expected = stats.bootstrap(
        (result.clips.iou.to_numpy(),), np.mean, confidence_level=0.9, method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    spread = expected.high - expected.low
    assert row.iou_low == pytest.approx(expected.low, abs=0.03 * spread)
    assert row.iou_high == pytest.approx(expected.high, abs=0.03 * spread)
    assert row.iou_low < row.iou < row.iou_high


def test_intervals_of_means_over_maps_by_hand():
    """Three clips have ten different resamples, whose means and chances can be written down."""
    predicted, truth = several((1, 4, 2))
    scoring = Scoring(average="maps")
    result = iosfast.evaluate(predicted, truth, scoring=scoring, resamples=50_000, confidence=0.6)
    of_clips = [result.maps[result.maps["clip"] == f"c{n}"].iou.to_numpy() for n in range(3)]
    means = [
        np.concatenate([of_clips[a], of_clips[b], of_clips[c]]).mean()
        for a in range(3) for b in range(3) for c in range(3)
    ]  # fmt: skip
    # Ends at a fifth of 27 equally likely means: within the sixth of each side.
    row, means = result.summary.iloc[-1], sorted(means)
    assert means[4] - 1e-12 <= row.iou_low <= means[6] + 1e-12
    assert means[-7] - 1e-12 <= row.iou_high <= means[-5] + 1e-12


def test_seeds_and_levels():
    predicted, truth = several((2, 5, 3, 4, 2, 3))
    first, again, other = (
        iosfast.evaluate(predicted, truth, seed=seed, resamples=99).summary for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert (first.iou_low != other.iou_low).all()
    assert (first.iou == other.iou).all()
    # Clips are drawn within levels: alone in its level, each is in every resample.
    levels = {name: name for name in truth}
    summary = iosfast.evaluate(predicted, truth, levels=levels).summary
    assert summary.iou_low[:-1].isna().all()
    assert summary.iou_low.iloc[-1] == pytest.approx(summary.iou.iloc[-1])


def test_objects_together_and_each():
    truth = np.stack([blobs(3, 0), blobs(3, 1)])
    predicted = truth[::-1]
    assert iosfast.evaluate(predicted, truth).maps.iou.tolist() == [1.0] * 3
    rows = iosfast.evaluate(predicted, truth, each_object=True).maps
    assert rows.object.tolist() == [1] * 3 + [2] * 3
    assert (rows.iou < 1).all()
    np.testing.assert_array_equal(rows.iou[:3], rows.iou[3:])


def test_pixels_outside_of_the_mask_do_not_count():
    truth, predicted = blobs(), blobs(seed=1)
    cortex = np.zeros(SHAPE, bool)
    cortex[5:25, 8:40] = True
    rows = iosfast.evaluate(predicted, truth, mask=cortex).maps
    inside = iosfast.evaluate(
        np.ascontiguousarray(predicted[:, 5:25, 8:40]), truth[:, 5:25, 8:40].copy()
    ).maps
    for name in ("iou", "dice", "kappa", "neither_px", "hausdorff95_px"):
        np.testing.assert_array_equal(rows[name], inside[name], name)


def test_distances_in_mm():
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:20, 10:20] = True
    across, down = np.roll(truth, 4, axis=2), np.roll(truth, 4, axis=1)
    even = iosfast.evaluate(across, truth, pixel_size_mm=0.5).maps.iloc[0]
    assert (even.hausdorff95_px, even.hausdorff95_mm) == (4, 2)
    for predicted, expected in ((across, 4 * 0.5), (down, 4 * 0.25)):
        row = iosfast.evaluate(predicted, truth, pixel_size_mm=(0.25, 0.5)).maps.iloc[0]
        assert (row.hausdorff95_px, row.hausdorff95_mm) == (4, expected)
    assert math.isnan(iosfast.evaluate(across, truth).maps.iloc[0].hausdorff95_mm)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"predicted": [[1]]}, TypeError, "must both be arrays"),
        ({"predicted": np.zeros((3, *SHAPE))}, TypeError, "predicted must be bool or uint8"),
        ({"predicted": np.zeros((2, *SHAPE), bool)}, ValueError, "predicted has shape"),
        ({"predicted": {"a": np.zeros((3, *SHAPE), bool)}}, TypeError, "both be arrays"),
        ({"truth": np.zeros(SHAPE, bool)}, ValueError, "truth must be"),
        ({"scoring": "published"}, TypeError, "scoring must be a Scoring"),
        ({"levels": [1]}, TypeError, "levels must be a mapping"),
        ({"levels": {"a": 1}}, ValueError, "levels has no clip ''"),
        ({"levels": {"": "overall"}}, ValueError, "other than 'overall'"),
        ({"pixel_size_mm": 0}, ValueError, "pixel_size_mm must be above 0"),
        ({"mask": np.ones((3, 3))}, ValueError, r"mask has shape \(3, 3\)"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "with a pixel inside"),
        ({"missing": "ignore"}, ValueError, "missing must be one of"),
        ({"resamples": 0}, ValueError, "resamples must be at least 1"),
        ({"confidence": 1.0}, ValueError, "confidence must be below 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_bad_arguments(change, error, words):
    given = {"predicted": blobs(3), "truth": blobs(3), **change}
    with pytest.raises(error, match=words):
        iosfast.evaluate(given.pop("predicted"), given.pop("truth"), **given)


def test_bad_clips_and_scorings():
    predicted, truth = several()
    with pytest.raises(ValueError, match="predicted has no clip 'c3'"):
        iosfast.evaluate({k: v for k, v in predicted.items() if k != "c3"}, truth)
    with pytest.raises(ValueError, match="truth has no clip 'c3'"):
        iosfast.evaluate(predicted, {k: v for k, v in truth.items() if k != "c3"})
    with pytest.raises(ValueError, match="truth holds no clip"):
        iosfast.evaluate({}, {})
    with pytest.raises(ValueError, match="predicted of clip 'c1' has shape"):
        iosfast.evaluate(predicted | {"c1": predicted["c2"]}, truth)
    with pytest.raises(ValueError, match="has 1 objects, but truth 2"):
        iosfast.evaluate(blobs(2), np.stack([blobs(2)] * 2), each_object=True)
    for name in ("contour", "empty", "average"):
        with pytest.raises(ValueError, match=f"{name} must be one of"):
            Scoring(**{name: "both"})


def labels(masks, names, **options):
    return Annotations.from_masks(masks, names=names, **options)


@pytest.fixture
def labelled(tmp_path):
    """Two clips in folders of levels: predicted and true labels, as ISAT files."""
    predicted, truth = several((3, 4))
    places = {"c0": "Level 1/c0", "c1": "Level 2/c1"}
    for name, clips in (("pred", predicted), ("true", truth)):
        for clip, masks in clips.items():
            names = [f"20230922_22143{t}" for t in range(len(masks))]
            labels(masks[np.newaxis], names).write(tmp_path / name / places[clip])
    return tmp_path, *({places[k]: v for k, v in clips.items()} for clips in (predicted, truth))


def test_folders_of_labels_score_as_their_masks(labelled):
    folder, predicted, truth = labelled
    result = iosfast.evaluate(folder / "pred", str(folder / "true"))
    expected = iosfast.evaluate(predicted, truth)
    pd.testing.assert_frame_equal(
        result.maps.drop(columns="name"), expected.maps.drop(columns="name")
    )
    assert result.maps.name[0] == "20230922_221430"
    each = iosfast.evaluate(folder / "pred", folder / "true", each_object=True).maps
    assert set(each.object) == {"signal/1"}
    np.testing.assert_array_equal(each.iou, expected.maps.iou)


def test_images_without_labels():
    names = ["a/1", "a/2", "b/1"]
    masks = blobs(3)[np.newaxis]
    truth, fewer = labels(masks, names), labels(masks[:, :1], names[:1])
    with pytest.raises(ValueError, match="no labels of 2 images that truth has, such as a/2"):
        iosfast.evaluate(fewer, truth)
    rows = iosfast.evaluate(fewer, truth, missing="empty").maps
    assert rows.iou.tolist() == [1, 0, 0]
    with pytest.warns(IosfastWarning, match="2 images have predicted labels, but no true ones"):
        rows = iosfast.evaluate(truth, fewer).maps
    assert rows.iou.tolist() == [1]
    with pytest.raises(ValueError, match="labels of no image that truth has; they are of a/1"):
        iosfast.evaluate(fewer, labels(masks[:, :1], ["c/1"]), missing="empty")
    with pytest.raises(TypeError, match="predicted must be an array, a mapping"):
        iosfast.evaluate(3, truth)


def test_an_object_that_one_of_both_lacks():
    names, masks = ["a/1", "a/2"], np.stack([blobs(2), blobs(2, 1)])
    truth, one = labels(masks, names), labels(masks[:1], names)
    rows = iosfast.evaluate(one, truth, each_object=True).maps
    assert rows.object.tolist() == ["signal/1"] * 2 + ["signal/2"] * 2
    assert rows.iou.tolist() == [1, 1, 0, 0]
    exchanged = iosfast.evaluate(truth, one, each_object=True).maps
    assert exchanged.iou.tolist() == [1, 1, 0, 0]


def test_tables_and_their_files(tmp_path):
    predicted, truth = several()
    result = iosfast.evaluate(predicted, truth, levels=dict.fromkeys(truth, 1))
    paths = result.write(tmp_path / "scores")
    assert [path.name for path in paths] == ["maps.csv", "clips.csv", "summary.csv"]
    summary = pd.read_csv(paths[2])
    np.testing.assert_array_equal(summary.iou, result.summary.iou)
    with pytest.raises(WriteError, match="exists already"):
        result.write(tmp_path / "scores")
    described = iosfast.evaluate.__doc__
    for name in result.maps:
        assert f"``{name}``" in described, name


def test_the_command(labelled, capsys, tmp_path, monkeypatch):
    folder, predicted, truth = labelled
    monkeypatch.chdir(folder)
    arguments = ["evaluate", "pred", "true", "--levels", "folders", "--pixel-size-mm", "10/512"]
    assert main([*arguments, "--out", "scores"]) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = iosfast.evaluate(
        predicted, truth, levels={clip: clip[:7] for clip in truth}, pixel_size_mm=10 / 512
    ).summary
    assert lines[0].split("  ")[0] == "level"
    for line, row in zip(lines[1:4], summary.itertuples(), strict=True):
        assert line.startswith(str(row.level))
        assert f"{row.iou:.3f}" in line
        assert f"{row.dice:.3f}" in line
    assert f"[{summary.dice_low.iloc[-1]:.3f}, {summary.dice_high.iloc[-1]:.3f}]" in lines[3]
    assert "Hausdorff 95 (mm)" in lines[5]
    written = pd.read_csv("scores/summary.csv")
    np.testing.assert_array_equal(written.dice, summary.dice)

    assert main(["evaluate", "pred", "true", "--published", "--contour", "davis"]) == 0
    out = capsys.readouterr().out
    assert "F: davis contour. Both masks empty, in 0 maps, counts 0." in out
    assert "overall over maps" in out

    (folder / "levels.csv").write_text("clip,level\nc0,clear\nc1,noisy\n")
    assert main(["evaluate", "pred", "true", "--levels", "levels.csv"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:4]] == [
        "clear", "noisy", "overall"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip,grade\nc0,1\n", "holds no columns clip and level"),
        ("clip,level\nc0,1\n", "has no level of clip Level 2/c1"),
        ("clip,level\nc0\n", "holds no columns"),
        (None, "the levels cannot be read"),
    ],
)
def test_bad_levels(labelled, capsys, text, words):
    folder = labelled[0]
    if text is not None:
        (folder / "levels.csv").write_text(text)
    given = [str(folder / name) for name in ("pred", "true", "levels.csv")]
    assert main(["evaluate", *given[:2], "--levels", given[2]]) == 1
    assert words in capsys.readouterr().err


def test_no_labels(tmp_path):
    with pytest.raises(ReadError, match="nothing"):
        iosfast.evaluate(tmp_path / "nothing", tmp_path / "nothing")
