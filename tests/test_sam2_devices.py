"""SAM 2 by OpenVINO beside ONNX Runtime, and by the command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import openvino
import pytest
import sam2_reference
from PIL import Image
from sam2_reference import SIZE

import iosfast
from iosfast import Prompt, segment
from iosfast.cli import main
from iosfast.errors import DeviceError
from iosfast.sam2 import Model
from iosfast.sam2.propagate import Said, Task, propagate
from iosfast.sam2.sessions import short_of_memory

pytestmark = pytest.mark.sam2

MAPS = 9
POINT = Said(np.array([(30, 62)], np.float32), np.ones(1, np.float32))
OTHER = Said(np.array([(90, 20), (60, 70)], np.float32), np.array([2, 3], np.float32))


@pytest.fixture(scope="module")
def images():
    return sam2_reference.moving(3, MAPS, (SIZE, SIZE))


def logits_of(model, images):
    task = Task(images.__getitem__, MAPS, {1: {0: POINT}, 2: {3: OTHER}})
    return np.stack([one.logits for one in propagate(model, [task], rows=2)])


@pytest.fixture(scope="module")
def expected(sam2_folder, images):
    return logits_of(Model(sam2_folder / "model", device="cpu", threads=1), images)


def test_openvino_gives_the_same(sam2_folder, images, expected):
    model = Model(sam2_folder / "model", device="openvino", threads=1)
    assert model.device == "openvino"
    found = logits_of(model, images)
    assert np.abs(found - expected).max() <= 1e-5
    version = openvino.__version__.partition("-")[0]
    assert set(model.providers) == {f"OpenVINO {version} on the CPU in f32", "CPUExecutionProvider"}
    again = logits_of(model, images)
    np.testing.assert_array_equal(found, again)


def test_what_openvino_gave_stays_when_it_runs_again(sam2_folder, images):
    ours, runtime = (
        Model(sam2_folder / "model", device=device, threads=1) for device in ("openvino", "cpu")
    )
    found = [ours.run("image_encoder", {"images": images[[i]]}) for i in range(3)]
    for i, one in enumerate(found):
        for name, expected in runtime.run("image_encoder", {"images": images[[i]]}).items():
            scale = np.abs(expected).max()
            np.testing.assert_allclose(one[name], expected, rtol=0, atol=1e-5 * scale)


class Core:
    """OpenVINO on a CPU that can or cannot compute in bfloat16."""

    def __init__(self, capabilities):
        self._capabilities = capabilities

    def __call__(self):
        return self

    def get_property(self, device, name):
        assert device == "CPU"
        if name == "FULL_DEVICE_NAME":
            return "some CPU"
        assert name == "OPTIMIZATION_CAPABILITIES"
        return self._capabilities


def test_bfloat16_is_near_or_refused(sam2_folder, images, expected, monkeypatch):
    """What a CPU can do is asked of OpenVINO itself."""
    folder = sam2_folder / "model"
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        model = Model(folder, device="openvino-bf16", threads=1)
        found = logits_of(model, images)
        assert any(name.endswith("in bf16") for name in model.providers)
        assert 1e-5 < np.abs(found - expected).max() < 0.1
        assert ((found > 0) != (expected > 0)).mean() < 0.01
    monkeypatch.setattr(openvino, "Core", Core(["FP32"]))
    with pytest.raises(DeviceError, match=r"this CPU \(some CPU\) does not compute in bfloat16"):
        Model(folder, device="openvino-bf16")


def test_a_graph_that_openvino_cannot_load_is_named(sam2_folder, monkeypatch):
    def failing(*_given):
        raise RuntimeError("operation Foo\nis not known")

    core = Core(["FP32"])
    core.compile_model = failing
    monkeypatch.setattr(openvino, "Core", core)
    with pytest.raises(iosfast.ReadError, match="OpenVINO cannot load it: operation Foo is not"):
        Model(sam2_folder / "model", device="openvino")


def test_openvino_is_named_where_it_is_missing(sam2_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"needs openvino.*pip install 'iosfast\[openvino\]'"):
        Model(sam2_folder / "model", device="openvino")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[CPU] Failed to allocate memory: Requested 3 bytes", MemoryError),
        ("std::bad_alloc", MemoryError),
        ("shapes do not fit", RuntimeError),
    ],
)
def test_errors_about_memory_are_told_from_others(text, error):
    with pytest.raises(error, match=r"(?i)bad_alloc|allocate memory|do not fit"), short_of_memory():
        raise RuntimeError(text)


# The command line.


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A folder of grey images, and a point in the first one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip").mkdir()
    for i, image in enumerate(sam2_reference.moving(3, 3, (96, 160))):
        grey = Image.fromarray(image).convert("L")
        grey.save(tmp_path / "clip" / f"20230922_22140{i}.png")
    iosfast.write_prompts("prompts.json", [Prompt(0, 2, points=[(30, 62)])])
    return tmp_path


def run(capsys, *arguments):
    code = main(["segment", "clip", "--method", "sam2", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_gives_what_the_function_gives(sam2_folder, clip, capsys):
    model = sam2_folder / "model"
    code, out, err = run(
        capsys, "--model", model, "--prompts", "prompts.json", "--out", "found", "--threads", 1,
        "--batch-size", 2, "--device", "cpu",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "note: sam2.1_hiera_tiny at 128 pixels, fp32, on CPUExecutionProvider of ONNX" in out
    found = segment(
        "clip", [Prompt(0, 2, points=[(30, 62)])], "sam2", model=model, threads=1, batch_size=2
    )
    read = iosfast.Annotations.read("found/masks.tif").masks(names=found.names)
    np.testing.assert_array_equal(read, found.masks)
    assert found.masks.any()


def test_the_command_shows_how_many_maps_were_looked_at(sam2_folder, clip, capsys, monkeypatch):
    arguments = ("--model", sam2_folder / "model", "--prompts", "prompts.json", "--no-picture",
                 "--overwrite", "--device", "cpu", "--threads", 1)  # fmt: skip
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, shown = run(capsys, *arguments)
    assert "outline maps" in shown
    assert "0/3" in shown
    assert "3/3" in shown
    assert run(capsys, *arguments, "--no-progress")[2] == ""


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([{"map_index": 9, "points": [[3, 4]]}], "the clip has only the maps 0 to 2"),
        ([{"map_index": 0, "points": [[160, 4]]}], "lies outside of the image"),
        ([{"map_index": 0, "points": [[3, 4]], "labels": [0]}], "must say where the object is"),
        ([{"map_index": 0}], "prompt 1 of 1: the prompt of object 1 on map 0 is empty"),
        ([], "prompts are empty: give at least one Prompt"),
        ("[", "the prompts cannot be read"),
    ],
)
def test_prompts_that_do_not_fit_are_one_line(sam2_folder, clip, capsys, prompts, message):
    text = prompts if isinstance(prompts, str) else json.dumps(prompts)
    (clip / "prompts.json").write_text(text)
    code, out, err = run(
        capsys, "--model", sam2_folder / "model", "--prompts", "prompts.json", "--out", "found"
    )
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (clip / "found").exists()


def test_what_cannot_run_is_one_line(sam2_folder, clip, capsys):
    model = sam2_folder / "model"
    for arguments, message in (
        ([], "method 'sam2' needs --model, the folder of an exported model"),
        (["--model", "absent"], "absent: is not a folder with an exported model; make one with"),
        (["--model", "clip"], "clip: holds no manifest.json, so no exported model"),
        (["--model", model, "--batch-size", 0], "batch_size must be at least 1, not 0"),
        (["--model", model, "--device", "cuda"], "device is 'cuda', but the installed ONNX Runt"),
    ):
        code, out, err = run(capsys, "--prompts", "prompts.json", "--out", "found", *arguments)
        assert (code, out) == (1, "")
        assert message in err
        assert len(err.splitlines()) == 1
        assert not (clip / "found").exists()
    code = main(["segment", "clip", "--model", str(model), "--prompts", "prompts.json"])
    assert code == 1
    assert "method 'front' has no model" in capsys.readouterr().err
