"""What running a study would mean: the size of its space, of its models, and the time it takes."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from evaluators.cache import Forgetful
from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.quality.recall import Recall
from evaluators.speed.model_file import inexpressible
from nas.assembly import latency_evaluator, loss_evaluator, proxy_training, recall_settings
from nas.reading import Reading, reading_of
from nas.views.terminal import duration, layout_strip, megabytes
from search_space.architecture import Architecture
from search_space.costs import parameter_counts, prefill_flops
from search_space.encoding import RandomSuggester, draw
from search_space.points import Point, build
from search_space.proxy import proxy_of
from search_space.space import broken_rule, parameter_range, space_size, weight_range
from studies.reference import model_of, paired_reference
from studies.spec import StudySpec, asked_scores

_DRAWS = 200
_PROBE_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study file asks for, and the time of its stages for one architecture that was drawn.

    architectures: how many different ones the choices and the rules of layouts allow.
    legal_share: of random draws, those that keep the rules of sizes too.
    expressible_share: of those, the ones that the device's runtime can express.
    inexpressible: mixers of the space that it never can, each with the reason.
    reference: the model that every candidate is timed beside.
    reading: of the corpus, as the drawn one's proxy reads it.
    network_seconds: of training the network that all candidates share, where they do.
    recall_seconds: of training the probe of recall, where the study asks for that score.
    failure: why the drawn architecture could not be timed, if so.
    """

    spec: StudySpec
    architectures: int
    parameters_least: int
    parameters_most: int
    weight_bytes_least: int
    weight_bytes_most: int
    legal_share: float
    expressible_share: float
    inexpressible: Mapping[str, str]
    reference: str
    drawn: Architecture
    reading: Reading
    latency_seconds: float | None
    training_seconds: float | None
    failure: str | None
    network_seconds: float = 0.0
    recall_seconds: float = 0.0

    @property
    def seconds(self) -> float | None:
        """Of the whole study, if none of its candidates is stopped or refused on the way.

        A reference's training is taken to last as its FLOPs do beside those of the drawn one.
        """
        if self.latency_seconds is None or self.training_seconds is None:
            return None
        models = self.spec.trials + len(self.spec.references)
        trainings = self.spec.trials + sum(
            _training_flops(self.spec, model_of(self.spec, name))
            / _training_flops(self.spec, self.drawn)
            for name in self.spec.references
        )
        return (
            models * self.latency_seconds
            + trainings * (self.training_seconds + self.recall_seconds)
            + self.network_seconds
        )


