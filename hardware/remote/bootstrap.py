"""The first program on a device: it receives the archive with the agent, and starts it.

It is sent as text to a Python that runs `FIRST_LINE`, and needs only Python. Then it reads a line
of JSON with the SHA-256 and the size of the archive, and the argument of the agent. It answers with
a line that begins with `MARK` and reads the archive, unless the device has it already from an
earlier time. Everything is read without a buffer, because the agent takes over standard input.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import stat
import sys
import tempfile
import time
import typing

FIRST_LINE = "import sys;exec(eval(sys.stdin.buffer.raw.readline()))"
"""What Python runs on the device: the program in the first line, which is a literal of Python.

It is a fixed text without quotes and spaces that a shell could change.
"""

MARK = "nas-device "
"""The beginning of the answer; what comes before it, such as a greeting, is to be skipped."""

OLDEST_PYTHON = (3, 11)
KEPT_ARCHIVES = 3
UNFINISHED = ".unfinished"
UNFINISHED_S = 3600.0  # after which a file that was not completed is deleted
FOLDER_VARIABLE = "NAS_DEVICE_FOLDER"
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def main() -> None:
    """Receive the archive and start the agent in the place of this program."""
    request = json.loads(_read_line())
    python = "%d.%d.%d" % sys.version_info[:3]  # noqa: UP031 - an old Python must understand it
    if sys.version_info < OLDEST_PYTHON:
        _answer({"python": python})
        sys.exit(3)
    try:
        folder = _folder()
    except OSError as error:
        _answer({"python": python, "error": "no folder can be written: %s" % error})  # noqa: UP031
        sys.exit(3)
    path = folder / ("agent-%s.zip" % request["sha256"])  # noqa: UP031
    stored = _is_stored(path, request["sha256"])
    _answer({"python": python, "stored": stored})
    try:
        if not stored:
            _store(path, _read(request["bytes"]), request["sha256"])
        os.utime(path)
        _evict(folder)
    except OSError as error:
        sys.exit("the agent cannot be stored in %s (%s)" % (folder, error.strerror))  # noqa: UP031
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(path)}
    environment[FOLDER_VARIABLE] = str(folder)
    arguments = [sys.executable, "-P", "-m", "hardware.remote.agent", str(request["silence_s"])]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - this Python itself


def _folder() -> pathlib.Path:
    """Return a folder that only this user can write, the same at the next time."""
    for parent in _parents():
        folder = parent / ("device-%d" % os.getuid())  # noqa: UP031
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder) and os.access(str(folder), os.W_OK):
                return folder
        except OSError:
            continue
    raise OSError("neither the cache folder of this user nor that of temporary files")


def _parents() -> "typing.Iterator[pathlib.Path]":
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        yield pathlib.Path(given).absolute()
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError):  # if this user has no home
        yield (cache if cache.is_absolute() else pathlib.Path.home() / ".cache") / "nas"
    yield pathlib.Path(tempfile.gettempdir())


def _is_private(folder: pathlib.Path) -> bool:
    """Return whether only this user can change what is in a folder.

    Others may have created it among temporary files, also as a link to a folder of this user, to
    replace the agent after it was checked.
    """
    found = folder.lstat()
    by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not by_others


def _is_stored(path: pathlib.Path, sha256: str) -> bool:
    try:
        return _sha256(path.read_bytes()) == sha256
    except OSError:
        return False


def _store(path: pathlib.Path, archive: bytes, sha256: str) -> None:
    if _sha256(archive) != sha256:
        sys.exit("the archive was damaged on its way")
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=UNFINISHED, delete=False) as file:
        unfinished = pathlib.Path(file.name)
        try:
            file.write(archive)
            file.flush()
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink()
            raise


def _evict(folder: pathlib.Path) -> None:
    """Keep the archives that were used last, and no file that another process left unfinished."""
    archives = sorted(folder.glob("agent-*.zip"), key=_used_at)
    longest_ago = time.time() - UNFINISHED_S
    unfinished = [path for path in folder.glob("*" + UNFINISHED) if _used_at(path) < longest_ago]
    for old in archives[:-KEPT_ARCHIVES] + unfinished:
        old.unlink(missing_ok=True)


def _used_at(path: pathlib.Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has deleted it
        return 0.0


def _answer(facts: "dict[str, object]") -> None:
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += _read(1)
    return line


def _read(count: int) -> bytes:
    """Read exactly that many bytes; end if the host closes its end first."""
    data = b""
    while len(data) < count:
        piece = os.read(0, min(count - len(data), 1 << 16))
        if not piece:
            sys.exit("the host has closed the connection")
        data += piece
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
