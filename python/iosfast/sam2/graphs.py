"""The graphs of SAM 2, as torch modules around the weights of sam2's own model.

Each has a dynamic batch, and no state: what a clip remembers is kept by the loop that runs them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .image_features import Features
from .manifest import NO_OBJECT
from .memory_attention import FirstSelfAttention

#: Mean and standard deviation of RGB in [0, 1], as in sam2's video loader.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """Images (N, S, S, 3) of uint8 to features, and the first self-attention over them.

    Returns features (N, 256, h, h), the decoder's finer ones (N, 64, 2h, 2h) and (N, 32, 4h, 4h),
    and what memory attention starts from (N, h h, 256), where h = S / 16.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.features = Features(predictor)
        self.first = FirstSelfAttention(predictor)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scaled = images.permute(0, 3, 1, 2).float() / 255.0
        features, finer, finest = self.features((scaled - self.mean) / self.deviation)
        return features, finer, finest, self.first(features)


class PointPrompt(nn.Module):
    """Points (B, P, 2), in pixels of the scaled image, and labels (B, P) to tokens (B, P + 1, 256).

    Labels: 1 object, 0 background, 2 and 3 corners of a box, -1 none.
    """

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.encoder = predictor.sam_prompt_encoder

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        tokens: Tensor = self.encoder._embed_points(points, labels, pad=True)
        return tokens


class LogitPrompt(nn.Module):
    """Logits (B, 1, 4h, 4h) to what the decoder adds to the features, (B, 256, h, h)."""

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.encoder = predictor.sam_prompt_encoder

    def forward(self, logits: Tensor) -> Tensor:
        dense: Tensor = self.encoder.mask_downscaling(logits)
        return dense


class MaskPrompt(nn.Module):
    """A mask (B, 1, S, S) of 0 and 1 to logits for the decoder, and to its own as a result.

    Both are (B, 1, 4h, 4h). The latter are shrunk with antialiasing, as a product with a constant.
    """

    rows: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.shrink = predictor.mask_downsample
        size = predictor.image_size
        rows = functional.interpolate(
            torch.eye(size)[None, None], size=(size // 4, size), mode="bilinear", antialias=True
        )
        self.register_buffer("rows", rows[0, 0])

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.shrink(mask), self.rows @ (mask * 20.0 - 10.0) @ self.rows.T


class MaskDecoder(nn.Module):
    """Features and prompts to one mask per row, its quality, the object's pointer and score.

    The prompt on pixels is either (B, 256, h, h) or (1, 256, 1, 1). `several` (B,) tells the rows
    whose mask is the best of three, as on tracked maps and those with up to one point.
    """

    no_pointer: Tensor
    place: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.decoder = predictor.sam_mask_decoder
        self.to_pointer = predictor.obj_ptr_proj
        self.register_buffer("no_pointer", predictor.no_obj_ptr.detach().clone())
        with torch.no_grad():
            self.register_buffer("place", predictor.sam_prompt_encoder.get_dense_pe())

    def forward(
        self,
        features: Tensor,
        finer: Tensor,
        finest: Tensor,
        tokens: Tensor,
        dense: Tensor,
        several: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        masks, quality, mask_tokens, score = self._all_masks(features, finer, finest, tokens, dense)
        index = self._choose(masks, quality, several)
        visible = score > 0
        plane = index[:, :, None, None].expand(-1, 1, masks.shape[2], masks.shape[3])
        logits = torch.where(visible[:, :, None, None], masks.gather(1, plane), NO_OBJECT)
        # the token is that of the mask, but for one mask always the first
        token = torch.where(several[:, None], index, torch.zeros_like(index))
        token = mask_tokens.gather(1, token[:, :, None].expand(-1, 1, mask_tokens.shape[2]))
        pointer = torch.where(visible, self.to_pointer(token[:, 0]), self.no_pointer)
        return logits, pointer, score, quality.gather(1, index)

    def _all_masks(
        self, features: Tensor, finer: Tensor, finest: Tensor, tokens: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        decoder = self.decoder
        own = torch.cat(
            [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        )
        tokens = torch.cat([own[None].expand(tokens.shape[0], -1, -1), tokens], dim=1)
        found, pixels = decoder.transformer(features + dense, self.place, tokens)
        mask_tokens = found[:, 2 : 2 + decoder.num_mask_tokens]
        first, norm, activation, second, last = decoder.output_upscaling
        image = pixels.transpose(1, 2).reshape(features.shape)
        image = activation(norm(first(image) + finer))
        image = last(second(image) + finest)
        kernels = [
            mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)
        ]
        masks = torch.stack(kernels, 1) @ image.flatten(2)
        masks = masks.reshape(masks.shape[0], -1, finest.shape[2], finest.shape[3])
        quality = decoder.iou_prediction_head(found[:, 1])
        return masks, quality, mask_tokens, decoder.pred_obj_score_head(found[:, 0])

    def _choose(self, masks: Tensor, quality: Tensor, several: Tensor) -> Tensor:
        """Return the index (B, 1) of the mask: the best of 1 to 3, or 0 if that is stable."""
        best = quality[:, 1:].argmax(-1, keepdim=True) + 1
        delta = self.decoder.dynamic_multimask_stability_delta
        single = masks[:, 0].flatten(1)
        inside = (single > delta).float().sum(-1, keepdim=True)
        around = (single > -delta).float().sum(-1, keepdim=True)
        stability = torch.where(around > 0, inside / around.clamp(min=1), 1.0)
        stable = stability >= self.decoder.dynamic_multimask_stability_thresh
        return torch.where(stable & ~several[:, None], torch.zeros_like(best), best)


class MemoryEncoder(nn.Module):
    """Features and a row's logits (B, 1, 4h, 4h) to its memory (B, h h, 64), rounded to bfloat16.

    `prompted` (B,) tells the rows whose map has a prompt: their mask is made 0 and 1.
    """

    absent: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.encoder = predictor.memory_encoder
        self.size = predictor.image_size
        self.scale = predictor.sigmoid_scale_for_mem_enc
        self.shift = predictor.sigmoid_bias_for_mem_enc
        self.register_buffer("absent", predictor.no_obj_embed_spatial.detach()[:, None].clone())

    def forward(self, features: Tensor, logits: Tensor, score: Tensor, prompted: Tensor) -> Tensor:
        size = (self.size, self.size)
        large = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        mask = torch.where(prompted[:, None, None, None], (large > 0).float(), torch.sigmoid(large))
        encoder = self.encoder
        masks = encoder.mask_downsampler(mask * self.scale + self.shift)
        memory: Tensor = encoder.out_proj(encoder.fuser(encoder.pix_feat_proj(features) + masks))
        memory = memory.flatten(2).transpose(1, 2)
        memory = memory + torch.where(score > 0, 0.0, 1.0)[:, :, None] * self.absent
        return memory.to(torch.bfloat16).float()
