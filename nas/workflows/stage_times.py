"""How long the stages of a study take here: one architecture timed, and trained for a few steps."""

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
from evaluators.text.corpus import Corpus
from evaluators.text.tokenizer import Say
from nas.assembly import latency_evaluator, loss_evaluator, proxy_training, recall_settings
from search_space.architecture import Architecture
from studies.spec.study_spec import StudySpec, asked_scores

_PROBE_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Of one architecture; None is what it failed at, and what would have followed.

    training_seconds: of its training, or of scoring it with what it inherits.
    failure: why it could not be timed or trained, if so.
    network_seconds: of training the network that all candidates share, where they do.
    recall_seconds: of training the probe of recall, where the study asks for that score.
    """

    latency_seconds: float | None
    training_seconds: float | None
    failure: str | None
    network_seconds: float = 0.0
    recall_seconds: float = 0.0


def time_stages(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> StageTimes:
    """Goes through the stages as a trial does; say: hears which one it is at."""
    latency_seconds, recall_seconds = None, 0.0
    try:
        say("timing one drawn architecture")
        latency_seconds = _latency_seconds(spec, architecture)
        if "recall_error" in asked_scores(spec):
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
    """With loading the reference, and without its calibration: later studies find it done."""
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
    """Extrapolated from a few steps of every mixer; what is inherited is scored as it will be."""
    steps = spec.proxy.shared_token_budget / (spec.proxy.context_length * spec.proxy.batch_size)
    probe_steps = _PROBE_STEPS * len(spec.space.mixers)
    tokens = probe_steps * spec.proxy.context_length * spec.proxy.batch_size
    proxy = spec.proxy.model_copy(update={"shared_token_budget": tokens})
    watch = _StepTimes(say)
    with tempfile.TemporaryDirectory() as folder:
        loss = loss_evaluator(spec.model_copy(update={"proxy": proxy}), corpus, Path(folder))
        loss.evaluate(architecture, watch)
        scored = loss.evaluate(architecture, _ignore)
    step_seconds = statistics.fmean(watch.steps)
    return _Training(network_seconds=steps * step_seconds, candidate_seconds=scored.seconds)


def _training_seconds(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> float:
    """Extrapolated from a few steps and their validations, which a whole run has as many of."""
    settings = proxy_training(spec.proxy, spec.target, spec.seed)
    training = settings.training
    # Most steps of a short run end without a validation, however many rungs there are.
    steps = _PROBE_STEPS + 2 * len(training.rungs)
    short = replace(training, token_budget=steps * training.step_tokens)
    watch = _StepTimes(say)
    ProxyLoss(replace(settings, training=short), corpus).evaluate(architecture, watch)
    step_seconds = float(np.median(watch.steps))
    validation_seconds = sum(max(0.0, each - step_seconds) for each in watch.with_validation)
    return training.steps * step_seconds + validation_seconds


def _recall_seconds(spec: StudySpec, architecture: Architecture, say: Say) -> float:
    """Extrapolated from a few steps; answering takes little beside learning."""
    settings = recall_settings(spec)
    training = settings.training
    probe = replace(settings.probe, token_budget=_PROBE_STEPS * training.step_tokens)
    watch = _StepTimes(say)
    Recall(replace(settings, probe=probe)).evaluate(architecture, watch)
    return training.steps * float(np.median(watch.steps))


class _StepTimes:
    """Seconds between reports of training steps, those with a validation apart.

    say: hears what comes before the first step.
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
    """Nobody watches the probe."""
