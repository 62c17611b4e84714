"""Processes that carry out jobs, so that several trainings run at the same time.

A training that crashes or runs out of memory ends neither the others nor the study.
"""

import contextlib
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeAlias

from evaluators.evaluator import Evaluation, EvaluationFailed, Infeasible, Progress
from evaluators.job_messages import (
    Broken,
    Failed,
    Refused,
    Reply,
    Request,
    Start,
    Stop,
    receive,
    send,
)
from evaluators.jobs import Job, Message
from hardware.local import crash, interrupt_deferred
from hardware.memory_kills import MemoryKills
from hardware.runner import MOST_KILLS

_ToTrainer: TypeAlias = "Connection[Request, Reply]"


class Trainers:
    """Processes of this machine that carry out one job each at a time.

    Each starts when it is first needed. All end with the context, whatever they are doing.

    Args:
        count: The number of processes.
    """

    def __init__(self, count: int) -> None:
        assert count >= 1
        self.count = count
        self._trainers = [_Trainer() for _ in range(count)]
        self._jobs: list[_RunningJob] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as ending:  # Ctrl-C while one ends must not leave the others
            for trainer in self._trainers:
                ending.callback(trainer.end)

    @property
    def is_full(self) -> bool:
        """See `JobRunner.is_full`."""
        return sum(job.is_running for job in self._jobs) >= self.count

    def start(self, job: Job) -> "_RunningJob":
        """Start a job; see `JobRunner.start`."""
        busy = [each.trainer for each in self._jobs if each.is_running]
        free = [each for each in self._trainers if each not in busy]
        # One that was asked to stop may take a while to notice it.
        trainer = min(free, key=lambda each: each.is_stopping)
        running = _RunningJob(job, trainer)
        self._jobs = [each for each in self._jobs if each.is_running] + [running]
        return running


class _RunningJob:
    """See `RunningJob`. A job whose process was killed from outside is carried out again."""

    def __init__(self, job: Job, trainer: "_Trainer") -> None:
        self._job = job
        self._kills = 0
        self.trainer = trainer
        self.is_running = True
        self._start()

    def _start(self) -> None:
        # A process that has worked on another job may die, or have died, because of that one.
        self._is_responsible = not self.trainer.has_process
        self._number = self.trainer.start(self._job)

    def fileno(self) -> int:
        return self.trainer.connection.fileno()

    def receive(self) -> Message | None:
        assert self.is_running
        try:
            message = self._next_message()
        except Exception:
            self.is_running = False
            raise
        self.is_running = not isinstance(message, Evaluation)
        return message

    def _next_message(self) -> Message | None:
        try:
            reply = self.trainer.receive()
        except EvaluationFailed as failure:
            if self._is_responsible:
                self._kills += failure.kind == "killed"
                if failure.kind != "killed" or self._kills > MOST_KILLS:
                    raise
            self._start()
            return Progress(
                done=0.0,
                text="starting again",
                remark=f"the work is repeated, because its process died: {failure.reason}",
            )
        if reply.number != self._number:  # an earlier job that was stopped
            return None
        self._is_responsible = True
        match reply.content:
            case Progress() | Evaluation():
                return reply.content
            case Failed(kind=kind, reason=reason):
                raise EvaluationFailed(kind, reason)
            case Refused(reason=reason):
                raise Infeasible(reason)
            case Broken(traceback=traceback):
                raise RuntimeError(f"a trainer ended with an unexpected error:\n{traceback}")

    def stop(self) -> None:
        if self.is_running:
            self.is_running = False
            self.trainer.stop(self._number)


class _Trainer:
    """A process that is started with its first job, and again after it has died."""

    def __init__(self) -> None:
        self._started = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._kills = MemoryKills()
        self.connection: _ToTrainer
        self.is_stopping = False  # it may still work on a job that was stopped
        self._has_replied = False

    @property
    def has_process(self) -> bool:
        """Whether the process was started, and its death has not been noticed."""
        return self._process is not None

    def start(self, job: Job) -> int:
        """Send a job, and return its number."""
        self._number += 1
        self.is_stopping = False
        if self._process is None:
            self._begin()
        with contextlib.suppress(ConnectionError):  # `receive` finds out why it has died
            send(self.connection, Start(number=self._number, job=job))
        return self._number

    def stop(self, number: int) -> None:
        self.is_stopping = True
        with contextlib.suppress(ConnectionError):
            send(self.connection, Stop(number=number))

    def receive(self) -> Reply:
        """Return its next reply.

        Raises:
            EvaluationFailed: The process has died.
            ValueError: The process has ended before it could carry out any job.
        """
        try:
            reply: Reply = receive(self.connection)
        except (EOFError, ConnectionError):
            raise self._death() from None
        self._has_replied = True
        return reply

    def end(self) -> None:
        """End the process, if there is one."""
        self._started.close()
        self._process = None

    def _begin(self) -> None:
        with interrupt_deferred(), ExitStack() as started:
            errors = started.enter_context(tempfile.TemporaryFile())
            self.connection, theirs = Pipe()
            started.callback(self.connection.close)
            descriptor = theirs.fileno()
            self._kills = MemoryKills()
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - this program itself
                    # -P: not from the working folder
                    [sys.executable, "-P", "-m", "evaluators.trainer", str(descriptor)],
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=(descriptor,),
                    start_new_session=True,  # Ctrl-C must not reach it; this process ends it
                )
            started.callback(_kill, process)
            self._process, self._errors = process, errors
            self._has_replied = False
            self._started = started.pop_all()

    def _death(self) -> EvaluationFailed | ValueError:
        """Return the error of a process that has closed its connection."""
        assert self._process is not None
        returncode = self._process.wait()
        self._errors.seek(0)
        error = crash(returncode, self._errors.read().decode(errors="replace"), self._kills)
        self.end()
        if returncode > 0 and not self._has_replied:
            # The program itself raised an exception, for which no candidate is responsible.
            return ValueError(
                f"trainers: a process that trains candidates cannot start ({error.reason}); free "
                "memory, or repair the installation, and run the command again"
            )
        if returncode == -signal.SIGBUS:  # a mapped file became shorter, or its disk failed
            return EvaluationFailed("killed", error.reason)
        match error.kind:
            case "out of memory" | "killed":
                return EvaluationFailed(error.kind, error.reason)
            case _:
                return EvaluationFailed("process died", error.reason)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
