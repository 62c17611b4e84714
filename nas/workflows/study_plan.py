"""What running a study would mean: the size of its space, of its models, and the time it takes."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from evaluators.speed.built_model import inexpressible
from evaluators.text.corpus import read_corpus
from evaluators.text.tokenizer import Say
from nas.views.terminal import duration, layout_strip, megabytes
from nas.workflows.corpus_usage import CorpusUsage, corpus_usage
from nas.workflows.stage_times import StageTimes, time_stages
from search_space.architecture import Architecture
from search_space.costs import parameter_counts, prefill_flops
from search_space.proxy import proxy_of
from search_space.space.design_point import DesignPoint, build
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import broken_rule, parameter_range, weight_range
from search_space.space.space_size import space_size
from studies.spec.reference_models import model_of, paired_reference
from studies.spec.study_spec import StudySpec

_DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study file asks for, and the time of its stages for one architecture that was drawn.

    architectures: how many different ones the choices and the rules of layouts allow.
    legal_share: of random draws, those that keep the rules of sizes too.
    expressible_share: of those, the ones that the device's runtime can express.
    inexpressible: mixers of the space that it never can, each with the reason.
    reference: the model that every candidate is timed beside.
    reading: of the corpus, as the drawn one's proxy reads it.
    times: of the stages of the drawn one.
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
    reading: CorpusUsage
    times: StageTimes

    @property
    def seconds(self) -> float | None:
        """Of the whole study, if none of its candidates is stopped or refused on the way.

        A reference's training is taken to last as its FLOPs do beside those of the drawn one.
        """
        times = self.times
        if times.latency_seconds is None or times.training_seconds is None:
            return None
        models = self.spec.trials + len(self.spec.references)
        trainings = self.spec.trials + sum(
            _training_flops(self.spec, model_of(self.spec, name))
            / _training_flops(self.spec, self.drawn)
            for name in self.spec.references
        )
        return (
            models * times.latency_seconds
            + trainings * (times.training_seconds + times.recall_seconds)
            + times.network_seconds
        )


def make_plan(spec: StudySpec, say: Say) -> Plan:
    """Times one architecture of median size, by measuring it and training it for a few steps.

    say: hears what it is at, as all of it may take minutes. Raises ValueError when no random draw
    keeps the rules of sizes.
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
    say("reading the corpus")
    corpus = read_corpus(spec.proxy.corpus)
    times = time_stages(spec, drawn, corpus, say)
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
        reading=corpus_usage(spec, drawn, corpus, say),
        times=times,
    )


def inexpressible_mixers(spec: StudySpec) -> dict[str, str]:
    """The space's mixers that the device's runtime never can express, each with the reason.

    They are asked for alone and beside all others, in models that are plain in everything else.
    """
    space = spec.space
    plain = DesignPoint(
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
        "latency_seconds": plan.times.latency_seconds,
        "training_seconds": plan.times.training_seconds,
        "network_seconds": plan.times.network_seconds,
        "recall_seconds": plan.times.recall_seconds,
        "seconds": plan.seconds,
        "failure": plan.times.failure,
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
    times = plan.times
    if plan.seconds is None:
        return f"not known: the architecture that was drawn failed, {times.failure}"
    assert times.latency_seconds is not None
    assert times.training_seconds is not None
    recall = f" + {times.recall_seconds:.0f} s of recall" if times.recall_seconds else ""
    if plan.spec.proxy.method == "shared":
        return (
            f"about {duration(plan.seconds)}: {duration(times.network_seconds)} of training the "
            f"shared network, then {times.latency_seconds:.0f} s of timing{recall} + "
            f"{times.training_seconds:.0f} s of scoring a trial"
        )
    models = " and more for a reference" if plan.spec.references else ""
    return (
        f"about {duration(plan.seconds)}, less what is stopped: {times.latency_seconds:.0f} s of "
        f"timing{recall} + {times.training_seconds:.0f} s of training a trial{models}"
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
