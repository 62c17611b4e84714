"""Opens files that a user names: regular files of limited size, which cannot block the program.

A named pipe waits for a writer, a device such as /dev/zero never ends, and files that the kernel
generates can do both. Links are followed, because caches of downloaded models consist of them.
"""

import errno
import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

TEXT_BYTES = 1_000_000
"""The default limit for text: study files, architectures and configurations."""

MODEL_BYTES = 1_000_000_000_000
"""The limit for files of weights, which are mapped into memory or read tensor by tensor."""

_NEVER_BLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
# File systems whose files the kernel generates when they are read.
_GENERATED = ("/proc", "/sys", "/dev")
_LOOP = "is a link that leads back to itself"
_NOT_A_NAME = "contains a NUL character, which no file name does"


class UnreadableFile(ValueError):
    """A file that cannot be read.

    Attributes:
        reason: Why, as a clause.
        is_missing: Whether there is nothing at its path.
    """

    def __init__(self, path: Path, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.is_missing = is_missing


def open_file(path: Path, most_bytes: int) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything.

    Args:
        path: The file, or a link to it.
        most_bytes: The largest size that is accepted, in bytes.

    Raises:
        UnreadableFile: The file does not exist, is too large, or is not a regular file.
    """
    try:
        # Checked before and after it is opened: opening a device can have effects, and another
        # program can replace the file in between.
        _check_kind(path, path.stat())
        descriptor = os.open(path, os.O_RDONLY | _NEVER_BLOCK)
    except UnreadableFile:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableFile(path, reason_of(error), is_missing=True) from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(path, reason_of(error)) from None
    file = os.fdopen(descriptor, "rb")
    try:
        found = os.fstat(descriptor)
        _check_kind(path, found)
        _check_size(path, found.st_size, most_bytes)
    except BaseException:
        file.close()
        raise
    return file


def read_file(path: Path, most_bytes: int) -> bytes:
    """Read a whole file; see `open_file`."""
    with open_file(path, most_bytes) as file:
        try:
            # A file can grow while it is read. A buffer for all that is allowed would be larger
            # than the memory of some machines.
            content = file.read(min(os.fstat(file.fileno()).st_size, most_bytes) + 1)
        except OSError as error:
            raise UnreadableFile(path, reason_of(error)) from None
    _check_size(path, len(content), most_bytes)
    return content


def read_text(path: Path, most_bytes: int = TEXT_BYTES) -> str:
    """Read a whole file of UTF-8 text; see `open_file`.

    Raises:
        UnreadableFile: See `open_file`.
        ValueError: The file is not UTF-8 text.
    """
    try:
        return read_file(path, most_bytes).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8 text") from None


def check_file(path: Path, most_bytes: int) -> None:
    """Check that a file can be opened, for a library that opens it by itself; see `open_file`."""
    open_file(path, most_bytes).close()


def exists(path: Path) -> bool:
    """Return whether there is something at a path, even if it cannot be read.

    A link that leads back to itself counts, so that reading it reports what is wrong. A dangling
    link does not, nor does a text that no file system accepts as a name.
    """
    try:
        path.stat()
    except OSError as error:
        return error.errno in (errno.ELOOP, errno.EACCES)
    except ValueError:  # contains a NUL
        return False
    return True


def is_file(path: Path) -> bool:
    """Return whether there is a regular file at a path, or a link to one."""
    with suppress(OSError, ValueError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path, or a link to one."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def real_path(path: Path) -> Path:
    """Return the absolute path without links; links that lead back to themselves are kept."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # contains a NUL
        return path.absolute()


def is_generated(found: os.stat_result) -> bool:
    """Return whether the kernel generates a file or folder, as it does everything in /proc."""
    return found.st_dev in _generated_devices()


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file cannot be used, as a clause."""
    if not isinstance(error, OSError):
        return _NOT_A_NAME
    if error.errno == errno.ELOOP:
        return _LOOP
    return (error.strerror or str(error)).lower()


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableFile(path, "is a directory")
    if stat.S_ISFIFO(found.st_mode):
        raise UnreadableFile(path, "is a pipe, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableFile(path, "is a device or a socket, not a file")
    if is_generated(found):
        raise UnreadableFile(path, "is generated by the system, not a stored file")


def _check_size(path: Path, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        unit, name = (10**9, "GB") if most_bytes >= 10**9 else (10**6, "MB")
        raise UnreadableFile(path, f"the file exceeds {most_bytes / unit:g} {name}")


@cache
def _generated_devices() -> set[int]:
    devices = set()
    for folder in _GENERATED:
        with suppress(OSError):
            # In a container, a folder of this name can be part of an ordinary file system.
            if os.path.ismount(folder):
                devices.add(Path(folder).stat().st_dev)
    return devices
