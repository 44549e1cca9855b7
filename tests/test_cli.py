"""The command line: every option arrives, every error is one line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from recordings import some_frames
from some_maps import files_in, same_maps

import iosfast
from iosfast import ReadError, Recipe, load, preprocess
from iosfast.cli import as_typed, main

FRAMES = some_frames((60, 21, 34))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a recording at 4 Hz, ``a.tif``."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", FRAMES, imagej=True, metadata={"finterval": 0.25})
    return tmp_path


def command(capsys, *arguments):
    """Run a command; return exit code, lines of stdout, and lines of stderr."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err.splitlines()


def make(capsys, *arguments, source=("a.tif",), out="out", picture=False):
    """Make maps without a word on stderr, and load them."""
    more = () if picture else ("--no-picture",)
    code, _, errors = command(
        capsys, "preprocess", *source, "--out", out, "--no-progress", *more, *arguments
    )
    assert (code, errors) == (0, [])
    return load(out)


def told(out="out"):
    return json.loads((Path(out) / "maps.json").read_text(encoding="utf-8"))


def slow_recording(path, frames=4000, side=1024):
    """Write pages that all show the same compressed pixels, which take seconds to decode."""
    pixels = zlib.compress(np.full((side, side), 1000, "<u2").tobytes())
    pixels += bytes(len(pixels) % 2)
    first, size = 8 + len(pixels), 2 + 12 * 9 + 4
    file = bytearray(struct.pack("<4sI", b"II*\0", first) + pixels)
    for i in range(frames):
        values = [(256, side), (257, side), (258, 16), (259, 8), (262, 1)]
        values += [(273, 8), (277, 1), (278, side), (279, len(pixels))]
        file += struct.pack("<H", 9)
        file += b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in values)
        file += struct.pack("<I", first + (i + 1) * size if i + 1 < frames else 0)
    path.write_bytes(file)


# preprocess


