"""What is a recording in an archive, and what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from some_archives import archive_of, frames, write_folder, write_tiff

from iosfast import ReadError, open_recording, preprocess
from iosfast.batch import discovery, disks
from iosfast.batch.discovery import discover
from iosfast.batch.disks import Disk, disk_of


def names_in(root, out=None, **options):
    found = discover([("a", root)], out or root / "no-such", **options)
    return [each.name for each in found.found], found


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


def test_recordings_are_found_by_content(archive):
    write_tiff(archive / "deep" / "er" / "x.tif")
    write_folder(archive / "frames")
    np.save(archive / "n.npy", frames())
    np.save(archive / "flat.npy", frames()[0])
    frames().tofile(archive / "r.raw")
    (archive / "r.json").write_text(json.dumps({"shape": [24, 32], "dtype": "<u2"}))
    frames().tofile(archive / "unknown.raw")
    frames().tofile(archive / "w_1_24_32_uint16.dat")
    (archive / "readme.txt").write_text("no recording")
    (archive / "empty").mkdir()
    tifffile.imwrite(archive / "vessels.tif", frames()[0], photometric="minisblack")
    names, found = names_in(archive)
    assert names == [
        "a/deep/er/x.tif", "a/frames", "a/n.npy", "a/r.raw", "a/w_1_24_32_uint16.dat",
    ]  # fmt: skip
    assert found.problems == []
    assert "vessels.tif" in found.notes[0]
    for each in found.found:  # each is opened as what it is
        with open_recording(each.source.to_open) as recording:
            np.testing.assert_array_equal(recording.read(), frames())


def test_hdf5_zarr_and_andor(archive):
    import h5py
    import zarr

    archive.mkdir()
    with h5py.File(archive / "h.h5", "w") as file:
        file["frames"] = frames()
    zarr.save_array(archive / "z.zarr", frames())
    names, found = names_in(archive)
    assert names == ["a/h.h5", "a/z.zarr"]
    before = list(found.found[1].source.files())
    assert len(before) > 1
    assert before == sorted(before)


@pytest.mark.parametrize("name", ["quo'te\"s", "Maus ü 鼠", "x" * 200, "a b\tc", "[1]*?", "-f"])
def test_names_of_all_kinds(archive, name):
    write_tiff(archive / name / f"{name}.tif")
    assert names_in(archive)[0] == [f"a/{name}/{name}.tif"]


def test_what_iosfast_made_is_no_recording(archive):
    write_folder(archive / "frames")
    options = {"frame_rate_hz": 5.0, "start_time": "2023-09-22 22:14:31"}
    preprocess(archive / "frames", out=archive / "maps", **options)
    preprocess(archive / "frames", out=archive / "published", layout="published", **options)
    clip = archive / "clips" / "segment_0_20230922_221431_20230922_221556"
    write_folder(clip)
    out = archive / "out"
    write_tiff(out / "a" / "maps" / "x.tif")
    (archive / "other batch").mkdir()
    (archive / "other batch" / "batch.json").write_text("{}")
    write_tiff(archive / "other batch" / "x.tif")
    write_tiff(archive / ".hidden" / "x.tif")
    assert names_in(archive, out)[0] == ["a/frames"]


def test_links_and_circles(archive, tmp_path):
    write_tiff(archive / "m" / "s.tif")
    write_tiff(tmp_path / "elsewhere" / "t.tif")
    os.symlink("..", archive / "m" / "up")
    os.symlink(archive, archive / "m" / "again")
    os.symlink("m", archive / "also m")  # sorts before m, which keeps its own name
    os.symlink(tmp_path / "elsewhere", archive / "linked")
    os.symlink("s.tif", archive / "m" / "same.tif")
    os.symlink("nothing", archive / "m" / "lost.tif")
    os.symlink("self.tif", archive / "m" / "self.tif")
    os.symlink("nothing", archive / "m" / "lost.txt")
    names, found = names_in(archive)
    assert len(names) == 2
    assert names[0] == "a/linked/t.tif"
    assert names[1] in ("a/m/s.tif", "a/m/same.tif")
    assert [name for name, _ in found.problems] == ["a/m/lost.tif", "a/m/self.tif"]


def test_a_folder_of_frames_with_a_lost_one_is_one_recording(archive):
    folder = write_folder(archive / "frames")
    (folder / "f3.tif").write_bytes((folder / "f3.tif").read_bytes()[:6])
    assert names_in(archive)[0] == ["a/frames"]
    for number in range(30, 400):
        (folder / f"f{number}.tif").write_bytes((folder / "f1.tif").read_bytes())
    assert names_in(archive)[0] == ["a/frames"]


def test_numbered_files_are_joined_only_if_something_tells_so(archive, monkeypatch):
    for number in (1, 2, 10):
        write_tiff(archive / f"mouse_{number}.tif", number)
    names, found = names_in(archive)
    assert names == [f"a/mouse_{n}.tif" for n in (1, 2, 10)]
    assert "join='names'" in found.notes[0]
    names, found = names_in(archive, join="names")
    assert names == ["a/mouse_1.tif"]
    assert [Path(p).name for p in found.found[0].source.paths] == [
        f"mouse_{n}.tif" for n in (1, 2, 10)
    ]
    write_tiff(archive / "mouse_10.tif", count=7)  # a shorter last one, as of a split file
    assert len(names_in(archive)[0]) == 3
    monkeypatch.setattr(discovery, "_SPLIT_BYTES", 10_000)
    assert names_in(archive)[0] == ["a/mouse_1.tif"]
    assert len(names_in(archive, join="never")[0]) == 3


def test_files_of_one_ome_tiff_are_one_recording(archive):
    from micromanager_files import write_micromanager

    archive.mkdir()
    write_micromanager(archive, frames(count=6), 4)
    names, found = names_in(archive)
    assert len(names) == 1
    written = {path.name for path in archive.iterdir()}
    assert len(written) == 2
    assert {path.name for path in found.found[0].source.files()} == written


def test_exclude(archive):
    archive_of(archive)
    write_tiff(archive / "test" / "x.tif")
    assert len(names_in(archive)[0]) == 4
    assert names_in(archive, exclude=["m?"])[0] == ["a/test/x.tif"]
    assert names_in(archive, exclude=["m1/*", "test"])[0] == ["a/m0/s.tif", "a/m2/s.tif"]


def test_a_file_can_be_an_archive(archive):
    write_tiff(archive / "x.tif")
    found = discover([("a/x.tif", archive / "x.tif")], archive / "out")
    assert [each.name for each in found.found] == ["a/x.tif"]
    with pytest.raises(ReadError, match="does not exist"):
        discover([("a", archive / "y.tif")], archive / "out")


def test_disks(tmp_path):
    assert disk_of(tmp_path / "not" / "there") == disk_of(tmp_path)
    assert disk_of(tmp_path).name
    assert isinstance(disk_of(Path("/proc")), Disk)


@pytest.mark.parametrize(
    ("device", "told", "spinning"),
    [
        ("pci0000:00/ata1/host0/block/sda", "1", True),
        ("pci0000:00/nvme/nvme0/nvme0n1", "0", False),
        ("pci0000:00/0000:00:02.0/virtio1/block/vda", "1", None),
        ("pci0000:00/0000:00:02.0/virtio1/block/vda", "0", False),
        ("vbd-51712/block/xvda", "1", None),
        ("LNXSYSTM:00/VMBUS:00/host0/block/sda", "1", None),
    ],
)
def test_what_a_disk_of_a_virtual_machine_tells(tmp_path, monkeypatch, device, told, spinning):
    """That it turns means nothing there: several recordings are read at a time."""
    place = tmp_path / "devices" / device
    (place / "queue").mkdir(parents=True)
    (place / "queue" / "rotational").write_text(told + "\n")
    part = place / f"{place.name}1"
    part.mkdir()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "8:0").symlink_to(place)
    (tmp_path / "dev" / "8:1").symlink_to(part)
    monkeypatch.setattr(disks, "_DEVICES", tmp_path / "dev")
    for minor in (0, 1):
        found = disks._of_number.__wrapped__(os.makedev(8, minor))
        assert found == Disk(place.name, spinning)
