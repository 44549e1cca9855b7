"""Checkpoints of SAM 2: what is in a file, and sam2's own model of it."""

from __future__ import annotations

import hashlib
import warnings
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ReadError, warn
from .extras import needed
from .manifest import MODEL

_PURPOSE = "the export of SAM 2"
_CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
#: Channels of the first layer and number of blocks, by which the sizes of the model are told.
_SIZES = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base plus", (144, 48): "large"}
_PATCH = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = "image_encoder.trunk.blocks."

#: Of the files of sam2 1.1.0 that are used, in the order of their names.
_CODE = (
    "build_sam.py",
    "configs/sam2.1/sam2.1_hiera_t.yaml",
    "modeling/backbones/hieradet.py",
    "modeling/backbones/image_encoder.py",
    "modeling/backbones/utils.py",
    "modeling/memory_attention.py",
    "modeling/memory_encoder.py",
    "modeling/position_encoding.py",
    "modeling/sam/mask_decoder.py",
    "modeling/sam/prompt_encoder.py",
    "modeling/sam/transformer.py",
    "modeling/sam2_base.py",
    "modeling/sam2_utils.py",
    "sam2_video_predictor.py",
    "utils/misc.py",
)
_DIGEST = "8032d08c0ebabca1ff5f1cdb4b4e9a136eb5281f810c4e06b6da7804c2a2ac96"


def build_predictor(checkpoint: str | PathLike[str], image_size: int) -> Any:
    """Return sam2's video predictor with the weights of a checkpoint, on the CPU.

    Parameters
    ----------
    checkpoint : path
        ``sam2.1_hiera_tiny.pt``.
    image_size : int
        Side of the image that the model sees.

    Returns
    -------
    SAM2VideoPredictor

    Raises
    ------
    ReadError
        If the file is not that checkpoint; it says what it is where that can be told.
    ImportError
        If the libraries of the extra ``export`` are missing.
    """
    state = read_state(checkpoint)
    predictor = empty_predictor(image_size)
    _compare(state, predictor.state_dict(), Path(checkpoint))
    predictor.load_state_dict(state)
    return predictor


def empty_predictor(image_size: int) -> Any:
    """Return sam2's video predictor with random weights, without its hole filling."""
    needed("torch", _PURPOSE)
    needed("sam2", _PURPOSE)
    _check_code()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hydra and what it imports
        build = needed("sam2.build_sam", _PURPOSE).build_sam2_video_predictor
        predictor = build(
            _CONFIG, None, "cpu", hydra_overrides_extra=[f"++model.image_size={image_size}"]
        )
    predictor.fill_hole_area = 0  # sam2 fills holes with an extension for CUDA only
    return predictor.requires_grad_(False)


def read_state(checkpoint: str | PathLike[str]) -> dict[str, Any]:
    """Return the tensors of a checkpoint of SAM 2."""
    torch = needed("torch", _PURPOSE)
    path = Path(checkpoint)
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", path) from error
    if start.startswith(b"version https://git-lfs"):
        raise ReadError("is a pointer of Git LFS, not the checkpoint itself; fetch it", path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises of bytes that it does not understand
        cut = start.startswith(b"PK") and "central directory" in str(error)
        found = "is cut: its end is missing" if cut else "is not a checkpoint that torch can read"
        text = " ".join(str(error).split())[:200]
        raise ReadError(f"{found} ({type(error).__name__}: {text})", path) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ReadError(
            "is a file of torch, but not a checkpoint of SAM 2, whose tensors are under 'model'",
            path,
        )
    return state


def _compare(state: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Raise ReadError unless the tensors have the names and shapes of SAM 2.1 tiny."""
    if _PATCH not in state:
        raise ReadError(f"is not a checkpoint of SAM 2: it has no {_PATCH}", path)
    blocks = {name[len(_BLOCK) :].split(".")[0] for name in state if name.startswith(_BLOCK)}
    size = _SIZES.get((state[_PATCH].shape[0], len(blocks)))
    if size != "tiny":
        found = "of an unknown size" if size is None else size
        raise ReadError(f"is SAM 2 {found}; only tiny ({MODEL}.pt) can be exported", path)
    if "obj_ptr_tpos_proj.weight" not in state:
        raise ReadError(f"is SAM 2.0 tiny; take the one of SAM 2.1 ({MODEL}.pt)", path)
    for name, tensor in expected.items():
        if name not in state:
            raise ReadError(f"lacks {name}, so it is not {MODEL}.pt", path)
        if state[name].shape != tensor.shape:
            was, right = tuple(state[name].shape), tuple(tensor.shape)
            raise ReadError(f"its {name} is {was}, not {right} as in {MODEL}.pt", path)
        if not state[name].isfinite().all():
            raise ReadError(f"its {name} is not finite everywhere", path)
    strange = sorted(state.keys() - expected.keys())
    if strange:
        raise ReadError(f"holds {strange[0]}, which {MODEL}.pt does not", path)


def code_digest() -> str:
    """Return the hash of the files of the installed sam2 that are used."""
    root = resources.files("sam2")
    digest = hashlib.sha256()
    for name in _CODE:
        digest.update(root.joinpath(name).read_bytes())
    return digest.hexdigest()


def _check_code() -> None:
    if code_digest() != _DIGEST:
        warn(
            "the installed sam2 is not version 1.1.0, whose code is known; the export goes by what "
            "is installed"
        )
