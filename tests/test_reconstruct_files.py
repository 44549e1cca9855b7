"""The published model, trials of Sensorium 2023, videos and figures, and the demo."""

from __future__ import annotations

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from reconstruct_reference import published_responses

from iosfast import ReadError, WriteError, figures
from iosfast.cli import main
from iosfast.reconstruct import (
    Architecture,
    ClipEncoder,
    Mouse,
    PublishedModel,
    comparison,
    comparison_video,
    demo,
    natural_movies,
    predict,
    published_encoder,
    reconstruct,
    side_by_side,
)

SMALL = Architecture(
    core_features=(8, 8, 12), spatial_strides=(2, 1, 2), expansion_ratio=2, se_reduce_ratio=4,
    cortex_features=(16, 24), groups=2,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def drawn(neurons, mouse, seed=0):
    """Give a small model with random weights and random running means."""
    model = PublishedModel(neurons, SMALL, mouse=mouse)
    draw = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point and not name.endswith("inv_freq"):
            noise = torch.rand(value.shape, generator=draw)
            value.copy_(noise + 0.5 if "var" in name else 3 * (noise - 0.5))
    model.core.stem[0].weight.data *= 0.02  # for movies up to 255
    return model.eval()


def checkpoint(path, nested=True):
    """Write a file of three mice, as the training code does."""
    models = {n: drawn(neurons, n) for n, neurons in enumerate((5, 8, 6))}
    state = dict(models[1].state_dict())
    for model in models.values():
        state |= {k: v for k, v in model.state_dict().items() if k.startswith("readouts.")}
    params = {"nn_module": ("dwiseneuro", {"readout_outputs": (5, 8, 6)}), "lr": 1e-3}
    torch.save({"params": params, "nn_state_dict": state} if nested else state, path)
    return models


def test_the_published_model_is_that_of_the_plain_reference():
    model = drawn(7, 3)
    clip = np.random.default_rng(1).normal(0, 1, (5, 6, 12, 10))
    given = model.double()(torch.from_numpy(clip)[None])[0].detach().numpy()
    wanted = published_responses(model.state_dict(), SMALL, 3, clip)
    assert given.shape == (7, 6)
    np.testing.assert_allclose(given, wanted[:7], rtol=1e-6)
    assert np.ptp(given) > 0.1


def test_the_published_size():
    with torch.device("meta"):
        model = PublishedModel(7863)
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert shapes["core.stem.0.weight"] == (64, 5, 1, 1, 1)
    assert shapes["core.blocks.1.conv_pw.0.weight"] == (448, 64, 1, 1, 1)
    assert shapes["core.blocks.17.conv_pwl.0.weight"] == (256, 1792, 1, 1, 1)
    assert shapes["core.blocks.9.temp_covn_dw.0.weight"] == (896, 1, 5, 1, 1)
    assert shapes["cortex.layers.2.conv.weight"] == (4096, 1024, 1)
    assert shapes["readouts.0.layer.1.weight"] == (7864, 2048, 1)


@pytest.mark.parametrize("nested", [True, False])
def test_weights_of_one_mouse_are_loaded(tmp_path, nested):
    models = checkpoint(tmp_path / "w.pth", nested)
    encoder = published_encoder(tmp_path / "w.pth", 1, SMALL)
    names = [n for n in encoder.model.state_dict() if n.startswith("readouts.")]
    assert names == ["readouts.1.layer.1.weight", "readouts.1.layer.1.bias"]
    assert (encoder.frames, encoder.step, encoder.pad_to) == (16, 2, (64, 64))
    clips = torch.rand(2, 5, 16, 12, 12)
    with torch.no_grad():
        assert torch.equal(encoder.model(clips), models[1](clips))
    odd = published_encoder(tmp_path / "w.pth", 0, SMALL, neurons=5)
    assert odd.model(clips).shape[1] == 5
    assert published_encoder(tmp_path / "w.pth", 0, SMALL).model(clips).shape[1] == 6


def test_a_movie_goes_through_the_published_model(tmp_path):
    checkpoint(tmp_path / "w.pth")
    encoder = published_encoder(tmp_path / "w.pth", 1, SMALL)
    encoder = ClipEncoder(encoder.model, pad_to=(12, 10))
    movie = natural_movies(1, 33, (8, 10))[0]
    behaviour = np.random.default_rng(0).random((4, 33))
    responses = predict(encoder, movie, behaviour)
    found = reconstruct(
        encoder, responses, shape=(8, 10), behaviour=behaviour, method="bauer2026",
        iterations=4, holdout=0, progress=False,
    )  # fmt: skip
    assert np.ptp(found.movie) > 0.5


def test_wrong_files_of_weights(tmp_path):
    path = tmp_path / "w.pth"
    checkpoint(path)
    for mouse, sizes, text in (
        (3, SMALL, "has no readout 3, but 0, 1, 2"),
        (0, replace(SMALL, core_features=(8, 8, 8)), r"has shape .*, but the architecture has"),
        (0, replace(SMALL, cortex_features=(16, 24, 24)), "lacks cortex.layers.2.conv.weight"),
    ):
        with pytest.raises(ReadError, match=text):
            published_encoder(path, mouse, sizes)
    with pytest.raises(ValueError, match="neurons must be at least 5 and at most 6, not 4"):
        published_encoder(path, 0, SMALL, neurons=4)
    with pytest.raises(ReadError, match="No such file"):
        published_encoder(tmp_path / "none.pth", 0)
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"nn_state_dict": [1]}, tmp_path / "list.pth")
    torch.save(SMALL, tmp_path / "object.pth")
    (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:2000])
    for name in ("text", "list", "object", "cut"):
        with pytest.raises(ReadError, match=rf"{name}\.pth: holds no "):
            published_encoder(tmp_path / f"{name}.pth", 0, SMALL)
    with pytest.raises(ValueError, match="core_features and spatial_strides must be of equal"):
        Architecture(core_features=(1, 2))


