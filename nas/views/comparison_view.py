"""The times, ratios and memory of measured models as tables, and as a JSON document."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hardware.measurement import Disturbance, Measurement, Phase
from nas.findings.wording import duration, joined, megabytes, percent
from nas.inputs.model_argument import ModelFile
from nas.views.terminal import HALF_WIDTH_LEGEND, UNSETTLED, table, unsettled_legend
from nas.workflows.comparison import Comparison, Result, results_of

# Less load than this, as a fraction of the cores' time or in cores, is normal on any machine.
_REPORTED_FRACTION = 0.02
_REPORTED_CORES = 0.2
_REPORTED_WAIT_S = 1.0
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


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return the tables and remarks of a comparison in which at least one model was measured."""
    results = results_of(comparison)
    parts: list[RenderableType] = [_times(results), _memory(results)]
    parts += [Text(line) for line in _remarks(results, comparison)]
    parts += [Text(line, style="dim") for line in _legend(results, comparison)]
    return Group(*parts)


def _result_document(result: Result, comparison: Comparison) -> dict[str, Any]:
    built = not isinstance(result.model.source, ModelFile)
    return {
        "model": result.model.name,
        "workload": str(result.workload),
        "quantization": comparison.quantization if built else None,
        "tokens_per_second": result.tokens_per_second,
        "p50_ms": result.p50_ms,
        "p50_low_ms": None if result.interval is None else result.interval.low,
        "p50_high_ms": None if result.interval is None else result.interval.high,
        "p95_ms": result.p95_ms,
        "ratio": None if result.ratio is None else asdict(result.ratio),
        "settled": result.settled,
        "measurements": [
            _measurement_document(measurement, comparison) for measurement in result.measurements
        ],
    }


def _measurement_document(measurement: Measurement, comparison: Comparison) -> dict[str, Any]:
    """Return a measurement with its samples grouped by window, and that of the reference model."""
    size = measurement.window or 1
    samples_ns = measurement.samples_ns
    document = asdict(measurement) | {
        "workload": str(measurement.workload),
        "windows_ns": [
            samples_ns[start : start + size] for start in range(0, len(samples_ns), size)
        ],
        "environment_before": asdict(measurement.environment),
    }
    for replaced in ("samples_ns", "window", "environment"):
        del document[replaced]
    if measurement.disturbance is not None:
        document["disturbance"]["waited_s"] = comparison.waited_s
    if measurement.reference is not None:
        document["reference"] = _measurement_document(measurement.reference, comparison)
    return document


def _times(results: Sequence[Result]) -> Table:
    """Return the times, with a line between workloads."""
    paired = any(result.ratio is not None for result in results)
    grid = table(
        *("workload", "model", "tokens/s", "p50 ms", "±", "p95 ms"),
        *(("ratio", "±") if paired else ()),
        left=("workload", "model"),
        fold=("model",),
    )
    shown = None
    for result in results:
        if shown not in (None, result.workload):
            grid.add_section()
        interval = result.interval
        half_ms = None if interval is None else (interval.high - interval.low) / 2
        grid.add_row(
            "" if result.workload == shown else str(result.workload),
            result.model.name,
            f"{result.tokens_per_second:,.1f}",
            (UNSETTLED if result.settled is False else "") + _ms(result.p50_ms, result.p50_ms),
            "" if half_ms is None else _ms(half_ms, result.p50_ms),
            _ms(result.p95_ms, result.p50_ms),
            *(_ratio_cells(result) if paired else ()),
        )
        shown = result.workload
    return grid


def _ratio_cells(result: Result) -> tuple[str, str]:
    ratio = result.ratio
    if ratio is None:
        return "1", ""
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f}", ""
    return f"{ratio.value:.3f}", f"{(ratio.high - ratio.low) / 2:.3f}"


def _ms(value: float, whole: float) -> str:
    """Format a time in ms with as many decimals as give `whole` about four digits."""
    return f"{value:,.{3 if whole < 10 else 2 if whole < 100 else 1}f}"


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
    if any(result.settled is False for result in results):
        precision = min(timing_budget.precision for timing_budget in comparison.timing_budgets)
        yield f"{unsettled_legend(precision)}; increase --seconds to narrow it"
    if comparison.waited_s >= _REPORTED_WAIT_S:
        yield f"waited {duration(comparison.waited_s)} for a quiet machine"
    disturbances = [
        measurement.disturbance
        for result in results
        for measurement in result.measurements
        if measurement.disturbance is not None
    ]
    loads = list(_loads(disturbances)) if disturbances else []
    if loads:
        yield f"disturbed: {joined(loads)}"


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


def _legend(results: Sequence[Result], comparison: Comparison) -> Iterator[str]:
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
    yield (
        f"{weights}{threads}{pinned}; {environment.cpu}, {environment.cores} cores; "
        f"{', '.join(sorted(versions))}"
    )
    reference = comparison.reference
    if reference is None:
        yield (
            f"ms per prompt (pp) or per token (tg); {HALF_WIDTH_LEGEND} of the median, which "
            "accounts only for drift during the measurement"
        )
    else:
        yield (
            "ms per prompt (pp) or per token (tg): the ratio to "
            f"{reference.name} (measured interleaved), multiplied by the time of that model; "
            f"{HALF_WIDTH_LEGEND} of the ratio (for {reference.name}, of its own median)"
        )
    if any(result.measurements[0].runtime == "llama.cpp" for result in results):
        yield "llama.cpp reports means over 8 tokens; its p95 is the 95th percentile of these means"
    yield (
        "peak MB: peak memory of the process minus its memory before loading the model; "
        "decode MB, prefill MB: memory for caches and activations in that phase, in addition to "
        "the loaded model"
    )
