"""The times, ratios and memory of measured models as tables, and as a JSON document."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.calibration import BETWEEN_TIMES, WIDEST_SETTLED
from hardware.measurement import Disturbance, Interval, Measurement, Phase
from nas.findings.wording import (
    PROVISIONAL,
    duration,
    half_or_ends,
    joined,
    marked,
    megabytes,
    number,
    percent,
)
from nas.inputs.model_argument import ModelFile
from nas.views.terminal import HALF_WIDTH_LEGEND, table
from nas.workflows.comparison import Comparison, Result, results_of

# Less load than this, as a fraction of the cores' time or of the samples or in cores, is normal on
# any machine.
_REPORTED_FRACTION = 0.02
_REPORTED_CORES = 0.2
# Without any other process, observing the load before each model takes 0.2 s.
_REPORTED_WAIT_S = 5.0
# Beyond this factor between their times, two models are of different size classes.
_SIZE_CLASS = 2.0
_PHASES: tuple[Phase, ...] = ("decode", "prefill")


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the document that `nas measure --json` prints: every sample, and the results."""
    reference = comparison.reference
    return {
        "reference": None if reference is None else reference.name,
        "precision": min(timing_budget.precision for timing_budget in comparison.timing_budgets),
        "waited_s": comparison.waited_s,
        "results": [_result_document(result, comparison) for result in results_of(comparison)],
        "failures": [
            {"model": failure.model.name, "reason": failure.reason}
            for failure in comparison.failures
        ],
    }


def comparison_view(comparison: Comparison, *, is_explained: bool = True) -> RenderableType:
    """Return the tables and remarks of a comparison in which at least one model was measured.

    Args:
        comparison: The comparison.
        is_explained: Whether the columns are explained, and not only the conditions named.
    """
    results = results_of(comparison)
    parts: list[RenderableType] = [_times(results), _memory(results)]
    parts += [Text(line) for line in _remarks(results, comparison)]
    parts.append(Text(_conditions(results, comparison), style="dim"))
    if is_explained:
        parts += [Text(line, style="dim") for line in _legend(results, comparison)]
    return Group(*parts)


def _result_document(result: Result, comparison: Comparison) -> dict[str, Any]:
    built = not isinstance(result.model.source, ModelFile)
    p50_low_ms, p50_high_ms = _bounds(result.interval)
    p95_low_ms, p95_high_ms = _bounds(result.p95_interval)
    return {
        "model": result.model.name,
        "workload": str(result.workload),
        "quantization": comparison.quantization if built else None,
        "tokens_per_second": result.tokens_per_second,
        "p50_ms": result.p50_ms,
        "p50_low_ms": p50_low_ms,
        "p50_high_ms": p50_high_ms,
        "p95_ms": result.p95_ms,
        "p95_low_ms": p95_low_ms,
        "p95_high_ms": p95_high_ms,
        "ratio": _ratio_document(result),
        "settled": None if result.is_reference else not result.provisional,
        "provisional": result.provisional,
        "measurements": [_measurement_document(each) for each in result.measurements],
    }


def _ratio_document(result: Result) -> dict[str, float | None] | None:
    if result.ratio is None:
        return None
    low, high = _bounds(result.ratio.interval)
    return {"value": result.ratio.value, "low": low, "high": high}