def test_preprocess(here, capsys):
    code, lines, errors = command(capsys, "preprocess", "a.tif", "--out", "out", "--no-progress")
    assert (code, errors) == (0, [])
    same_maps(load("out"), preprocess("a.tif"))
    assert lines[0] == "2 maps from 60 frames of 21 x 34 pixels: out"
    assert any(line.startswith("read and bin: ") for line in lines)
    assert lines[-1] == f"picture: {Path('out') / 'contact_sheet.png'}"
    with Image.open("out/contact_sheet.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 100
        assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 50
    assert sorted(os.listdir()) == ["a.tif", "out"]


def test_no_picture(here, capsys):
    make(capsys)
    assert not Path("out/contact_sheet.png").exists()


@pytest.mark.parametrize(
    ("option", "recipe"),
    [
        (["--bin-seconds", "0.5"], {"bin_seconds": 0.5}),
        (["--bin-frames", "3"], {"bin_frames": 3, "bin_seconds": None}),
        (["--partial-bin", "keep"], {"partial_bin": "keep"}),
        (["--interval-bins", "2"], {"interval_bins": 2}),
        (["--change", "ratio"], {"change": "ratio"}),
        (["--baseline-bins", "4"], {"baseline_bins": 4}),
        (["--smoothing-px", "5"], {"smoothing_px": 5}),
        (["--smoothing-first-px", "7"], {"smoothing_first_px": 7}),
        (["--smoothing-border", "zero"], {"smoothing_border": "zero"}),
        (["--scale", "per_map"], {"scale": "per_map"}),
        (["--scale-percent", "2.5"], {"scale_percent": 2.5}),
        (["--scale-range", "-0.02", "0.03"], {"scale": "range", "scale_range": (-0.02, 0.03)}),
        (["--colormap", "viridis"], {"colormap": "viridis"}),
        ([], {}),
    ],
)
@pytest.mark.parametrize("name", ["default", "published"])
def test_options_of_the_recipe(here, capsys, option, recipe, name):
    maps = make(capsys, "--recipe", name, *option)
    expected = Recipe.named(name).replaced(**recipe)
    assert maps.recipe == expected
    same_maps(maps, preprocess("a.tif", recipe=expected))


def test_every_option_of_the_recipe_is_known():
    """All but rounding, which is part of the published method only."""
    known = set(re.findall(r"--([a-z-]+)", " ".join(_help_of("preprocess"))))
    asked = {f.name.replace("_", "-") for f in fields(Recipe)} - {"smoothing-rounded"}
    assert asked <= known


def _help_of(name):
    done = subprocess.run(
        [sys.executable, "-m", "iosfast.cli", name, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_other_options(here, capsys):
    mask = np.zeros((21, 34), bool)
    mask[3:15, 5:30] = True
    Image.fromarray(mask.astype("u1") * 255).save("mask.png")
    maps = make(
        capsys, "--frame-rate-hz", "2", "--pixel-size-mm", "10/512", "--mask", "mask.png",
        "--start-time", "2023-09-22 23:59:55", "--layout", "published", "--threads", "2",
    )  # fmt: skip
    assert maps.frame_rate_hz == 2
    assert maps.pixel_size_mm == 10 / 512
    np.testing.assert_array_equal(maps.mask, mask)
    assert maps.start_s == np.datetime64("2023-09-22T23:59:55").astype(np.int64)
    assert Path("out/rgb/20230923_000000.tiff").is_file()
    Path("mask.json").write_text("[[5, 3], [30, 3], [30, 18], [5, 18]]")
    maps = make(capsys, "--mask", "mask.json", out="outlined")
    np.testing.assert_array_equal(
        maps.mask, iosfast.cortex_mask([[5, 3], [30, 3], [30, 18], [5, 18]], (21, 34))
    )


def test_overwrite(here, capsys):
    make(capsys, picture=True)
    code, _, errors = command(capsys, "preprocess", "a.tif", "--out", "out", "--no-progress")
    assert code == 1
    assert re.fullmatch(r"iosfast: error: out: holds maps already; .* or --overwrite", errors[0])
    assert len(errors) == 1
    maps = make(capsys, "--overwrite", "--interval-bins", "3", picture=True)
    assert maps.recipe.interval_bins == 3
    assert sorted(os.listdir()) == ["a.tif", "out"]


def test_raw_files(here, capsys):
    Path("a.raw").write_bytes(b"head" + FRAMES.astype(">u2").tobytes())
    raw = ("--dtype", ">u2", "--offset", "4", "--frame-rate-hz", "4")
    for i, shape in enumerate(("21,34", "60,21,34", "60x21x34")):
        maps = make(capsys, "--shape", shape, *raw, source=["a.raw"], out=f"out{i}")
        np.testing.assert_array_equal(maps.change, preprocess("a.tif").change)


def test_several_files(here, capsys):
    for i in range(2):
        tifffile.imwrite(f"{i}.tif", FRAMES[30 * i : 30 * i + 30], metadata=None)
    maps = make(capsys, "--frame-rate-hz", "4", source=["0.tif", "1.tif"])
    np.testing.assert_array_equal(maps.rgb, preprocess("a.tif").rgb)
    assert told()["source"]["files"] == 2


@pytest.mark.parametrize("clock", ["mtime", "name", "datetime", "frames"])
def test_clocks(here, capsys, clock):
    Path("frames").mkdir()
    for i, frame in enumerate(FRAMES):
        stamp = f"2023:09:22 22:{i // 30:02d}:{2 * (i % 30):02d}"
        path = Path("frames") / f"20230922_22{stamp[14:16]}{stamp[17:]}.tif"
        tifffile.imwrite(path, frame, metadata=None, datetime=stamp)
        os.utime(path, (0, 1_695_420_000 + 2 * i))
    more = ["--frame-rate-hz", "0.5"] if clock == "frames" else []
    maps = make(capsys, "--times", clock, "--bin-seconds", "4", *more, source=["frames"])
    assert told()["source"]["timed_by"] == clock
    assert maps.bin_frames.tolist() == [2] * 30
    np.testing.assert_array_equal(maps.bin_times_s, 4 * np.arange(30))


def test_cut_files(here, capsys):
    os.truncate("a.tif", Path("a.tif").stat().st_size // 2)
    code, lines, errors = command(capsys, "preprocess", "a.tif", "--out", "out", "--no-progress")
    assert (code, lines, len(errors)) == (1, [], 1)
    assert "--allow-truncated uses the" in errors[0]
    assert os.listdir() == ["a.tif"]
    code, lines, errors = command(
        capsys, "preprocess", "a.tif", "--out", "out", "--no-progress", "--allow-truncated"
    )
    assert code == 0
    assert re.fullmatch(
        r"iosfast: warning: a\.tif: the file is cut; \d+ of 60 frames are lost, .*", errors[0]
    )
    assert len(errors) == 1
    assert "note: " + errors[0].removeprefix("iosfast: warning: ") in lines


def test_assumptions_are_warnings(here, capsys):
    tifffile.imwrite("b.tif", some_frames((400, 5, 6)), metadata=None)
    code, _, errors = command(capsys, "preprocess", "b.tif", "--out", "out", "--no-progress")
    assert code == 0
    assert errors == [
        "iosfast: warning: the recording tells no frame rate; 60 Hz is assumed (frame_rate_hz)"
    ]


def test_the_same_input_gives_the_same_bytes(here, capsys):
    first, second = (
        files_in(out) for out in ("b", "c") if make(capsys, out=out, picture=True) is not None
    )
    assert "contact_sheet.png" in first
    assert first == second


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        ("method 'sam2' needs model=, a folder", "method 'sam2' needs --model, a folder"),
        ("a.tif: give shape=(Y, X) and dtype", "a.tif: give --shape (Y, X) and dtype"),
        ("pass times=, or frame_rate_hz=", "pass --times, or --frame-rate-hz"),
        ("too few; use partial_bin='keep'", "too few; use --partial-bin 'keep'"),
        ("there (overwrite=True replaces it)", "there (--overwrite replaces it)"),
        ("model=3.tif: is empty", "model=3.tif: is empty"),
        ("/a b/my shape=2.tif: is empty", "/a b/my shape=2.tif: is empty"),
        ("a.tif: other=1 is unknown", "a.tif: other=1 is unknown"),
    ],
)
def test_options_in_messages_are_those_of_the_command_line(message, typed):
    names = ("model", "shape", "times", "frame_rate_hz", "partial_bin", "overwrite")
    assert as_typed(message, argparse.Namespace(**dict.fromkeys(names))) == [typed]


def test_a_recording_is_no_folder_of_maps(here, capsys):
    code, _, errors = command(capsys, "segment", "a.tif", "--out", "waves")
    assert code == 1
    assert "preprocess" in errors[-1]
    with pytest.raises(ReadError, match=r"a\.tif: is a file.*iosfast preprocess"):
        load("a.tif")


# Channels, and recordings that grow


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["2"], ["0", "1"]),
        (["violet", "blue"], ["blue", "violet"]),
        (["violet,blue"], ["blue", "violet"]),
        (["violet,", "blue"], ["blue", "violet"]),
    ],
)
def test_channels(here, capsys, given, names):
    arguments = ("--channels", *given, "--bin-seconds", "0.5", "--interval-bins", "2")
    code, lines, errors = command(
        capsys, "preprocess", "a.tif", "--out", "out", "--no-progress", *arguments
    )
    assert (code, errors) == (0, [])
    assert sorted(os.listdir("out")) == names
    assert sum(line.startswith("picture: ") for line in lines) == 2
    recipe = Recipe(bin_seconds=0.5, interval_bins=2)
    expected = preprocess("a.tif", recipe=recipe, channels=2)
    for name, channel in zip(sorted(expected), sorted(os.listdir("out")), strict=True):
        if given == ["2"]:
            same_maps(load(here / "out" / channel), expected[name])
        with Image.open(f"out/{channel}/contact_sheet.png") as picture:
            assert picture.width > 500


