"""A folder of exported graphs: which there are, and the file that tells what they are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..errors import ReadError

Precision = Literal["fp32", "fp16", "int8"]

FORMAT, LAYOUT = "iosfast sam2 model", 2
MODEL = "sam2.1_hiera_tiny"
MANIFEST, CONSTANTS = "manifest.json", "constants.npz"
#: Maps that a row remembers, and maps whose object pointers it remembers.
MEMORIES, POINTERS = 7, 16
#: Logits where there is no object, as in sam2.
NO_OBJECT = -1024.0
#: Side of a map as the model sees it, over that of its features.
STRIDE = 16


@dataclass(frozen=True)
class Graph:
    """What a graph takes and gives: names with their axes, of which capital letters are dynamic.

    N images; B rows, each an object in a clip; K memories, T pointers, P points of each; D rows and
    E, F pixels of a prompt on pixels, or 1.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Return the dynamic axes of all inputs and outputs."""
        return {
            name: {i: axis for i, axis in enumerate(axes.split()) if axis.isupper()}
            for name, axes in {**self.inputs, **self.outputs}.items()
        }


_ATTENTION = {
    "pixels": "B hh 256",
    "memories": "B K hh 64",
    "ages": "B K",
    "pointers": "B T 256",
    "times": "B T",
}
_ATTENDED = {"conditioned": "B 256 h h"}

GRAPHS = {
    "image_encoder": Graph(
        {"images": "N s s 3"},
        {
            "features": "N 256 h h",
            "finer": "N 64 2h 2h",
            "finest": "N 32 4h 4h",
            "pixels": "N hh 256",
        },
    ),
    "memory_attention": Graph(_ATTENTION, _ATTENDED),
    "memory_attention_padded": Graph(
        {**_ATTENTION, "memory_counts": "B K", "pointer_counts": "B T"}, _ATTENDED
    ),
    "point_prompt": Graph({"points": "B P 2", "labels": "B P"}, {"tokens": "B P+1 256"}),
    "logit_prompt": Graph({"logits": "B 1 4h 4h"}, {"dense": "B 256 h h"}),
    "mask_prompt": Graph({"mask": "B 1 s s"}, {"prompt": "B 1 4h 4h", "logits": "B 1 4h 4h"}),
    "mask_decoder": Graph(
        {
            "conditioned": "B 256 h h",
            "finer": "B 64 2h 2h",
            "finest": "B 32 4h 4h",
            "tokens": "B P 256",
            "dense": "D 256 E F",
            "several": "B",
        },
        {"logits": "B 1 4h 4h", "pointer": "B 256", "score": "B 1", "quality": "B 1"},
    ),
    "memory_encoder": Graph(
        {"features": "B 256 h h", "logits": "B 1 4h 4h", "score": "B 1", "prompted": "B"},
        {"memory": "B hh 64"},
    ),
}

#: Graphs that only move values of float32 on the device, by their output: `take` picks those of
#: some indices along the first axis, `put` replaces them.
MOVES = {"take": "taken", "put": "kept"}


@dataclass(frozen=True)
class FileRecord:
    """A file's size and hash."""

    nbytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Hash a file."""
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.stat().st_size, digest)


@dataclass(frozen=True)
class Manifest:
    """What a folder of graphs is made of.

    Attributes
    ----------
    image_size : int
        Side of the image that the model sees, in its pixels.
    precision : {"fp32", "fp16", "int8"}
    checkpoint : FileRecord
    files : dict of FileRecord
        All files but the manifest.
    differences : dict of float
        Of each graph, the largest difference from sam2 that was found when it was exported,
        relative to the largest absolute value where that is above 1; of fp16 and int8, the root
        mean square of the differences, relative to that of the values.
    versions : dict of str
        Of the libraries that made it.
    """

    image_size: int
    precision: Precision
    checkpoint: FileRecord
    files: dict[str, FileRecord]
    differences: dict[str, float]
    versions: dict[str, str]
    model: str = MODEL
    layout: int = LAYOUT
    format: str = field(default=FORMAT)

    @property
    def side(self) -> int:
        """Side of the features, in their pixels."""
        return self.image_size // STRIDE

    def write(self, folder: Path) -> None:
        """Write the manifest."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_manifest(folder: str | PathLike[str]) -> Manifest:
    """Read a model folder's manifest and check all its files.

    Raises
    ------
    ReadError
        If the folder is none, of another layout, or a file in it is missing or changed.
    """
    folder = Path(folder)
    content = _content(folder)
    layout = content.get("layout")
    if layout != LAYOUT:
        age = "an older" if isinstance(layout, int) and layout < LAYOUT else "another"
        raise ReadError(
            f"this model was exported with {age} version of iosfast (layout {layout!r}, not "
            f"{LAYOUT}); export it again with 'iosfast sam2 export'",
            folder,
        )
    try:
        manifest = _manifest(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(f"its {MANIFEST} is damaged ({error!r})", folder) from error
    missing = {CONSTANTS, *(f"{name}.onnx" for name in (*GRAPHS, *MOVES))} - manifest.files.keys()
    if missing:
        raise ReadError(f"its {MANIFEST} does not name {min(missing)}", folder)
    for name, record in manifest.files.items():
        _check(folder / name, record)
    return manifest


def _content(folder: Path) -> dict[str, Any]:
    make = "make one with 'iosfast sam2 export CHECKPOINT -o DIR'"
    if not folder.is_dir():
        raise ReadError(f"is not a folder with an exported model; {make}", folder)
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ReadError(f"holds no {MANIFEST}, so no exported model; {make}", folder) from None
    except OSError as error:
        raise ReadError(f"{MANIFEST} cannot be read: {error.strerror}", folder) from error
    except (ValueError, RecursionError) as error:
        raise ReadError(f"its {MANIFEST} is not JSON ({error})", folder) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ReadError(f"its {MANIFEST} is not that of an exported model; {make}", folder)
    return content


def _manifest(content: dict[str, Any]) -> Manifest:
    size, precision = content["image_size"], content["precision"]
    if type(size) is not int or size < STRIDE or precision not in ("fp32", "fp16", "int8"):
        raise ValueError(f"image_size {size!r}, precision {precision!r}")
    if content["model"] != MODEL:
        raise ValueError(f"model {content['model']!r}")
    return Manifest(
        image_size=size,
        precision=precision,
        checkpoint=_record(content["checkpoint"]),
        files={_plain(name): _record(record) for name, record in content["files"].items()},
        differences={str(name): float(value) for name, value in content["differences"].items()},
        versions={str(name): str(value) for name, value in content["versions"].items()},
    )


def _record(value: Any) -> FileRecord:
    return FileRecord(int(value["nbytes"]), str(value["sha256"]))


def _plain(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"a file named {name!r}")
    return name


def _check(path: Path, record: FileRecord) -> None:
    try:
        if path.stat().st_size != record.nbytes:
            raise ReadError(
                f"has {path.stat().st_size:,} bytes, not {record.nbytes:,}; it was cut or changed "
                "after the export",
                path,
            )
        if FileRecord.of(path) != record:
            raise ReadError("its hash is not that of the export; it was changed", path)
    except FileNotFoundError:
        raise ReadError("is missing in the model folder", path) from None
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", path) from error
