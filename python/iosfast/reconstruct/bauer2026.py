"""The published procedure: normalised gradients of windows, averaged, with momentum.

Bauer, Margrie, Clopath, eLife, doi 10.7554/eLife.105081, and the code that comes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import GREY
from .course import Course
from .objective import Objective

ITERATIONS = 1000
LEARNING_RATE = 1000.0
WARM_UP = 10
#: Decay of the momentum, and of the second moment, of which only the correction is used.
BETA1, BETA2 = 0.9, 0.999
DARKEST, BRIGHTEST = 0.0, 255.0
CLIP = 1.0
#: Of the Gaussian over the mean of the ensemble, in frames and pixels.
BLUR_SIGMA = 0.5
WINDOW, STRIDE = 32, 8


def descend(
    objectives: Sequence[Objective], mask: Tensor, frames: int, iterations: int, course: Course
) -> None:
    """Reconstruct one movie from one encoder, or from the mean gradient of several.

    The first iteration takes no step, the next ones warm up. The momentum is corrected for its
    start twice, once by itself and once in the step, as in the published code.

    Parameters
    ----------
    objectives : sequence of Objective
    mask : Tensor of bool, shape (Y, X)
        Pixels that change; the others stay grey.
    frames, iterations : int
    course : Course
        Takes the movie of each iteration.
    """
    movie = torch.full((frames, *mask.shape), GREY, device=mask.device)
    momentum = torch.zeros_like(movie)
    for i in range(iterations):
        found = [objective.published(movie) for objective in objectives]
        count = len(found)
        loss = sum(one.loss for one in found) / count
        held = sum(one.holdout_loss for one in found) / count
        if not course.goes_on(movie, loss, held):
            return
        if i == 0:
            continue
        gradient = torch.stack([one.gradient for one in found]).mean(0)
        gradient = (gradient * mask).clamp(-CLIP, CLIP)
        momentum = BETA1 * momentum + (1 - BETA1) * gradient
        corrected = 1 - BETA1 ** (i + 1)
        rate = LEARNING_RATE * min(1.0, i / WARM_UP)
        step = rate * (1 - BETA2 ** (i + 1)) ** 0.5 / corrected
        movie = (movie - step * momentum / corrected).clamp(DARKEST, BRIGHTEST)
    course.end(movie)
