"""The report of a session: what its page says, its files, bad states, and the page in a browser."""

from __future__ import annotations

import dataclasses
import html.parser
import itertools
import re
import sys
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
import wave_maps
from scipy.ndimage import gaussian_filter

import iosfast
from iosfast import Prompt, ReadError, Recipe, WriteError
from iosfast.cli import main
from iosfast.maps import Maps
from iosfast.session_report.page import header_facts

TITLE = '<b>R&D</b> "été" \'s 脑'
MAPS = 70
#: The first wave leaves the left edge; the other two overlap in time.
SPEED_PX = 2.0
SPEED_MM_MIN = SPEED_PX * wave_maps.PIXEL_MM / 5 * 60


def session(change, **options):
    """Maps with a cortex that has a pattern, as preprocess makes them."""
    maps = wave_maps.maps_of(change, **options)
    shape = maps.info.shape
    pattern = gaussian_filter(np.random.default_rng(3).normal(size=shape), 2)
    image = (20_000 + 30_000 * pattern).astype(np.uint16)
    binned = np.repeat(image[None], maps.bin_times_s.size, axis=0)
    rgb = np.full((*change.shape, 3), 200, np.uint8)
    stacks = {"change": maps.change, "rgb": rgb, "binned": binned}
    return Maps(maps.info, maps.mask, _stacks=stacks)


@pytest.fixture(scope="module")
def change():
    waves = wave_maps.wave(MAPS, 5, SPEED_PX, maps_long=14)
    waves += wave_maps.wave(MAPS, 36, 1.5, origin=(16, 40), maps_long=8)
    waves += wave_maps.wave(MAPS, 40, 1.5, origin=(48, 16), maps_long=8)
    return waves + wave_maps.noise(MAPS)


@pytest.fixture(scope="module")
def folder(change, tmp_path_factory):
    return session(change).save(tmp_path_factory.mktemp("session") / "maps")


@pytest.fixture(scope="module")
def page(folder):
    return iosfast.report(folder, title=TITLE)


class Page(html.parser.HTMLParser):
    """Elements of a page, and its text without styles and scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("style", "script"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in ("style", "script"):
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text += f"{data.strip()} " if data.strip() else ""

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without figures of waves, which take most of the time."""
    monkeypatch.setattr("iosfast.session_report.page.of_wave", lambda *_: [])


# The page


