"""Figures of waves: what is drawn where, with which scale, colours and words."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import iosfast
from iosfast import Recipe, WriteError, figures
from iosfast.figures import ColorScale
from iosfast.figures.parts import bar_length_mm, clock, outlines
from iosfast.figures.pixel_image import PixelImage

SHAPE = (80, 100)
SIZE_MM = 0.05


def rings(centres=((30, 40),), maps=12):
    """A ring that grows 2 pixels from map to map, for each centre (x, y)."""
    y, x = np.indices(SHAPE)
    masks = []
    for at in centres:
        radius = np.hypot(x - at[0], y - at[1])
        masks.append([(radius <= 4 + 2 * t) & (radius > 2 * t - 4) for t in range(maps)])
    return np.array(masks)


def measured(masks, size=SIZE_MM, **options):
    return iosfast.measure(masks, 100 + 5.0 * np.arange(masks.shape[1]), size, **options)


MASKS = rings()
ONE = measured(MASKS)
TWO = measured(rings(((30, 40), (75, 30))), objects=["1-1", "1-2"])
IMAGES = np.random.default_rng(0).integers(0, 4000, (12, *SHAPE)).astype(np.uint16)


def drawn(figure):
    """Pixels of a figure, uint8 (Y, X, 3)."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return np.asarray(Image.open(file).convert("RGB"))


def words(figure):
    drawn(figure)
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def images_of(axis):
    return [np.asarray(image.get_array()) for image in axis.get_images()]


def test_the_montage_shows_maps_outlines_times_and_scales():
    change = np.linspace(-0.02, 0.02, MASKS[0].size, dtype=np.float32).reshape(MASKS[0].shape)
    scale = ColorScale.of(Recipe())
    masks = np.array(TWO.objects and rings(((30, 40), (75, 30))))
    masks[:, 0] = False
    figure = figures.montage(
        change, masks, TWO.times_s, scale=scale, pixel_size_mm=SIZE_MM, objects=TWO.objects,
        title="a clip", tiles=4,
    )  # fmt: skip
    # Evenly over the eleven maps that have a mask: 1, 4, 8 and 11.
    tiles = figure.axes[:4]
    assert [axis.get_title() for axis in tiles] == ["1:45", "2:00", "2:20", "2:35"]
    for axis, t in zip(tiles, (1, 4, 8, 11), strict=True):
        np.testing.assert_array_equal(images_of(axis)[0], scale.rgb(change[t]))
        lines = [line.get_xydata() for line in axis.lines]
        expected = [line for mask in masks[:, t] for line in outlines(mask)]
        for line in expected:
            assert any(line.shape == other.shape and (line == other).all() for other in lines)
    said = words(figure)
    assert {"a clip", "1 mm", "dF/F (%)", "wave 1-1", "wave 1-2"} <= set(said)
    bar = next(line for line in tiles[0].lines if len(line.get_xdata()) == 2)
    assert np.ptp(bar.get_xdata()) == pytest.approx(1 / SIZE_MM)


def test_the_montage_of_colours_and_of_a_clip_without_waves():
    colors = np.random.default_rng(1).integers(0, 256, (3, *SHAPE, 3)).astype(np.uint8)
    figure = figures.montage(colors, np.zeros((3, *SHAPE), bool), [0.0, 1.0, 2.5])
    assert [axis.get_title() for axis in figure.axes] == ["0:00", "0:01", "0:02.5"]
    np.testing.assert_array_equal(images_of(figure.axes[1])[0], colors[1])
    assert not any(axis.lines for axis in figure.axes)


def test_outlines_are_closed_half_a_pixel_around_a_mask():
    mask = np.zeros((6, 7), bool)
    mask[0:3, 4:7] = True  # in the corner
    (line,) = outlines(mask)
    assert (line[0] == line[-1]).all()
    np.testing.assert_array_equal(line.min(axis=0), (3.5, -0.5))
    np.testing.assert_array_equal(line.max(axis=0), (6.5, 2.5))
    mask[1, 5] = False
    assert len(outlines(mask)) == 2


def test_the_overlay_has_outlines_the_path_and_an_arrow():
    masks = np.zeros((1, 5, *SHAPE), bool)
    for t in range(5):
        masks[0, t, 20:30, 10 + 6 * t : 20 + 6 * t] = True
    result = measured(masks)
    figure = figures.overlay(result, masks, IMAGES[0])
    axis = figure.axes[0]
    ways = [line.get_xydata() for line in axis.lines]
    path = np.column_stack([14.5 + 6 * np.arange(5), np.full(5, 24.5)])
    assert any(way.shape == path.shape and np.allclose(way, path) for way in ways)
    shown = [way for way in ways if any(np.array_equal(way, o) for o in outlines(masks[0, 2]))]
    assert len(shown) == 1
    (arrow,) = (text for text in axis.texts if getattr(text, "arrow_patch", None))
    assert arrow.xy == (38.5, 24.5)
    assert arrow.xyann == (14.5, 24.5)
    assert {"time since onset (s)", "1 mm"} <= set(words(figure))
    assert figure.axes[1].get_ylim() == (0, 20)
    fewer = figures.overlay(result, masks, outlines_shown=2).axes[0]
    assert len(axis.lines) - len(fewer.lines) == 3


