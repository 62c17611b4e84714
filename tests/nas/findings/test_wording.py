"""Tests of the formats of values with confidence intervals."""

import pytest

from nas.findings.time_wording import workload_legend
from nas.findings.wording import half_or_ends, marked, trials_of, value_text


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (10.0, 9.98, 10.02, "10.00 ±0.020"),
        (1_234.0, 1_231.0, 1_237.0, "1,234 ±3.0"),
        (1_234.0, 1_224.03, 1_243.97, "1,234 ±10"),
        (10.0, 10.0, 10.0, "10.00 ±0"),
        # ±10 % on a log scale is nearly symmetric; ±30 % is not.
        (100.0, 90.48, 110.52, "100.0 ±10"),
        (100.0, 74.08, 134.99, "100.0 (74.08 to 135.0)"),
        (0.571, 0.48, 1.33, "0.5710 (0.4800 to 1.330)"),
        # The value may be outside of the interval of another estimate.
        (5.0, 5.5, 6.0, "5.000 (5.500 to 6.000)"),
        (2_000.0, 1_880.0, 2_120.0, "2,000 ±120"),
        (3.0, None, None, "3.000"),
    ],
)
def test_an_interval_is_half_its_width_or_its_ends(
    value: float, low: float | None, high: float | None, shown: str
) -> None:
    assert value_text(value, low, high) == shown


def test_an_interval_alone_has_no_parentheses() -> None:
    assert half_or_ends(1.1, 1.02, 1.33) == "1.020 to 1.330"
    assert half_or_ends(1.1, 1.09, 1.11) == "±0.010"


def test_only_provisional_values_are_marked() -> None:
    assert marked("10.00 ±0.02", is_provisional=True) == "~10.00 ±0.02"
    assert marked("10.00 ±0.02", is_provisional=False) == "10.00 ±0.02"


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(3, 10, "3 of 10 trials"), (2, 2, "2 of 2 trials"), (4, 2, "4 trials (2 requested)")],
)
def test_trials_are_counted_out_of_those_requested(done: int, total: int, shown: str) -> None:
    assert trials_of(done, total) == shown


def test_workloads_are_explained_once_each() -> None:
    (line,) = workload_legend(["tg64@256", "pp128", "tg64@256", "tg8"])
    assert line == (
        "tg64@256: generates 64 tokens after 256 others; pp128: reads a prompt of 128 tokens; "
        "tg8: generates 8 tokens"
    )
    assert list(workload_legend([])) == []
