"""Recordings on disk or in memory, behind one interface."""

from .opening import Source, open_recording
from .reader import Options, Reader
from .recording import Recording

__all__ = ["Options", "Reader", "Recording", "Source", "open_recording"]