def test_everything_is_in_the_page(page):
    shown = Page(page)
    held = {path.name for path in page.parent.iterdir()}
    addresses = [
        attributes[name]
        for _, attributes in shown.elements
        for name in ("src", "href", "poster", "srcset", "data")
        if attributes.get(name)
    ]
    strange = [a[:60] for a in addresses if not a.startswith(("data:", "#")) and a not in held]
    assert not strange
    assert sum(a.startswith("data:image/webp") for a in addresses) == 1 + 3 * 4 + 2
    assert sum(a.startswith("data:video/mp4") for a in addresses) == 2
    assert "url(" not in page.read_text(encoding="utf-8")
    policy = next(m["content"] for m in shown.all("meta") if m.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert held == {"report.html"} | {
        f"{name}.{end}" for name in ("events", "frames", "published") for end in ("csv", "parquet")
    }


def test_links_and_headings(page):
    shown = Page(page)
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = {a["href"][1:] for a in shown.all("a") if a["href"].startswith("#")}
    assert targets <= set(ids)
    assert {"episode-1", "episode-2", "wave-1", "wave-2-1", "wave-2-2"} <= targets
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    pictures = [image for image in shown.all("img") if "src" in image]
    assert all(len(image["alt"]) > 20 and image["width"] for image in pictures)
    assert len({image["alt"] for image in pictures}) == len(pictures)
    assert all(video["aria-label"] and video["preload"] == "none" for video in shown.all("video"))
    assert shown.all("html") == [{"lang": "en"}]


def test_names_are_safe(page):
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;R&amp;D" in text
    assert TITLE in Page(page).text


def test_what_the_page_says_is_what_was_measured(page):
    text = Page(page).text
    events = pd.read_csv(page.with_name("events.csv"))
    assert events.object.tolist() == ["1", "2-1", "2-2"]
    assert events["clip"].tolist() == ["episode 1", "episode 2", "episode 2"]
    for event in events.itertuples():
        speed = event.front_speed_median_mm_min
        assert (
            f"{speed:.2f} mm/min" if np.isfinite(speed) else "speed of the front \N{EN DASH} "
        ) in text
        assert f"{event.coverage_union_mm2:.2f}" in text
    assert events.front_speed_median_mm_min[0] == pytest.approx(SPEED_MM_MIN, rel=0.1)
    # The first wave leaves the left edge of the image; the others are inside of it.
    assert events.touches_border.tolist() == [True, False, False]
    assert f"≥ {events.max_area_mm2[0]:.2f} mm²" in text
    assert f"≥ {events.max_area_mm2[1]:.2f} mm²" not in text
    assert "Lower bounds: waves touch the border of the image ( 1 )" in text.replace("(1)", "( 1 )")


@pytest.mark.parametrize("length", [{"bin_seconds": 1.0}, {"bin_frames": 1}])
def test_the_length_of_a_recording_counts_the_last_bin(change, length):
    maps = session(change, recipe=Recipe(**length))  # of 1 Hz, and 5 bins before the first map
    assert header_facts(maps, [], "mm")[0] == ("5:55", "minutes recorded")


def test_maps_of_tables_are_those_of_the_session(page, folder):
    times = iosfast.load(folder).times_s
    events = pd.read_csv(page.with_name("events.csv"))
    frames = pd.read_csv(page.with_name("frames.csv"), dtype={"object": str})
    np.testing.assert_array_equal(times[frames["map"]], frames.time_s)
    np.testing.assert_array_equal(times[events.first_map], events.start_time_s)
    np.testing.assert_array_equal(times[events.last_map], events.end_time_s)
    for name in ("events", "frames", "published"):
        csv = pd.read_csv(page.with_name(f"{name}.csv"))
        parquet = pd.read_parquet(page.with_name(f"{name}.parquet"))
        csv = csv.astype({c: str for c in ("object", "Labelindex") if c in csv})
        pd.testing.assert_frame_equal(csv, parquet, check_dtype=False, check_exact=True)


@pytest.mark.parametrize(
    ("kind", "factor", "amplitude", "unit"),
    [
        ("dff", 1, 0.8, "%"),
        ("dff", -1, -0.8, "%"),
        ("ratio", 1, 0.8, "%"),
        ("difference", 5000, 40, "counts"),
    ],
)
def test_the_amplitude_is_that_of_the_change(kind, factor, amplitude, unit, tmp_path, undrawn):
    # A brightness that rises by 2 % in two and a half maps: 0.8 % from one map to the next.
    waves = wave_maps.wave(30, 5, SPEED_PX, maps_long=14) + wave_maps.noise(30) / 20
    scale = {"scale": "per_map"} if kind == "difference" else {}
    maps = session(factor * waves + (kind == "ratio"), recipe=Recipe(change=kind, **scale))
    page = iosfast.report(maps, tmp_path / "out", **FAST)
    column = "amplitude_percent" if unit == "%" else "amplitude_counts"
    events = pd.read_csv(page.with_name("events.csv"))
    assert events[column].item() == pytest.approx(amplitude, rel=0.03)
    shown = re.search(rf"amplitude (\S+) {unit}", Page(page).text)[1]
    assert float(shown.replace("\N{MINUS SIGN}", "-")) == pytest.approx(amplitude, rel=0.03)


def test_every_option_of_the_recipe_is_in_words(change, tmp_path, undrawn):
    recipe = Recipe.published()
    shown = Page(iosfast.report(small(change, recipe=recipe), tmp_path / "out", **FAST))
    names = {f.name for f in dataclasses.fields(recipe) if getattr(recipe, f.name) is not None}
    assert names <= {term.get("title") for term in shown.all("dt")}
    assert not [name for name in names if "_" in name and name in shown.text]
    assert "rounded when smoothed yes" in shown.text


def test_the_same_bytes_again(change, page, tmp_path, folder):
    again = iosfast.report(folder, tmp_path / "again", title=TITLE, threads=1)
    assert {p.name: p.read_bytes() for p in again.parent.iterdir()} == {
        p.name: p.read_bytes() for p in page.parent.iterdir()
    }


# Episodes and prompts that somebody gives


def small(change, **options):
    """One wave in few maps: quick to report."""
    return session(change[:30], **options)


FAST = {"videos": "none", "parquet": False}


def test_an_operators_table_holds(change, tmp_path, undrawn):
    folder = small(change).save(tmp_path / "maps")
    maps = iosfast.load(folder)
    names = iosfast.clips.map_names(maps.info)
    table = tmp_path / "noted.csv"
    table.write_text(f"SFN,EFN\n{names[8]},{names[13]}\n")
    page = iosfast.report(folder, tmp_path / "a", episodes=table, **FAST)
    events = pd.read_csv(page.with_name("events.csv"))
    assert (events.first_map.item(), events.last_map.item()) == (8, 13)
    assert "Episodes as the table noted.csv has them." in Page(page).text
    # The same table where it is looked for, in the folder of the maps or beside it.
    for place in (folder / "episodes.csv", tmp_path / "maps-episodes.csv"):
        place.write_text(table.read_text())
        page = iosfast.report(folder, overwrite=True, **FAST)
        assert page == tmp_path / "maps-report" / "report.html"
        assert f"Episodes as the table {place.name} has them." in Page(page).text
        pd.testing.assert_frame_equal(pd.read_csv(page.with_name("events.csv")), events)
        place.unlink()
    table.write_text("SFN,EFN\nnothing,here\n")
    with pytest.raises(ReadError, match="noted"):
        iosfast.report(folder, tmp_path / "b", episodes=table, **FAST)
    assert not (tmp_path / "b").exists()


def test_an_episode_without_a_wave_is_said_to_be_so(tmp_path):
    maps = session(wave_maps.noise(30))
    bare = iosfast.episodes.episodes_of(maps, [iosfast.episodes.Found(5, 20)])
    page = iosfast.report(maps, tmp_path / "out", episodes=bare, **FAST)
    text = Page(page).text
    assert "no wave was found in these maps: give prompts to outline" in text
    assert "No wave could be outlined in any episode." in text
    assert pd.read_csv(page.with_name("events.csv")).empty


def test_prompts_say_where_waves_are(change, tmp_path, undrawn):
    maps = small(change)
    prompt = Prompt(9, 7, points=[(8, 30)])
    path = tmp_path / "prompts.json"
    iosfast.write_prompts(path, [prompt])
    for given in ([prompt], path):
        page = iosfast.report(maps, tmp_path / f"out-{type(given).__name__}", prompts=given, **FAST)
        events = pd.read_csv(page.with_name("events.csv"))
        assert events.object.tolist() == [7]
        assert 'id="wave-7"' in page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="object 2 is on map 28, which is in no episode"):
        iosfast.report(maps, tmp_path / "b", prompts=[Prompt(28, 2, points=[(5, 5)])], **FAST)
    assert not (tmp_path / "b").exists()


