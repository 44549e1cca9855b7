"""Archives of recordings: found, processed, resumed, verified, on one machine or on a cluster."""

from .run import BatchResult, batch
from .verify import Finding, verify

__all__ = ["BatchResult", "Finding", "batch", "verify"]
