"""Locks of folders, which the system gives back however a program ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WriteError

_POLL_S = 0.1


@contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold a lock file; yields whether another held it first.

    The lock is the system's own on an open file, and ends with the program, also by ``kill -9``.
    On a network it holds between machines, if the file system knows locks.

    Parameters
    ----------
    path : Path
        Made if it is not there; stays afterwards.
    wait_s : float
        How long to wait for another holder.

    Raises
    ------
    BlockingIOError
        If another holds it after that time.
    WriteError
        If there can be no lock.
    """
    until, waited = time.monotonic() + wait_s, False
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise WriteError(error.errno, error.strerror, os.fspath(path)) from error
        try:
            if not _taken(handle, path):
                if time.monotonic() >= until:
                    raise BlockingIOError(
                        errno.EWOULDBLOCK, "is locked by another", os.fspath(path)
                    )
                waited = True
                time.sleep(_POLL_S)
            elif _is_there(handle, path):
                yield waited
                return
        finally:
            os.close(handle)  # which gives the lock back


def _is_there(handle: int, path: Path) -> bool:
    """Tell whether an open file is still what the path names: a holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _taken(handle: int, path: Path) -> bool:
        try:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _taken(handle: int, path: Path) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise WriteError(
                error.errno,
                f"the file system knows no locks ({error.strerror}), so that two runs could mix; "
                "choose a folder on another one",
                os.fspath(path),
            ) from error
        return True