def test_an_object_is_in_one_episode(change, tmp_path):
    prompts = [Prompt(9, 1, points=[(8, 30)]), Prompt(41, 1, points=[(16, 40)])]
    with pytest.raises(ValueError, match="object 1 has prompts in episodes 1 and 2"):
        iosfast.report(session(change), tmp_path / "out", prompts=prompts, **FAST)


# Bad states, said plainly


def test_no_episode(tmp_path):
    page = iosfast.report(session(wave_maps.noise(20)), tmp_path / "out")
    shown = Page(page)
    assert "No episode: no map shows a wave." in shown.text
    assert not shown.all("video")
    for name in ("events", "frames", "published"):
        table = pd.read_csv(page.with_name(f"{name}.csv"))
        assert table.empty
        assert list(pd.read_parquet(page.with_name(f"{name}.parquet"))) == list(table)
    assert "front_speed_median_mm_min" in pd.read_csv(page.with_name("events.csv"))


def test_no_calibration_is_in_pixels(change, tmp_path, undrawn):
    in_mm = iosfast.report(small(change), tmp_path / "mm", **FAST)
    page = iosfast.report(small(change, pixel_size_mm=None), tmp_path / "px", **FAST)
    text = Page(page).text.replace("as in a field of 10 mm", "")
    assert "No calibration" in text
    assert not re.search(r"\d mm|mm/min|mm²", text)
    assert "px/min" in text
    assert not page.with_name("published.csv").exists()
    events, of_mm = (pd.read_csv(p.with_name("events.csv")) for p in (page, in_mm))
    assert not [name for name in events if "mm" in name]
    size = wave_maps.PIXEL_MM
    np.testing.assert_allclose(
        events.front_speed_median_px_min * size, of_mm.front_speed_median_mm_min, rtol=0.05
    )
    np.testing.assert_allclose(
        events.coverage_union_px2 * size**2, of_mm.coverage_union_mm2, rtol=0.05
    )
    frames = pd.read_csv(page.with_name("frames.csv"))
    assert not [name for name in frames if "mm" in name]
    assert {"area_px", "perimeter_px", "front_speed_px_min"} <= set(frames)
    told = iosfast.report(
        small(change, pixel_size_mm=None), tmp_path / "told", pixel_size_mm=size, **FAST
    )
    pd.testing.assert_frame_equal(pd.read_csv(told.with_name("events.csv")), of_mm)


