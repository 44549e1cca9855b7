"""Recordings with a known truth, for demonstrations, tests and planned experiments."""

from .noise import Noise
from .simulation import Simulation
from .wave import Wave

__all__ = ["Noise", "Simulation", "Wave"]