def test_channels_without_a_name(here, capsys):
    code, _, errors = command(capsys, "preprocess", "a.tif", "--out", "out", "--channels", ",")
    assert (code, errors[-1]) == (
        1,
        "iosfast: error: --channels takes names, a number, or 'file'",
    )
    assert not os.path.exists("out")


def test_channels_of_the_file(here, capsys):
    code, _, errors = command(capsys, "preprocess", "a.tif", "--out", "out", "--channels", "file")
    assert (code, errors) == (1, ["iosfast: error: a.tif: tells of no channels; give their names"])


def test_follow(here, capsys):
    expected = make(capsys, out="out")
    same_maps(make(capsys, "--follow", "--silence-s", "0.3", out="followed"), expected)


# info


def test_info_of_time_stamps_and_channels(here, capsys, monkeypatch):
    times_s = np.delete(np.arange(63), [7, 9, 10]) / 4
    monkeypatch.setattr("iosfast.readers.tiff.TiffRecording.times_s", times_s, raising=False)
    code, lines, _ = command(capsys, "info", "a.tif")
    rows = dict(line.split(":", 1) for line in lines)
    told = "4 Hz; 3 frames are missing, in 2 places, the first is after frame 6"
    assert (code, rows["time stamps"].strip()) == (0, told)
    monkeypatch.setattr("iosfast.readers.tiff.TiffRecording.times_s", np.arange(60.0) ** 2)
    code, lines, _ = command(capsys, "info", "a.tif")
    rows = dict(line.split(":", 1) for line in lines)
    told = "3481 s from first to last, at no steady rate"
    assert (code, rows["time stamps"].strip()) == (0, told)