def test_maps_to_look_at_are_named(change, tmp_path, undrawn):
    spoiled = change[:30].copy()
    spoiled[11] = 0.02 * np.random.default_rng(2).normal(size=spoiled[11].shape)
    maps = small(spoiled)
    page = iosfast.report(maps, tmp_path / "out", **FAST)
    assert "Maps to look at" in Page(page).text
    told = re.search(r"A person should look at .*?: ([0-9:, ]+)\.", Page(page).text)
    seconds = maps.times_s[11]
    assert f"{int(seconds // 60)}:{int(seconds % 60):02d}" in told[1].split(", ")


def test_dropped_frames_are_told(change, tmp_path, undrawn):
    maps = small(change)
    info = dataclasses.replace(maps.info, dropped_frames=12, doubled_frames=0, notes=("<note>",))
    page = iosfast.report(dataclasses.replace(maps, info=info), tmp_path / "out", **FAST)
    text = Page(page).text
    assert "12 frames were dropped." in text
    assert "doubled frames 0" in text
    assert "<note>" in text


# Videos, files, arguments


def test_videos_beside_the_page(change, tmp_path, monkeypatch, undrawn):
    page = iosfast.report(small(change), tmp_path / "out", videos="beside", parquet=False)
    assert [v["src"] for v in Page(page).all("video")] == ["videos/episode-1.mp4"]
    assert (page.parent / "videos" / "episode-1.mp4").stat().st_size > 1000
    assert "in the folder videos beside it" in Page(page).text
    monkeypatch.setattr(sys.modules["iosfast.session_report.report"], "MOST_INLINE_BYTES", 1000)
    large = iosfast.report(small(change), tmp_path / "large", parquet=False)
    assert large.read_bytes() == page.read_bytes()


def test_a_report_replaces_nothing_else(change, tmp_path, undrawn):
    maps, out = small(change), tmp_path / "out"
    page = iosfast.report(maps, out, **FAST)
    before = page.read_bytes()
    with pytest.raises(WriteError, match="holds a report already"):
        iosfast.report(maps, out, **FAST)
    page.write_text("an old one")
    iosfast.report(maps, out, overwrite=True, **FAST)
    assert page.read_bytes() == before
    (out / "mine.txt").write_text("kept")
    with pytest.raises(WriteError, match="holds other files"):
        iosfast.report(maps, out, overwrite=True, **FAST)
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file", tmp_path / "file" / "in it"):
        with pytest.raises(WriteError):
            iosfast.report(maps, place, **FAST)
    assert (tmp_path / "file").read_text() == "kept"


def test_an_interruption_leaves_nothing(change, tmp_path, undrawn):
    def stop(done, count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        iosfast.report(small(change), tmp_path / "a" / "out", progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(change, tmp_path, monkeypatch, undrawn):
    def full(**_):
        yield "half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iosfast.session_report.page.rendered", full)
    with pytest.raises(WriteError, match="No space left"):
        iosfast.report(small(change), tmp_path / "out", **FAST)
    assert not list(tmp_path.iterdir())


def test_bad_arguments(change, tmp_path):
    maps = small(change)
    for options, error, told in (
        ({"videos": "some"}, ValueError, "videos must be one of"),
        ({"title": 3}, TypeError, "title must be a text"),
        ({"pixel_size_mm": 0}, ValueError, "pixel_size_mm"),
        ({"threads": -1}, ValueError, "threads"),
        ({"episodes": [1]}, TypeError, "episodes must be"),
        ({"prompts": [1]}, TypeError, "prompts must be"),
        ({"prompts": tmp_path / "none.json"}, ReadError, r"none\.json"),
        ({"episodes": tmp_path / "none.csv"}, ReadError, r"none\.csv"),
        ({"progress": 3}, TypeError, "progress must be"),
    ):
        with pytest.raises(error, match=told):
            iosfast.report(maps, tmp_path / "out", **options)
    with pytest.raises(ValueError, match="out must be given"):
        iosfast.report(maps)
    with pytest.raises(ReadError, match="holds no maps"):
        iosfast.report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["jinja2", "pandas", "av", "pyarrow"])
