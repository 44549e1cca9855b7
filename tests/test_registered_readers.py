"""Readers that other packages add."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from recordings import some_frames

from iosfast import open_recording
from iosfast.readers import Reader
from iosfast.readers.opening import registered_readers

FRAMES = some_frames((12, 9, 14))


class Entry:
    """An installed entry point."""

    name, value = "lab", "lab.readers:reader"

    def __init__(self, loads):
        self.load = lambda: loads() if callable(loads) else loads


@pytest.fixture
def register(monkeypatch):
    def register(loads):
        def entry_points(group):
            assert group == "iosfast.readers"
            return [Entry(loads)]

        monkeypatch.setattr("iosfast.readers.opening.entry_points", entry_points)
        registered_readers.cache_clear()

    yield register
    registered_readers.cache_clear()


def test_an_installed_package_adds_a_reader(tmp_path):
    site = tmp_path / "site"
    info = site / "lab_reader-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[iosfast.readers]\nlab = lab_reader:reader\n")
    (site / "lab_reader.py").write_text(
        "import numpy as np\n"
        "from iosfast.readers import Reader, Recording\n"
        "class Lab(Recording):\n"
        "    def __init__(self, path, dataset):\n"
        "        super().__init__(source=str(path), shape=(600, 4, 5), dtype=np.uint16,\n"
        "                         frame_rate_hz=50.0, metadata={'which': dataset})\n"
        "    def _read(self, start, stop):\n"
        "        rows = np.arange(start, stop, dtype=np.uint16)\n"
        "        return np.repeat(rows, 20).reshape(-1, 4, 5) + np.uint16(1)\n"
        "reader = Reader('a file of our lab', lambda path, head: head.startswith(b'LAB!'),\n"
        "                lambda path, options: Lab(path, options.dataset), ('dataset',))\n"
    )
    (tmp_path / "session.lab").write_bytes(b"LAB!1234")
    code = (
        "import iosfast, sys\n"
        "maps = iosfast.preprocess(sys.argv[1])\n"
        "assert maps.source['which'] is None and maps.frame_rate_hz == 50\n"
        "print(*maps.binned[:, 0, 0])\n"
        "print(iosfast.open_recording(sys.argv[1], dataset='b').metadata['which'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "session.lab")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    means = [str(50 * i + 26) for i in range(12)]  # of 1 to 50 and so on: 25.5, rounded up
    assert run.stdout.split() == [*means, "b"]


def test_a_registered_reader_is_asked_first(tmp_path, register):
    np.save(tmp_path / "a.npy", FRAMES)
    asked = []

    def recognises(path, head):
        asked.append((path.name, head[:6]))
        return False

    register(Reader("a file of our lab", recognises, lambda path, options: None))
    np.testing.assert_array_equal(open_recording(tmp_path / "a.npy").read(), FRAMES)
    assert asked == [("a.npy", b"\x93NUMPY")]


def test_a_reader_that_fails(tmp_path, register):
    np.save(tmp_path / "a.npy", FRAMES)
    register(Reader("a file of our lab", lambda path, head: True, lambda path, options: None))
    with pytest.raises(TypeError, match="'a file of our lab' gave no Recording, but NoneType"):
        open_recording(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"dataset has no meaning for .*, which is a file of our"):
        open_recording(tmp_path / "a.npy", dataset="b")
    register(lambda: 1 / 0)
    with pytest.raises(ImportError, match=r"reader 'lab' \(lab.readers:reader\) cannot be loaded"):
        open_recording(tmp_path / "a.npy")
    register("no reader")
    with pytest.raises(TypeError, match=r"'lab' .* names no Reader"):
        open_recording(tmp_path / "a.npy")
