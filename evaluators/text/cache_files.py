"""Files in the cache folder, which are made again if they are missing or damaged.

The content of a file is followed by its SHA-256, which numpy and most other readers ignore.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hardware.progress import Say

_DIGEST_BYTES = 32
_PIECE_BYTES = 1 << 20


def cache_folder() -> Path:
    """Return `nas` in $XDG_CACHE_HOME, or in ~/.cache if that is not set to an absolute path."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "nas"


def cached(name: str, make: Callable[[], bytes], say: Say) -> Path | bytes:
    """Return a file of the cache folder, which is made first if it is missing or unusable.

    Args:
        name: The name of the file.
        make: Returns its content.
        say: Receives a line if the file is damaged, or cannot be read or written.

    Returns:
        The path of the file, or its content if it cannot be written.
    """
    path = cache_folder() / name
    try:
        if path.is_file():
            if _is_intact(path):
                return path
            say(f"{path} is damaged and will be rebuilt")
    except OSError as error:  # it may belong to another user
        say(f"{path} cannot be read ({error.strerror})")
    content = make()
    try:
        _write(path, content)
    except OSError as error:
        say(f"{path} cannot be written ({error.strerror})")
        return content
    return path


def content_of(stored: Path | bytes) -> bytes:
    """Return the content of what `cached` has returned."""
    return stored.read_bytes()[:-_DIGEST_BYTES] if isinstance(stored, Path) else stored


def _is_intact(path: Path) -> bool:
    """Return whether a file ends with the SHA-256 of what precedes it."""
    left = path.stat().st_size - _DIGEST_BYTES
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
        return file.read() == digest.digest()


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically, so that no other process reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as unfinished:
        try:
            unfinished.write(content)
            unfinished.write(hashlib.sha256(content).digest())
            unfinished.close()
            Path(unfinished.name).replace(path)
        except BaseException:
            Path(unfinished.name).unlink(missing_ok=True)
            raise
