"""Tests of the tables, the remarks and the JSON document of a comparison."""

import json
from dataclasses import replace

import pytest

from hardware.environment import Environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable
from nas.views.comparison_view import comparison_document, comparison_view
from nas.workflows.comparison import Comparison, Failure, Measured
from tests.search_space.strategies import CORNERS

ENVIRONMENT = Environment(
    host="board",
    system="Linux",
    cpu="AMD EPYC 9R14 of a rather long name",
    cores=2,
    memory_bytes=2**33,
    python="3.11",
    runtime_version="onnxruntime 1.32.0",
    governor=None,
    clock_mhz=None,
    temperature_c=None,
    load_1min=None,
)
NAMES = ("lfm2.5-230m", "edge-350m-12", "folder/of/some/length/winner.json")
REFERENCE, MODEL, OTHER = (Measurable(name=name, source=CORNERS["one layer"]) for name in NAMES)


def measurement(workload: str, *samples_ms: float, **changes: object) -> Measurement:
    alone = Measurement(
        workload=parse_workload(workload),
        runtime="onnxruntime",
        threads=1,
        cores=(1,),
        samples_ns=tuple(round(1e6 * sample) for sample in samples_ms),
        warmup_ns=(),
        load_ns=1,
        peak_memory_bytes=500_000_000,
        environment=ENVIRONMENT,
        window=1,
        empty_memory_bytes=40_000_000,
        loaded_memory_bytes=450_000_000,
        model_bytes=222_000_000,
        environment_after=ENVIRONMENT,
    )
    return replace(alone, **changes)


def paired(model: Measurable, ratio: float, **changes: object) -> Measured:
    """Make a model whose reference model has a median with an interval of about 0.5 %."""
    reference_ms = {"tg64@1024": (10.0, 10.1, 9.9) * 3, "pp512": (1820.0, 1830.0, 1810.0) * 3}
    return Measured(
        model=model,
        measurements=tuple(
            measurement(
                workload,
                *(ratio * each for each in known),
                reference=measurement(workload, *known),
                **changes,
            )
            for workload, known in reference_ms.items()
        ),
    )


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        timing_budgets=tuple(
            TimingBudget(workload=parse_workload(each)) for each in ("tg64@1024", "pp512")
        ),
        quantization="int4",
        reference=REFERENCE,
        measured=(paired(MODEL, 1.5), paired(OTHER, 2.0)),
        failures=(),
        waited_s=0.0,
    )


def test_the_tables_fit_80_columns(render, comparison: Comparison) -> None:
    shown = render(comparison_view(comparison))
    assert all(len(line) <= 80 for line in shown.splitlines())
    rows = [line.split() for line in shown.splitlines()]
    assert ["edge-350m-12", "66.7", "15.00", "0.00", "15.15", "1.500", "0.000"] in rows
    assert ["edge-350m-12", "222.0", "460.0", "50.0", "50.0"] in rows
    assert "AMD EPYC 9R14 of a rather long name, 2 cores; onnxruntime 1.32.0" in " ".join(
        shown.split()
    )


def test_one_model_alone_has_no_ratio(render, comparison: Comparison) -> None:
    alone = Measured(model=MODEL, measurements=(measurement("tg64@1024", *(10.0, 10.1) * 4),))
    shown = render(
        comparison_view(
            replace(
                comparison,
                timing_budgets=comparison.timing_budgets[:1],
                reference=None,
                measured=(alone,),
            )
        )
    )
    assert "ratio" not in shown
    assert "prefill" not in shown.partition("peak MB:")[0]
    assert "accounts only for drift during the measurement" in " ".join(shown.split())


def test_a_time_with_a_wide_interval_is_marked(render, comparison: Comparison) -> None:
    assert "~" not in render(comparison_view(comparison))
    (decode, prefill) = comparison.measured[0].measurements
    wild = replace(decode, samples_ns=tuple(10_000_000 + 3_000_000 * n for n in range(9)))
    unsure = replace(comparison.measured[0], measurements=(wild, prefill))
    shown = render(comparison_view(replace(comparison, measured=(unsure,))))
    assert shown.count("~") == 2
    assert "~: the confidence interval is wider than the requested ±2 %" in shown


def test_load_from_other_processes_is_reported_if_it_is_large(
    render, comparison: Comparison
) -> None:
    quiet = Disturbance(steal=0.01, beside=0.01, elsewhere=0.1)
    loud = Disturbance(steal=0.031, beside=0.124, elsewhere=1.5)
    measured = (paired(MODEL, 1.5, disturbance=quiet), paired(OTHER, 1.5, disturbance=quiet))
    assert "disturbed" not in render(comparison_view(replace(comparison, measured=measured)))
    measured = (paired(MODEL, 1.5, disturbance=loud), paired(OTHER, 1.5, disturbance=quiet))
    shown = render(comparison_view(replace(comparison, measured=measured, waited_s=41.2)))
    text = " ".join(shown.split())
    assert "waited 41 s for a quiet machine" in text
    assert (
        "disturbed: other processes used up to 12 % of the measuring cores' time, the hypervisor "
        "took up to 3.1 % of the measuring cores' time and up to 1.5 other cores were busy"
    ) in text


def test_two_runtimes_have_a_column(render, comparison: Comparison) -> None:
    other = replace(ENVIRONMENT, runtime_version="llama.cpp 0.5.0-dev (build 1, commit 0c1e570)")
    measured = (paired(MODEL, 1.5, runtime="llama.cpp", environment=other),)
    shown = render(comparison_view(replace(comparison, measured=measured)))
    rows = [line.split() for line in shown.splitlines()]
    assert ["edge-350m-12", "llama.cpp", "222.0", "460.0", "50.0", "50.0"] in rows
    assert "llama.cpp reports means over 8 tokens" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_document_has_the_windows_of_both_models_and_the_failures(
    comparison: Comparison,
) -> None:
    broken = Failure(model=OTHER, reason="out of memory: 40.0 GB are needed")
    comparison_with_failure = replace(
        comparison, measured=comparison.measured[:1], failures=(broken,), waited_s=3.0
    )
    document = json.loads(json.dumps(comparison_document(comparison_with_failure)))
    assert document["failures"] == [
        {"model": OTHER.name, "reason": "out of memory: 40.0 GB are needed"}
    ]
    model = document["results"][1]
    (measured,) = model["measurements"]
    assert model["model"] == MODEL.name
    assert model["ratio"]["value"] == pytest.approx(1.5)
    assert measured["windows_ns"][:2] == [[15_000_000], [15_150_000]]
    assert measured["reference"]["windows_ns"][:2] == [[10_000_000], [10_100_000]]
