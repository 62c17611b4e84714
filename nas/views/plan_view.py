"""The plan of a study: as lines of text for people, and as a document for scripts."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, assert_never

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.evaluator import Score
from evaluators.quality.token_budgets import MOST_PASSES, OFTEN_READ, measured_ranking
from evaluators.scores import definition_of, score_on_device
from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS
from nas.findings.time_wording import precision_legend, score_text, times_legend
from nas.findings.wording import counted, duration, joined, megabytes, number, percent
from nas.views.start_view import start_document, start_lines
from nas.views.terminal import interval_legend, layout_strip, table
from nas.workflows.space_samples import SpaceSample
from nas.workflows.stage_times import StageTimes
from nas.workflows.study_plan import CorpusUsage, StudyPlan
from search_space.costs import parameter_counts
from search_space.space.matching import Matched, MatchedLatency
from studies.analysis.study_front import is_provisional
from studies.search.latency_matching import described_latency
from studies.spec.limits import limits
from studies.spec.study_spec import StudySpec, asked_scores, is_measured_here

_ALWAYS_SHOWN = ("decode", "prefill", "memory")


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
        "devices": [{"name": name, "channel": channel} for name, channel in plan.channels.items()],
        "reference_model": plan.reference,
        "text": {
            "training_bytes": plan.corpus_usage.training_bytes,
            "held_out_bytes": plan.corpus_usage.held_out_bytes,
            "read_bytes": plan.corpus_usage.read_bytes,
            "corpus_passes": plan.corpus_usage.passes,
        },
        "models": [_sample_document(sample) for sample in plan.samples],
        "remarks_on_limits": list(_remarks_on_limits(plan)),
        "share_refused_before_timing": plan.refused.untimed,
        "share_refused_before_training": plan.refused.untrained,
        "parallel": plan.parallel,
        "remark_on_parallel": plan.crowding,
        "latency_seconds": plan.times.latency_seconds,
        "device_seconds": dict(plan.times.device_seconds),
        "training_seconds": plan.times.training_seconds,
        "network_seconds": plan.times.network_seconds,
        "recall_seconds": plan.times.recall_seconds,
        "preparation_seconds": plan.times.preparation_seconds,
        "seconds": plan.seconds,
        "failure": plan.times.failure,
        "start": start_document(plan.start),
        "spec": plan.spec.model_dump(mode="json"),
    }


def plan_view(plan: StudyPlan) -> RenderableType:
    """Return what `nas validate` prints: one line per fact, and a table of measured models."""
    spec = plan.spec
    objectives = ", ".join(
        objective.name + (f" ({_at_most(objective.name, objective.max)})" if objective.max else "")
        for objective in spec.objectives
    )
    constraints = "".join(
        f", with {limit.name} {_at_most(limit.name, limit.max)}" for limit in spec.constraints
    )
    facts = {
        "objectives": objectives + constraints,
        "target": f"{spec.target.quantization}, decoding at a context depth of "
        f"{spec.target.context_depth} tokens, prompts of {spec.target.prompt_length} tokens",
        **_devices(plan),
        "space": f"{_count(plan.architectures)} architectures; {100 * plan.legal_share:.0f} % of "
        "random draws obey the rules about sizes",
        **_matched(spec),
        "parameters": f"{plan.parameters_least / 1e6:,.1f} to {plan.parameters_most / 1e6:,.1f} "
        "million, before rules about sizes",
        "weights": f"{megabytes(plan.weight_bytes_least)} to "
        f"{megabytes(plan.weight_bytes_most)} MB at {spec.target.quantization}",
        "trials": f"{spec.trials}, chosen by the {spec.sampler_kind} sampler",
        "references": ", ".join(spec.references) or "none",
        "timed with": f"{plan.reference}, interleaved, to ±{100 * spec.device.precision:g} % of "
        f"the ratio or for {spec.device.seconds:g} s",
        "text": corpus_usage_text(plan.corpus_usage),
        "training": _training(plan),
        **_runtime(plan),
        "time": _time(plan),
    }
    lines = [Text(f"{name:14}{fact}") for name, fact in facts.items()]
    title = Text(f"{spec.name}: the study file is valid\n", style="bold")
    return Group(title, *lines, Text(), *start_lines(plan.start), *_models(plan))


def _devices(plan: StudyPlan) -> dict[str, str]:
    """Return what is measured and how it is reached, if the study names devices."""
    if not plan.channels:
        return {}
    reached = [f"{name} ({channel})" for name, channel in plan.channels.items()]
    return {"devices": joined([*_this_machine(plan), *reached])}


def _this_machine(plan: StudyPlan) -> list[str]:
    return ["this machine"] if is_measured_here(plan.spec) else []


def _training(plan: StudyPlan) -> str:
    proxy = plan.spec.proxy
    at_once = f"{counted(plan.parallel, 'candidate', 'candidates')} at a time"
    if proxy.method == "shared":
        return f"{proxy.shared_token_budget:,} tokens for the shared network; {at_once}"
    found = measured_ranking(proxy.token_budget)
    reliability = (
        "how well this budget ranks layouts was not measured"
        if found is None
        else f"losses after {found.tokens:,} tokens and after {found.factor} times as many rank "
        f"{found.layouts} layouts of one size with a Spearman correlation of {found.spearman:g}"
    )
    return f"{proxy.token_budget:,} tokens for each, {at_once}; {reliability}"


def _matched(spec: StudySpec) -> dict[str, str]:
    matched = spec.space.matched
    match matched:
        case None:
            return {}
        case Matched():
            outside = "" if matched.count == "total" else " outside the embedding"
            return {"matched": f"{matched.parameters:,} parameters{outside}, within 1 %"}
        case MatchedLatency():
            return {
                "matched": f"a predicted {described_latency(matched)}, within 1 %, as soon as "
                f"{FEWEST_MEASUREMENTS} models have been measured"
            }
        case _:
            assert_never(matched)


def _at_most(name: str, most: float) -> str:
    definition = definition_of(name)
    unit = "" if definition is None or definition.unit == name else definition.unit
    return f"at most {most:g} {unit}".rstrip()


def corpus_usage_text(usage: CorpusUsage) -> str:
    """Return the sizes of a corpus, and how much of it one training run reads, in words."""
    passes = usage.passes
    times = "once" if f"{passes:.3g}" == "1" else f"{passes:.3g} times"
    read = f"{100 * passes:.2g} % of it" if passes < 1 else f"it {times}"
    often = f" ({OFTEN_READ})" if passes > MOST_PASSES else ""
    note = "" if usage.note is None else f"; {usage.note}"
    return (
        f"{usage.training_bytes / 1e6:,.3g} MB to train on, {usage.held_out_bytes / 1e6:,.3g} MB "
        f"held out; a training run reads {read}{often}{note}"
    )


def _sample_document(sample: SpaceSample) -> dict[str, Any]:
    scores = [asdict(score) for score in sample.scores]
    for score in scores:
        del score["measured"]
    return {
        "size": sample.size,
        "layout": sample.architecture.layout,
        "parameters": parameter_counts(sample.architecture).total,
        "scores": scores,
        "seconds": sample.seconds,
        "failure": sample.failure,
    }


def _models(plan: StudyPlan) -> Iterator[RenderableType]:
    """Yield a table of the measured models of the space, and remarks about it."""
    places = joined([*_this_machine(plan), *plan.channels])
    yield Text(f"models of this space on {places}, from random draws that obey the rules")
    rows = {
        name: [_cell(plan, sample, name) for sample in plan.samples] for name in _shown_scores(plan)
    }
    yield _model_table(plan, rows)
    for sample in plan.samples:
        if sample.failure is not None:
            yield Text(f"the {sample.size} model could not be measured: {sample.failure}")
    yield from map(Text, _remarks_on_limits(plan))
    yield from map(Text, _remarks_on_matched_latency(plan))
    if plan.crowding is not None:
        yield Text(plan.crowding)
    scores = [score for sample in plan.samples for score in sample.scores if score.name in rows]
    legend = [*interval_legend(cell for row in rows.values() for cell in row)]
    legend += times_legend(plan.spec, scores)
    if any(is_provisional(plan.spec, score) for score in scores):
        legend.append(precision_legend(plan.spec.device.precision))
    for line in legend:
        yield Text(line, style="dim")


def _model_table(plan: StudyPlan, rows: dict[str, list[str]]) -> Table:
    sizes = [sample.size for sample in plan.samples]
    grid = table("", *sizes, left=("", *sizes), fold=sizes)
    grid.add_row("layout", *(layout_strip(sample.architecture.layout) for sample in plan.samples))
    millions = [parameter_counts(sample.architecture).total / 1e6 for sample in plan.samples]
    grid.add_row("parameters", *(f"{each:,.1f} million" for each in millions))
    for name, cells in rows.items():
        definition = definition_of(name)
        assert definition is not None
        grid.add_row(f"{name}, {definition.unit}", *cells)
    return grid


def _shown_scores(plan: StudyPlan) -> list[str]:
    """Return the scores in the table: the usual ones, then others that the study asks for."""
    measured = {score.name for sample in plan.samples for score in sample.scores}
    on_devices = (score_on_device(each, name) for name in plan.channels for each in _ALWAYS_SHOWN)
    names = dict.fromkeys([*_ALWAYS_SHOWN, *on_devices, *asked_scores(plan.spec)])
    return [name for name in names if name in measured and name != "parameters"]


def _cell(plan: StudyPlan, sample: SpaceSample, name: str) -> str:
    score = _score(sample, name)
    return "" if score is None else score_text(plan.spec, score)


def _score(sample: SpaceSample, name: str) -> Score | None:
    return next((score for score in sample.scores if score.name == name), None)


def _remarks_on_limits(plan: StudyPlan) -> Iterator[str]:
    """Yield a sentence for each limit that none, or all, of the measured models exceed."""
    for name, most in limits(plan.spec).items():
        known = [_score(sample, name) for sample in plan.samples]
        scores = [score for score in known if score is not None]
        if not scores:
            continue
        lowest = min(score.value if score.low is None else score.low for score in scores)
        highest = max(score.value if score.high is None else score.high for score in scores)
        limit = f"{name}: the limit of {number(most)} {scores[0].unit}"
        if most > highest:
            yield f"{limit} is above all of these models and probably refuses none"
        elif most < lowest:
            yield (
                f"{limit} is below all of these models and probably refuses nearly every candidate"
            )


def _remarks_on_matched_latency(plan: StudyPlan) -> Iterator[str]:
    """Yield a sentence if the latency to be matched is outside the range of the measured models."""
    matched = plan.spec.space.matched
    if not isinstance(matched, MatchedLatency):
        return
    known = [_score(sample, matched.score) for sample in plan.samples]
    values = [score.value for score in known if score is not None]
    if values and not min(values) <= matched.latency <= max(values):
        place = "below" if matched.latency < min(values) else "above"
        yield (
            f"matched: a {described_latency(matched)} is {place} all of these models; layouts that "
            "cannot reach it within the bounds of feed_forward are rejected"
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
            f"about {duration(plan.seconds)} on a quiet machine: "
            f"{duration(times.network_seconds)} to train the shared network, then per trial "
            f"{_timing(times)}{recall} + {times.training_seconds:.0f} s of scoring{_refused(plan)}"
        )
    models = "; references may take longer" if plan.spec.references else ""
    return (
        f"about {duration(plan.seconds)} on a quiet machine, less if trials are stopped early: per "
        f"trial {_timing(times)}{recall} + {times.training_seconds:.0f} s of training{models}"
        f"{_refused(plan)}"
    )


def _timing(times: StageTimes) -> str:
    """Return how long the timing of a trial takes: `10 s of timing`, or that on each device."""
    if not times.device_seconds:
        return f"{times.latency_seconds:.0f} s of timing"
    on_devices = [f"{seconds:.0f} s on {name}" for name, seconds in times.device_seconds.items()]
    here = [f"{times.latency_seconds:.0f} s on this machine"] if times.latency_seconds else []
    return f"timing ({joined([*here, *on_devices])})"


def _refused(plan: StudyPlan) -> str:
    share = plan.refused.untrained
    return f"; the limits refuse about {percent(share)} of random draws" if share else ""


def _runtime(plan: StudyPlan) -> dict[str, str]:
    """Return what the device's runtime can express, unless it can express all draws."""
    if plan.expressible_share == 1.0:
        return {}
    share = f"{100 * plan.expressible_share:.0f} %"
    runtimes = "the runtimes of all devices" if plan.channels else plan.spec.device.runner
    fact = f"{runtimes} can express {share} of legal draws"
    for letter, reason in plan.inexpressible.items():
        fact += f"; never '{letter}': {reason}"
    return {"runtime": fact}


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000 else f"{number:.1e}"
