"""What a trainer and its parent send each other about numbered jobs."""

import io
import os
import pickle
from dataclasses import dataclass
from mmap import mmap
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from evaluators.evaluator import Evaluation, FailureKind, Progress
from evaluators.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Asks the trainer to carry out a job; all earlier ones have ended or are to be stopped."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Asks the trainer to end a job if it is working on it."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job failed, and this is a result."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The job found that the architecture violates a requirement of the study."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The job ended with an exception that is not a result, and this is its traceback."""

    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a trainer says about a job. Only progress is followed by more."""

    number: int
    content: Progress | Evaluation | Failed | Refused | Broken


Request: TypeAlias = Start | Stop
"""What the parent sends."""


def send(connection: "Connection[Any, Any]", message: Request | Said) -> None:
    """Send a message.

    Raises:
        ConnectionError: The other process has ended.
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
    """A pickler that leaves the content of mapped files where it is."""

    def reducer_override(self, value: object) -> Any:
        # A part of a mapped array has the array as its base, and the place of the whole.
        if isinstance(value, np.memmap) and isinstance(value.base, mmap) and value.mode == "r":
            assert value.filename is not None
            place = (os.fspath(value.filename), value.dtype, "r", value.offset, value.shape)
            return np.memmap, place
        return NotImplemented
