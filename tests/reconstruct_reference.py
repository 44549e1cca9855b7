"""The published procedure and the published model, slow and plain; imports nothing of iosfast."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage


def published_movie(model, responses, behaviour, shape, pad_to, mask, iterations, *, clip, step):
    """Reconstruct by one window, one clip and one backward pass after the other."""
    frames = responses.shape[1]
    top, left = (pad_to[0] - shape[0]) // 2, (pad_to[1] - shape[1]) // 2
    movie = torch.full((frames, *shape), 127.5)
    targets = torch.from_numpy(responses)
    momentum = 0
    losses = []
    for i in range(iterations):
        total = torch.full((2 + (frames - 32) // 8, frames, *shape), math.nan)
        of_windows = []
        for w in range(len(total)):
            start = frames - 32 if w == len(total) - 1 else 8 * w
            inputs = torch.zeros(1, 1 + len(behaviour), 32, *pad_to)
            inputs[0, 0, :, top : top + shape[0], left : left + shape[1]] = movie[
                start : start + 32
            ]
            inputs[0, 1:] = torch.from_numpy(behaviour)[:, start : start + 32, None, None]
            inputs.requires_grad_(True)
            predicted = torch.zeros(len(responses), 32)
            count = torch.zeros(32)
            for first in range(32 - (clip - 1) * step):
                at = torch.arange(first, first + (clip - 1) * step + 1, step)
                predicted[:, at] += model(inputs[:, :, at])[0]
                count[at] += 1
            loss = torch.nn.PoissonNLLLoss(log_input=False, full=False)(
                predicted / count, targets[:, start : start + 32]
            )
            loss.backward()
            unit = inputs.grad / (torch.norm(inputs.grad) + 1e-6)
            total[w, start : start + 32] = unit[
                0, 0, :, top : top + shape[0], left : left + shape[1]
            ]
            of_windows.append(loss.item())
        losses.append(of_windows)
        if i == 0:
            continue
        gradient = torch.clip(torch.nanmean(total, 0) * torch.from_numpy(mask), -1, 1)
        momentum = 0.9 * momentum + 0.1 * gradient
        rate = 1000 * min(1, i / 10)
        rate *= (1 - 0.999 ** (i + 1)) ** 0.5 / (1 - 0.9 ** (i + 1))
        movie = torch.clip(movie - rate * momentum / (1 - 0.9 ** (i + 1)), 0, 255).detach()
    return movie.numpy(), losses


def published_mask(model, movies, responses, behaviour, pad_to, frames, first, pairs):
    """Learn a transparency mask: each pair is a movie that is shown, and another around it."""
    shape = movies[0].shape[1:]
    top, left = (pad_to[0] - shape[0]) // 2, (pad_to[1] - shape[1]) // 2
    place = slice(top, top + shape[0]), slice(left, left + shape[1])
    mask = 0.05 * first
    for shown, around in pairs:
        six = torch.zeros(1, 2 + len(behaviour[0]), frames.stop - frames.start, *pad_to)
        six[0, 0, :, place[0], place[1]] = torch.from_numpy(movies[shown][frames])
        six[0, 1] = torch.from_numpy(mask)
        six[0, 2:] = torch.from_numpy(behaviour[shown])[:, frames, None, None]
        six.requires_grad_(True)
        background = torch.zeros(six.shape[2:])
        background[:, place[0], place[1]] = torch.from_numpy(movies[around][frames])
        alpha = six[:, 1:2].clip(0, 1)
        mixed = torch.cat([six[:, :1] * alpha + background * (1 - alpha), six[:, 2:]], dim=1)
        wanted = torch.from_numpy(responses[shown][:, frames])
        torch.nn.functional.mse_loss(model(mixed)[0], wanted).backward()
        unit = torch.clip(six.grad / (torch.norm(six.grad) + 1e-6), -1, 1)
        step = unit[0, 1].mean(0).numpy()
        mask = mask - 10 * ndimage.gaussian_filter(step, 5, mode="mirror", radius=7)
    return mask[place]


def published_responses(weights, sizes, mouse, clip):
    """Give the responses of the published model to one clip (channels, T, Y, X), with NumPy."""
    w = {name: value.double().numpy() for name, value in weights.items()}

    def point(x, name):
        return np.einsum("oc,cthw->othw", w[name][..., 0, 0, 0], x)

    def normed(x, name):
        shape = (-1, *[1] * (x.ndim - 1))
        scale = w[f"{name}.bn.weight"] / np.sqrt(w[f"{name}.bn.running_var"] + 1e-5)
        moved = x - w[f"{name}.bn.running_mean"].reshape(shape)
        return moved * scale.reshape(shape) + w[f"{name}.bn.bias"].reshape(shape)

    def silu(x):
        return x / (1 + np.exp(-x))

    def depthwise(x, name):
        kernels = w[name][:, 0]
        return np.stack(
            [ndimage.correlate(c, k, mode="constant") for c, k in zip(x, kernels, strict=True)]
        )

    def tiled(x, features):
        return np.concatenate([x] * math.ceil(features / len(x)))[:features]

    def positions(x):
        features = len(x)
        each = 2 * math.ceil(features / 6)
        out = np.zeros((3 * each, *x.shape[1:]))
        for index in np.ndindex(*x.shape[1:]):
            for axis in range(3):
                for k in range(each // 2):
                    angle = index[axis] / 10000 ** (2 * k / each)
                    out[(axis * each + k, *index)] = math.sin(angle)
                    out[(axis * each + each // 2 + k, *index)] = math.cos(angle)
        return x + out[:features]

    x = normed(point(clip, "core.stem.0.weight"), "core.stem.1")
    for n, stride in enumerate(sizes.spatial_strides):
        name = f"core.blocks.{2 * n + 1}"
        x = positions(x)
        inner = silu(normed(point(x, f"{name}.conv_pw.0.weight"), f"{name}.conv_pw.1"))
        inner = depthwise(inner, f"{name}.spat_covn_dw.0.weight")[:, :, ::stride, ::stride]
        inner = silu(normed(inner, f"{name}.spat_covn_dw.1"))
        inner = depthwise(inner, f"{name}.temp_covn_dw.0.weight")
        inner = silu(normed(inner, f"{name}.temp_covn_dw.1"))
        mean = inner.mean((1, 2, 3))
        few = silu(
            w[f"{name}.se.conv_reduce.weight"][..., 0, 0, 0] @ mean
            + w[f"{name}.se.conv_reduce.bias"]
        )
        gate = (
            w[f"{name}.se.conv_expand.weight"][..., 0, 0, 0] @ few
            + w[f"{name}.se.conv_expand.bias"]
        )
        inner = inner / (1 + np.exp(-gate))[:, None, None, None]
        inner = normed(point(inner, f"{name}.conv_pwl.0.weight"), f"{name}.conv_pwl.1")
        sizes_now = x.shape[2:]
        rows, columns = (np.arange(-(-n // stride)) * n // -(-n // stride) for n in sizes_now)
        beside = x[:, :, rows][..., columns]
        x = inner + normed(tiled(beside, len(inner)), f"{name}.bn_sc")
    x = x.mean((2, 3))

    def grouped(x, kernel):
        out = np.zeros((len(kernel), x.shape[1]))
        given, taken = len(kernel) // sizes.groups, len(x) // sizes.groups
        for g in range(sizes.groups):
            rows = slice(g * given, (g + 1) * given)
            out[rows] = kernel[rows, :, 0] @ x[g * taken : (g + 1) * taken]
        return out

    for n in range(len(sizes.cortex_features)):
        name = f"cortex.layers.{n}"
        inner = silu(normed(grouped(x, w[f"{name}.conv.weight"]), f"{name}.bn"))
        order = np.arange(len(inner)).reshape(sizes.groups, -1).T.ravel()
        x = inner[order] + normed(tiled(x, len(inner)), f"{name}.bn_sc")
    name = f"readouts.{mouse}.layer.1"
    out = grouped(x, w[f"{name}.weight"]) + w[f"{name}.bias"][:, None]
    return np.logaddexp(0, sizes.softplus_beta * out) / sizes.softplus_beta