# Trials of Sensorium 2023.


def mouse_folder(folder, trials=(0, 3, 12), neurons=6, length=20, used=15):
    """Write trials as the data set lays them out; NaN after the used frames."""
    random = np.random.default_rng(0)
    arrays = {}
    for n in trials:
        video = random.uniform(0, 255, (9, 11, length))
        behavior, pupil = random.random((2, length)), random.random((2, length))
        responses = random.random((neurons, length))
        for array in (video, behavior, pupil, responses):
            array[..., used:] = np.nan
        arrays[n] = {
            "videos": video, "behavior": behavior, "pupil_center": pupil, "responses": responses,
        }  # fmt: skip
        for name, array in arrays[n].items():
            (folder / "data" / name).mkdir(parents=True, exist_ok=True)
            np.save(folder / "data" / name / f"{n}.npy", array)
    (folder / "meta/neurons").mkdir(parents=True)
    (folder / "meta/trials").mkdir()
    np.save(folder / "meta/neurons/unit_ids.npy", np.arange(neurons))
    np.save(folder / "meta/neurons/cell_motor_coordinates.npy", np.ones((neurons, 3)))
    np.save(folder / "meta/trials/tiers.npy", np.array(["train", "oracle"] * 7))
    return arrays


def test_trials_are_read(tmp_path):
    arrays = mouse_folder(tmp_path)
    (tmp_path / "data/responses/12.npy").unlink()  # kept back
    mouse = Mouse(tmp_path)
    assert mouse.trials == (0, 3, 12)
    assert mouse.tiers == ("train", "oracle", "train")
    assert mouse.neurons == 6
    assert mouse.coordinates.shape == (6, 3)
    trial = mouse.read(3)
    assert (trial.number, trial.tier) == (3, "oracle")
    video = arrays[3]["videos"].astype(np.float32)
    for t, y, x in ((0, 0, 0), (14, 8, 10), (7, 2, 5)):
        assert trial.movie[t, y, x] == video[y, x, t]
    assert trial.movie.shape == (15, 9, 11)
    np.testing.assert_array_equal(
        trial.responses, arrays[3]["responses"][:, :15].astype(np.float32)
    )
    wanted = np.concatenate([arrays[3]["behavior"], arrays[3]["pupil_center"]])[:, :15]
    np.testing.assert_array_equal(trial.behaviour, wanted.astype(np.float32))
    assert mouse.read(12).responses is None


def test_a_folder_without_meta_is_read(tmp_path):
    mouse_folder(tmp_path, used=20)
    for name in ("neurons/unit_ids", "neurons/cell_motor_coordinates", "trials/tiers"):
        (tmp_path / f"meta/{name}.npy").unlink()
    mouse = Mouse(tmp_path)
    assert (mouse.neurons, mouse.tiers, len(mouse)) == (None, ("", "", ""), 3)
    assert mouse.read(0).movie.shape == (20, 9, 11)


def changed(name, change):
    def apply(folder):
        path = folder / name
        np.save(path, change(np.load(path)))

    return apply


def gap(array):
    array[..., 4] = np.nan
    return array


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda f: (f / "data/behavior/3.npy").unlink(), "3.npy: is missing"),
        (lambda f: (f / "data/videos/3.npy").write_bytes(b"no"), "3.npy: cannot be read"),
        (lambda f: (f / "data/videos/3.npy").write_bytes(b""), "3.npy: cannot be read"),
        (changed("data/responses/3.npy", lambda a: a[:, :-1]), "has 19 frames, but the video"),
        (changed("data/responses/3.npy", lambda a: a[:-1]), "has 5 neurons, but meta/neurons"),
        (changed("data/behavior/3.npy", lambda a: a[:1]), "must have 2 channels, not 1"),
        (changed("data/pupil_center/3.npy", lambda a: a[0]), "must hold an array of 2 axes"),
        (changed("data/videos/3.npy", lambda a: a.astype(str)), "holds <U"),
        (changed("data/behavior/3.npy", gap), "has NaN in frame 4"),
        (changed("data/behavior/3.npy", lambda a: a * np.nan), "NaN from its first frame on"),
        (changed("meta/neurons/unit_ids.npy", lambda a: a[1:]), "meta/neurons differ"),
        (changed("meta/trials/tiers.npy", lambda a: a[:5]), "names 5 trials, but .* trial 12"),
    ],
)
def test_damaged_trials(tmp_path, harm, text):
    mouse_folder(tmp_path)
    harm(tmp_path)
    with pytest.raises(ReadError, match=text):
        Mouse(tmp_path).read(3)


