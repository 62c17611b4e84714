"""Latency and memory on a named device, under names such as `decode@phone`."""

from dataclasses import replace

from evaluators.evaluator import Evaluation, Report, Score
from evaluators.scores import score_on_device
from evaluators.speed.device_file import DeviceDefinition
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_job import DeviceTiming, LatencyJob, measured_again_if_lost
from search_space.architecture import Architecture


class DeviceLatency:
    """The MeasuringEvaluator of the scores of a `LatencyEvaluator` on a named device.

    If the connection is lost, it is opened again, and everything is measured again.

    Attributes:
        device: The name of the device.
        identity: What tells it apart from all other devices; the fingerprint contains it.
    """

    def __init__(
        self, latency: LatencyEvaluator, device: str, identity: str, timing: DeviceTiming
    ) -> None:
        """Wrap an evaluator; nothing is measured yet.

        Args:
            latency: Measures on the device.
            device: The name of the device.
            identity: What tells it apart from all other devices; part of the fingerprint.
            timing: How another process would measure the same on the device.
        """
        self._latency = latency
        self.device = device
        self.identity = identity
        self._timing = timing

    @property
    def stage(self) -> str:
        """`latency@phone`."""
        return f"{self._latency.stage}@{self.device}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the wrapped evaluator, with the name that the scores have."""
        return f"{self._latency.fingerprint} {marked(self.identity)} as {self.device}"

    @property
    def definition(self) -> DeviceDefinition:
        """How the device is reached, and how it measures."""
        return self._timing.definition

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
        patience_s = self._timing.definition.patience_s
        return self._measured(architecture, None, report, patience_s)

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Load and time the architecture again; see `Refinable.refine`.

        A device that is lost is waited for only briefly, because there is an earlier result.
        """
        return self._measured(architecture, earlier, report, 0.0)

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute the scores from all measurements; see `Refinable.rescore`."""
        return self._named(self._latency.rescore(architecture, evaluation, report))

    def job(self, architecture: Architecture) -> LatencyJob:
        """Return the measurement of an architecture as a job; see `MeasuringEvaluator.job`."""
        return LatencyJob(timing=self._timing, identity=self.identity, architecture=architecture)

    def conclude(self, measured: Evaluation, earlier: Evaluation | None) -> Evaluation:
        """Return the scores of a job's measurements; see `MeasuringEvaluator.conclude`."""
        return self._named(self._latency.conclude(measured, earlier))

    def _measured(
        self,
        architecture: Architecture,
        earlier: Evaluation | None,
        report: Report,
        patience_s: float,
    ) -> Evaluation:
        measured = measured_again_if_lost(
            lambda: self._latency.measure(architecture, report), report, patience_s
        )
        return self.conclude(measured, earlier)

    def _named(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation whose scores have the name of the device."""
        return replace(evaluation, scores=tuple(map(self._on_device, evaluation.scores)))

    def _on_device(self, score: Score) -> Score:
        return replace(score, name=score_on_device(score.name, self.device))


def marked(identity: str) -> str:
    """Return the mark of a device in the fingerprint of what it has measured."""
    return f"identity {identity}"
