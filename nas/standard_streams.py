"""Prepares the standard streams for whatever a shell, a pipe or a full disk has made of them."""

import errno
import io
import os
import sys
from typing import TextIO

from search_space.input_files import reason_of

_OUTPUT, _NOTICES = 1, 2


class OutputFailed(ValueError):
    """Results could not be written to standard output."""


def prepare_streams() -> None:
    """Make it safe to print, and to open files, from now on.

    - A closed stream becomes the null device. Otherwise the next file that is opened, such as a
      database, would take its number, and messages of a library would be written into that file.
    - Characters that the encoding of a stream lacks are printed as escapes.
    - If results cannot be written, OutputFailed is raised. A pipe whose reader has ended raises
      BrokenPipeError as usual.
    - If a message on standard error cannot be written, it is discarded, because a search of several
      days need not end for that.

    Streams that the caller has replaced, as tests do, are left alone.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _NOTICES:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_Results(_OUTPUT, "wb", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_Messages(_NOTICES, "wb", closefd=False), sys.stderr)


class _Results(io.FileIO):
    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            _discard_from_now_on(self)
            if error.errno == errno.EPIPE:
                raise
            raise OutputFailed(f"standard output cannot be written: {reason_of(error)}") from None


class _Messages(io.FileIO):
    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                _discard_from_now_on(self)
                raise
            return len(data)


def _discard_from_now_on(file: io.FileIO) -> None:
    """Direct a stream to the null device; what it has buffered is written again at the exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, file.fileno())
    os.close(null)


def _stream(file: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=file.isatty() or file.fileno() == _NOTICES,
    )
