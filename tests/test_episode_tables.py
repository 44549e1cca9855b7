"""Tables of episodes, clips of them on disk, and the command."""

import json

import numpy as np
import openpyxl
import pytest
import tifffile
from some_maps import FRAMES, OPTIONS, run
from wave_maps import maps_of, noise, wave

from iosfast import (
    IosfastWarning,
    ReadError,
    WriteError,
    extract_clips,
    find_episodes,
    read_clip,
    read_episodes,
    write_episodes,
)
from iosfast.cli import main
from iosfast.clips import map_names

#: 20230922_235959, 20230923_000001, 3, 5, 7, 9 and 11.
MAPS = run()
NAMES = map_names(MAPS.info)


def csv_file(tmp_path, *rows, head="SFN,EFN", name="table.csv"):
    path = tmp_path / name
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def excel_file(tmp_path, *rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "table.xlsx")
    return tmp_path / "table.xlsx"


def test_an_operators_table(tmp_path):
    table = csv_file(tmp_path, f"{NAMES[4]},{NAMES[5]}", "", f"{NAMES[0]}.tiff, {NAMES[1]} ")
    first, second = read_episodes(table, MAPS)
    assert (first.start, first.end, first.names) == (0, 1, (NAMES[0], NAMES[1]))
    assert (second.start, second.end, second.labels) == (4, 5, ("2",))
    assert second.confidence == 1
    assert second.hemisphere is None
    assert second.waves[0].seed is None
    assert second.start_s == MAPS.times_s[4]


@pytest.mark.parametrize("head", ["id;sfn;EFN;note", "id\tSFN\tefn\tnote", "\ufeffid,SFN,EFN,note"])
def test_other_separators_and_columns(tmp_path, head):
    mark = next(c for c in ";\t," if c in head)
    table = csv_file(tmp_path, mark.join(["7", NAMES[1], NAMES[3], "clear"]), head=head)
    (episode,) = read_episodes(table, MAPS)
    assert (episode.start, episode.end) == (1, 3)


def test_the_published_excel_table(tmp_path):
    table = excel_file(
        tmp_path, ["No", "SFN", "EFN"], [1, NAMES[0], NAMES[2]], [None] * 3, [2, NAMES[5], NAMES[6]]
    )
    assert [(e.start, e.end) for e in read_episodes(table, MAPS)] == [(0, 2), (5, 6)]


def test_overlaps_are_merged(tmp_path):
    rows = [(3, 4), (0, 2), (2, 3), (6, 6)]
    table = csv_file(tmp_path, *(f"{NAMES[a]},{NAMES[b]}" for a, b in rows))
    first, second = read_episodes(table, MAPS)
    assert (first.start, first.end, first.labels) == (0, 4, ("1-1", "1-2", "1-3"))
    assert [(w.start, w.end) for w in first.waves] == [(0, 2), (2, 3), (3, 4)]
    assert second.labels == ("2",)


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [
        ("SFN,EFN", "{0},20230923_101010", "row 2: EFN '20230923_101010' is no map of these"),
        ("SFN,EFN", "{3},{1}", r"row 2: ends \(20230923_000001\) before it starts \(20230923_0000"),
        ("SFN,EFN", "{3},", "row 2: EFN is empty"),
        ("SFN,EFN", "{3}", "row 2: EFN is empty"),
        ("SFN,EFN", "", "holds no episode"),
        ("SFN,END", "{0},{1}", "has no column EFN, but SFN, END"),
        ("a,b", "{0},{1}", "has no column SFN and no EFN, but a, b"),
        ("SFN,EFN,sfn", "{0},{1},{0}", "has two columns SFN"),
        ("SFN,EFN,hemisphere", "{0},{1},middle", "row 2: hemisphere must be left, right or empty"),
        ("SFN,EFN,confidence", "{0},{1},7", "row 2: confidence must be 0 to 1, not 7"),
        ("SFN,EFN,confidence", "{0},{1},sure", "row 2: confidence must be a number, not 'sure'"),
        ("SFN,EFN,seed_map,seed_x_px,seed_y_px", "{0},{1},5,1,1", "row 2: seed_map must be a map"),
        ("label,SFN,EFN", "a,{0},{1}\na,{3},{4}", "has two rows with the label a"),
    ],
)
def test_tables_that_are_wrong(tmp_path, head, row, told):
    table = csv_file(tmp_path, row.format(*NAMES), head=head)
    with pytest.raises(ReadError, match=told) as caught:
        read_episodes(table, MAPS)
    assert str(table) in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    for name in ("missing.csv", "missing.xlsx"):
        with pytest.raises(ReadError, match="cannot be read: No such file"):
            read_episodes(tmp_path / name, MAPS)
    (tmp_path / "bad.xlsx").write_bytes(b"SFN,EFN")
    with pytest.raises(ReadError, match="is damaged or no Excel file"):
        read_episodes(tmp_path / "bad.xlsx", MAPS)
    (tmp_path / "bad.csv").write_bytes(b"SFN,EFN\n\xff\xfe")
    with pytest.raises(ReadError, match="is no text in UTF-8"):
        read_episodes(tmp_path / "bad.csv", MAPS)
    (tmp_path / "empty.csv").write_text("\n\n")
    with pytest.raises(ReadError, match="is empty"):
        read_episodes(tmp_path / "empty.csv", MAPS)
    with pytest.raises(TypeError, match="maps must be Maps"):
        read_episodes(tmp_path / "empty.csv", "maps")