def test_no_trials(tmp_path):
    with pytest.raises(ReadError, match="holds no data/videos"):
        Mouse(tmp_path)
    (tmp_path / "data/videos").mkdir(parents=True)
    with pytest.raises(ReadError, match="holds no trials"):
        Mouse(tmp_path)
    mouse_folder(tmp_path)
    with pytest.raises(ValueError, match=r"number must be a trial of .*, not 4"):
        Mouse(tmp_path).read(4)


# Videos and figures.

TRUTH = natural_movies(1, 12, (10, 14), seed=3)[0]
FOUND = np.clip(0.3 * TRUTH + 80, 0, 255)


def test_truth_and_reconstruction_side_by_side():
    mask = np.ones((10, 14), bool)
    mask[:3] = False
    pair = side_by_side(TRUTH, FOUND, mask)
    assert pair.shape == (12, 10, 30)
    np.testing.assert_array_equal(pair[:, 3:, :14], np.rint(TRUTH[:, 3:]).astype(np.uint8))
    difference = pair[..., :14].astype(int) - pair[..., 16:]
    assert np.abs(difference).max() <= 1  # level and contrast are matched
    assert (pair[..., 14:16] == 255).all()
    assert (pair[:, :3, :14] == 128).all()


def test_the_video_shows_both(tmp_path):
    path = comparison_video(tmp_path / "a.mp4", TRUTH, FOUND, pixel_px=8, frames_per_s=15)
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
        assert float(file.streams.video[0].average_rate) == 15
    assert len(frames) == 12
    shown = frames[5].reshape(10, 8, 30, 8)[:, 2:6, :, 2:6].mean((1, 3))
    assert np.corrcoef(shown[:, :14].ravel(), TRUTH[5].ravel())[0, 1] > 0.99
    assert np.corrcoef(shown[:, 16:].ravel(), TRUTH[5].ravel())[0, 1] > 0.99
    with pytest.raises(WriteError, match="exists already"):
        comparison_video(path, TRUTH, FOUND)
    assert comparison_video(path, TRUTH, FOUND, overwrite=True) == path
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(ValueError, match=r"path must end in \.mp4"):
        comparison_video(tmp_path / "a.avi", TRUTH, FOUND)
    with pytest.raises(ValueError, match="truth has"):
        comparison_video(tmp_path / "b.mp4", TRUTH, FOUND[1:])
    with pytest.raises(WriteError):
        comparison_video(tmp_path / "none" / "b.mp4", TRUTH, FOUND)


def test_the_figure_has_frames_and_curves(tmp_path):
    figure = comparison(
        TRUTH, FOUND, by_neurons={25: [0.2, 0.3], 50: [0.5]}, by_members={1: [0.4], 2: [0.6]}
    )
    images = [axis for axis in figure.axes if axis.images]
    assert len(images) == 12
    neurons, members = (axis for axis in figure.axes if not axis.images)
    assert neurons.get_xlabel() == "neurons"
    np.testing.assert_allclose(neurons.lines[-1].get_ydata(), [0.25, 0.5])
    np.testing.assert_allclose(members.lines[-1].get_xdata(), [1, 2])
    figures.save(figure, tmp_path / "a.png", dpi=60)
    assert len(comparison(TRUTH, FOUND).axes) == 12


def test_the_demo(tmp_path, monkeypatch, capsys):
    for name, value in {
        "SHAPE": (10, 12), "FRAMES": 24, "NEURONS": (10, 24), "MEMBERS": 2,
        "TRAINING_MOVIES": 8, "TRAINING_FRAMES": 30, "EPOCHS": 8, "FEATURES": 6,
        "ITERATIONS": 20, "SKIP": 4,
    }.items():  # fmt: skip
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(demo, "PATIENCE", 20)
    assert main(["reconstruct", "demo", "--out", str(tmp_path / "out")]) == 0
    files = ["reconstruction.mp4", "reconstruction.png", "scores.json"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == files
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert list(scores["by_neurons"]) == ["10", "24"]
    assert [len(v) for v in scores["by_members"].values()] == [2, 1]
    printed = capsys.readouterr()
    assert "simulated neurons; r says nothing" in printed.out
    assert main(["reconstruct", "demo", "--out", str(tmp_path / "out")]) == 1
    assert "exists already" in capsys.readouterr().err
