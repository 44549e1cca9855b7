"""The folder of a batch: what tells that it is one, and where each recording has its results."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import ReadError, WriteError
from ..staging import file_beside
from .discovery import BATCH_FILE
from .tasks import LOCK

FORMAT = "iosfast batch"


def labels_of(archives: Sequence[Path], out: Path) -> list[tuple[str, Path]]:
    """Give every archive a label, which it keeps as long as the results are there."""
    known = read_labels(out)
    by_label: dict[str, str] = {label: root for root, label in known.items()}
    labels = []
    for archive in dict.fromkeys(Path(os.path.abspath(path)) for path in archives):
        label = known.get(str(archive))
        if label is None:
            base = "" if archive.is_file() else archive.name or "root"
            if archive.is_file():
                base = archive.parent.name or "root"
            label, number = base, 2
            while label in by_label and _is_another(Path(by_label[label]), archive):
                label, number = f"{base}-{number}", number + 1
            by_label[label] = str(archive if not archive.is_file() else archive.parent)
        labels.append((f"{label}/{archive.name}" if archive.is_file() else label, archive))
    return labels


def _is_another(root: Path, archive: Path) -> bool:
    """Tell whether a label belongs to another archive, which is still there."""
    return root.exists() and root != (archive.parent if archive.is_file() else archive)


def read_labels(out: Path) -> dict[str, str]:
    """Return labels of archives by their paths, as an earlier run of this batch has them."""
    try:
        told = json.loads((out / BATCH_FILE).read_bytes())
        return {str(root): str(label) for root, label in told["archives"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReadError(f"is damaged ({error})", out / BATCH_FILE) from error


def write_batch_file(out: Path, archives: Sequence[Path]) -> None:
    """Write what tells that a folder is a batch, with the labels of its archives."""
    labels = {**read_labels(out), **{
        str(root if root.is_dir() else root.parent): label.partition("/")[0]
        for label, root in labels_of(archives, out)
    }}  # fmt: skip
    told = {
        "format": FORMAT,
        "format_version": 1,
        "iosfast_version": __version__,
        "archives": labels,
    }
    with file_beside(out / BATCH_FILE) as work:
        work.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")


def remove_unfinished(out: Path) -> None:
    """Remove what a killed batch left of its own files; folders of recordings tidy themselves."""
    for path in out.glob(".*.partial-*"):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def is_batch(out: Path) -> bool:
    """Tell whether a folder holds the results of a batch."""
    try:
        told = json.loads((out / BATCH_FILE).read_bytes())
        return bool(told["format"] == FORMAT)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def check_out(out: Path, resume: bool) -> None:
    """Raise WriteError unless a batch may be begun, or gone on with, in a folder."""
    if (out.is_symlink() and not out.exists()) or (out.exists() and not out.is_dir()):
        raise WriteError(f"{out}: exists and is no folder; choose another out")
    if not out.is_dir() or is_batch(out):
        if is_batch(out) and not resume:
            raise WriteError(f"{out}: holds a batch already; resume goes on with it")
        return
    left = f".{Path(BATCH_FILE).stem}.partial-"
    strange = sorted(n for n in os.listdir(out) if n != LOCK and not n.startswith(left))
    if strange:
        raise WriteError(f"{out}: exists and holds other files ({strange[0]}); choose another out")


def folder_of(out: Path, name: str) -> Path:
    """Return the folder of a recording's results."""
    return out.joinpath(*(part for part in name.split("/") if part not in ("", ".", "..")))
