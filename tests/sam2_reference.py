"""Seeded weights for SAM 2, and the places of sam2's own model that exported graphs stand for."""

from __future__ import annotations

import warnings
from unittest import mock

import numpy as np
import torch
from PIL import Image
from sam2 import sam2_video_predictor

from iosfast.sam2 import export
from iosfast.sam2.checkpoint import empty_predictor

#: Side of the image in most tests: features are 8 x 8.
SIZE = 128
#: Off the score of objects, so that there is none on some maps and in some rows.
SHIFT = 0.13


def predictor(image_size):
    """sam2's predictor with weights that let errors show.

    As sam2 makes them, layers are copies of each other, biases 0, and some branches scaled by 1e-6,
    so that an error in one of them could not be seen. Much larger weights make sam2 chaotic: then
    the last bits of an image change logits by 1e-3, and nothing could be compared.
    """
    torch.manual_seed(0)
    made = empty_predictor(image_size)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if name.endswith("gamma"):
                tensor.uniform_(0.1, 0.2)
            else:
                tensor.add_(0.03 * torch.randn_like(tensor))
        made.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.sub_(SHIFT)
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


def moving(seed, count, shape):
    """Return smooth images of uint8, (count, *shape, 3), with a blob that moves over them."""
    random = np.random.default_rng(seed)
    height, width = shape
    small = random.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    back = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:height, :width]
    clip = []
    for i in range(count):
        blob = np.exp(-((x - 20 - 4 * i) ** 2 + (y - 60 - i) ** 2) / 200)[..., None]
        clip.append((back * (1 - blob) + blob * [250, 40, 10]).round().astype(np.uint8))
    return np.stack(clip)


def remembering(predictor):
    """Return a predictor that encodes each image once."""
    known, encode = {}, predictor.forward_image

    def forward_image(images):
        key = images.numpy().tobytes()
        if key not in known:
            known[key] = encode(images)
        return {
            name: list(tensors) for name, tensors in known[key].items() if name != "vision_features"
        }

    predictor.forward_image = forward_image
    return predictor


class Clip:
    """sam2's own video predictor on a clip in memory, scaled as it scales what it reads."""

    def __init__(self, predictor, images):
        height, width = images.shape[1:3]
        size = predictor.image_size
        images = np.stack([np.array(Image.fromarray(one).resize((size, size))) for one in images])
        mean = torch.tensor((0.485, 0.456, 0.406))
        deviation = torch.tensor((0.229, 0.224, 0.225))
        scaled = (torch.from_numpy(images / 255.0).float() - mean) / deviation
        frames = scaled.permute(0, 3, 1, 2).contiguous()
        self.predictor = predictor
        loaded = mock.Mock(return_value=(frames, height, width))
        with mock.patch.object(sam2_video_predictor, "load_video_frames", loaded):
            self.state = predictor.init_state("")

    def add_points(self, name, index, points, labels):
        self.predictor.add_new_points_or_box(self.state, index, name, points, labels)

    def add_mask(self, name, index, mask):
        self.predictor.add_new_mask(self.state, index, name, mask)

    def at(self, index):
        """Return logits of the only object on a map, after it was followed."""
        (row,) = self.state["output_dict_per_obj"].values()
        found = row["cond_frame_outputs"].get(index) or row["non_cond_frame_outputs"][index]
        return found["pred_masks"][0, 0].numpy()

    def videos(self, start):
        """Yield logits in the pixels of the clip, map by map."""
        with mock.patch.object(sam2_video_predictor, "tqdm", lambda items, **_options: items):
            for _, _, logits in self.predictor.propagate_in_video(self.state, start):
                yield logits

    def follow(self, start, reverse=False):
        rows = self.state["output_dict_per_obj"]
        with mock.patch.object(sam2_video_predictor, "tqdm", lambda items, **_options: items):
            for index, _, _ in self.predictor.propagate_in_video(
                self.state, start_frame_idx=start, reverse=reverse
            ):
                found = [
                    row["cond_frame_outputs"].get(index) or row["non_cond_frame_outputs"][index]
                    for row in rows.values()
                ]
                yield index, torch.stack([one["pred_masks"][0, 0] for one in found]).numpy()
