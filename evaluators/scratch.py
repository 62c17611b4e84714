"""Temporary folders that are removed soon after their process ends, however it ends."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "nas-model-"
# A younger folder may belong to a process that has not locked it yet.
_YOUNG_SECONDS = 60.0


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder, which is removed with its contents when the context ends.

    A model takes hundreds of megabytes, and a process that is killed cannot remove its own folder.
    Each folder is therefore locked by its process. The lock ends with the process, and the next
    process that enters this context removes every folder that is no longer locked.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # The folder may belong to another user, be locked, or have been removed in the meantime.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS:
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder, or raise OSError if a process holds its lock."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