def found():
    count = 120
    change = noise(count) + wave(count, 20, origin=(8, 30), maps_long=12)
    change += wave(count, 24, origin=(55, 30), maps_long=10)
    maps = maps_of(change + wave(count, 70, origin=(30, 30), maps_long=12))
    return maps, find_episodes(maps, midline=30)


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_what_was_written_is_read_again(tmp_path, ending):
    maps, episodes = found()
    assert [e.labels for e in episodes] == [("1-1", "1-2"), ("2",)]
    path = write_episodes(tmp_path / f"table{ending}", episodes)
    assert read_episodes(path, maps) == episodes
    before = path.read_bytes()
    with pytest.raises(WriteError, match="exists already"):
        write_episodes(path, episodes[:1])
    assert path.read_bytes() == before
    write_episodes(path, episodes[:1], overwrite=True)
    assert read_episodes(path, maps) == episodes[:1]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_tables_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end with \.csv or \.xlsx"):
        write_episodes(tmp_path / "table.txt", [])
    with pytest.raises(WriteError, match="No such file"):
        write_episodes(tmp_path / "missing" / "table.csv", [])
    with pytest.raises(TypeError, match="must be a sequence of Episode"):
        write_episodes(tmp_path / "table.csv", ["1"])


def test_excel_without_openpyxl(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[excel\]'"):
        write_episodes(tmp_path / "table.xlsx", [])


def test_clips_of_episodes(tmp_path):
    table = csv_file(tmp_path, f"{NAMES[0]},{NAMES[1]}", f"{NAMES[3]},{NAMES[6]}")
    episodes = read_episodes(table, MAPS)
    folders = extract_clips(MAPS, episodes, tmp_path / "clips")
    assert [f.name for f in folders] == [
        "segment_0_20230922_235959_20230923_000001",
        "segment_1_20230923_000005_20230923_000011",
    ]
    for folder, episode in zip(folders, episodes, strict=True):
        names = NAMES[episode.start : episode.end + 1]
        files = {f"{name}{ending}" for name in names for ending in (".tiff", ".json")}
        assert {p.name for p in folder.iterdir()} == files
        for at, name in enumerate(names, episode.start):
            image = tifffile.imread(folder / f"{name}.tiff")
            np.testing.assert_array_equal(image, MAPS.rgb[at])
            label = json.loads((folder / f"{name}.json").read_text())
            height, width = MAPS.info.shape
            assert label["objects"] == []
            assert label["info"] == {
                "description": "ISAT",
                "folder": str(folder),
                "name": f"{name}.tiff",
                "width": width,
                "height": height,
                "depth": 3,
                "note": "",
            }
        clip = read_clip(folder)
        np.testing.assert_array_equal(clip.rgb, MAPS.rgb[episode.start : episode.end + 1])
        assert clip.names == names
        assert clip.pixel_size_mm == OPTIONS["pixel_size_mm"]
    with pytest.raises(WriteError, match="exists"):
        extract_clips(MAPS, episodes, tmp_path / "clips")


def test_clips_without_a_time_of_day(tmp_path):
    maps = run(start_time=None)
    name = "19700101_000002"
    episodes = read_episodes(csv_file(tmp_path, f"{name},{name}"), maps)
    with pytest.warns(IosfastWarning, match="the time of day is not known"):
        (folder,) = extract_clips(maps, episodes, tmp_path / "clips")
    assert folder.name == f"segment_0_{name}_{name}"


def test_clips_that_cannot_be_written(tmp_path, monkeypatch):
    episodes = read_episodes(csv_file(tmp_path, f"{NAMES[0]},{NAMES[3]}"), MAPS)
    with pytest.raises(ValueError, match="episodes is empty"):
        extract_clips(MAPS, [], tmp_path / "clips")
    with pytest.raises(ValueError, match="it is of other maps"):
        extract_clips(run(start_time="2020-01-01 00:00:00"), episodes, tmp_path / "clips")
    few = run(frames=FRAMES[:24])
    with pytest.raises(ValueError, match="has the maps 0 to 3, but there are"):
        extract_clips(few, episodes, tmp_path / "clips")
    with pytest.raises(TypeError, match="must be a sequence of Episode"):
        extract_clips(MAPS, ["1"], tmp_path / "clips")

    def full(path, image, info):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iosfast.episode_clips.write_image", full)
    with pytest.raises(WriteError, match="No space left on device; nothing was left there"):
        extract_clips(MAPS, episodes, tmp_path / "clips")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_the_command(tmp_path, capsys):
    maps, episodes = found()
    maps.save(tmp_path / "maps")
    out, clips = tmp_path / "out.csv", tmp_path / "clips"
    command = ["episodes", str(tmp_path / "maps"), "--midline", "30"]
    assert main([*command, "--out", str(out), "--clips", str(clips)]) == 0
    told = capsys.readouterr().out
    assert "2 episodes with 3 waves" in told
    assert "1-2" in told
    assert read_episodes(out, maps) == episodes
    assert len(list(clips.iterdir())) == 2
    picture = tmp_path / "maps-episodes.png"
    assert picture.stat().st_size > 10_000
    table = csv_file(tmp_path, f"{episodes[0].names[0]},{episodes[1].names[1]}")
    assert main([*command, "--table", str(table), "--no-picture"]) == 0
    assert "1 episodes with 1 waves" in capsys.readouterr().out
    assert main([*command, "--midline", "30,0", "40,59", "--min-area-mm2", "70"]) == 0
    assert "no episode" in capsys.readouterr().out
    assert main([*command, "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--midline", "30", "40,50"]) == 1
    assert "--midline must be X, or two or more X,Y" in capsys.readouterr().err
