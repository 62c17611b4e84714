"""Where the parts meet: the evaluators, in the order of their price, that a study file asks for."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from evaluators.cache import Cached, EvaluationCache, Remeasured
from evaluators.evaluator import Evaluator
from evaluators.quality.inherited_loss import InheritedLoss
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.quality.recall import Recall, RecallSettings
from evaluators.speed.latency import LatencyEvaluator, LatencySettings, Quiet
from evaluators.speed.per_byte import PerByteEvaluator
from evaluators.speed.runners import RUNNERS, make_runner
from evaluators.static import StaticEvaluator
from evaluators.text.corpus import Corpus
from evaluators.text.tokenizer import cache_folder
from evaluators.training.fit import TrainingSettings
from hardware.runner import Runner
from studies.spec.reference_models import model_of, paired_reference
from studies.spec.study_spec import DeviceSettings, ProxySettings, StudySpec, Target, asked_scores


@contextlib.contextmanager
def evaluators_of(
    spec: StudySpec, memory: EvaluationCache, corpus: Corpus
) -> Iterator[tuple[Evaluator, ...]]:
    """They are of use until the context ends, which ends the processes that they keep.

    memory: keeps what serves every candidate. corpus: the study's. Raises ValueError for what this
    machine lacks: cores, a program, CUDA.
    """
    # Before the loss: it takes less time, and at a rung all other objectives are to be known.
    recall = (Recall(recall_settings(spec)),) if "recall_error" in asked_scores(spec) else ()
    loss = loss_evaluator(spec, corpus)
    with latency_evaluator(spec, memory) as latency:
        yield StaticEvaluator(), latency, _per_byte(latency, spec, memory, corpus), *recall, loss


@contextlib.contextmanager
def remeasuring_evaluators(
    spec: StudySpec, memory: EvaluationCache, corpus: Corpus
) -> Iterator[tuple[Evaluator, ...]]:
    """Those that measure what the study asks for, and measure it anew; see `evaluators_of`."""
    with latency_evaluator(spec, memory) as latency:
        again = Remeasured(evaluator=latency)
        asked = set(asked_scores(spec))
        timings = again, _per_byte(again, spec, memory, corpus)
        yield tuple(each for each in timings if asked & set(each.score_names))


def retraining_evaluator(
    spec: StudySpec, corpus: Corpus, seed: int, token_budget: int
) -> ProxyLoss:
    """The study's training from scratch, but for its seed and its length; corpus: the study's."""
    settings = proxy_training(spec.proxy, spec.target, seed)
    training = replace(settings.training, token_budget=token_budget)
    return ProxyLoss(replace(settings, training=training), corpus)


def latency_evaluator(spec: StudySpec, memory: EvaluationCache) -> LatencyEvaluator:
    settings = LatencySettings(
        quantization=spec.target.quantization,
        prompt_length=spec.target.prompt_length,
        context_depth=spec.target.context_depth,
        more_depths=spec.target.more_depths,
        asked=frozenset(asked_scores(spec)),
        precision=spec.device.precision,
        seconds=spec.device.seconds,
    )
    reference = model_of(spec, paired_reference(spec))
    return LatencyEvaluator(
        _runner_of(spec.device), settings, reference, memory, _quiet(spec.device)
    )


def loss_evaluator(
    spec: StudySpec, corpus: Corpus | None = None, folder: Path | None = None
) -> ProxyLoss:
    """corpus: the study's, where it has been read already.

    folder: keeps the network that candidates share; None is the cache.

    Raises ValueError for a corpus, CUDA or a task that are not there.
    """
    settings = proxy_training(spec.proxy, spec.target, spec.seed)
    match spec.proxy.method:
        case "scratch":
            return ProxyLoss(settings, corpus)
        case "shared":
            training = replace(settings.training, token_budget=spec.proxy.shared_token_budget)
            settings = replace(settings, training=training)
            return InheritedLoss(settings, spec.space, folder or cache_folder(), corpus)
        case _:
            assert_never(spec.proxy.method)


def proxy_training(proxy: ProxySettings, target: Target, seed: int) -> ProxyTraining:
    return ProxyTraining(
        target_context=max(1, target.context_depth),
        corpus=proxy.corpus,
        task=proxy.task,
        task_share=proxy.task_share,
        width_share=proxy.width_share,
        training=TrainingSettings(
            context_length=proxy.context_length,
            batch_size=proxy.batch_size,
            token_budget=proxy.token_budget,
            rungs=proxy.rungs,
            device=proxy.device,
            threads=proxy.threads,
            seed=seed,
        ),
    )


def recall_settings(spec: StudySpec) -> RecallSettings:
    return RecallSettings(
        target_context=max(1, spec.target.context_depth),
        width_share=spec.proxy.width_share,
        probe=spec.recall,
        device=spec.proxy.device,
        threads=spec.proxy.threads,
        seed=spec.seed,
    )


def _per_byte(
    latency: Evaluator, spec: StudySpec, memory: EvaluationCache, corpus: Corpus
) -> PerByteEvaluator:
    """Of what `latency` measures, and has measured for the trial already."""
    remembered = Cached(evaluator=latency, memory=memory)
    return PerByteEvaluator(remembered, corpus, spec.target.prompt_length)


def _runner_of(device: DeviceSettings) -> Runner:
    program = None if device.llama_bench is None else Path(device.llama_bench)
    return make_runner(device.runner, threads=device.threads, llama_bench=program)


def _quiet(device: DeviceSettings) -> Quiet | None:
    """A runner that times nothing needs no machine for itself."""
    return (lambda *_: contextlib.nullcontext(0.0)) if RUNNERS[device.runner].is_simulated else None
