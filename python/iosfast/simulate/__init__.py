"""Recordings with a known truth, for demonstrations, tests and planned experiments."""

from .simulation import Simulation
from .wave import Noise, Wave

__all__ = ["Noise", "Simulation", "Wave"]
