"""Construct the evaluators that a study requires; the only place that connects the packages."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, assert_never

from evaluators.cache import Cached, EvaluationCache, Remeasured
from evaluators.calibration import CalibrationStore
from evaluators.evaluator import Evaluator, Refinable
from evaluators.quality.inherited_loss import InheritedLoss
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.quality.recall import Recall, RecallSettings
from evaluators.scores import RECALL_ERROR, definition_of
from evaluators.speed.device_file import remote_runner_of
from evaluators.speed.device_latency import DeviceLatency
from evaluators.speed.latency import LatencyEvaluator, Quiet
from evaluators.speed.latency_job import DeviceTiming, device_quiet
from evaluators.speed.latency_settings import LatencySettings
from evaluators.speed.per_byte import PerByteEvaluator
from evaluators.speed.runners import RUNNERS, make_runner
from evaluators.static import StaticEvaluator
from evaluators.text.cache_files import cache_folder
from evaluators.text.corpus import Corpus, read_corpus
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import Say
from hardware.quiet import Reservation
from hardware.runner import Runner, RunnerError
from nas.inputs.device_argument import NamedDevice
from search_space.input_errors import one_of
from studies.spec.reference_models import model_of, paired_reference
from studies.spec.study_spec import StudySpec, asked_scores, is_measured_here
from studies.spec.study_tables import DeviceSettings


class EvaluationStore(EvaluationCache, CalibrationStore, Protocol):
    """Stores evaluations and calibrations, as the database of a study does."""


def study_corpus(spec: StudySpec, say: Say) -> Corpus:
    """Read the corpus of a study.

    Args:
        spec: The study.
        say: Receives what is being read.

    Raises:
        ValueError: The corpus cannot be read, or is too small.
    """
    with _fields_of("proxy"):
        return read_corpus(spec.proxy.corpus, say, spec.proxy.training_tokens)


@contextlib.contextmanager
def evaluators_of(
    spec: StudySpec,
    store: EvaluationStore,
    corpus: Corpus,
    devices: Sequence[NamedDevice] = (),
) -> Iterator[tuple[Evaluator, ...]]:
    """Yield the evaluators of a study, cheapest first.

    They may be used until the context ends, which terminates the processes that they keep running.

    Args:
        spec: The study.
        store: Stores evaluations, and the times of the reference model.
        corpus: The study's corpus.
        devices: The devices that the study names.

    Raises:
        ValueError: This machine lacks cores, a program or CUDA, or a device cannot be reached.
    """
    # Recall precedes the loss: it takes less time, and a rung of the loss needs all other scores.
    with _fields_of("proxy"):
        recall = (Recall(recall_settings(spec)),) if RECALL_ERROR in asked_scores(spec) else ()
    loss = loss_evaluator(spec, corpus)
    with latency_evaluators(spec, store, devices) as latencies:
        timed: list[Evaluator] = []
        for device, latency in latencies.items():
            timed += [latency, _per_byte(latency, spec, store, corpus, device)]
        yield StaticEvaluator(), *timed, *recall, loss


@contextlib.contextmanager
def latency_evaluators(
    spec: StudySpec, calibrations: CalibrationStore, devices: Sequence[NamedDevice] = ()
) -> Iterator[Mapping[str | None, Refinable]]:
    """Yield the evaluators that measure latency and memory, by the name of their device.

    None is this machine, which is left out if the study asks for no score of it. They may be used
    until the context ends.

    Args:
        spec: The study.
        calibrations: Stores the times of the reference model.
        devices: The devices that the study names.

    Raises:
        ValueError: This machine lacks cores or a program, or a device cannot be reached.
    """
    with contextlib.ExitStack() as opened:
        found: dict[str | None, Refinable] = {}
        if is_measured_here(spec):
            found[None] = opened.enter_context(latency_evaluator(spec, calibrations))
        for device in devices:
            found[device.name] = opened.enter_context(_on_device(spec, calibrations, device))
        yield found


@contextlib.contextmanager
def _on_device(
    spec: StudySpec, calibrations: CalibrationStore, device: NamedDevice
) -> Iterator[DeviceLatency]:
    """Yield the evaluator that measures on a named device, which is connected until it ends."""
    definition = device.definition
    runtime = next(each for each in RUNNERS.values() if each.runtime == definition.runtime)
    if spec.target.quantization not in runtime.quantizations:
        raise ValueError(
            f"target.quantization: {spec.target.quantization!r} is not "
            f"{one_of(runtime.quantizations)}, which {runtime.runtime} on the device "
            f"'{device.name}' supports"
        )
    timing = DeviceTiming(
        definition=definition,
        settings=_latency_settings(spec, device.name),
        reference=model_of(spec, paired_reference(spec)),
    )
    with remote_runner_of(definition) as runner:
        try:
            identity = runner.identity.id
            latency = LatencyEvaluator(
                runner,
                timing.settings,
                timing.reference,
                calibrations,
                device_quiet(runner, timing),
            )
        except RunnerError as error:
            raise ValueError(
                f"target.devices: '{device.name}' cannot measure: {error.reason}"
            ) from error
        with latency:
            yield DeviceLatency(latency, device.name, identity, timing)


@contextlib.contextmanager
def remeasuring_evaluators(
    spec: StudySpec,
    store: EvaluationStore,
    corpus: Corpus,
    devices: Sequence[NamedDevice] = (),
) -> Iterator[tuple[Evaluator, ...]]:
    """Yield the evaluators that measure the study's scores a second time.

    Their results are stored separately from those of the first time. Times per byte are computed
    from the latencies, so that the latter precede them.

    Args:
        spec: The study.
        store: Stores evaluations, and the times of the reference model.
        corpus: The study's corpus.
        devices: The devices that the study names.

    Raises:
        ValueError: This machine lacks cores or a program, or a device cannot be reached.
    """
    asked = set(asked_scores(spec))
    with latency_evaluators(spec, store, devices) as latencies:
        found: list[Evaluator] = []
        for device, latency in latencies.items():
            remeasured = Remeasured(evaluator=latency)
            per_byte = _per_byte(remeasured, spec, store, corpus, device)
            found += _needed(asked, remeasured, per_byte)
        yield tuple(found)


def _needed(
    asked: Collection[str], latency: Evaluator, per_byte: PerByteEvaluator
) -> list[Evaluator]:
    """Return those of two evaluators that give an asked score; the second needs the first."""
    if any(name in asked for name in per_byte.score_names):
        return [latency, per_byte]
    return [latency] if any(name in asked for name in latency.score_names) else []


def retraining_evaluator(
    spec: StudySpec, corpus: Corpus, seed: int, token_budget: int
) -> ProxyLoss:
    """Return the study's training from scratch with another seed and length.

    Args:
        spec: The study.
        corpus: The study's corpus.
        seed: The seed of the weights and of the order of the text.
        token_budget: Training tokens.

    Raises:
        ValueError: The task or CUDA is not available.
    """
    settings = proxy_training(spec, seed)
    training = replace(settings.training, token_budget=token_budget)
    with _fields_of("proxy"):
        return ProxyLoss(replace(settings, training=training), corpus)


def latency_evaluator(spec: StudySpec, calibrations: CalibrationStore) -> LatencyEvaluator:
    """Return the evaluator that measures latency and memory on the study's device.

    Args:
        spec: The study.
        calibrations: Stores the times of the reference model.

    Raises:
        ValueError: This machine lacks cores or a program, or a reference model does not exist.
    """
    settings = _latency_settings(spec, None)
    reference = model_of(spec, paired_reference(spec))
    return LatencyEvaluator(
        device_runner(spec.device), settings, reference, calibrations, _quiet(spec.device)
    )


def _latency_settings(spec: StudySpec, device: str | None) -> LatencySettings:
    """Return what is timed on a device, or with None on this machine."""
    asked = (definition_of(name) for name in asked_scores(spec))
    return LatencySettings(
        quantization=spec.target.quantization,
        prompt_length=spec.target.prompt_length,
        context_depth=spec.target.context_depth,
        more_depths=spec.target.more_depths,
        asked=frozenset(each.on_any_device for each in asked if each and each.device == device),
        precision=spec.device.precision,
        seconds=spec.device.seconds,
        lock_wait=spec.device.lock_wait,
    )


def loss_evaluator(
    spec: StudySpec, corpus: Corpus | None = None, folder: Path | None = None
) -> ProxyLoss:
    """Return the evaluator that trains proxies, or scores them with inherited weights.

    Args:
        spec: The study.
        corpus: The study's corpus; None reads it when it is needed.
        folder: Where the network that all candidates share is stored; None is the cache folder.

    Raises:
        ValueError: The corpus, the task or CUDA is not available.
    """
    settings = proxy_training(spec, spec.seed)
    with _fields_of("proxy"):
        match spec.proxy.method:
            case "scratch":
                return ProxyLoss(settings, corpus)
            case "shared":
                training = replace(settings.training, token_budget=spec.proxy.shared_token_budget)
                settings = replace(settings, training=training)
                return InheritedLoss(settings, spec.space, folder or cache_folder(), corpus)
            case _:
                assert_never(spec.proxy.method)


def proxy_training(spec: StudySpec, seed: int) -> ProxyTraining:
    """Return the settings with which a study trains proxies, with this seed."""
    proxy = spec.proxy
    return ProxyTraining(
        target_context=max(1, spec.target.context_depth),
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
            longest_pause=spec.device.lock_wait.longest_wait,
        ),
    )


def recall_settings(spec: StudySpec) -> RecallSettings:
    """Return the settings with which a study trains and scores recall probes."""
    return RecallSettings(
        target_context=max(1, spec.target.context_depth),
        width_share=spec.proxy.width_share,
        probe=spec.recall,
        device=spec.proxy.device,
        threads=spec.proxy.threads,
        seed=spec.seed,
        longest_pause=spec.device.lock_wait.longest_wait,
    )


def device_runner(device: DeviceSettings) -> Runner:
    """Return the runner that a study names.

    Raises:
        ValueError: This machine lacks cores or a program.
    """
    program = None if device.llama_bench is None else Path(device.llama_bench)
    with _fields_of("device"):
        return make_runner(device.runner, threads=device.threads, llama_bench=program)


@contextlib.contextmanager
def _fields_of(table: str) -> Iterator[None]:
    """Precede the field that an error names by its table in the study file: `device.threads`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{table}.{error}") from None


def _per_byte(
    latency: Evaluator,
    spec: StudySpec,
    cache: EvaluationCache,
    corpus: Corpus,
    device: str | None = None,
) -> PerByteEvaluator:
    """Return the evaluator of time per byte, which reuses the trial's cached latencies."""
    cached = Cached(evaluator=latency, cache=cache)
    return PerByteEvaluator(cached, corpus, spec.target.prompt_length, device)


def _quiet(device: DeviceSettings) -> Quiet | None:
    """Return None, the default, for real devices; a simulated one needs no quiet machine."""
    return _simulated_quiet if RUNNERS[device.runner].is_simulated else None


def _simulated_quiet(_: Say) -> contextlib.AbstractContextManager[Reservation]:
    return contextlib.nullcontext(Reservation(waited_s=0.0))