def _bounds(interval: Interval | None) -> tuple[float, float] | tuple[None, None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _measurement_document(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement with its samples grouped by window, and that of the reference model."""
    document = asdict(measurement) | {
        "workload": str(measurement.workload),
        "windows_ns": _windows(measurement.samples_ns, measurement),
        "windows_waited_ns": None
        if measurement.waited_ns is None
        else _windows(measurement.waited_ns, measurement),
        "waiting_share": measurement.waiting_share,
        "disturbed_share": measurement.disturbed_share,
        "environment_before": asdict(measurement.environment),
    }
    for replaced in ("samples_ns", "waited_ns", "window", "environment"):
        del document[replaced]
    if measurement.reference is not None:
        document["reference"] = _measurement_document(measurement.reference)
    return document


def _windows(values: Sequence[int], measurement: Measurement) -> list[Sequence[int]]:
    size = measurement.window or 1
    return [values[start : start + size] for start in range(0, len(values), size)]


def _times(results: Sequence[Result]) -> Table:
    """Return the times, with a line between workloads."""
    paired = any(result.ratio is not None for result in results)
    repeated = _are_repeated(results)
    grid = table(
        *("workload", "model", "tokens/s", "p50 ms", "±", "p95 ms"),
        *(("ratio", "±") if paired else ()),
        *(("runs",) if repeated else ()),
        left=("workload", "model"),
        fold=("model", "±"),
    )
    shown = None
    for result in results:
        if shown not in (None, result.workload):
            grid.add_section()
        ratio, p50_ms = result.ratio, result.p50_ms
        cells = [
            f"{result.tokens_per_second:,.1f}",
            marked(number(p50_ms), is_provisional=result.provisional),
            _interval_text(p50_ms, result.interval),
            marked(number(result.p95_ms), is_provisional=result.p95_interval is None),
        ]
        if ratio is not None:
            cells.append(number(ratio.value))
            cells.append(_interval_text(ratio.value, ratio.interval))
        elif paired:
            cells += ["1", ""]
        if repeated:
            cells.append(str(len(result.measurements)))
        name = "" if result.workload == shown else str(result.workload)
        grid.add_row(name, result.model.name, *cells)
        shown = result.workload
    return grid


def _are_repeated(results: Sequence[Result]) -> bool:
    """Return whether a model was measured more than once; the reference model usually is."""
    return any(len(each.measurements) > 1 for each in results if not each.is_reference)


def _interval_text(value: float, interval: Interval | None) -> str:
    """Return half the width of an interval, or its ends if it is lopsided; nothing if unknown."""
    if interval is None:
        return ""
    return half_or_ends(value, interval.low, interval.high).removeprefix("±")


def _memory(results: Sequence[Result]) -> Table:
    measurements: dict[str, list[Measurement]] = {}
    for result in results:
        # The reference's first one, because a process often keeps memory that it no longer uses.
        measurements.setdefault(result.model.name, []).append(result.measurements[0])
    several = len({result.measurements[0].runtime for result in results}) > 1
    phases = [phase for phase in _PHASES if any(r.workload.phase == phase for r in results)]
    grid = table(
        *("model", *(["runtime"] if several else []), "file MB", "peak MB"),
        *(f"{phase} MB" for phase in phases),
        left=("model", "runtime"),
        fold=("model",),
    )
    for name, found in measurements.items():
        grid.add_row(
            name,
            *([found[0].runtime] if several else []),
            megabytes(_known(found[0].model_bytes)),
            megabytes(max(m.peak_memory_bytes - _known(m.empty_memory_bytes) for m in found)),
            *(megabytes(_apart_bytes(found, phase)) for phase in phases),
        )
    return grid


def _apart_bytes(measurements: Sequence[Measurement], phase: Phase) -> int:
    """Return the peak memory of a phase in addition to that of the loaded model."""
    return max(
        max(0, each.peak_memory_bytes - _known(each.loaded_memory_bytes))
        for each in measurements
        if each.workload.phase == phase
    )


def _known(count: int | None) -> int:
    assert count is not None, "runners record the memory of every measurement"
    return count


def _remarks(results: Sequence[Result], comparison: Comparison) -> Iterator[str]:
    yield from _marks(results, comparison)
    reference = comparison.reference
    if any(_is_other_size(result) for result in results):
        assert reference is not None
        yield (
            f"some models take more than twice or less than half the time of {reference.name}: "
            "times of models of such different sizes vary independently, which the intervals "
            "include; name a reference nearer in size with --against"
        )
    if comparison.waited_s >= _REPORTED_WAIT_S:
        yield f"waited {duration(comparison.waited_s)} for a quiet machine"
    yield from comparison.remarks
    measurements = [measurement for result in results for measurement in result.measurements]
    yield from _waiting(measurements)
    disturbances = [each.disturbance for each in measurements if each.disturbance is not None]
    loads = list(_loads(disturbances)) if disturbances else []
    if loads:
        yield f"disturbed: {joined(loads)}"


def _marks(results: Sequence[Result], comparison: Comparison) -> Iterator[str]:
    """Explain what is marked, and what would help."""
    models = [result for result in results if not result.is_reference]
    if any(result.provisional for result in models):
        precision = min(timing_budget.precision for timing_budget in comparison.timing_budgets)
        what = "the ratio"
        if comparison.reference is None:
            what = "this measurement, without the scatter between quiet moments,"
        yield (
            f"{PROVISIONAL}: the confidence interval of {what} is unknown or wider than the "
            f"requested ±{100 * precision:g} %; increase --seconds or measure on a quieter machine"
        )
    if any(result.provisional for result in results if result.is_reference):
        assert comparison.reference is not None
        yield (
            f"{PROVISIONAL} at {comparison.reference.name}: its own time is uncertain by more than "
            f"±{100 * WIDEST_SETTLED:.0f} %, and so are all times in ms, but not the ratios"
        )
    if any(result.p95_interval is None for result in results):
        yield (
            f"{PROVISIONAL} at a p95: it has no confidence interval, because its windows have too "
            "few samples"
        )


def _is_other_size(result: Result) -> bool:
    ratio = result.ratio
    return ratio is not None and abs(math.log(ratio.value)) > math.log(_SIZE_CLASS)


def _waiting(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Describe how far the models waited for a core."""
    shares = [each.disturbed_share for each in measurements]
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        yield (
            "this system does not report how long a model waits for a core, so the times include "
            "what other programs took from it"
        )
    if known and max(known) > _REPORTED_FRACTION:
        yield (
            f"disturbed: up to {percent(max(known))} of the samples waited for a core; their "
            "waiting time is left out"
        )


def _loads(disturbances: Sequence[Disturbance]) -> Iterator[str]:
    """Describe the largest load of each kind."""
    others = max(each.beside for each in disturbances)
    if others >= _REPORTED_FRACTION:
        yield f"other processes used up to {percent(others)} of the measuring cores' time"
    steal = max(each.steal for each in disturbances)
    if steal >= _REPORTED_FRACTION:
        yield f"the hypervisor took up to {percent(steal)} of the measuring cores' time"
    elsewhere = max(each.elsewhere for each in disturbances)
    if elsewhere >= _REPORTED_CORES:
        yield f"up to {elsewhere:.1f} other cores were busy"
    throttled = max(each.throttled for each in disturbances)
    if throttled:
        yield (
            f"up to {percent(throttled)} of the windows were left out, because the clock of the "
            "cores had fallen"
        )


def _conditions(results: Sequence[Result], comparison: Comparison) -> str:
    measurement = results[0].measurements[0]
    environment = measurement.environment
    threads = "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"
    cores = ", ".join(map(str, measurement.cores))
    pinned = f" on core{'s' if len(measurement.cores) > 1 else ''} {cores}" if cores else ""
    built = any(not isinstance(result.model.source, ModelFile) for result in results)
    files = any(isinstance(result.model.source, ModelFile) for result in results)
    weights = f"{comparison.quantization} weights, " if built else ""
    weights += "model files as they are, " if files else ""
    versions = {result.measurements[0].environment.runtime_version for result in results}
    return (
        f"{weights}{threads}{pinned}; {environment.cpu}, {environment.cores} cores; "
        f"{', '.join(sorted(versions))}"
    )


def _legend(results: Sequence[Result], comparison: Comparison) -> Iterator[str]:
    reference = comparison.reference
    of_what = "ms per prompt (pp) or per token (tg), without the time spent waiting for a core"
    ends = f"{HALF_WIDTH_LEGEND}, or its ends if it is lopsided"
    if reference is None:
        yield (
            f"{of_what}; {ends}; it includes the scatter between quiet moments (standard deviation "
            f"{100 * BETWEEN_TIMES:g} %), which cancels in the ratio to a second model"
        )
    else:
        yield (
            f"{of_what}: the ratio to {reference.name} (measured interleaved), multiplied by the "
            f"time of that model; {ends}; that of a ratio covers other runs of the same models, "
            f"and that of a time also covers the error of the time of {reference.name}"
        )
    if _are_repeated(results):
        yield "runs: how often a model was loaded and measured; all of them count"
    if any(result.measurements[0].runtime == "llama.cpp" for result in results):
        yield "llama.cpp reports means over 8 tokens; its p95 is the 95th percentile of these means"
    yield (
        "peak MB: peak memory of the process minus its memory before loading the model; "
        "decode MB, prefill MB: memory for caches and activations in that phase, in addition to "
        "the loaded model, which takes more than its file, because the runtime repacks the weights "
        "and loads its own code"
    )