def test_without_the_extra(module, change, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module}.*pip install 'iosfast\[report\]'"):
        iosfast.report(small(change), tmp_path / "out")


def test_command_line(folder, tmp_path, capsys, undrawn):
    out = tmp_path / "out"
    arguments = ["report", str(folder), "--out", str(out), "--videos", "none", "--no-parquet"]
    assert main([*arguments, "--title", "a & b"]) == 0
    assert capsys.readouterr().out == f"report: {out / 'report.html'}\n"
    assert "a &amp; b" in (out / "report.html").read_text(encoding="utf-8")
    assert main(arguments) == 1
    assert "holds a report already" in capsys.readouterr().err


# Quality


def test_shift_of_images():
    from scipy.ndimage import shift as shifted

    from iosfast.session_report.quality import Shift

    random = np.random.default_rng(1)
    image = 1000 * gaussian_filter(random.normal(size=(150, 180)), 3)
    first = Shift(image)
    for y, x in ((0, 0), (1, -2), (0.3, 0.1), (-2.45, 3.7)):
        moved = shifted(image, (y, x), mode="wrap") + random.normal(0, 5, image.shape)
        np.testing.assert_allclose(first.of(moved), (y, x), atol=0.1)
    assert np.isnan(first.of(gaussian_filter(random.normal(size=image.shape), 3))).all()
    assert np.isnan(first.of(np.full(image.shape, 7.0))).all()
    large = np.kron(image, np.ones((4, 4)))
    np.testing.assert_allclose(Shift(large).of(np.roll(large, (6, -4), (0, 1))), (6, -4), atol=0.3)


def test_quality_of_a_session(change):
    from iosfast.session_report.quality import quality_of

    maps = small(change)
    found = iosfast.find_episodes(maps)
    binned = maps.binned.astype(np.float32)
    binned[-20:] = np.roll(binned[-20:] * 0.9, 2, axis=1)
    stacks = {"change": maps.change, "rgb": maps.rgb, "binned": binned}
    quality = quality_of(Maps(maps.info, None, _stacks=stacks), found)
    quiet = wave_maps.noise(MAPS)[: found[0].start].std()
    assert quality.noise == pytest.approx(quiet, rel=0.1)
    assert quality.brightness_percent[0] == 0
    assert quality.brightness_percent[-1] == pytest.approx(-10)
    np.testing.assert_allclose(quality.moved_px[0], 0, atol=1e-6)
    np.testing.assert_allclose(quality.moved_px[-1], 2, atol=0.1)


# The page in a browser

needs_chromium = pytest.mark.skipif(
    browser.chromium() is None, reason="there is no Chromium on PATH"
)


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [500, 1600])
def test_in_chromium(page, width):
    found = browser.opened(page, width)
    assert found["errors"] == found["console"] == found["requests"] == found["resources"] == []
    assert len(found["images"]) == 1 + 3 * 4
    assert all(complete and w > 0 and h > 0 for _, complete, w, h in found["images"])
    assert len(found["videos"]) == 2
    for wide, high, seconds, error in found["videos"]:
        assert (wide, error) == (512, None)
        assert high > 300
        assert seconds > 0.5
    links = {link for link, _, _ in found["links"]}
    assert links == {"#episode-1", "#episode-2", "#wave-1", "#wave-2-1", "#wave-2-2"}
    assert all(target == link and seen for link, target, seen in found["links"])
    assert found["wide"] <= 0


@pytest.mark.browser
@needs_chromium
def test_the_browser_tells_of_faults(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><body><img src="http://elsewhere.invalid/a.png" '
        'alt="one"><img src="data:image/png;base64,AAAA" alt="two"><script>no()</script></body>'
    )
    found = browser.opened(page)
    assert found["requests"] == ["http://elsewhere.invalid/a.png"]
    assert any("no is not defined" in error for error in found["errors"])
    assert found["console"]
    assert [image[2] for image in found["images"]] == [0, 0]
