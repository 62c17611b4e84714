"""Time the stages of a study on this machine, with one architecture and a short training.

The time in which other processes used the machine does not count, as far as it is known.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.quality.recall import Recall
from evaluators.scores import RECALL_ERROR
from evaluators.text.corpus import Corpus
from hardware.progress import Say
from nas.assembly import loss_evaluator, proxy_training, recall_settings
from nas.workflows.space_samples import SpaceSample
from search_space.architecture import Architecture
from studies.spec.study_spec import StudySpec, asked_scores

_PROBE_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """The time of each stage for one architecture, in seconds, without waiting.

    Attributes:
        latency_seconds: Time of the latency stage on this machine, 0 if nothing is measured on it;
            None if a measurement failed.
        training_seconds: Time of training the proxy, or of scoring it with inherited weights; None
            if this or an earlier stage failed.
        preparation_seconds: Time of preparing the text for one vocabulary; almost 0 if it is
            cached.
        failure: Why a stage failed; None if none did.
        network_seconds: Time of training the network that all candidates share; 0 if there is none.
        recall_seconds: Time of training the recall probe; 0 if the study does not use that score.
        device_seconds: Times of the latency stages on named devices, by their names.
    """

    latency_seconds: float | None
    training_seconds: float | None
    failure: str | None
    preparation_seconds: float = 0.0
    network_seconds: float = 0.0
    recall_seconds: float = 0.0
    device_seconds: Mapping[str, float] = field(default_factory=dict)


def time_stages(spec: StudySpec, sample: SpaceSample, corpus: Corpus, say: Say) -> StageTimes:
    """Run the stages after the latency stage; each training run is only a few steps long.

    Args:
        spec: The study.
        sample: The architecture to train, which has been measured.
        corpus: The study's corpus.
        say: Receives what is being done.
    """
    architecture, recall_seconds = sample.architecture, 0.0
    if sample.failure is not None:
        return StageTimes(latency_seconds=None, training_seconds=None, failure=sample.failure)
    try:
        if RECALL_ERROR in asked_scores(spec):
            recall_seconds = _recall_seconds(spec, architecture, say)
        training = _training(spec, architecture, corpus, say)
    except EvaluationFailed as reason:
        return StageTimes(
            latency_seconds=sample.seconds,
            training_seconds=None,
            failure=str(reason),
            recall_seconds=recall_seconds,
            device_seconds=sample.device_seconds,
        )
    return StageTimes(
        latency_seconds=sample.seconds,
        training_seconds=training.candidate_seconds,
        failure=None,
        preparation_seconds=training.preparation_seconds,
        network_seconds=training.network_seconds,
        recall_seconds=recall_seconds,
        device_seconds=sample.device_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    network_seconds: float
    candidate_seconds: float
    preparation_seconds: float


def _training(spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say) -> _Training:
    match spec.proxy.method:
        case "scratch":
            return _training_from_scratch(spec, architecture, corpus, say)
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
    clock, step_times = _clock(spec), _StepTimes(spec, say)
    with tempfile.TemporaryDirectory() as folder:
        loss = loss_evaluator(spec.model_copy(update={"proxy": proxy}), corpus, Path(folder))
        loss.evaluate(architecture, step_times)
        start = clock()
        loss.evaluate(architecture, lambda progress: say(progress.text))
        scoring_seconds = clock() - start
    return _Training(
        network_seconds=steps * statistics.fmean(step_times.steps),
        candidate_seconds=scoring_seconds,
        preparation_seconds=step_times.preparation_seconds,
    )


def _training_from_scratch(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> _Training:
    """Extrapolate from a short run with few steps but all the validations of a full run.

    The fastest step counts: all do the same work, and other processes only slow them.
    """
    settings = proxy_training(spec, spec.seed)
    training = settings.training
    # Two more steps per rung, so that enough of them end without a validation.
    steps = _PROBE_STEPS + 2 * len(training.rungs)
    short = replace(training, token_budget=steps * training.step_tokens)
    step_times = _StepTimes(spec, say)
    ProxyLoss(replace(settings, training=short), corpus).evaluate(architecture, step_times)
    step_seconds = min(step_times.steps)
    validation_seconds = sum(max(0.0, each - step_seconds) for each in step_times.with_validation)
    return _Training(
        network_seconds=0.0,
        candidate_seconds=training.steps * step_seconds + validation_seconds,
        preparation_seconds=step_times.preparation_seconds,
    )


def _recall_seconds(spec: StudySpec, architecture: Architecture, say: Say) -> float:
    """Extrapolate from a few steps; the time of scoring is negligible in comparison."""
    settings = recall_settings(spec)
    training = settings.training
    probe = replace(settings.probe, token_budget=_PROBE_STEPS * training.step_tokens)
    step_times = _StepTimes(spec, say)
    Recall(replace(settings, probe=probe)).evaluate(architecture, step_times)
    return training.steps * min(step_times.steps)


def _clock(spec: StudySpec) -> Callable[[], float]:
    """Return the clock of the training, in seconds.

    If the calling thread computes alone, its own time is that of a quiet machine.
    """
    is_alone = spec.proxy.device == "cpu" and spec.proxy.threads == 1
    return time.thread_time if is_alone else time.perf_counter


class _StepTimes:
    """Measures the seconds between reports of training steps.

    Steps that end with a validation are kept separately, and steps that a pause interrupts are left
    out. `say` receives what precedes the first step, and what training waits for.
    `preparation_seconds` is the time until the first step has ended.
    """

    def __init__(self, spec: StudySpec, say: Say) -> None:
        self._say = say
        self._clock = _clock(spec)
        self._start = self._clock()
        self.preparation_seconds = 0.0
        self.steps: list[float] = []
        self.with_validation: list[float] = []
        self._last: float | None = None
        self._done = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        is_step = progress.done > self._done
        self._done = progress.done
        if not is_step:
            self._say(progress.text)
            self._last = None
            return
        self.preparation_seconds = self.preparation_seconds or now - self._start
        if self._last is None:
            self._say("training the median model for a few steps")
        else:
            times = self.steps if progress.point is None else self.with_validation
            times.append(now - self._last)
        self._last = now
