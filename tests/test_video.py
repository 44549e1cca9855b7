"""Tracking videos: pictures pixel by pixel, what a decoder finds, files."""

from __future__ import annotations

import math
import sys

import av
import numpy as np
import pytest
from scipy import ndimage

import iosfast
from iosfast import WriteError
from iosfast.figures import ColorScale
from iosfast.figures.parts import object_color
from iosfast.video_frames import TrackingFrames

SHAPE = (60, 80)
SCALE = ColorScale(-1, 1, "dF/F (%)", "RdBu_r")


def moving(maps=6, objects=1):
    """Squares of 14 pixels that move 7 to the right and 3 down from map to map."""
    masks = np.zeros((objects, maps, *SHAPE), bool)
    for n, of_object in enumerate(masks):
        for t, mask in enumerate(of_object):
            mask[5 + 3 * t + 20 * n : 19 + 3 * t + 20 * n, 6 + 7 * t : 20 + 7 * t] = True
    return masks


MASKS = moving()
IMAGES = np.broadcast_to(np.linspace(0, 900, 80), (6, *SHAPE)).copy()
CHANGE = np.full(MASKS.shape[1:], 0.9, np.float32)


def measured(masks=MASKS, size=0.05, **options):
    return iosfast.measure(masks, 5.0 * np.arange(masks.shape[1]), size, **options)


RESULT = measured()


def pictures_of(size_px=320, masks=MASKS, result=RESULT, images=IMAGES, change=CHANGE, scale=SCALE):
    return TrackingFrames(images, masks, result, change, scale, size_px)


def color(number):
    return np.array([int(object_color(number)[i : i + 2], 16) for i in (1, 3, 5)])


def is_color(picture, expected):
    return (picture[..., :3] == expected).all(axis=2)


def test_ground_change_and_edge_are_where_they_belong():
    frames = pictures_of()
    picture = frames.draw(2)
    assert picture.shape == (*frames.shape, 4)
    assert picture.dtype == np.uint8
    assert (picture[..., 3] == 255).all()
    mask = np.kron(MASKS[0, 2], np.ones((4, 4), bool))  # 320 pixels are four times 80
    view = picture[: mask.shape[0]]
    edge = mask & ~ndimage.binary_erosion(mask, iterations=2)
    far = ~ndimage.binary_dilation(mask, iterations=40)
    far[200:] = far[:45, :80] = False  # scale bar, path
    assert is_color(view, color(0))[edge].mean() > 0.9  # but for arrow and path
    inside = is_color(view, SCALE.rgb(np.float32([0.9]))[0])
    assert inside[mask & ~edge].mean() > 0.7
    assert not inside[~mask].any()
    grey = view[far].astype(int)
    assert (grey[:, 0] == grey[:, 1]).all()
    assert (grey[:, 0] == grey[:, 2]).all()
    # Brightness grows from left to right, as in the image, between its percentiles.
    columns = view[20, 90:310:20, 0].astype(int)
    assert (np.diff(columns) > 0).sum() >= 9
    low, high = np.percentile(IMAGES[:1], (1, 99.5))
    expected = 255 * (IMAGES[0, 0, 60] - low) / (high - low)
    assert view[10, 4 * 60 + 1, 0] == pytest.approx(expected, abs=3)


def test_the_arrow_leads_from_the_first_centroid_to_the_last():
    masks = MASKS.copy()
    masks[0, 2:4] = np.roll(masks[0, 2:4], 12, axis=1)  # a way that is not straight
    frames = pictures_of(masks=masks, result=measured(masks), change=None)
    picture = frames.draw(5)
    green = np.column_stack(np.nonzero(is_color(picture, (80, 255, 120)))[::-1]).astype(float)
    assert len(green) > 100
    # Centroids of the square's pixels, in those of the video.
    start, end = ((np.array([12.5 + 7 * t, 11.5 + 3 * t]) + 0.5) * 4 - 0.5 for t in (0, 5))
    along = (end - start) / math.dist(start, end)
    offset = (green - start) @ np.array([-along[1], along[0]])
    assert abs(offset).max() < 7
    way = (green - start) @ along
    assert way.max() == pytest.approx(math.dist(start, end), abs=4)  # an edge is dark
    assert not is_color(frames.draw(0), (80, 255, 120)).any()


def test_figures_below_are_those_of_the_table():
    masks = moving(objects=2)
    result = measured(masks, objects=["1-1", "1-2"], clip="20230922_221431")
    frames = pictures_of(masks=masks, result=result)
    area = 14 * 14 * 0.05**2
    speed = math.hypot(7, 3) * 0.05 / 5 * 60
    heading = math.degrees(math.atan2(3, 7))
    for wave in range(2):
        first, second = frames._columns[wave][:2]
        assert first[0] == second[0] == f"{area:.2f}"
        assert first[2:] == ("–", "–")  # noqa: RUF001
        assert second[2:] == (f"{speed:.2f}", f"{heading:.0f}°")
    # The second map differs from the first below the picture by its figures and its time.
    below = [frames.draw(t)[frames._height :] for t in (0, 1)]
    assert (below[0] != below[1]).any()
    assert frames.shape[0] > pictures_of().shape[0]  # one more row


def test_the_bar_of_scale_has_its_length():
    picture = pictures_of(images=np.zeros_like(IMAGES)).draw(0)
    height = 240
    white = is_color(picture[:height], (255, 255, 255))
    longest = max(np.ptp(np.flatnonzero(row)) + 1 for row in white[200:] if row.sum() > 40)
    # 80 pixels of 0.05 mm are 4 mm; the bar of 1 mm is a quarter of 320 pixels.
    assert longest == 81


