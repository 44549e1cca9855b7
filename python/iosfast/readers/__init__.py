"""Recordings on disk or in memory, behind one interface."""

from .opening import Source, open_recording
from .pixels import PixelRecording, Run
from .reader import Options, Reader
from .recording import Recording

__all__ = [
    "Options",
    "PixelRecording",
    "Reader",
    "Recording",
    "Run",
    "Source",
    "open_recording",
]
