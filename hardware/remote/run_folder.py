"""The folder of a running agent for the files of models, which does not outlive it for long.

It needs only Python. The process holds a lock in its folder, which the system releases however the
process ends. The next agent deletes every folder whose lock it can take. Process ids do not show
whether a folder is in use: they are reused, and containers that share a folder number their own.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = "lock"
_ATTEMPTS = 5
_ENDED = ".ended"


def make_run_folder(parent: Path) -> Path:
    """Create a folder for this process, and delete those of processes that were killed.

    Args:
        parent: The folder of all of them; it is created if it does not exist.

    Raises:
        OSError: No folder can be created.
    """
    parent.mkdir(mode=0o700, exist_ok=True)
    for old in parent.iterdir():
        lock = _take_lock(old)
        if lock is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(lock)
    for _ in range(_ATTEMPTS):
        own = Path(tempfile.mkdtemp(dir=parent))
        # Held until this process ends. Another agent may have deleted the folder before.
        if _take_lock(own) is not None and own.exists():
            return own
    return own  # the file system has no locks: nobody deletes it


def delete_run_folder(folder: Path) -> None:
    """Delete the folder of this process, even while other processes create files in it."""
    ended = folder.with_suffix(_ENDED)
    with contextlib.suppress(OSError):
        folder.rename(ended)  # new files can no longer be created
    shutil.rmtree(ended, ignore_errors=True)


def _take_lock(folder: Path) -> int | None:
    """Return the descriptor of the locked file; None if another process holds it."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
