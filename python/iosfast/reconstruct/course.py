"""The course of a reconstruction: losses, the best movie so far, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor


class Course:
    """Keeps the losses of each iteration, and the movie that held-out neurons speak for.

    Parameters
    ----------
    patience : int, optional
        Iterations without a lower loss of held-out neurons after which to stop; None: never.
    update : callable
        Called after each iteration.
    """

    def __init__(self, patience: int | None, update: Callable[[], None]) -> None:
        self.loss: list[float] = []
        self.holdout_loss: list[float] = []
        self.movie: Tensor | None = None
        self.chosen = 0
        self._patience = patience
        self._update = update
        self._lowest = math.inf

    def goes_on(self, movie: Tensor, loss: float, holdout_loss: float) -> bool:
        """Take the movie that an iteration begins with, and its losses; tell whether to go on."""
        iteration = len(self.loss)
        self.loss.append(loss)
        self.holdout_loss.append(holdout_loss)
        self._update()
        if math.isnan(holdout_loss):  # none are held out: the last movie is taken
            return True
        if holdout_loss < self._lowest:
            self._lowest = holdout_loss
            self.movie, self.chosen = movie.detach().clone(), iteration
        return self._patience is None or iteration - self.chosen < self._patience

    def end(self, movie: Tensor) -> None:
        """Take the movie after the last iteration, where no neurons choose another one."""
        if self.movie is None:
            self.movie, self.chosen = movie.detach().clone(), len(self.loss)
