"""Small simulations that several tests use."""

import numpy as np

from iosfast.simulate import Noise, Simulation, Wave

QUIET = Noise.none()
#: Everything switched on and strong, dropped frames too, on an odd and non-square frame.
BUSY = Simulation(
    shape=(13, 21),
    duration_s=1.0,
    pixel_size_mm=0.4,
    waves=(Wave(start_s=0, speed_mm_min=200, band_s=1),),
    noise=Noise(jitter_per_min=120, dropped_fraction=0.1),
    seed=3,
)
BUSY_FRAMES = BUSY.read()


def quiet(**options):
    return Simulation(**{"noise": QUIET, "shape": (40, 60), "pixel_size_mm": 0.15, **options})


def centres_mm(simulation):
    _, rows, columns = simulation.shape
    y, x = np.mgrid[:rows, :columns]
    return (y + 0.5) * simulation.pixel_size_mm, (x + 0.5) * simulation.pixel_size_mm
