"""The pipeline once more: slow, obvious NumPy, written from the method and not from iosfast.

Nothing of iosfast is imported here. Options are plain dicts with the names that `Recipe` has.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

PUBLISHED = {
    "bin_seconds": 1.0,
    "bin_frames": None,
    "partial_bin": "keep",
    "interval_bins": 5,
    "change": "ratio",
    "baseline_bins": None,
    "smoothing_px": 21,
    "smoothing_first_px": 31,
    "smoothing_border": "zero",
    "smoothing_rounded": True,
    "scale": "per_map",
    "scale_percent": 1.0,
    "scale_range": None,
    "colormap": "matlab_jet",
}
DEFAULT = {
    **PUBLISHED,
    "partial_bin": "drop",
    "change": "dff",
    "smoothing_first_px": None,
    "smoothing_border": "inside",
    "smoothing_rounded": False,
    "scale": "percent",
    "colormap": "RdBu_r",
}


def round_half_away(x):
    """MATLAB's round."""
    whole = np.floor(np.abs(x))
    return np.sign(x) * (whole + (np.abs(x) - whole >= 0.5))


# Binning


def mean_dtype(dtype):
    """What holds every single pixel: counts as cameras give them are rounded, others are not."""
    kinds = {"uint8": "u2", "uint16": "u2", "int16": "f4", "float32": "f4"}
    return np.dtype(kinds.get(np.dtype(dtype).name, "f8"))


def bin_mean(frames):
    """Mean in double precision, frame by frame; of uint8 and uint16 rounded half away from zero."""
    total = np.zeros(frames.shape[1:])
    for frame in frames:
        total = total + frame.astype(np.float64)
    mean = total / len(frames)
    dtype = mean_dtype(frames.dtype)
    return (round_half_away(mean) if dtype == np.uint16 else mean).astype(dtype)


def rational(number):
    """The fraction that a decimal like 29.97 or 1/3 stands for."""
    return Fraction(number).limit_denominator(10**6)


def frames_per_bin(options, rate_hz):
    if options["bin_frames"] is not None:
        return Fraction(int(options["bin_frames"]))
    return rational(options["bin_seconds"]) * rational(rate_hz)


def bin_by_count(frames, per_bin):
    """Bin of every frame: a frame belongs to the bin in which it begins."""
    return [math.floor(i / per_bin) for i in range(frames)]


def bin_by_clock(times_s, bin_seconds):
    """Bin of every time, the clock being cut at multiples of the bin's length.

    Half a microsecond before a cut counts as the cut: doubles are no finer for times since 1970.
    """
    slack = Fraction(1, 2 * 10**6)
    return [math.floor((Fraction(t) + slack) / rational(bin_seconds)) for t in times_s]


def group(numbers):
    """(number, first frame, frames) of every bin."""
    groups = []
    for frame, number in enumerate(numbers):
        if groups and groups[-1][0] == number:
            groups[-1][2] += 1
        else:
            groups.append([number, frame, 1])
    return [tuple(g) for g in groups]


def last_is_whole(groups, per_bin, by_clock):
    """Whether the last bin has all frames that belong into it.

    By the clock: as many as expected, or as is usual in the bins before, but for one or 2 %.
    """
    number, first, frames = groups[-1]
    if not by_clock:
        return math.floor((first + frames) / per_bin) > number
    if per_bin is None:
        if len(groups) == 1:
            return True
        per_bin = np.median([g[2] for g in groups[:-1]])
    return frames >= float(per_bin) - max(1.0, 0.02 * float(per_bin))


# Smoothing