def make_plan(spec: StudySpec) -> Plan:
    """Times one architecture of median size, by measuring it and training it for a few steps.

    Raises ValueError when no random draw keeps the rules of sizes.
    """
    space, quantization = spec.space, spec.target.quantization
    suggester = RandomSuggester(np.random.default_rng(spec.seed))
    draws = [draw(space, suggester) for _ in range(_DRAWS)]
    legal = [each for each in draws if broken_rule(each, space, quantization) is None]
    if not legal:
        raise ValueError(
            f"space.rules: none of {_DRAWS} random architectures keeps them; "
            f"the first breaks this: {broken_rule(draws[0], space, quantization)}"
        )
    model_format = spec.device.model_format
    possible = [each for each in legal if inexpressible(each, model_format) is None]
    if not possible:
        raise ValueError(
            f"device.runner: '{spec.device.runner}' has no way to express any of {len(legal)} "
            f"random architectures; of the first, {inexpressible(legal[0], model_format)}"
        )
    drawn = sorted(possible, key=lambda each: parameter_counts(each).total)[len(possible) // 2]
    parameters, weights = parameter_range(space), weight_range(space, quantization)
    latency_seconds = failure = training = None
    recall_seconds = 0.0
    try:
        latency_seconds = _latency_seconds(spec, drawn)
        if "recall_error" in asked_scores(spec):
            recall_seconds = _recall_seconds(spec, drawn)
        training = _training(spec, drawn)
    except EvaluationFailed as reason:
        failure = str(reason)
    return Plan(
        spec=spec,
        architectures=space_size(space),
        parameters_least=parameters.least,
        parameters_most=parameters.most,
        weight_bytes_least=weights.least,
        weight_bytes_most=weights.most,
        legal_share=len(legal) / len(draws),
        expressible_share=len(possible) / len(legal),
        inexpressible=inexpressible_mixers(spec),
        reference=paired_reference(spec),
        drawn=drawn,
        reading=reading_of(spec, drawn),
        latency_seconds=latency_seconds,
        training_seconds=None if training is None else training.candidate_seconds,
        network_seconds=0.0 if training is None else training.network_seconds,
        recall_seconds=recall_seconds,
        failure=failure,
    )


def inexpressible_mixers(spec: StudySpec) -> dict[str, str]:
    """The space's mixers that the device's runtime never can express, each with the reason.

    They are asked for alone and beside all others, in models that are plain in everything else.
    """
    space = spec.space
    plain = Point(
        layout="",
        width=space.width[0],
        feed_forward=space.feed_forward[0],
        vocab_size=space.vocab_size[0],
        kernel=space.kernel[-1],
        head_dim=space.head_dim[0],
        kv_heads=space.kv_heads[0],
        window=space.window[0],
        embedding_share=1.0,
    )
    reasons = {
        "".join(letters): inexpressible(
            build(replace(plain, layout="".join(letters))), spec.device.model_format
        )
        for count in range(1, len(space.mixers) + 1)
        for letters in itertools.combinations(space.mixers, count)
    }
    return {
        letter: reason
        for letter in space.mixers
        if (reason := reasons[letter]) is not None
        and all(reasons[layout] is not None for layout in reasons if letter in layout)
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """What `nas validate --json` prints."""
    return {
        "study": plan.spec.name,
        "trials": plan.spec.trials,
        "architectures": plan.architectures,
        "parameters": {"least": plan.parameters_least, "most": plan.parameters_most},
        "weight_bytes": {"least": plan.weight_bytes_least, "most": plan.weight_bytes_most},
        "legal_share_of_draws": plan.legal_share,
        "expressible_share_of_legal_draws": plan.expressible_share,
        "inexpressible_mixers": dict(plan.inexpressible),
        "reference_model": plan.reference,
        "text": {
            "training_bytes": plan.reading.training_bytes,
            "held_out_bytes": plan.reading.held_out_bytes,
            "read_bytes": plan.reading.read_bytes,
        },
        "latency_seconds": plan.latency_seconds,
        "training_seconds": plan.training_seconds,
        "network_seconds": plan.network_seconds,
        "recall_seconds": plan.recall_seconds,
        "seconds": plan.seconds,
        "failure": plan.failure,
        "spec": plan.spec.model_dump(mode="json"),
    }


def plan_view(plan: Plan) -> RenderableType:
    spec = plan.spec
    objectives = ", ".join(
        objective.name + (f" (at most {objective.max:g})" if objective.max else "")
        for objective in spec.objectives
    )
    limits = "".join(f", with {limit.name} at most {limit.max:g}" for limit in spec.constraints)
    facts = {
        "objectives": objectives + limits,
        "target": f"{spec.target.quantization}, decode behind {spec.target.context_depth} tokens, "
        f"prompts of {spec.target.prompt_length}",
        "space": f"{_count(plan.architectures)} architectures; {plan.legal_share:.0%} of random "
        "draws keep the rules of sizes",
        "parameters": f"{plan.parameters_least / 1e6:,.1f} to {plan.parameters_most / 1e6:,.1f} "
        "million by the choices",
        "weights": f"{megabytes(plan.weight_bytes_least)} to "
        f"{megabytes(plan.weight_bytes_most)} MB at {spec.target.quantization}",
        "trials": f"{spec.trials} by {spec.sampler.kind}",
        "references": ", ".join(spec.references) or "none",
        "timed beside": f"{plan.reference}, to ±{100 * spec.device.precision:g}% or for "
        f"{spec.device.seconds:g} s",
        "text": str(plan.reading),
        **_runtime(plan),
        "time": _time(plan),
    }
    lines = [Text(f"{name:14}{fact}") for name, fact in facts.items()]
    timed = Text.assemble(f"{'timed':14}", layout_strip(plan.drawn.layout))
    timed.append(f" {parameter_counts(plan.drawn).total / 1e6:,.1f} million parameters")
    return Group(Text(f"{spec.name}: the study file is right\n", style="bold"), *lines, timed)


def _time(plan: Plan) -> str:
    if plan.seconds is None:
        return f"not known: the architecture that was drawn failed, {plan.failure}"
    assert plan.latency_seconds is not None
    assert plan.training_seconds is not None
    recall = f" + {plan.recall_seconds:.0f} s of recall" if plan.recall_seconds else ""
    if plan.spec.proxy.method == "shared":
        return (
            f"about {duration(plan.seconds)}: {duration(plan.network_seconds)} of training the "
            f"shared network, then {plan.latency_seconds:.0f} s of timing{recall} + "
            f"{plan.training_seconds:.0f} s of scoring a trial"
        )
    models = " and more for a reference" if plan.spec.references else ""
    return (
        f"about {duration(plan.seconds)}, less what is stopped: {plan.latency_seconds:.0f} s of "
        f"timing{recall} + {plan.training_seconds:.0f} s of training a trial{models}"
    )


def _runtime(plan: Plan) -> dict[str, str]:
    """What the device's runtime leaves of the space, where that is not all."""
    if plan.expressible_share == 1.0:
        return {}
    fact = f"{plan.spec.device.runner} can express {plan.expressible_share:.0%} of legal draws"
    for letter, reason in plan.inexpressible.items():
        fact += f"; never '{letter}': {reason}"
    return {"runtime": fact}


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000 else f"{number:.1e}"


def _training_flops(spec: StudySpec, architecture: Architecture) -> int:
    """Of reading one batch's sequence by the architecture's proxy, forward alone."""
    proxy = proxy_of(architecture, spec.proxy.width_share)
    return prefill_flops(proxy, spec.proxy.context_length)


def _latency_seconds(spec: StudySpec, architecture: Architecture) -> float:
    """With loading the reference, and without its calibration: later studies find it done."""
    with latency_evaluator(spec, Forgetful()) as latency:
        start = time.monotonic()
        latency.measure(architecture, _ignore)
        return time.monotonic() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    network_seconds: float
    candidate_seconds: float


def _training(spec: StudySpec, architecture: Architecture) -> _Training:
    match spec.proxy.method:
        case "scratch":
            seconds = _training_seconds(spec, architecture)
            return _Training(network_seconds=0.0, candidate_seconds=seconds)
        case "shared":
            return _shared_training(spec, architecture)
        case _:
            assert_never(spec.proxy.method)


def _shared_training(spec: StudySpec, architecture: Architecture) -> _Training:
    """Extrapolated from a few steps of every mixer; what is inherited is scored as it will be."""
    steps = spec.proxy.shared_token_budget / (spec.proxy.context_length * spec.proxy.batch_size)
    probe_steps = _PROBE_STEPS * len(spec.space.mixers)
    tokens = probe_steps * spec.proxy.context_length * spec.proxy.batch_size
    proxy = spec.proxy.model_copy(update={"shared_token_budget": tokens})
    watch = _StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        loss = loss_evaluator(spec.model_copy(update={"proxy": proxy}), Path(folder))
        loss.evaluate(architecture, watch)
        scored = loss.evaluate(architecture, _ignore)
    step_seconds = statistics.fmean(watch.steps)
    return _Training(network_seconds=steps * step_seconds, candidate_seconds=scored.seconds)


def _training_seconds(spec: StudySpec, architecture: Architecture) -> float:
    """Extrapolated from a few steps and their validations, which a whole run has as many of."""
    settings = proxy_training(spec.proxy, spec.target, spec.seed)
    training = settings.training
    # Most steps of a short run end without a validation, however many rungs there are.
    steps = _PROBE_STEPS + 2 * len(training.rungs)
    short = replace(training, token_budget=steps * training.step_tokens)
    watch = _StepTimes()
    ProxyLoss(replace(settings, training=short)).evaluate(architecture, watch)
    step_seconds = float(np.median(watch.steps))
    validation_seconds = sum(max(0.0, each - step_seconds) for each in watch.with_validation)
    return training.steps * step_seconds + validation_seconds


def _recall_seconds(spec: StudySpec, architecture: Architecture) -> float:
    """Extrapolated from a few steps; answering takes little beside learning."""
    settings = recall_settings(spec)
    training = settings.training
    probe = replace(settings.probe, token_budget=_PROBE_STEPS * training.step_tokens)
    watch = _StepTimes()
    Recall(replace(settings, probe=probe)).evaluate(architecture, watch)
    return training.steps * float(np.median(watch.steps))


class _StepTimes:
    """Seconds between reports of training steps, those with a validation apart."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.with_validation: list[float] = []
        self._last: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        if progress.done > 0 and self._last is not None:
            times = self.steps if progress.point is None else self.with_validation
            times.append(now - self._last)
        self._last = now if progress.done > 0 else None


def _ignore(progress: Progress) -> None:
    """Nobody watches the probe."""
