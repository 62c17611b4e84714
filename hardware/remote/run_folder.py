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
        with contextlib.suppress(OSError):  # its process still runs
            lock = _lock(old)
            shutil.rmtree(old, ignore_errors=True)
            os.close(lock)
    while True:
        own = Path(tempfile.mkdtemp(dir=parent))
        try:
            _lock(own)  # until this process ends
        except (BlockingIOError, FileNotFoundError):  # another agent is just deleting it
            continue
        except OSError:  # the file system has no locks, so nobody deletes it
            return own
        if own.exists():
            return own


def delete_run_folder(folder: Path) -> None:
    """Delete the folder of this process, even while other processes create files in it."""
    ended = folder.with_suffix(_ENDED)
    with contextlib.suppress(OSError):
        folder.rename(ended)  # new files can no longer be created
    shutil.rmtree(ended, ignore_errors=True)


def _lock(folder: Path) -> int:
    """Return the descriptor of the locked file; raise BlockingIOError if a process holds it."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
