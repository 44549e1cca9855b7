"""Export, checkpoints, model folders and devices: what is refused, and how it is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from iosfast import IosfastWarning, ReadError, WriteError, sam2
from iosfast.cli import main
from iosfast.sam2 import fetch as fetch_function
from iosfast.sam2.manifest import GRAPHS, MOVES, read_manifest

pytestmark = pytest.mark.sam2

fetching = sys.modules["iosfast.sam2.fetch"]
exporting = sys.modules["iosfast.sam2.export"]


@pytest.fixture
def folder(sam2_folder, tmp_path):
    """A copy of the model, without copying what is large."""
    copy = tmp_path / "model"
    copy.mkdir()
    for path in (sam2_folder / "model").iterdir():
        (copy / path.name).hardlink_to(path)
    return copy


def rewritten(path, content):
    """Replace a file, and not what it is linked to."""
    path.unlink()
    path.write_bytes(content)


def test_importing_iosfast_imports_none_of_the_libraries():
    code = (
        "import sys, iosfast, iosfast.cli\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'sam2', 'huggingface_hub')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_manifest_tells_what_was_made(sam2_folder):
    manifest = read_manifest(sam2_folder / "model")
    assert (manifest.image_size, manifest.side, manifest.precision) == (128, 8, "fp32")
    assert manifest.files.keys() == {
        "constants.npz",
        *(f"{name}.onnx" for name in (*GRAPHS, *MOVES)),
    }
    assert {"iosfast", "torch", "onnx", "onnxruntime", "python"} <= manifest.versions.keys()
    checkpoint = sam2_folder / "checkpoint.pt"
    assert manifest.checkpoint.nbytes == checkpoint.stat().st_size
    assert sorted(p.name for p in sam2_folder.iterdir()) == ["checkpoint.pt", "model"]


# Checkpoints.


def saved(path, content):
    torch.save(content, path)
    return path


def some_state(channels=96, blocks=12, **more):
    trunk = "image_encoder.trunk."
    state = {f"{trunk}blocks.{i}.norm1.weight": torch.ones(1) for i in range(blocks)}
    state[f"{trunk}patch_embed.proj.weight"] = torch.zeros(channels, 3, 7, 7)
    return {"model": {**state, **more}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (some_state(96, 16), r"is SAM 2 small; only tiny \(sam2.1_hiera_tiny.pt\)"),
        (some_state(112, 24), "is SAM 2 base plus; only tiny"),
        (some_state(144, 48), "is SAM 2 large; only tiny"),
        (some_state(96, 13), "is SAM 2 of an unknown size; only tiny"),
        (some_state(), "is SAM 2.0 tiny; take the one of SAM 2.1"),
        ({"model": {"a": torch.ones(1)}}, "is not a checkpoint of SAM 2: it has no image_encoder"),
        ({"state": {}}, "is a file of torch, but not a checkpoint of SAM 2"),
        ({"model": {"a": 1}}, "is a file of torch, but not a checkpoint of SAM 2"),
        ([1, 2], "is a file of torch, but not a checkpoint of SAM 2"),
    ],
)
def test_another_model_is_named(tmp_path, content, message):
    path = saved(tmp_path / "x.pt", content)
    with pytest.raises(ReadError, match=message):
        sam2.export(path, tmp_path / "model", image_size=128)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def changed_state(sam2_folder, change):
    content = torch.load(sam2_folder / "checkpoint.pt")
    change(content["model"])
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("no_obj_ptr"), "lacks no_obj_ptr"),
        (lambda s: s.update(more=torch.ones(1)), "holds more, which"),
        (
            lambda s: s.update(no_obj_ptr=torch.ones(1, 255)),
            r"its no_obj_ptr is \(1, 255\), not \(1, 256\)",
        ),
        (lambda s: s["no_obj_ptr"].fill_(np.nan), "its no_obj_ptr is not finite"),
    ],
)
def test_a_checkpoint_that_is_almost_right_is_refused(sam2_folder, tmp_path, change, message):
    path = saved(tmp_path / "x.pt", changed_state(sam2_folder, change))
    with pytest.raises(ReadError, match=message):
        sam2.export(path, tmp_path / "model", image_size=128)


def test_a_file_that_is_cut_or_something_else_is_refused(sam2_folder, tmp_path):
    whole = (sam2_folder / "checkpoint.pt").read_bytes()
    for content, message in (
        (whole[: len(whole) // 2], "is cut: its end is missing"),
        (b"", "is not a checkpoint that torch can read"),
        (b"II*\0" + bytes(100), "is not a checkpoint that torch can read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ):
        path = tmp_path / "x.pt"
        path.write_bytes(content)
        with pytest.raises(ReadError, match=message):
            sam2.export(path, tmp_path / "model")
    with pytest.raises(ReadError, match=r"absent\.pt: cannot be read: No such file"):
        sam2.export(tmp_path / "absent.pt", tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 500}, ValueError, "image_size must be a multiple of 64"),
        ({"image_size": 64}, ValueError, "image_size must be at least 128"),
        ({"image_size": "512"}, TypeError, "image_size must be a whole number"),
        ({"precision": "fp8"}, ValueError, "precision must be one of 'fp32', 'fp16', 'int8'"),
        ({"threads": -1}, ValueError, "threads must be at least 0"),
    ],
)
def test_options_are_checked(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        sam2.export(tmp_path / "x.pt", tmp_path / "model", **options)


def test_nothing_is_replaced(sam2_folder, tmp_path):
    with pytest.raises(WriteError, match="holds an exported model already"):
        sam2.export(sam2_folder / "checkpoint.pt", sam2_folder / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(WriteError, match="exists"), pytest.warns(IosfastWarning):
        sam2.export(sam2_folder / "checkpoint.pt", tmp_path / "mine", image_size=128)


def test_an_export_that_differs_from_sam2_leaves_nothing(sam2_folder, tmp_path, monkeypatch):
    verify = sys.modules["iosfast.sam2.verify"]
    case = ("point_prompt", {"points": np.zeros((1, 1, 2), "f4"), "labels": np.ones((1, 1), "f4")})
    wrong = {"tokens": np.zeros((1, 2, 256), "f4")}
    monkeypatch.setattr(verify, "cases", lambda predictor: [(*case, wrong)])
    monkeypatch.setattr(
        exporting,
        "_write_graphs",
        lambda predictor, to, precision: [
            shutil.copy(path, to)
            for path in (sam2_folder / "model").iterdir()
            if path.suffix != ".json"
        ],
    )
    with (
        pytest.raises(ArithmeticError, match="the exported point_prompt differs by"),
        pytest.warns(IosfastWarning, match="is not the official checkpoint"),
    ):
        sam2.export(sam2_folder / "checkpoint.pt", tmp_path / "model", image_size=128)
    assert not list(tmp_path.iterdir())


def test_other_code_of_sam2_is_told(monkeypatch):
    checkpoint = sys.modules["iosfast.sam2.checkpoint"]
    monkeypatch.setattr(checkpoint, "code_digest", lambda: "0")
    with pytest.warns(IosfastWarning, match="sam2 is not version 1.1.0"):
        checkpoint.empty_predictor(128)


@pytest.mark.parametrize("name", ["torch", "onnx", "onnxruntime", "sam2"])
def test_a_missing_extra_is_named(sam2_folder, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    ways = {"onnxruntime": r"'iosfast\[cpu\]'", "sam2": "no-build-isolation sam2==1.1.0, after"}
    way = ways.get(name, r"'iosfast\[export\]'")
    with pytest.raises(ImportError, match=f"needs {name}.*{way}"):
        sam2.export(sam2_folder / "checkpoint.pt", tmp_path / "model", image_size=128)
    if name == "onnxruntime":
        with pytest.raises(ImportError, match=r"iosfast\[cpu\]' or pip install 'iosfast\[gpu\]'"):
            sam2.Model(sam2_folder / "model")


# Precision.


@pytest.mark.parametrize(
    ("name", "precision", "size", "least", "most"),
    [("image_encoder", "int8", 0.3, 1e-3, 0.2), ("memory_encoder", "fp16", 0.6, 1e-5, 0.02)],
)
def test_narrow_weights_are_smaller_and_near(
    sam2_folder, tmp_path, name, precision, size, least, most
):
    path = tmp_path / f"{name}.onnx"
    wide = sam2_folder / "model" / path.name
    shutil.copy(wide, path)
    exporting._narrow(path, name, precision)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size < size * wide.stat().st_size
    random = np.random.default_rng(0)
    inputs = {
        "images": random.integers(0, 256, (1, 128, 128, 3), np.uint8),
        "features": random.standard_normal((2, 256, 8, 8), np.float32),
        "logits": random.standard_normal((2, 1, 32, 32), np.float32),
        "score": np.ones((2, 1), np.float32),
        "prompted": np.array([True, False]),
    }
    inputs = {key: inputs[key] for key in GRAPHS[name].inputs}
    found, expected = (
        onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]).run(None, inputs)[0]
        for p in (path, wide)
    )
    difference = np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())
    assert least < difference < most


# Model folders.


def test_a_changed_file_is_found(folder):
    path = folder / "mask_prompt.onnx"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    rewritten(path, content)
    with pytest.raises(ReadError, match=r"mask_prompt\.onnx: its hash is not that of the export"):
        sam2.Model(folder, device="cpu")
    rewritten(path, content[:-1])
    with pytest.raises(ReadError, match="it was cut or changed"):
        sam2.Model(folder, device="cpu")
    path.unlink()
    with pytest.raises(ReadError, match="is missing in the model folder"):
        sam2.Model(folder, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(layout=0), "exported with an older version of iosfast"),
        (lambda m: m.update(layout=99), "exported with another version of iosfast"),
        (lambda m: m.update(layout=None), "exported with another version of iosfast"),
        (lambda m: m.update(format="maps"), "is not that of an exported model"),
        (lambda m: m.update(image_size="x"), "is damaged"),
        (lambda m: m.update(precision="fp8"), "is damaged"),
        (lambda m: m.update(files=[]), "is damaged"),
        (lambda m: m["files"].pop("constants.npz"), "does not name constants.npz"),
        (lambda m: m["files"].update({"../x": {"nbytes": 1, "sha256": ""}}), "is damaged"),
        (lambda m: m.pop("checkpoint"), "is damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, change, message):
    content = json.loads((folder / "manifest.json").read_bytes())
    change(content)
    rewritten(folder / "manifest.json", json.dumps(content).encode())
    with pytest.raises(ReadError, match=message):
        sam2.Model(folder, device="cpu")


def test_a_folder_that_is_no_model_is_refused(folder, tmp_path):
    with pytest.raises(ReadError, match="is not a folder with an exported model"):
        sam2.Model(tmp_path / "absent")
    with pytest.raises(ReadError, match=r"holds no manifest.json"):
        sam2.Model(tmp_path)
    rewritten(folder / "manifest.json", b"{")
    with pytest.raises(ReadError, match="is not JSON"):
        sam2.Model(folder)


# Devices.


class Session:
    """A session that says where it runs."""

    def __init__(self, providers):
        self._providers = providers

    def get_providers(self):
        return self._providers


def offering(monkeypatch, usable):
    """Let ONNX Runtime be one for GPUs, and find one or not."""
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: Session(both if usable(path) else both[1:]),
    )


def test_the_device_is_the_one_that_the_sessions_name(sam2_folder, monkeypatch):
    folder = sam2_folder / "model"
    assert sam2.Model(folder).device == "cpu"
    with pytest.raises(RuntimeError, match="has no CUDA; install the extra gpu instead of cpu"):
        sam2.Model(folder, device="cuda")
    with pytest.raises(ValueError, match="device must be one of 'auto', 'cpu', 'cuda'"):
        sam2.Model(folder, device="gpu")
    offering(monkeypatch, usable=lambda path: True)
    assert sam2.Model(folder).device == "cuda"
    assert sam2.Model(folder, device="cpu").device == "cpu"


def test_falling_back_to_the_cpu_is_said(sam2_folder, monkeypatch):
    offering(monkeypatch, usable=lambda path: False)
    with pytest.warns(IosfastWarning, match="cannot use a GPU here.* runs on the CPU"):
        assert sam2.Model(sam2_folder / "model").device == "cpu"
    with pytest.raises(RuntimeError, match="device is 'cuda', but ONNX Runtime cannot use a GPU"):
        sam2.Model(sam2_folder / "model", device="cuda")


def test_a_graph_that_does_not_run_where_the_others_do_is_an_error(sam2_folder, monkeypatch):
    offering(monkeypatch, usable=lambda path: "mask_decoder" not in path)
    model = sam2.Model(sam2_folder / "model", device="cuda")
    assert model.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    model.session("memory_encoder")
    with pytest.raises(RuntimeError, match="on the GPU, but not mask_decoder: it offers only CPU"):
        model.session("mask_decoder")


def test_running_out_of_memory_is_told_from_other_errors(sam2_folder, monkeypatch):
    model = sam2.Model(sam2_folder / "model", device="cpu", threads=1)
    rows = np.zeros(1, np.int64)
    with pytest.raises(Exception, match="indices element out of data bounds") as found:
        model.run("take", {"values": np.zeros((1, 2), np.float32), "rows": rows + 9})
    assert not isinstance(found.value, MemoryError)
    huge = {"values": np.zeros((1, 2**20), np.float32), "rows": np.zeros(2**28, np.int64)}
    with pytest.raises(MemoryError):  # a quarter of 2 ** 52 bytes
        model.run("take", huge)


def test_values_are_moved_on_the_device(sam2_folder):
    model = sam2.Model(sam2_folder / "model", device="cpu", threads=1)
    random = np.random.default_rng(0)
    pool = random.standard_normal((5, 3, 2), np.float32)
    expected, values = pool.copy(), random.standard_normal((2, 3, 2), np.float32)
    placed = model.place(pool)
    rows = np.array([[3], [1]])
    inputs = {"pool": placed, "rows": rows, "values": values}
    kept = model.bound("put", inputs, {"kept": placed})["kept"]
    expected[[3, 1]] = values
    np.testing.assert_array_equal(placed.numpy(), expected)
    assert kept.data_ptr() == placed.data_ptr()  # nothing was copied
    rows = np.array([[3, 0], [1, 1]])
    taken = model.run("take", {"values": placed, "rows": rows})["taken"]
    np.testing.assert_array_equal(taken, expected[rows])


# Fetching.


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that gives one small file."""
    cached = tmp_path / "cache"
    cached.write_bytes(b"weights")
    fake = SimpleNamespace(hf_hub_download=lambda repository, name: str(cached))
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_what_was_fetched_is_checked(hub, tmp_path, monkeypatch, capsys):
    with pytest.raises(ReadError, match=r"cache: is not the official checkpoint: it has 7 bytes"):
        fetch_function(tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()
    monkeypatch.setattr(fetching, "OFFICIAL", fetching.FileRecord.of(tmp_path / "cache"))
    assert fetch_function(tmp_path) == tmp_path / "sam2.1_hiera_tiny.pt"
    assert main(["sam2", "fetch", "-o", str(tmp_path / "new" / "x.pt")]) == 0
    assert "next: iosfast sam2 export" in capsys.readouterr().out
    assert (tmp_path / "new" / "x.pt").read_bytes() == b"weights"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "new", "sam2.1_hiera_tiny.pt"]


