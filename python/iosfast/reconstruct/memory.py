"""Too little memory: the same work in smaller batches, and a word about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ..errors import warn

Result = TypeVar("Result")


class Batches:
    """A size of batches that shrinks when memory runs out, and stays small then.

    Parameters
    ----------
    size : int
        To begin with.
    what : str
        That a batch is made of.
    """

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self._what = what

    def run(self, work: Callable[[int], Result]) -> Result:
        """Do some work with the size; if memory runs out, all of it again with half.

        Raises
        ------
        MemoryError
            If it does with a size of 1.
        """
        while True:
            try:
                return work(self.size)
            except (MemoryError, RuntimeError) as error:
                if not means_no_memory(error):
                    raise
                if self.size == 1:
                    raise MemoryError(
                        f"there is not enough memory for one of the {self._what}: "
                        f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
                    ) from error
            self.size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warn(
                f"memory ran out; going on with {self.size} {self._what} at a time "
                f"(batch={self.size})"
            )


def means_no_memory(error: Exception) -> bool:
    """Tell whether memory ran out; on the CPU, torch says so in words only."""
    return isinstance(
        error, MemoryError | torch.OutOfMemoryError
    ) or "can't allocate memory" in str(error)