@pytest.mark.parametrize("size_px", [161, 512])
@pytest.mark.parametrize("size", [0.05, (0.1, 0.05)])
def test_pictures_have_even_sides_and_the_shape_of_the_field(size_px, size):
    frames = pictures_of(size_px, result=measured(size=size))
    height, width = frames.shape
    assert width == size_px + size_px % 2
    assert height % 2 == frames._height % 2 == 0
    high, wide = np.broadcast_to(size, 2)
    assert frames._height / width == pytest.approx(60 * high / (80 * wide), abs=0.01)
    assert frames.draw(3).shape[:2] == frames.shape


def test_colours_are_taken_as_they_are():
    colors = np.zeros((6, *SHAPE, 3), np.uint8)
    colors[:] = (10, 200, 30)
    pictures = pictures_of(images=colors, change=colors[..., ::-1].copy(), scale=None)
    picture = pictures.draw(0)
    assert is_color(picture, (10, 200, 30)).sum() > 20_000
    assert is_color(picture, (30, 200, 10)).sum() > 500


def test_a_clip_without_waves():
    masks = np.zeros_like(MASKS)
    with pytest.warns(iosfast.IosfastWarning, match="no mask in any map"):
        result = measured(masks)
    frames = pictures_of(masks=masks, result=result)
    assert not is_color(frames.draw(2)[: frames._height], color(0)).any()


def test_a_wave_that_vanishes_and_returns_keeps_its_way():
    masks = MASKS.copy()
    masks[0, 2:4] = False
    frames = pictures_of(masks=masks, result=measured(masks), change=None)
    gone = frames.draw(3)[: frames._height]
    assert is_color(gone, (80, 255, 120)).any()
    assert frames._columns[0][3] == ("0.00", "–", "–", "–")  # noqa: RUF001


def decoded(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        facts = {
            "codec": context.name,
            "format": context.pix_fmt,
            "rate": stream.average_rate,
            "colors": (context.colorspace, context.color_primaries, context.color_range),
            "duration_s": float(stream.duration * stream.time_base),
        }
        frames = [
            f.to_ndarray(format="rgb24", src_colorspace="ITU709") for f in file.decode(stream)
        ]
    return facts, np.array(frames)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "wave.mp4"
    told = []
    made = iosfast.tracking_video(
        path, IMAGES, MASKS, RESULT, change=CHANGE, scale=SCALE, size_px=320, frames_per_s=12.5,
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert made == path
    assert told[-1] == (6, 6)
    assert [p.name for p in path.parent.iterdir()] == ["wave.mp4"]
    return path


def test_a_decoder_finds_the_pictures(video):
    facts, frames = decoded(video)
    assert facts == {
        "codec": "h264",
        "format": "yuv420p",
        "rate": 12.5,
        "colors": (1, 1, 1),
        "duration_s": pytest.approx(6 / 12.5),
    }
    pictures = pictures_of()
    assert len(frames) == 6
    for number, frame in enumerate(frames):
        error = frame.astype(int) - pictures.draw(number)[..., :3]
        assert abs(error).mean() < 3
        red = error[SHAPE[0] // 2 :, :, 0]
        assert abs(red.mean()) < 1.5  # no shift of colours


def test_the_index_comes_first_so_that_it_plays_while_it_loads(video):
    content = video.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_same_bits_again(video, tmp_path):
    path = tmp_path / "again.mp4"
    options = {"change": CHANGE, "scale": SCALE, "size_px": 320, "frames_per_s": 12.5}
    iosfast.tracking_video(path, IMAGES, MASKS, RESULT, **options)
    assert path.read_bytes() == video.read_bytes()


def test_places_that_are_taken_or_missing(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    given = (IMAGES, MASKS, RESULT)
    with pytest.raises(WriteError, match="exists already"):
        iosfast.tracking_video(path, *given, size_px=160)
    assert path.read_bytes() == b"old"
    iosfast.tracking_video(path, *given, size_px=160, overwrite=True)
    assert path.stat().st_size > 1000
    with pytest.raises(WriteError):
        iosfast.tracking_video(tmp_path / "no" / "a.mp4", *given, size_px=160)
    with pytest.raises(ValueError, match=r"path must end in \.mp4"):
        iosfast.tracking_video(tmp_path / "a.avi", *given)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path, error):
    def stop(done, _of):
        if done == 3:
            raise error

    expected = WriteError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        iosfast.tracking_video(
            tmp_path / "a.mp4", IMAGES, MASKS, RESULT, size_px=160, progress=stop
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": IMAGES[:3]}, ValueError, "images has shape"),
        ({"masks": MASKS[:, :3]}, ValueError, "masks have shape"),
        ({"masks": MASKS.astype(float)}, TypeError, "masks must be bool or uint8"),
        ({"change": CHANGE, "scale": None}, TypeError, "scale must be given"),
        ({"change": CHANGE[:2]}, ValueError, "change has shape"),
        ({"size_px": 100}, ValueError, "size_px must be at least 160"),
        ({"frames_per_s": 0}, ValueError, "frames_per_s must be at least 0.1"),
    ],
)
def test_bad_arguments(tmp_path, change, error, words):
    given = {"images": IMAGES, "masks": MASKS, "scale": SCALE, **change}
    images, masks = given.pop("images"), given.pop("masks")
    with pytest.raises(error, match=words):
        iosfast.tracking_video(tmp_path / "a.mp4", images, masks, RESULT, **given)
    assert not list(tmp_path.iterdir())


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"iosfast\[video\]"):
        iosfast.tracking_video(tmp_path / "a.mp4", IMAGES, MASKS, RESULT)
