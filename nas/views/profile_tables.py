"""A profile as tables of costs with a plot and findings, and as a JSON document."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.speed.operators.additivity import additivity
from evaluators.speed.operators.operator_costs import OperatorCost, operator_costs
from evaluators.speed.operators.probe_times import Estimate, ModelTimes, Profile, Setting
from hardware.measurement import Workload
from nas.findings.profile_findings import profile_findings
from nas.findings.wording import number
from nas.views.scatter import Mark, scatter
from nas.views.terminal import HALF_WIDTH_LEGEND, layout_strip, table
from nas.workflows.profile_plan import setting_title
from search_space.costs import parameter_counts
from search_space.probes import REPORTED_VOCABULARY, Probe, make_probes, part_parameters

_MOST_COLUMNS = 5
_DOTS = 60


def profile_document(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Return the document that `nas profile --json` prints, with one entry per setting."""
    return [
        asdict(profile.setting)
        | {
            "costs": [_cost_document(cost) for cost in operator_costs(profile)],
            "whole_models": [
                {
                    "layout": each.architecture.layout,
                    "workload": str(each.workload),
                    "predicted_over_measured": _estimate_document(each.ratio),
                }
                for each in additivity(profile)
            ],
            "failures": [
                {"model": name, "reason": model.failure} for name, model in _failed(profile)
            ],
            "findings": list(profile_findings(profile)),
        }
        for profile in profiles
    ]


def profile_view(profile: Profile) -> RenderableType:
    """Return the costs that are known so far, a plot of them, and the findings."""
    costs = operator_costs(profile)
    parts: list[RenderableType] = [Text(setting_title(profile.setting), style="bold")]
    if costs:
        workloads = list(dict.fromkeys(cost.workload for cost in costs))
        workloads.sort(key=lambda each: (each.phase == "prefill", each.depth, each.tokens))
        for start in range(0, len(workloads), _MOST_COLUMNS):
            columns = workloads[start : start + _MOST_COLUMNS]
            parts.append(_table(profile.setting, costs, columns))
        parts.append(Text(_unit(profile.setting, costs), style="dim"))
        parts += _picture(profile.setting, costs)
        parts += _whole_models(profile)
    else:
        parts.append(Text("no cost is known yet"))
    for name, model in _failed(profile):
        parts.append(Text(f"{name} failed: {model.failure}"))
    found = Table.grid(padding=(0, 1, 0, 0))
    for finding in profile_findings(profile):
        found.add_row("•", finding)
    return Group(*parts, found)


def _failed(profile: Profile) -> Iterator[tuple[str, ModelTimes]]:
    setting = profile.setting
    names = {
        probe.architecture: probe.part
        for probe in make_probes(setting.width, setting.layers, setting.kinds)
    }
    for model in (*profile.probes, *profile.models):
        if model.failure is not None:
            yield names.get(model.architecture, model.architecture.layout), model


def _cost_document(cost: OperatorCost) -> dict[str, Any]:
    return {
        "part": cost.part,
        "workload": str(cost.workload),
        "short_convolutions": _estimate_document(cost.ratio),
        "ms": _estimate_document(cost.ms),
    }


def _estimate_document(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _table(setting: Setting, costs: Sequence[OperatorCost], workloads: Sequence[Workload]) -> Table:
    titles = [_column(workload) for workload in workloads]
    grid = table("part", "M", *titles, left=("part",))
    cells = {(cost.part, cost.workload): cost for cost in costs}
    for probe in make_probes(setting.width, setting.layers, setting.kinds):
        found = [cells.get((probe.part, workload)) for workload in workloads]
        if any(found):
            grid.add_row(
                _name(probe),
                f"{part_parameters(probe) / 1e6:.3g}",
                *("-" if cost is None else _cell(cost.ratio) for cost in found),
            )
    return grid


def _column(workload: Workload) -> str:
    if workload.phase == "prefill":
        return f"prefill\nof {workload.tokens:,}"
    return f"decode\n@{workload.depth:,}"


def _name(probe: Probe) -> str:
    return f"{probe.letter or ' '} {probe.part}"


def _cell(ratio: Estimate) -> str:
    digits = 2 if ratio.value < 9.995 else 1
    if ratio.margin is None:
        return f"{ratio.value:.{digits}f}"
    if ratio.margin == 0:
        return f"{ratio.value:.0f}"
    return f"{ratio.value:.{digits}f} ±{ratio.margin:.{digits}f}"


def _unit(setting: Setting, costs: Sequence[OperatorCost]) -> str:
    first = costs[0].part
    each = [
        f"{number(cost.ms.value)} ms per prompt of {cost.workload.tokens:,} tokens"
        if cost.workload.phase == "prefill"
        else f"{number(cost.ms.value)} ms per token"
        for cost in costs
        if cost.part == first
    ]
    return (
        f"unit of cost: one layer of {first} ({', '.join(reversed(dict.fromkeys(each)))})\n"
        f"M: million parameters; feed-forward: {setting.width:,} channels; "
        f"vocabulary: {REPORTED_VOCABULARY:,} tokens\n"
        f"{HALF_WIDTH_LEGEND}\n"
        "parts without a key/value cache cost the same at any depth\n"
    )


def _whole_models(profile: Profile) -> Iterator[RenderableType]:
    known = additivity(profile)
    if not known:
        return
    workloads = list(dict.fromkeys(each.workload for each in known))
    titles = map(_column, workloads)
    grid = table("sum of parts / measured", "M", *titles, left=("sum of parts / measured",))
    cells = {(each.architecture, each.workload): _cell(each.ratio) for each in known}
    for architecture in dict.fromkeys(each.architecture for each in known):
        grid.add_row(
            layout_strip(architecture.layout),
            f"{parameter_counts(architecture).total / 1e6:.3g}",
            *(cells.get((architecture, workload), "-") for workload in workloads),
        )
    yield grid


def _picture(setting: Setting, costs: Sequence[OperatorCost]) -> Iterator[Text]:
    """Plot costs against depth, with straight lines between the depths that were timed."""
    marks: list[Mark] = []
    dots: list[Mark] = []
    kinds: set[str] = set()
    for probe in make_probes(setting.width, setting.layers, setting.kinds):
        # Only the first of each kind, because those of other kernels would cover each other.
        if probe.letter in kinds or probe.letter is None:
            continue
        kinds.add(probe.letter)
        line = [
            (cost.workload.depth, cost.ratio.value)
            for cost in costs
            if cost.part == probe.part and cost.workload.phase == "decode"
        ]
        for (left, before), (right, after) in pairwise(line):
            for step in range(1, _DOTS):
                x = left * (right / left) ** (step / _DOTS)
                fraction = (x - left) / (right - left)
                dots.append(Mark(x=x, y=before + fraction * (after - before), symbol="·"))
        marks += [Mark(x=depth, y=ratio, symbol=probe.letter) for depth, ratio in line]
    if len({mark.x for mark in marks}) > 1:
        yield Text(
            scatter(
                [*dots, *marks],
                x_title="context depth, tokens",
                y_title="cost of a layer in decoding, in short convolutions",
                rows=14,
            )
        )