def test_info(here, capsys):
    tifffile.imwrite(
        "b.tif", FRAMES, imagej=True, resolution=(50, 50), datetime="2023:09:22 22:14:31",
        metadata={"finterval": 0.25, "unit": "mm"},
    )  # fmt: skip
    code, lines, errors = command(capsys, "info", "b.tif")
    assert (code, errors) == (0, [])
    rows = dict(line.split(":", 1) for line in lines)
    assert {name: value.strip() for name, value in rows.items()} == {
        "source": "b.tif",
        "format": "ImageJ TIFF",
        "frames": "60",
        "frame (Y, X)": "21 x 34",
        "pixels": "uint16",
        "size": "0.000 GB",
        "frame rate": "4 Hz",
        "duration": "15.0 s",
        "pixel size": "0.02 mm",
        "begin": "2023-09-22 22:14:31",
        "time stamps": "none",
        "channels": "one",
        "read by": "byte ranges (fast)",
    }


def test_info_of_what_tells_little(here, capsys):
    Path("frames").mkdir()
    for i in range(3):
        tifffile.imwrite(f"frames/{i}.tif", FRAMES[i], compression="zlib")
    Path("frames/notes.txt").write_text("windy")
    code, lines, errors = command(capsys, "info", "frames")
    assert (code, errors) == (0, [])
    text = "\n".join(lines)
    assert "folder of TIFF files" in text
    assert "read by:       decoding" in text
    assert text.count("not told by the file") == 3
    assert lines[-1] == "note: frames: 1 other files are left out: notes.txt"
    np.save("a.npy", FRAMES)
    code, lines, _ = command(capsys, "info", "a.npy", "frames/0.tif")
    assert code == 0
    assert "frames:        61" in lines


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nothing.tif"], "nothing.tif: does not exist"),
        (["info", "text.tif"], "text.tif: is nothing that iosfast knows"),
        (["info", "a.tif", "--shape", "21,34"], "a.tif: is no raw file"),
        (["info", "a.tif", "--offset", "3"], "need shape"),
        (["info", "text.tif", "--shape", "0,5"], "shape must be at least 1"),
        (["info", "text.tif", "--shape", "2,2", "--dtype", "what"], "dtype must be"),
        (["preprocess", "nothing.tif"], "nothing.tif: does not exist"),
        (["preprocess", "a.tif", "--frame-rate-hz", "0"], "frame_rate_hz must be above 0"),
        (["preprocess", "a.tif", "--frame-rate-hz", "nan"], "frame_rate_hz must be finite"),
        (["preprocess", "a.tif", "--pixel-size-mm", "0/5"], "pixel_size_mm must be above 0"),
        (["preprocess", "a.tif", "--times", "mtime"], "no time per frame by 'mtime'"),
        (["preprocess", "a.tif", "--times", "datetime"], "frame 0: has no DateTime tag"),
        (["preprocess", "a.tif", "--start-time", "noon"], "start_time must look like"),
        (["preprocess", "a.tif", "--mask", "nothing.png"], "nothing.png"),
        (["preprocess", "a.tif", "--mask", "text.tif"], "text.tif"),
        (["preprocess", "a.tif", "--threads", "-1"], "threads must be at least 0"),
        (["preprocess", "a.tif", "--bin-seconds", "1e300"], "bin_seconds must be"),
        (["preprocess", "a.tif", "--bin-seconds", "90"], "less than one bin"),
        (["preprocess", "a.tif", "--interval-bins", "90"], "too few for a map"),
        (["preprocess", "a.tif", "--smoothing-px", "4"], "smoothing_px must be odd"),
        (["preprocess", "a.tif", "--scale-range", "3", "1"], "scale_range must be"),
        (["preprocess", "a.tif", "--colormap", "none"], "colormap 'none'"),
        (["preprocess", "a.tif", "--out", "text.tif"], "text.tif: exists and is no folder"),
        (["preprocess", "a.tif", "--out", "a.tif/b"], "is not a folder that can be written to"),
        (["preprocess", "a.tif", "--out", "."], "exists and holds no maps, but other files"),
    ],
)
def test_errors_are_one_line(here, capsys, arguments, message):
    Path("text.tif").write_text("this is no image\n" * 100)
    if arguments[0] == "preprocess":
        out = [] if "--out" in arguments else ["--out", "out"]
        arguments = [*arguments, *out, "--no-progress"]
    before = files_in(here)
    code, lines, errors = command(capsys, *arguments)
    assert (code, lines, len(errors)) == (1, [], 1)
    assert errors[0].startswith("iosfast: error: ")
    assert message in errors[0]
    assert files_in(here) == before
    assert sorted(os.listdir()) == ["a.tif", "text.tif"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["maps"],
        ["info"],
        ["info", "a.tif", "--shape", "21"],
        ["info", "a.tif", "--shape", "a,b"],
        ["info", "a.tif", "--offset", "much"],
        ["preprocess", "a.tif"],
        ["preprocess", "--out", "out"],
        ["preprocess", "a.tif", "--out", "out", "--layout", "heap"],
        ["preprocess", "a.tif", "--out", "out", "--change", "much"],
        ["preprocess", "a.tif", "--out", "out", "--pixel-size-mm", "1/0"],
        ["preprocess", "a.tif", "--out", "out", "--bin-frames", "1.5"],
        ["preprocess", "a.tif", "--out", "out", "--scale-range", "1"],
        ["preprocess", "a.tif", "--out", "out", "--unknown"],
    ],
)
def test_misuse(here, capsys, arguments):
    code, lines, errors = command(capsys, *arguments)
    assert (code, lines) == (2, [])
    assert errors[0].startswith("usage: iosfast")
    assert "error: " in errors[-1]
    assert os.listdir() == ["a.tif"]


