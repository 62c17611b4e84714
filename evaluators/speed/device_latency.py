"""Latency and memory on a named device, under names such as `decode@phone`."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from evaluators.evaluator import Evaluation, EvaluationFailed, Progress, Report, Score
from evaluators.scores import score_on_device
from evaluators.speed.built_model import evaluation_failure
from evaluators.speed.cooling import Cooling, cool_down
from evaluators.speed.latency import LatencyEvaluator, Quiet
from hardware.machine_lock import LockWait
from hardware.progress import Say
from hardware.quiet import Reservation
from hardware.remote.remote_runner import RemoteRunner
from hardware.runner import RunnerError
from search_space.architecture import Architecture


class DeviceLatency:
    """The Refinable of the scores of a `LatencyEvaluator` on a named device.

    If the connection is lost, it is opened again once, and everything is measured again.

    Attributes:
        device: The name of the device.
        identity: What tells it apart from all other devices; the fingerprint contains it.
    """

    def __init__(self, latency: LatencyEvaluator, device: str, identity: str) -> None:
        """Wrap an evaluator; nothing is measured yet.

        Args:
            latency: Measures on the device.
            device: The name of the device.
            identity: What tells it apart from all other devices; part of the fingerprint.
        """
        self._latency = latency
        self.device = device
        self.identity = identity

    @property
    def stage(self) -> str:
        """`latency@phone`."""
        return f"{self._latency.stage}@{self.device}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the wrapped evaluator, with the name that the scores have."""
        return f"{self._latency.fingerprint} {marked(self.identity)} as {self.device}"

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the wrapped evaluator's scores, each with that of the device."""
        return tuple(score_on_device(name, self.device) for name in self._latency.score_names)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Time the architecture; see `LatencyEvaluator.evaluate`.

        Raises:
            EvaluationFailed: The model cannot be built, loaded or timed, or the device is lost.
            Infeasible: The runtime does not support the architecture.
        """
        return self._measured(lambda: self._latency.evaluate(architecture, report), report)

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Load and time the architecture again; see `Refinable.refine`."""
        return self._measured(lambda: self._latency.refine(architecture, earlier, report), report)

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute the scores from all measurements; see `Refinable.rescore`."""
        return self._named(self._latency.rescore(architecture, evaluation, report))

    def _measured(self, measure: Callable[[], Evaluation], report: Report) -> Evaluation:
        try:
            evaluation = measure()
        except EvaluationFailed as failure:
            if failure.kind != "device lost":
                raise
            report(Progress(done=0.0, text=f"{failure.reason}; connecting again"))
            evaluation = measure()
        return self._named(evaluation)

    def _named(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation whose scores have the name of the device."""
        return replace(evaluation, scores=tuple(map(self._on_device, evaluation.scores)))

    def _on_device(self, score: Score) -> Score:
        return replace(score, name=score_on_device(score.name, self.device))


def marked(identity: str) -> str:
    """Return the mark of a device in the fingerprint of what it has measured."""
    return f"identity {identity}"


def reserving(
    runner: RemoteRunner, patience_s: float, lock_wait: LockWait, cooling: Cooling | None = None
) -> Quiet:
    """Return a `Quiet` that reserves a device, and fails an evaluation if it is lost.

    Args:
        runner: The device.
        patience_s: Seconds to wait for other programs there.
        lock_wait: How long to wait for other measurements and training there.
        cooling: When the device is cool enough; None does not wait for that.
    """

    @contextlib.contextmanager
    def reserve(say: Say) -> Iterator[Reservation]:
        with contextlib.ExitStack() as reserved:
            measuring = runner.measuring(say, patience_s=patience_s, lock_wait=lock_wait)
            try:
                reservation = reserved.enter_context(measuring)
                cooled_s = 0.0 if cooling is None else cool_down(runner.state, cooling, say)
            except RunnerError as error:
                raise evaluation_failure(error) from error
            yield replace(reservation, waited_s=reservation.waited_s + cooled_s)

    return reserve