def shifted(image, dy, dx):
    """The image moved by (dy, dx), with zeros where nothing came in."""
    height, width = image.shape
    out = np.zeros_like(image)
    if abs(dy) < height and abs(dx) < width:
        out[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = image[
            max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
        ]
    return out


def box_sum(image, size):
    """Sum over a box, with zeros outside the image: down the columns, then along the rows."""
    around = range(-(size // 2), size // 2 + 1)
    wide = image.astype(np.float64 if image.dtype.kind == "f" else np.int64)
    columns = sum(shifted(wide, dy, 0) for dy in around)
    return sum(shifted(columns, 0, dx) for dx in around)


def box_mean(image, size, border, rounded):
    """Mean over a box, as float32: over zeros outside the image, or over what lies inside."""
    pixels = size**2 if border == "zero" else box_sum(np.ones(image.shape, int), size)
    mean = box_sum(image, size) / pixels
    return (round_half_away(mean) if rounded else mean).astype(np.float32)


# Change and colour


def change_of(kind, earlier, later):
    """Change in double precision, with 0/0 NaN and x/0 infinite."""
    a, b = np.float64(earlier), np.float64(later)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"ratio": lambda: b / a, "difference": lambda: b - a, "dff": lambda: (b - a) / a}[
            kind
        ]()


def matlab_scaled(values):
    """N of a map, uint16, and whether its scale is defined.

    MATLAB's min and max skip NaN, and NaN becomes 0 as an integer; so a constant map, or one with
    an infinite value, has N = 0 everywhere (0/0, inf/inf or finite/inf).
    """
    known = values[~np.isnan(values)]
    low, high = (known.min(), known.max()) if known.size else (np.nan, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = round_half_away((values - low) / (high - low) * 65535)
        defined = bool(0 < high - low < np.inf)
    return np.where(np.isnan(scaled), 0, scaled).astype(np.uint16), defined


def entries_per_map(values, mask=None):
    """Colour entry of every pixel by the map's own scale; N is multiplied by the mask."""
    scaled, defined = matlab_scaled(values)
    if mask is not None:
        scaled = scaled * mask.astype(np.uint16)
    return round_half_away(scaled / 65535 * 255).astype(int), defined


def entries_fixed(values, low, high):
    """Colour entry of every pixel over a fixed range; 256 for a pixel without a value."""
    part = np.clip((values - low) / (high - low), 0, 1)
    entries = round_half_away(part * 255)
    return np.where(np.isnan(entries), 256, entries).astype(int)


def jet():
    """MATLAB's jet(256): a trapezoid per channel, 1/64 per entry, 255 * value rounded half up."""
    entry = np.arange(1, 257)[:, np.newaxis]
    before = np.array([96, 32, -32])  # the last entry that is still 0, of red, green and blue
    value = np.clip(np.minimum(entry - before, before + 192 - entry) / 64, 0, 1)
    return round_half_away(255 * value).astype(np.uint8)


@functools.cache
def color_table(name):
    """uint8 (257, 3); the last for pixels outside of the mask or without a value."""
    if name == "matlab_jet":
        return np.vstack([jet(), jet()[:1]])
    import matplotlib

    values = [matplotlib.colormaps[name](i / 255)[:3] for i in range(256)]
    table = round_half_away(255 * np.array(values)).astype(np.uint8)
    return np.vstack([table, np.zeros((1, 3), np.uint8)])


def fixed_range(options):
    if options["scale"] == "range":
        return options["scale_range"]
    middle = 1.0 if options["change"] == "ratio" else 0.0
    return middle - options["scale_percent"] / 100, middle + options["scale_percent"] / 100


def colored(values, options, mask=None):
    """RGB of a map, and whether its scale is defined."""
    table = color_table(options["colormap"])
    if options["scale"] == "per_map":
        entries, defined = entries_per_map(values, mask)
    else:
        entries, defined = entries_fixed(values, *fixed_range(options)), True
    rgb = table[entries]
    if mask is not None:
        rgb[~mask] = table[256]
    return rgb, defined


# All of it


@dataclass
class Result:
    """What `preprocess` should return."""

    binned: np.ndarray
    change: np.ndarray
    rgb: np.ndarray
    times_s: np.ndarray
    bin_times_s: np.ndarray
    bin_frames: list
    undefined: list  # maps without a scale of their own
    partial: int  # frames of a last bin that is not whole, or 0


def pairs(bins, options):
    """(earlier, later) bin of every map; the earlier one is None for the baseline."""
    step, baseline = options["interval_bins"], options["baseline_bins"]
    found = [(later - step, later) for later in range(step, bins, step)]
    if baseline is None:
        return found
    return [(None, later) for _, later in found if later >= baseline]


def preprocess(frames, options, *, rate_hz=None, times_s=None, mask=None):
    if times_s is None:
        per_bin = frames_per_bin(options, rate_hz)
        groups = group(bin_by_count(len(frames), per_bin))
    else:
        per_bin = None if rate_hz is None else frames_per_bin(options, rate_hz)
        groups = group(bin_by_clock(times_s, options["bin_seconds"]))
    partial = 0
    if not last_is_whole(groups, per_bin, times_s is not None):
        partial = groups[-1][2]
        if options["partial_bin"] == "drop":
            groups = groups[:-1]
    binned = [bin_mean(frames[first : first + n]) for _, first, n in groups]
    length_s = options["bin_seconds"]
    if options["bin_frames"] is not None:
        length_s = options["bin_frames"] / rate_hz
    bin_times_s = np.array([(number - groups[0][0]) * length_s for number, _, _ in groups])

    def smooth(bin_number, first=False):
        size = options["smoothing_px"]
        if first and options["smoothing_first_px"] is not None:
            size = options["smoothing_first_px"]
        return box_mean(
            binned[bin_number], size, options["smoothing_border"], options["smoothing_rounded"]
        )

    baseline = None
    if options["baseline_bins"] is not None and options["baseline_bins"] <= len(binned):
        smoothed = [smooth(b).astype(np.float64) for b in range(options["baseline_bins"])]
        baseline = (sum(smoothed) / len(smoothed)).astype(np.float32)

    change, rgb, undefined = [], [], []
    for number, (earlier, later) in enumerate(pairs(len(binned), options)):
        f0 = baseline if earlier is None else smooth(earlier, first=earlier == 0)
        values = change_of(options["change"], f0, smooth(later))
        pixels, defined = colored(values, options, mask)
        change.append(values.astype(np.float32))
        rgb.append(pixels)
        undefined += [] if defined else [number]
    later = [b for _, b in pairs(len(binned), options)]
    return Result(
        np.array(binned),
        np.array(change),
        np.array(rgb),
        bin_times_s[later],
        bin_times_s,
        [n for _, _, n in groups],
        undefined,
        partial,
    )


# The cortex mask


def inside_polygon(polygon, shape):
    """Pixels whose centre lies inside, by counting how often a ray to the right meets an edge."""
    filled = np.zeros(shape, bool)
    corners = [(float(x), float(y)) for x, y in polygon]
    for y in range(shape[0]):
        for x in range(shape[1]):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
                if (y0 > y) != (y1 > y):
                    crossings += x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x
            filled[y, x] = crossings % 2 == 1
    return filled


def cortex_mask(polygon, shape):
    """Filled, smoothed with an 11 x 11 mean over zeros outside, and cut at >= 0.5."""
    return box_sum(inside_polygon(polygon, shape), 11) * 2 >= 121


# Frames to try


def sample(shape, dtype, seed):
    """Frames of a kind that the seed picks: any values, the extremes, full scale, or a level."""
    random = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    kind = seed % 4
    if kind == 0:
        return random.integers(0, top, shape, dtype, endpoint=True)
    if kind == 1:
        return random.choice(np.array([0, 1, top - 1, top], dtype), shape)
    if kind == 2:
        return np.full(shape, top, dtype)
    level = random.integers(0, top - 2, dtype=dtype, endpoint=True)
    return level + random.integers(0, 2, shape, dtype, endpoint=True)


def unaligned(a):
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


#: The same numbers, laid out in another way.
LAYOUTS = {
    "swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "unaligned": unaligned,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "columns first": np.asfortranarray,
    "part of rows": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
}


# Waves


def mask_counts(masks):
    """What is counted in each of successive masks (T, Y, X): pixel by pixel, outside is 0."""
    height, width = masks.shape[1:]
    seen, rows = set(), []
    before = set()
    for mask in masks:
        inside = {(x, y) for y in range(height) for x in range(width) if mask[y, x]}
        xs, ys = [x for x, _ in inside] or [-1], [y for _, y in inside] or [-1]

        def cross(dx, dy, inside=inside):
            reach = [(x, y) for y in range(-1, height + 1) for x in range(-1, width + 1)]
            return sum(((x, y) in inside) != ((x - dx, y - dy) in inside) for x, y in reach)

        rows.append(
            {
                "area": len(inside),
                "sum_x": sum(x for x, _ in inside),
                "sum_y": sum(y for _, y in inside),
                "sum_xx": sum(x * x for x, _ in inside),
                "sum_yy": sum(y * y for _, y in inside),
                "sum_xy": sum(x * y for x, y in inside),
                "min_x": min(xs),
                "max_x": max(xs),
                "min_y": min(ys),
                "max_y": max(ys),
                "cross_x": cross(1, 0),
                "cross_y": cross(0, 1),
                "cross_down": cross(1, 1),
                "cross_up": cross(-1, 1),
                "border": sum(x in (0, width - 1) or y in (0, height - 1) for x, y in inside),
                "overlap": len(inside & before),
                "new": len(inside - seen),
            }
        )
        seen |= inside
        before = inside
    return rows


def first_covered(masks):
    """Number of the first mask that covers each pixel, or -1."""
    first = np.full(masks.shape[1:], -1)
    for number in reversed(range(len(masks))):
        first[masks[number] != 0] = number
    return first


def fitted_plane(first, times_s, sigma, x, y):
    """Time and gradient at one pixel of a plane through all crossings, by least squares."""
    rows, times, weights = [], [], []
    for ay, ax in np.argwhere(first >= 0):
        for by, bx in ((ay, ax + 1), (ay + 1, ax)):
            if by >= first.shape[0] or bx >= first.shape[1]:
                continue
            low, high = sorted((first[ay, ax], first[by, bx]))
            dx, dy = (ax + bx) / 2 - x, (ay + by) / 2 - y
            # The window ends at three sigma, in whole pixels from the crossing's first pixel.
            if low < 0 or low == high or max(abs(ax - x), abs(ay - y)) > math.ceil(3 * sigma):
                continue
            rows.append((1, dx, dy))
            times.append((times_s[low] + times_s[high - 1]) / 2)
            weights.append(math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)))
    root = np.sqrt(weights)
    return np.linalg.lstsq(np.array(rows) * root[:, None], np.array(times) * root, rcond=None)[0]


def least_costs(cost, step, longest, edge):
    """Of a row of cells, (N, labels + 1), the least cost of all with each label of each cell.

    Tries every row of labels there is.
    """
    cells, width = cost.shape
    between = np.empty((width, width))
    for a, b in itertools.product(range(width), repeat=2):
        none = (a == width - 1) + (b == width - 1)
        between[a, b] = (min(step * abs(a - b), longest), edge, 0.0)[none]
    least = np.full(cost.shape, np.inf)
    for labels in itertools.product(range(width), repeat=cells):
        total = sum(cost[i, k] for i, k in enumerate(labels))
        total += sum(between[a, b] for a, b in itertools.pairwise(labels))
        for i, k in enumerate(labels):
            least[i, k] = min(least[i, k], total)
    return least
