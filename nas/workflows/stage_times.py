"""Time the stages of a study on this machine, with one architecture and a short training."""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np

from evaluators.cache import NoCache
from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.quality.recall import Recall
from evaluators.scores import RECALL_ERROR
from evaluators.text.corpus import Corpus
from hardware.progress import Say
from nas.assembly import latency_evaluator, loss_evaluator, proxy_training, recall_settings
from search_space.architecture import Architecture
from studies.spec.study_spec import StudySpec, asked_scores

_PROBE_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """The time of each stage for one architecture, in seconds.

    Attributes:
        latency_seconds: Time of the latency stage; None if it failed.
        training_seconds: Time of training the proxy, or of scoring it with inherited weights; None
            if this or an earlier stage failed.
        failure: Why a stage failed; None if none did.
        network_seconds: Time of training the network that all candidates share; 0 if there is none.
        recall_seconds: Time of training the recall probe; 0 if the study does not use that score.
    """

    latency_seconds: float | None
    training_seconds: float | None
    failure: str | None
    network_seconds: float = 0.0
    recall_seconds: float = 0.0


def time_stages(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> StageTimes:
    """Run the stages in the order of a trial; each training run is only a few steps long.

    Args:
        spec: The study.
        architecture: The architecture to measure and train.
        corpus: The study's corpus.
        say: Receives what is being done.
    """
    latency_seconds, recall_seconds = None, 0.0
    try:
        say("timing a randomly drawn architecture")
        latency_seconds = _latency_seconds(spec, architecture)
        if RECALL_ERROR in asked_scores(spec):
            recall_seconds = _recall_seconds(spec, architecture, say)
        training = _training(spec, architecture, corpus, say)
    except EvaluationFailed as reason:
        return StageTimes(
            latency_seconds=latency_seconds,
            training_seconds=None,
            failure=str(reason),
            recall_seconds=recall_seconds,
        )
    return StageTimes(
        latency_seconds=latency_seconds,
        training_seconds=training.candidate_seconds,
        failure=None,
        network_seconds=training.network_seconds,
        recall_seconds=recall_seconds,
    )


def _latency_seconds(spec: StudySpec, architecture: Architecture) -> float:
    """Return a time that includes loading the reference model, but not its calibration.

    The calibration is cached, so only the first study on a device pays for it.
    """
    with latency_evaluator(spec, NoCache()) as latency:
        start = time.monotonic()
        latency.measure(architecture, _ignore)
        return time.monotonic() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    network_seconds: float
    candidate_seconds: float


def _training(spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say) -> _Training:
    match spec.proxy.method:
        case "scratch":
            seconds = _training_seconds(spec, architecture, corpus, say)
            return _Training(network_seconds=0.0, candidate_seconds=seconds)
        case "shared":
            return _shared_training(spec, architecture, corpus, say)
        case _:
            assert_never(spec.proxy.method)


def _shared_training(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> _Training:
    """Extrapolate the training from a few steps per mixer; time the scoring as it will be done."""
    steps = spec.proxy.shared_token_budget / (spec.proxy.context_length * spec.proxy.batch_size)
    probe_steps = _PROBE_STEPS * len(spec.space.mixers)
    tokens = probe_steps * spec.proxy.context_length * spec.proxy.batch_size
    proxy = spec.proxy.model_copy(update={"shared_token_budget": tokens})
    step_times = _StepTimes(say)
    with tempfile.TemporaryDirectory() as folder:
        loss = loss_evaluator(spec.model_copy(update={"proxy": proxy}), corpus, Path(folder))
        loss.evaluate(architecture, step_times)
        scored = loss.evaluate(architecture, _ignore)
    step_seconds = statistics.fmean(step_times.steps)
    return _Training(network_seconds=steps * step_seconds, candidate_seconds=scored.seconds)


def _training_seconds(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> float:
    """Extrapolate from a short run with few steps but all the validations of a full run."""
    settings = proxy_training(spec.proxy, spec.target, spec.seed)
    training = settings.training
    # Two more steps per rung: most steps must end without a validation, or the median is wrong.
    steps = _PROBE_STEPS + 2 * len(training.rungs)
    short = replace(training, token_budget=steps * training.step_tokens)
    step_times = _StepTimes(say)
    ProxyLoss(replace(settings, training=short), corpus).evaluate(architecture, step_times)
    step_seconds = float(np.median(step_times.steps))
    validation_seconds = sum(max(0.0, each - step_seconds) for each in step_times.with_validation)
    return training.steps * step_seconds + validation_seconds


def _recall_seconds(spec: StudySpec, architecture: Architecture, say: Say) -> float:
    """Extrapolate from a few steps; the time of scoring is negligible in comparison."""
    settings = recall_settings(spec)
    training = settings.training
    probe = replace(settings.probe, token_budget=_PROBE_STEPS * training.step_tokens)
    step_times = _StepTimes(say)
    Recall(replace(settings, probe=probe)).evaluate(architecture, step_times)
    return training.steps * float(np.median(step_times.steps))


class _StepTimes:
    """Measures the seconds between reports of training steps.

    Steps that end with a validation are kept separately. `say` receives what precedes the first
    step.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self.steps: list[float] = []
        self.with_validation: list[float] = []
        self._last: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        if progress.done == 0:
            self._say(progress.text)
        elif self._last is None:
            self._say("training it for a few steps")
        else:
            times = self.steps if progress.point is None else self.with_validation
            times.append(now - self._last)
        self._last = now if progress.done > 0 else None


def _ignore(progress: Progress) -> None:
    """Discard the progress of a probe."""
