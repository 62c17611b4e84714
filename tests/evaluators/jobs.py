"""Jobs that tests let trainers carry out. The processes of trainers import this module by name."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluators.evaluator import Evaluation, EvaluationFailed, Infeasible, Progress, Report, Score


@dataclass(frozen=True, kw_only=True)
class FakeJob:
    """A job that reports its steps and ends with the score `loss`.

    Attributes:
        loss: The score.
        steps: The number of its reports.
        seconds: The time of a step.
        ending: How it ends: "complete", "diverged", "infeasible", "error", "memory", "abort", or
            "killed", which ends its process with SIGKILL.
        traces: A folder in which each attempt leaves an empty file named after its process.
        most_kills: How many attempts are killed, if the ending is "killed".
    """

    loss: float = 1.0
    steps: int = 4
    seconds: float = 0.0
    ending: str = "complete"
    traces: Path | None = None
    most_kills: int = 1_000

    def run(self, report: Report) -> Evaluation:
        attempts = 1
        if self.traces is not None:
            attempts = 1 + len(list(self.traces.iterdir()))
            (self.traces / f"{os.getpid()}-{attempts}").touch()
        for step in range(1, self.steps + 1):
            time.sleep(self.seconds)
            report(Progress(done=step / self.steps, text=f"step {step}"))
        match self.ending:
            case "diverged":
                raise EvaluationFailed("diverged", "requested by the test")
            case "infeasible":
                raise Infeasible("requested by the test")
            case "error":
                raise KeyError("requested by the test")
            case "memory":
                raise MemoryError
            case "abort":
                os.abort()
            case "killed" if attempts <= self.most_kills:
                os.kill(os.getpid(), signal.SIGKILL)
        return Evaluation(
            scores=(Score(name="loss", value=self.loss, unit="bits/byte"),), seconds=1.0
        )


@dataclass(frozen=True, kw_only=True)
class SumJob:
    """A job that reads a mapped array again and again, without an end."""

    ids: npt.NDArray[np.uint16]

    def run(self, report: Report) -> Evaluation:
        while True:
            report(Progress(done=0.5, text=f"sum {self.ids.sum()}"))
            time.sleep(0.01)