# As a program


def script():
    beside = Path(sys.executable).with_name("iosfast")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "iosfast.cli"]


@pytest.mark.parametrize("program", [script(), [sys.executable, "-m", "iosfast.cli"]])
def test_version(program):
    done = subprocess.run([*program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"iosfast {iosfast.__version__}\n"


def test_exit_codes_and_streams_of_the_program(here):
    for arguments, code in (
        (["info", "a.tif"], 0),
        (["info", "nothing.tif"], 1),
        (["info"], 2),
        (["preprocess", "a.tif", "--out", "out", "--no-progress"], 0),
    ):
        done = subprocess.run([*script(), *arguments], capture_output=True, text=True)
        assert done.returncode == code
        assert bool(done.stderr) == (code != 0)
        assert bool(done.stdout) == (code == 0)
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="there are no such pipes")
def test_a_reader_that_goes_away(here):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*script(), "info", "a.tif"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="SIGINT cannot be sent to one process")
@pytest.mark.parametrize("layout", ["stack", "published"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("ends", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrupted(here, capsys, layout, before, ends):
    """Ctrl-C amid a run of many seconds leaves no more than there was, nor does `kill`."""
    slow_recording(here / "slow.tif")
    if before:
        make(capsys)
    held = files_in(here)
    run = subprocess.Popen(
        [
            *script(), "preprocess", "slow.tif", "--out", "out", "--no-progress", "--overwrite",
            "--frame-rate-hz", "20", "--layout", layout, "--start-time", "2023-09-22",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not any(name.startswith(".out.partial") for name in os.listdir()):
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(getattr(signal, ends))
    out, errors = run.communicate()
    assert run.returncode == 130
    assert out == ""
    *dropped, last = errors.splitlines()
    assert last == "iosfast: interrupted; nothing incomplete was left"
    assert not dropped or dropped[0].startswith("Exception ignored in")  # by Python, and rarely
    assert files_in(here) == held
    shutil.rmtree("out", ignore_errors=True)
    assert sorted(os.listdir()) == ["a.tif", "slow.tif"]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_that_gets_lost_is_heeded_at_the_next_progress(
    here, monkeypatch, capsys, threads
):
    """As where Python drops it: in a callback of an import, or of a weak reference."""
    reads = []

    def read_and_lose_the_interrupt(self, start, stop):
        reads.append(start)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return np.zeros((stop - start, *self.shape[1:]), self.dtype)

    slow_recording(here / "slow.tif", frames=200)
    monkeypatch.setattr("iosfast.readers.tiff.DecodedTiff._read", read_and_lose_the_interrupt)
    arguments = ("slow.tif", "--out", "out", "--no-progress", "--frame-rate-hz", "20")
    code, _, errors = command(capsys, "preprocess", *arguments, "--threads", str(threads))
    assert code == 130
    assert 1 <= len(reads) <= 1 + threads  # what was read ahead
    assert errors[-1] == "iosfast: interrupted; nothing incomplete was left"
    assert sorted(os.listdir()) == ["a.tif", "slow.tif"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
