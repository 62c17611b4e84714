"""Measuring named models for `nas measure`, and the rows that it prints."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from rich.console import Group, RenderableType
from rich.text import Text

from evaluators.evaluator import EvaluationFailed
from evaluators.latency import measure_architecture
from hardware.measurement import (
    Measurement,
    Workload,
    median_interval_ms,
    quantile_ms,
    tokens_per_second,
)
from hardware.runner import Runner
from nas.models import NamedModel
from nas.views.terminal import megabytes, notices, table
from search_space.costs import weight_bytes
from search_space.onnx_graph import GraphQuantization


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    model: NamedModel
    quantization: GraphQuantization
    measurement: Measurement


def measure_models(
    models: Sequence[NamedModel],
    runner: Runner,
    workloads: tuple[Workload, ...],
    quantization: str,
) -> list[MeasuredModel]:
    """Every workload of every model; ValueError for a model that could not be measured."""
    known = _known_quantization(quantization)
    rows: list[MeasuredModel] = []
    with notices().status("") as status:
        for index, model in enumerate(models, start=1):
            wanted = ", ".join(map(str, workloads))
            status.update(f"measuring {model.name} ({index} of {len(models)}): {wanted}")
            try:
                results = measure_architecture(runner, model.architecture, known, workloads)
            except EvaluationFailed as failure:
                raise ValueError(f"{model.name}: {failure}") from failure
            rows += [
                MeasuredModel(model=model, quantization=known, measurement=result)
                for result in results
            ]
    return rows


def measurement_documents(rows: Sequence[MeasuredModel]) -> list[dict[str, Any]]:
    """What `nas measure --json` prints: every sample, and what follows from them."""
    return [
        {
            "model": row.model.name,
            "workload": str(row.measurement.workload),
            "quantization": row.quantization,
            "runtime": row.measurement.runtime,
            "threads": row.measurement.threads,
            "p50_ms": quantile_ms(row.measurement, 0.5),
            "p95_ms": quantile_ms(row.measurement, 0.95),
            "tokens_per_second": tokens_per_second(row.measurement),
            "samples_ns": row.measurement.samples_ns,
            "warmup_ns": row.measurement.warmup_ns,
            "load_ns": row.measurement.load_ns,
            "peak_memory_bytes": row.measurement.peak_memory_bytes,
            "cores": row.measurement.cores,
            "environment": asdict(row.measurement.environment),
        }
        for row in rows
    ]


def measurement_table(rows: Sequence[MeasuredModel]) -> RenderableType:
    grid = table(
        "model",
        "weights MB",
        "workload",
        "tokens/s",
        "p50 ms",
        "±",
        "p95 ms",
        "peak MB",
        left=("model", "workload"),
    )
    for row in rows:
        measurement = row.measurement
        grid.add_row(
            row.model.name,
            megabytes(weight_bytes(row.model.architecture, row.quantization)),
            str(measurement.workload),
            f"{tokens_per_second(measurement):,.1f}",
            f"{quantile_ms(measurement, 0.5):,.2f}",
            f"{_half_spread_ms(measurement):.2g}",
            f"{quantile_ms(measurement, 0.95):,.2f}",
            megabytes(measurement.peak_memory_bytes),
        )
    return Group(grid, Text(_circumstances(rows[0]), style="dim"))


def _half_spread_ms(measurement: Measurement) -> float:
    interval = median_interval_ms(measurement)
    if interval is not None:
        return (interval.high - interval.low) / 2
    return (max(measurement.samples_ns) - min(measurement.samples_ns)) / 2e6


def _circumstances(row: MeasuredModel) -> str:
    measurement, environment = row.measurement, row.measurement.environment
    threads = "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"
    cores = ", ".join(map(str, measurement.cores))
    pinned = f" on core{'s' if len(measurement.cores) > 1 else ''} {cores}" if cores else ""
    return (
        f"{row.quantization} weights, {measurement.runtime}, {threads}{pinned}; {environment.cpu}, "
        f"{environment.cores} cores, {environment.runtime_version}\n"
        "ms a prompt (pp) or a token (tg); ±: half the 95 % interval of the median, or half the "
        "range of fewer than six samples\n"
        "peak MB: most memory of the measuring process, interpreter included"
    )


def _known_quantization(text: str) -> GraphQuantization:
    for known in get_args(GraphQuantization):
        if text == known:
            quantization: GraphQuantization = known
            return quantization
    raise ValueError(
        f"quantization: '{text}' is not one of {', '.join(get_args(GraphQuantization))}"
    )
