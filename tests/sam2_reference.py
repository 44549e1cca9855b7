"""Seeded weights for SAM 2, and the places of sam2's own model that exported graphs stand for."""

from __future__ import annotations

import warnings

import torch

from iosfast.sam2 import export
from iosfast.sam2.checkpoint import empty_predictor

#: Side of the image in most tests: features are 8 x 8.
SIZE = 128


def predictor(image_size):
    """sam2's predictor with weights that let errors show.

    As sam2 makes them, layers are copies of each other, biases 0, and some branches scaled by 1e-6,
    so that an error in one of them could not be seen.
    """
    torch.manual_seed(0)
    made = empty_predictor(image_size)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if name.endswith("gamma"):
                tensor.uniform_(0.3, 0.6)
            else:
                tensor.mul_(1.6).add_(0.03 * torch.randn_like(tensor))
        # so that there is no object in about half of the rows
        made.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.sub_(0.65)
    return made


def exported(folder):
    """Write a checkpoint as the official one is laid out, and export it; return the folder."""
    torch.set_num_threads(1)  # threads of torch and ONNX Runtime wait for each other's cores
    torch.save({"model": predictor(SIZE).state_dict()}, folder / "checkpoint.pt")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(folder / "checkpoint.pt", folder / "model", image_size=SIZE, threads=1)
    assert [str(w.message).split(" is ")[1][:3] for w in caught] == ["not"]
    return folder
