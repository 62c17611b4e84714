"""The plan of a study: as lines of text for people, and as a document for scripts."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from nas.findings.wording import duration, megabytes
from nas.views.terminal import layout_strip
from nas.workflows.study_plan import CorpusUsage, StudyPlan
from search_space.costs import parameter_counts


def plan_document(plan: StudyPlan) -> dict[str, Any]:
    """Return what `nas validate --json` prints."""
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
            "training_bytes": plan.corpus_usage.training_bytes,
            "held_out_bytes": plan.corpus_usage.held_out_bytes,
            "read_bytes": plan.corpus_usage.read_bytes,
        },
        "latency_seconds": plan.times.latency_seconds,
        "training_seconds": plan.times.training_seconds,
        "network_seconds": plan.times.network_seconds,
        "recall_seconds": plan.times.recall_seconds,
        "seconds": plan.seconds,
        "failure": plan.times.failure,
        "spec": plan.spec.model_dump(mode="json"),
    }


def plan_view(plan: StudyPlan) -> RenderableType:
    """Return what `nas validate` prints: one line per fact."""
    spec = plan.spec
    objectives = ", ".join(
        objective.name + (f" (at most {objective.max:g})" if objective.max else "")
        for objective in spec.objectives
    )
    limits = "".join(f", with {limit.name} at most {limit.max:g}" for limit in spec.constraints)
    facts = {
        "objectives": objectives + limits,
        "target": f"{spec.target.quantization}, decoding at a context depth of "
        f"{spec.target.context_depth} tokens, prompts of {spec.target.prompt_length} tokens",
        "space": f"{_count(plan.architectures)} architectures; {100 * plan.legal_share:.0f} % of "
        "random draws obey the rules about sizes",
        "parameters": f"{plan.parameters_least / 1e6:,.1f} to {plan.parameters_most / 1e6:,.1f} "
        "million, before rules about sizes",
        "weights": f"{megabytes(plan.weight_bytes_least)} to "
        f"{megabytes(plan.weight_bytes_most)} MB at {spec.target.quantization}",
        "trials": f"{spec.trials}, chosen by the {spec.sampler.kind} sampler",
        "references": ", ".join(spec.references) or "none",
        "timed with": f"{plan.reference}, interleaved, to ±{100 * spec.device.precision:g} % or "
        f"for {spec.device.seconds:g} s",
        "text": corpus_usage_text(plan.corpus_usage),
        **_runtime(plan),
        "time": _time(plan),
    }
    lines = [Text(f"{name:14}{fact}") for name, fact in facts.items()]
    timed = Text.assemble(f"{'timed model':14}", layout_strip(plan.drawn.layout))
    timed.append(f" {parameter_counts(plan.drawn).total / 1e6:,.1f} million parameters")
    return Group(Text(f"{spec.name}: the study file is valid\n", style="bold"), *lines, timed)


def corpus_usage_text(usage: CorpusUsage) -> str:
    """Return the sizes of a corpus, and how much of it one training run reads, in words."""
    times = usage.read_bytes / usage.training_bytes
    read = f"{100 * times:.2g} % of it" if times < 1 else f"it {times:.3g} times"
    note = "" if usage.note is None else f"; {usage.note}"
    return (
        f"{usage.training_bytes / 1e6:,.3g} MB to train on, {usage.held_out_bytes / 1e6:,.3g} MB "
        f"held out; a training run reads {read}{note}"
    )


def _time(plan: StudyPlan) -> str:
    times = plan.times
    if plan.seconds is None:
        return f"unknown, because a randomly drawn architecture failed: {times.failure}"
    assert times.latency_seconds is not None
    assert times.training_seconds is not None
    recall = f" + {times.recall_seconds:.0f} s of recall" if times.recall_seconds else ""
    if plan.spec.proxy.method == "shared":
        return (
            f"about {duration(plan.seconds)}: {duration(times.network_seconds)} to train the "
            f"shared network, then per trial {times.latency_seconds:.0f} s of timing{recall} + "
            f"{times.training_seconds:.0f} s of scoring"
        )
    models = "; references may take longer" if plan.spec.references else ""
    return (
        f"about {duration(plan.seconds)}, less if trials are stopped early: per trial "
        f"{times.latency_seconds:.0f} s of timing{recall} + {times.training_seconds:.0f} s of "
        f"training{models}"
    )


def _runtime(plan: StudyPlan) -> dict[str, str]:
    """Return what the device's runtime can express, unless it can express all draws."""
    if plan.expressible_share == 1.0:
        return {}
    share = f"{100 * plan.expressible_share:.0f} %"
    fact = f"{plan.spec.device.runner} can express {share} of legal draws"
    for letter, reason in plan.inexpressible.items():
        fact += f"; never '{letter}': {reason}"
    return {"runtime": fact}


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000 else f"{number:.1e}"