def test_the_overlay_of_several_waves_names_them():
    said = words(figures.overlay(TWO, rings(((30, 40), (75, 30)))))
    assert {"wave 1-1", "wave 1-2"} <= set(said)


def test_isochrones_lie_where_the_front_is():
    x = np.broadcast_to(np.arange(SHAPE[1]), SHAPE)
    masks = np.array([(x <= 10 + 3 * t) & (x > 3 * t) for t in range(25)])[np.newaxis]
    result = measured(masks)
    figure = figures.isochrones(result, IMAGES[0], step_s=30)
    axis = figure.axes[0]
    assert axis.get_title() == "a line every 30 s"
    labels = {t.get_text(): t for t in axis.texts if t.get_text().isdigit()}
    assert set(labels) == {"30", "60", "90"}
    for text, label in labels.items():
        # The band ends half a pixel behind its last column, 10 + 3 t / 5 pixels t seconds later.
        assert label.xy[0] == pytest.approx(10.5 + 3 * int(text) / 5, abs=0.5)
    (quiver,) = (c for c in axis.collections if hasattr(c, "U"))
    assert len(quiver.U) > 10
    np.testing.assert_allclose(quiver.U, 1, atol=1e-3)
    assert "arrival since onset (s)" in words(figure)
    without = figures.isochrones(result, arrows=False).axes[0]
    assert not any(hasattr(c, "U") for c in without.collections)


def test_the_speed_map_has_the_speeds_and_their_median():
    figure = figures.speed_map(ONE, limits_mm_min=(0, 4))
    axis, beside = figure.axes[:2]
    speed = ONE.front_speed_mm_min[0]
    told = np.isfinite(speed)
    shown = images_of(axis)[1]
    np.testing.assert_array_equal(shown[..., 3] > 0, told)
    expected = ColorScale(0, 4, colors="plasma").rgb(speed)
    np.testing.assert_array_equal(shown[told][:, :3], expected[told])
    median = np.median(speed[told])
    assert f"median {median:.2f} mm/min" in beside.get_title()
    heights = [patch.get_height() for patch in beside.patches if np.isclose(patch.get_width(), 0.1)]
    assert sum(heights) == pytest.approx(100)
    assert "speed of the front (mm/min)" in words(figure)


def test_waves_have_one_scale_of_speed():
    figure = figures.speed_map(TWO)
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert len(bars) == 2
    assert bars[0].get_ylim() == bars[1].get_ylim()


def test_traces_are_the_tables():
    figure = figures.traces(TWO, title="traces")
    area, speed = figure.axes
    frames = TWO.frames
    for number, name in enumerate(TWO.objects):
        rows = frames[frames["object"] == name]
        mask, covered = area.lines[2 * number : 2 * number + 2]
        front, centroid = speed.lines[2 * number : 2 * number + 2]
        np.testing.assert_allclose(mask.get_xdata(), rows["time_s"] - 100)
        np.testing.assert_allclose(mask.get_ydata(), rows["area_mm2"])
        assert covered.get_ydata()[-1] == pytest.approx(
            TWO.events["coverage_union_mm2"].iloc[number]
        )
        np.testing.assert_allclose(front.get_ydata(), rows["front_speed_mm_min"])
        np.testing.assert_allclose(centroid.get_ydata(), rows["instantaneous_speed_mm_min"])
    assert {"area (mm²)", "speed (mm/min)", "time since onset (s)", "wave 1-1: front"} <= set(
        words(figure)
    )


def test_pixels_that_are_not_square_are_drawn_as_they_are():
    result = measured(MASKS, (0.1, 0.05))
    for figure in (
        figures.overlay(result, MASKS),
        figures.isochrones(result),
        figures.speed_map(result),
        figures.montage(IMAGES, MASKS, ONE.times_s, pixel_size_mm=(0.1, 0.05)),
    ):
        drawn(figure)
        box = figure.axes[0].get_window_extent()
        across, down = (abs(np.subtract(*figure.axes[0].viewLim.intervalx)),
                        abs(np.subtract(*figure.axes[0].viewLim.intervaly)))  # fmt: skip
        assert (box.height / down) / (box.width / across) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("maps", [0, 1])
def test_waves_of_which_nothing_or_little_can_be_told(maps):
    masks = np.zeros((1, 3, *SHAPE), bool)
    masks[0, :maps, 10:20, 10:20] = True
    if maps:
        result = measured(masks)
    else:
        with pytest.warns(iosfast.IosfastWarning, match="no mask in any map"):
            result = measured(masks)
    assert "no arrival can be told" in words(figures.isochrones(result))
    assert "no speed can be told" in words(figures.speed_map(result))
    said = words(figures.overlay(result, masks))
    assert ("no wave in any map" in said) == (maps == 0)
    drawn(figures.traces(result))


