"""The official checkpoint, from where its authors publish it."""

from __future__ import annotations

import shutil
from os import PathLike
from pathlib import Path

from ..errors import ReadError
from ..staging import file_beside
from .extras import needed
from .manifest import MODEL, FileRecord

REPOSITORY = "facebook/sam2.1-hiera-tiny"
CHECKPOINT = f"{MODEL}.pt"
#: The official file.
OFFICIAL = FileRecord(
    156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"
)


def fetch(out: str | PathLike[str] = CHECKPOINT) -> Path:
    """Download the official checkpoint of SAM 2.1 tiny (156 MB), and check its hash.

    Parameters
    ----------
    out : path
        The file to make, or a folder for it. One that is there already is checked and kept.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    ReadError
        If the file that is there, or was downloaded, is not the official one.
    WriteError
        If it cannot be written.
    ConnectionError
        If it cannot be downloaded; the message says what to put where.
    ImportError
        If the libraries of the extra ``export`` are missing.
    """
    place = Path(out)
    if place.is_dir():
        place = place / CHECKPOINT
    if place.exists():
        _check(place, "remove it, or choose another place")
        return place
    hub = needed("huggingface_hub", "fetching SAM 2")
    try:
        cached = Path(hub.hf_hub_download(REPOSITORY, CHECKPOINT))
    except Exception as error:  # those of the hub, of HTTP and of sockets
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConnectionError(
            f"{CHECKPOINT} could not be downloaded ({reason}). Where there is a network, take "
            f"{CHECKPOINT} ({OFFICIAL.nbytes:,} bytes) from the files of {REPOSITORY} on Hugging "
            f"Face, and put it at {place.absolute()}; then run this again, which checks it"
        ) from error
    _check(cached, "remove it and try again")
    with file_beside(place) as beside:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cached, beside)
    return place


def _check(path: Path, advice: str) -> None:
    try:
        found = FileRecord.of(path)
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", path) from error
    if found != OFFICIAL:
        raise ReadError(
            f"is not the official checkpoint: it has {found.nbytes:,} bytes (not "
            f"{OFFICIAL.nbytes:,}) and SHA-256 {found.sha256[:12]}... (not "
            f"{OFFICIAL.sha256[:12]}...); {advice}",
            path,
        )
