"""The report of a session: one page with its waves, and their tables."""

from .report import report

__all__ = ["report"]
