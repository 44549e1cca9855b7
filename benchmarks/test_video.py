"""A tracking video: against a matplotlib animation of the same content, and the same encoder."""

import av
import numpy as np
import pytest
from conftest import SHAPE, SMALL_SHAPE
from matplotlib.animation import AbstractMovieWriter, FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import iosfast
from iosfast.figures import ColorScale
from iosfast.figures.parts import outlines

PIXEL_SIZE_MM = 0.02
SCALE = ColorScale(-1.0, 1.0, "dF/F (%)", "RdBu_r")


@pytest.fixture(scope="module")
def clip(timed):
    """Images, change and masks of a ring that grows."""
    maps, (height, width) = (60, SHAPE) if timed else (4, SMALL_SHAPE)
    random = np.random.default_rng(0)
    y, x = np.indices((height, width))
    radius = np.hypot(y - height / 2, x - width / 3)
    level = random.integers(15_000, 25_000, (height, width))
    images = (level + random.normal(0, 50, (maps, height, width))).astype(np.uint16)
    front = 5 + 4 * np.arange(maps)[:, None, None] * height / 512
    masks = (radius < front) & (radius > front - 25 * height / 512)
    change = np.where(masks, 0.8, 0) + random.normal(0, 0.05, masks.shape)
    return images, masks, change.astype(np.float32)


class PyAVWriter(AbstractMovieWriter):
    """What hands matplotlib's pictures to the encoder that ours go to."""

    def setup(self, fig, outfile, dpi=None):
        super().setup(fig, outfile, dpi)
        self.file = av.open(outfile, "w")
        self.stream = self.file.add_stream("libx264", rate=10)
        self.stream.width, self.stream.height = self.frame_size
        self.stream.pix_fmt = "yuv420p"
        self.stream.options = {"crf": "18", "preset": "superfast"}
        context = self.stream.codec_context
        context.thread_type, context.thread_count = "FRAME", 4

    def grab_frame(self, **_options):
        self.fig.canvas.draw()
        rgba = np.asarray(self.fig.canvas.buffer_rgba())
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
        self.file.mux(self.stream.encode(frame))

    def finish(self):
        self.file.mux(self.stream.encode())
        self.file.close()


def animate(path, images, masks, change, result, shape):
    """The same content by matplotlib, whose artists are made once and then told what changes."""
    height, width = shape
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    FigureCanvasAgg(figure)
    of_image = width / height * masks.shape[1] / masks.shape[2]
    axis = figure.add_axes((0, 1 - of_image, 1, of_image))
    axis.set_axis_off()
    low, high = np.percentile(images[::4], (1, 99.5))
    ground = axis.imshow(images[0], cmap="gray", vmin=low, vmax=high)
    inside = axis.imshow(np.ma.masked_where(~masks[0], change[0]), cmap="RdBu_r", vmin=-1, vmax=1)
    edge = axis.plot([], [], color="orange", linewidth=2)[0]
    way = axis.plot([], [], color="white", linewidth=2)[0]
    arrow = axis.annotate("", (0, 0), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "lime"})
    bottom, across = masks.shape[1:]
    axis.plot([0.04 * across, 0.24 * across], [0.95 * bottom] * 2, color="white", linewidth=3)
    axis.text(0.04 * across, 0.93 * bottom, "2 mm", color="white", fontsize=14)
    bar = figure.add_axes((0.7, 0.11, 0.2, 0.015))
    bar.imshow(np.linspace(-1, 1, 256)[None], cmap="RdBu_r", aspect="auto", extent=(-1, 1, 0, 1))
    bar.set_yticks([])
    text = figure.text(0.03, 0.11, "", fontsize=16)
    row = figure.text(0.03, 0.02, "", fontsize=16)
    frames = result.frames
    x, y = frames["centroid_x_px"].to_numpy(), frames["centroid_y_px"].to_numpy()

    def update(t):
        ground.set_data(images[t])
        inside.set_data(np.ma.masked_where(~masks[t], change[t]))
        lines = [np.vstack([line, [[np.nan, np.nan]]]) for line in outlines(masks[t])]
        edge.set_data(*np.vstack(lines).T)
        way.set_data(x[: t + 1], y[: t + 1])
        arrow.xy, arrow.xyann = (x[t], y[t]), (x[0], y[0])
        text.set_text(f"{frames['time_s'][t]:.0f} s   map {t + 1} of {len(masks)}")
        row.set_text(
            f"1   {frames['area_mm2'][t]:.2f} mm²   {frames['front_speed_mm_min'][t]:.2f} mm/min   "
            f"{frames['instantaneous_speed_mm_min'][t]:.2f} mm/min"
        )

    animation = FuncAnimation(figure, update, frames=len(masks), init_func=lambda: None)
    animation.save(path, writer=PyAVWriter(fps=10), dpi=100)


def pictures(path):
    with av.open(str(path)) as file:
        return np.array([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.mark.parametrize("size_px", [512, 1024])
def test_video(race, clip, folder, size_px):
    images, masks, change = clip
    result = iosfast.measure(masks, np.arange(len(masks)) * 5.0, PIXEL_SIZE_MM, hull=False)
    ours, theirs = folder / "ours.mp4", folder / "theirs.mp4"

    def video():
        return iosfast.tracking_video(
            ours, images, masks, result, change=change, scale=SCALE, size_px=size_px, overwrite=True
        )

    video()
    shown = pictures(ours)
    assert len(shown) == len(masks)
    shape = shown.shape[1:3]

    def animation():
        animate(theirs, images, masks, change, result, shape)

    animation()
    also = pictures(theirs)
    assert also.shape == shown.shape
    # The same content at the same place: red inside of the last ring, and grey outside.
    t, scale = len(masks) - 1, masks.shape[2] / size_px
    rows = (np.arange(round(masks.shape[1] / scale)) * scale).astype(int)
    inside = masks[t][rows][:, (np.arange(size_px) * scale).astype(int)]
    for picture in (shown[t], also[t]):
        redness = picture[: len(rows), :, 0].astype(int) - picture[: len(rows), :, 2]
        assert redness[inside].mean() > 20
        assert abs(redness[~inside].mean()) < 5
    race(
        f"{len(masks)} maps to a tracking video {size_px} pixels wide",
        video,
        {"matplotlib animation of the same content, same encoder": (animation, "0.2")},
        rounds=3,
        section="Videos",
    )