def test_bad_arguments():
    with pytest.raises(ValueError, match="images has shape"):
        figures.montage(IMAGES[:5], MASKS, ONE.times_s)
    with pytest.raises(TypeError, match="images must be an array"):
        figures.montage([1], MASKS, ONE.times_s)
    with pytest.raises(TypeError, match="images must be uint8 where they are colours"):
        figures.montage(np.zeros((12, *SHAPE, 3)), MASKS, ONE.times_s)
    with pytest.raises(ValueError, match="objects must name each of the 1 objects"):
        figures.montage(IMAGES, MASKS, ONE.times_s, objects=["a", "b"])
    with pytest.raises(ValueError, match="tiles must be at least 1"):
        figures.montage(IMAGES, MASKS, ONE.times_s, tiles=0)
    with pytest.raises(ValueError, match="masks have shape"):
        figures.overlay(ONE, MASKS[:, :5])
    with pytest.raises(ValueError, match="image has shape"):
        figures.overlay(ONE, MASKS, IMAGES)
    with pytest.raises(ValueError, match="step_s must be above 0"):
        figures.isochrones(ONE, step_s=0)


def test_color_scales():
    scale = ColorScale(-1, 1, "x", np.arange(15, dtype=np.uint8).reshape(5, 3))
    assert scale.indices(np.array([-9, -1, -0.7, 0, 0.3, 1, 9])).tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert scale.indices(np.array([np.nan, np.inf, -np.inf])).tolist() == [0, 0, 0]
    assert scale.rgb(np.array([0])).tolist() == [[6, 7, 8]]
    grey = ColorScale.of_images(np.arange(1001)[None, None])
    assert (grey.low, grey.high) == (10, 995)
    flat = ColorScale.of_images(np.full((2, 3, 4), 7.0))
    assert (flat.low, flat.high) == (7, 8)
    assert ColorScale.of(Recipe.published()).label == "minimum to maximum of each map"
    with pytest.raises(ValueError, match="high must be above"):
        ColorScale(1, 1)
    with pytest.raises(ValueError, match="colour map of matplotlib, not 'no'"):
        ColorScale(0, 1, "", "no")
    with pytest.raises(TypeError, match="a name or uint8"):
        ColorScale(0, 1, "", np.zeros((4, 3)))


def test_clocks_and_bars():
    assert [clock(s) for s in (0, 65, 5.5)] == ["0:00", "1:05", "0:05.5"]
    assert [bar_length_mm(w) for w in (10, 3, 0.4, 0.02)] == [2, 1, 0.1, 0]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_files_are_the_same_each_time_and_complete(tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in paths:
        assert figures.save(figures.traces(ONE), path) == path
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert len(first) > 4000
    assert sorted(tmp_path.iterdir()) == paths


def test_files_that_cannot_be_written(tmp_path):
    figure = figures.traces(ONE)
    with pytest.raises(WriteError, match="ending must be one of"):
        figures.save(figure, tmp_path / "a.txt")
    with pytest.raises(WriteError):
        figures.save(figure, tmp_path / "no" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(WriteError):
        figures.save(figure, tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["b.png"]


def test_figures_are_imported_without_matplotlib():
    code = "import sys, iosfast.figures, iosfast.video; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("shape", "channels"), [((37, 53), 3), ((37, 53), 4), ((200, 90), 3)])
@pytest.mark.parametrize("view", [None, (10.2, 40.7, 30.1, 5.5)])
def test_pixels_are_drawn_as_matplotlib_draws_the_nearest_ones(shape, channels, view):
    colors = np.random.default_rng(3).integers(0, 256, (*shape, channels)).astype(np.uint8)
    if channels == 4:
        colors[..., 3] = np.where(colors[..., 3] > 90, 255, 0)
    drawn = []
    for own in (True, False):
        figure = Figure(figsize=(3.1, 2.7), dpi=97)
        axis = figure.add_axes((0.06, 0.11, 0.83, 0.7))
        axis.set_axis_off()
        if own:
            PixelImage(axis, colors, 1.5)
        else:
            axis.imshow(colors, aspect=1.5, interpolation="nearest")
        if view:
            axis.set_xlim(view[:2])
            axis.set_ylim(view[2:])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn.append(np.asarray(canvas.buffer_rgba()).astype(int))
    assert np.ptp(drawn[0]) > 200
    # Where a pixel of the figure is between two of the image, either is the nearest.
    assert (abs(drawn[0] - drawn[1]).max(axis=2) > 1).mean() < 0.02


def test_pixels_out_of_view_are_not_drawn():
    figure = Figure(figsize=(1, 1), dpi=50)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    PixelImage(axis, np.zeros((8, 8, 3), np.uint8), 1.0)
    axis.set_xlim(20, 28)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert (np.asarray(canvas.buffer_rgba()) == 255).all()
