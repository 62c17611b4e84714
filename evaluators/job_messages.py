"""What a trainer and its parent send each other about numbered jobs."""

import io
import os
import pickle
from dataclasses import dataclass
from mmap import mmap
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from evaluators.evaluator import Evaluation, FailureKind, Progress
from evaluators.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Asks the trainer to carry out a job; all earlier ones have ended or were asked to stop."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Asks the trainer to end a job if it is working on it."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job failed, which is a result."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The job found that the architecture violates a requirement of the study."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The job raised an exception that is not a result."""

    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a trainer reports about a job. Only progress is followed by further replies."""

    number: int
    content: Progress | Evaluation | Failed | Refused | Broken


Request: TypeAlias = Start | Stop
"""What the parent sends."""


def send(connection: "Connection[Any, Any]", message: Request | Reply) -> None:
    """Send a message.

    Raises:
        ConnectionError: The other process has ended.
        ValueError: The file of a mapped array has become shorter.
    """
    stream = io.BytesIO()
    _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(message)
    connection.send_bytes(stream.getbuffer())


def receive(connection: "Connection[Any, Any]") -> Any:
    """Wait for a message and return it.

    Raises:
        EOFError: The other process has ended.
        ConnectionError: The other process has ended.
    """
    # Both ends are this program, and nobody else knows the connection.
    return pickle.loads(connection.recv_bytes())  # noqa: S301


class _Pickler(pickle.Pickler):
    """A pickler that replaces a mapped array by the name of its file."""

    def reducer_override(self, value: object) -> Any:
        # Part of a mapped array has that array as its base, but the offset of the whole.
        if isinstance(value, np.memmap) and isinstance(value.base, mmap) and value.mode == "r":
            assert value.filename is not None
            path = os.fspath(value.filename)
            if Path(path).exists():  # a deleted file can still be read here, but not there
                _check_length(path, value.offset + value.nbytes)
                return np.memmap, (path, value.dtype, "r", value.offset, value.shape)
        return NotImplemented


def _check_length(path: str, least: int) -> None:
    # Reading what a mapped file no longer contains would end the process.
    if Path(path).stat().st_size < least:
        raise ValueError(
            f"cache: {path} has become shorter while it was in use; run the command again, which "
            "rebuilds the file"
        )
