"""Recordings on disk or in memory, behind one interface."""

from .opening import Source, open_recording
from .recording import Recording

__all__ = ["Recording", "Source", "open_recording"]
