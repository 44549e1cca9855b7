"""The demonstration: a simulated recording, its maps, the wave outlined, and a report."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from .errors import WriteError
from .figures import contact_sheet
from .preprocess import preprocess
from .progress import progress_for
from .segment import segment
from .segment_files import draw_outlines, write_segmentation
from .session_report import report
from .session_report.report import missing_modules
from .simulate import Noise, Simulation, Wave

#: A field of 10 mm, filmed for three minutes; small, so that the demo takes seconds.
SHAPE = (256, 256)
FRAME_RATE_HZ = 10.0
DURATION_S = 190.0
PIXEL_SIZE_MM = 10 / 256


def demo_recording(seed: int = 0) -> Simulation:
    """Simulate a cortex that a wave crosses from the lower left, at 3.5 mm/min."""
    wave = Wave(
        shape="ring", origin_mm=(1.5, 8.5), speed_mm_min=3.5, amplitude_percent=1.5, start_s=15
    )
    return Simulation(
        shape=SHAPE,
        duration_s=DURATION_S,
        frame_rate_hz=FRAME_RATE_HZ,
        pixel_size_mm=PIXEL_SIZE_MM,
        waves=[wave],
        noise=Noise(),
        seed=seed,
    )


def run_demo(out: Path | None = None, seed: int = 0) -> None:
    """Simulate a recording, make its maps, outline and measure the wave, in a new folder.

    The report is left out, and said to be so, where its libraries (extra ``report``) are missing.

    Parameters
    ----------
    out : Path, optional
        The folder; default ``iosfast-demo``, or ``iosfast-demo-2`` if that exists, and so on.
    seed : int
        Of the simulation.

    Raises
    ------
    WriteError
        If the folder exists and is not empty, or cannot be written.
    """
    if out is None:
        names = ("iosfast-demo" if n == 1 else f"iosfast-demo-{n}" for n in itertools.count(1))
        out = next(path for path in map(Path, names) if not path.exists())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WriteError(f"{out}: exists already; remove it, or choose another --out")
    simulation = demo_recording(seed)
    t, y, x = simulation.shape
    missing = missing_modules()
    place = out / "report" / "report.html"
    end = f"; the report will be {place}" if not missing else ""
    print(f"simulating {DURATION_S:g} s of cortex: {t:,} frames of {y} x {x} pixels{end}")
    created = not out.exists()
    recording = out / "recording.tif"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with progress_for(True, t, simulation.nbytes, "simulate") as progress:
            simulation.write(recording, progress=progress)
        maps = preprocess(recording, out=out / "maps", progress=True)
        picture = contact_sheet(maps, out / "contact_sheet.png")
        found = segment(maps, "auto")
        labels = out / "segmented"
        write_segmentation(found, maps, labels, picture=False)
        outlined = draw_outlines(found, maps, out / "outlines.png")
        if not missing:
            title = "A simulated wave"
            report(maps, place.parent, title=title, prompts=found.prompts, progress=True)
    except BaseException:
        if created:
            shutil.rmtree(out, ignore_errors=True)
        raise
    if missing:
        needs = " and ".join(missing)
        print(f"report:    left out, it needs {needs}: pip install 'iosfast[report]'")
    else:
        print(f"report:    {place}  (open this in a browser)")
    print(f"recording: {recording}")
    print(f"maps:      {maps.path}  ({len(maps)} maps; open them with iosfast.load)")
    drawn = found.masks.any(axis=(2, 3)).sum(axis=1).tolist()
    waves = f"{len(drawn)} wave" + ("" if len(drawn) == 1 else "s")
    print(f"labels:    {labels}  ({waves}, outlined in {sum(drawn)} maps; masks, and for ISAT)")
    print(f"pictures:  {picture}, {outlined}")
    print('your own:  iosfast preprocess RECORDING --out DIR, or iosfast.preprocess("RECORDING")')
