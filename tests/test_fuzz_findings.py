"""Faults that the fuzzer found, each as a small test of its own."""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import pytest
import tifffile
import zarr
from andor_files import sif_bytes, write_spool
from recordings import some_frames

from iosfast import ReadError, open_recording

FRAMES = some_frames()

pipes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pipes
@pytest.mark.parametrize("where", ["alone", "listed", "in a folder", "first of a folder"])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, where):
    paths = [tmp_path / f"f{i}.tif" for i in range(4)]
    for path, frame in zip(paths, FRAMES, strict=False):
        tifffile.imwrite(path, frame, metadata=None)
    pipe = paths[0 if where == "first of a folder" else 2]
    pipe.unlink()
    os.mkfifo(pipe)
    source = {"alone": pipe, "listed": paths}.get(where, tmp_path)
    with pytest.raises(ReadError, match=r"pipe or device|is no TIFF file") as caught:
        open_recording(source)
    assert caught.value.path == str(pipe)


@pipes
def test_a_pipe_in_an_ome_set(tmp_path):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="67" SizeY="33" SizeC="1" SizeZ="1" SizeT="2"><TiffData IFD="0" FirstT="0"/>'
        '<TiffData IFD="0" FirstT="1"><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", FRAMES[0], description=xml, metadata=None)
    os.mkfifo(tmp_path / "b.ome.tif")
    with pytest.raises(ReadError, match=r"pipe or device") as caught:
        open_recording(tmp_path / "a.ome.tif")
    assert caught.value.path == str(tmp_path / "b.ome.tif")


@pipes
@pytest.mark.parametrize(
    "name", ["1000000000spool.dat", "acquisitionmetadata.ini", "Spooled files.sifx"]
)
def test_a_pipe_in_a_spool_folder(tmp_path, name):
    write_spool(tmp_path, FRAMES)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ReadError, match="pipe or device") as caught:
        open_recording(tmp_path)
    assert caught.value.path == str(tmp_path / name)


@pipes
def test_a_pipe_beside_other_files(tmp_path):
    for name in ("a.sif", "a_X2.sif"):
        (tmp_path / name).write_bytes(sif_bytes(FRAMES.astype("f4")))
    (tmp_path / "a_X2.sif").unlink()
    os.mkfifo(tmp_path / "a_X2.sif")
    FRAMES.tofile(tmp_path / "b.raw")
    os.mkfifo(tmp_path / "b.json")
    for source, pipe in ((tmp_path, "a_X2.sif"), (tmp_path / "b.raw", "b.json")):
        with pytest.raises(ReadError, match="pipe or device") as caught:
            open_recording(source)
        assert caught.value.path == str(tmp_path / pipe)


@pytest.mark.parametrize("header", [b"{'a': (", b"{" * 118, b"1" * 118, b"'''", b"\xff" * 118])
def test_npy_headers_that_numpy_cannot_parse(tmp_path, header):
    np.save(tmp_path / "a.npy", FRAMES)
    data = bytearray((tmp_path / "a.npy").read_bytes())
    data[10 : 10 + len(header)] = header
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ReadError, match=r"damaged .npy header"):
        open_recording(tmp_path / "a.npy")


def test_errors_are_one_line(tmp_path):
    """NumPy has an advice of three lines for headers that are too large."""
    np.save(tmp_path / "a.npy", FRAMES)
    data = bytearray((tmp_path / "a.npy").read_bytes())
    data[8:10] = (20_000).to_bytes(2, "little")
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ReadError, match=r"damaged .npy header") as caught:
        open_recording(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
def test_fortran_order_in_blocks(tmp_path, dtype):
    frames = some_frames(dtype="uint8").astype(dtype) if dtype == "u1" else FRAMES.astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(frames))
    with open_recording(tmp_path / "a.npy") as recording:
        np.testing.assert_array_equal(recording.read(), frames)
        np.testing.assert_array_equal(recording.read(2, 5), frames[2:5])
        assert recording.read(2, 5).dtype.isnative


def test_a_fortran_file_that_shrinks_does_not_end_the_process(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(FRAMES))
    recording = open_recording(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 5000)
    with pytest.raises(ReadError, match="has become shorter"):
        recording.read()


def test_compressed_frames_of_a_folder_are_closed(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", FRAMES[i], compression="zlib")
    recording = open_recording(tmp_path)
    recording.close()
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


def test_a_damaged_shape_is_not_told_at_length(tmp_path):
    """A width of 300 numbers, which a damaged count of values makes."""
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        at = tif.pages[0].tags["ImageWidth"].offset
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[at + 4 : at + 8] = (300).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ReadError, match=r"holds pages of shape .*\.\.\., not \(Y, X\)") as caught:
        open_recording(tmp_path / "a.tif")
    assert len(str(caught.value)) < 300


@pipes
@pytest.mark.parametrize(("version", "name"), [(2, ".zattrs"), (2, ".zarray"), (3, "zarr.json")])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pipe_in_a_zarr_folder(tmp_path, version, name, nested):
    root = zarr.create_group(tmp_path / "a", zarr_format=version)
    root.create_array("in/movie", data=FRAMES, chunks=(2, *FRAMES.shape[1:]))
    pipe = tmp_path / "a" / "in" / "movie" / name if nested else tmp_path / "a" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    with pytest.raises(ReadError) as caught:
        open_recording(tmp_path / "a")
    assert caught.value.path.startswith(str(tmp_path / "a"))


def test_metadata_of_a_zarr_folder_that_is_huge(tmp_path):
    zarr.create_array(tmp_path / "a", data=FRAMES)
    with (tmp_path / "a" / "zarr.json").open("ab") as file:
        file.truncate(10 << 30)  # of no size on disk
    with pytest.raises(ReadError, match="too large for JSON"):
        open_recording(tmp_path / "a")


@pipes
def test_a_pipe_in_place_of_a_file_that_is_open(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES.tobytes())
    recording = open_recording(path, shape=FRAMES.shape[1:])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ReadError, match="cannot be read"):
        recording.read()


def test_a_long_key_of_a_sidecar_is_told_in_one_line(tmp_path):
    FRAMES.tofile(tmp_path / "a.raw")
    (tmp_path / "a.json").write_text('{"' + "[" * 5000 + '": 1, "shape": [33, 67]}')
    with pytest.raises(ReadError, match="is no key of a sidecar") as caught:
        open_recording(tmp_path / "a.raw")
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_backslash_in_an_npy_header(tmp_path, version):
    """Of which Python's own parser warns beside the error, or without one."""
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, FRAMES, version)
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)
    path.write_bytes(path.read_bytes().replace(b"<u2", b"\\h2"))
    with pytest.raises(ReadError, match="backslash"):
        open_recording(path)


def test_members_of_a_broken_zarr_group_say_nothing_of_their_own(tmp_path, caplog):
    """Of many that zarr asks for at once, one fails, and nobody asks what became of the others."""
    root = zarr.open_group(tmp_path / "a", mode="w")
    for number in range(20):
        root.create_array(f"{number}", data=FRAMES, chunks=(5, 33, 67))
        (tmp_path / "a" / f"x{number}").mkdir()
    for number in range(0, 20, 3):
        (tmp_path / "a" / f"{number}" / "zarr.json").write_text("{")
    with pytest.raises(ReadError, match="Zarr metadata is damaged"):
        open_recording(tmp_path / "a")
    gc.collect()
    assert caplog.records == []