def test_a_file_that_is_there_is_checked_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    path.write_bytes(b"weights")
    with pytest.raises(ReadError, match="remove it, or choose another place"):
        fetch_function(path)
    monkeypatch.setattr(fetching, "OFFICIAL", fetching.FileRecord.of(path))
    assert fetch_function(path) == path


def test_offline_it_says_what_to_put_where(hub, tmp_path, capsys):
    def offline(*_arguments):
        raise OSError("no network")

    hub.hf_hub_download = offline
    assert main(["sam2", "fetch", "-o", str(tmp_path / "x.pt")]) == 1
    message = capsys.readouterr().err
    assert "could not be downloaded (no network)" in message
    assert f"put it at {tmp_path / 'x.pt'}" in message
    assert "156,008,466 bytes" in message


def test_the_hub_is_named_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"fetching SAM 2 needs huggingface_hub.*\[export\]"):
        fetch_function(tmp_path / "x.pt")


def test_the_command_says_what_is_wrong(sam2_folder, tmp_path, capsys):
    place = str(tmp_path / "model")
    assert main(["sam2", "export", str(tmp_path / "x.pt"), "-o", place]) == 1
    assert "x.pt: cannot be read" in capsys.readouterr().err
    checkpoint = str(sam2_folder / "checkpoint.pt")
    assert main(["sam2", "export", checkpoint, "-o", place, "--image-size", "100"]) == 1
    assert "image_size must be at least 128" in capsys.readouterr().err
