"""Tests of the sentences that compare the devices of a study."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from scipy.stats import spearmanr

from evaluators.scores import make_score
from nas.findings.device_findings import device_findings
from studies.records import ModelSummary, Outcome, Trial
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, Target
from tests.studies.fakes import small_spec
from tests.studies.owners import OWNER

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def spec_of(*objectives: str) -> StudySpec:
    return small_spec(
        "sqlite:///nas.db",
        objectives=tuple(Objective(name=name) for name in objectives),
        target=Target(devices=("one", "two")),
    )


def trials_of(columns: dict[str, Sequence[float]], provisional: Sequence[int] = ()) -> list[Trial]:
    """Return complete candidates with these scores; those of some are provisional."""
    count = len(next(iter(columns.values())))
    return [
        Trial(
            id=number,
            study="small",
            kind="candidate",
            number=number,
            reference=None,
            model=ModelSummary(hash=f"{number:016x}", layout="ca" * (number + 1), parameters=10**6),
            optuna_number=number,
            owner=OWNER,
            stage=None,
            progress=None,
            outcome=Outcome(state="complete"),
            duplicate_of=None,
            stages=(),
            scores=tuple(
                _score(name, values[number], is_provisional=number in provisional)
                for name, values in columns.items()
            ),
            curve=(),
            started_at=NOW,
            ended_at=NOW,
        )
        for number in range(count)
    ]


def _score(name: str, value: float, *, is_provisional: bool):
    from dataclasses import replace

    return replace(make_score(name, value), provisional=is_provisional)


ONE = [1.0, 2.0, 3.0, 4.0, 5.0]
TWO = [2.0, 4.1, 3.0, 8.0, 10.0]


def test_two_devices_are_compared_by_rank_and_by_the_candidates_that_differ() -> None:
    spec = spec_of("loss", "decode@one", "decode@two")
    columns = {"loss": ONE, "decode@one": ONE, "decode@two": TWO}
    correlation, slow = device_findings(spec, trials_of(columns))
    expected = spearmanr(ONE, TWO).statistic
    assert f"rank 5 candidates with a Spearman correlation of {expected:.2f} (95 %" in correlation
    assert correlation.startswith("decode@one and decode@two rank")
    # The median ratio is 1 to 2, and trial 2 has 1 to 1.
    assert slow == (
        "Relatively slow in decode@one: trial 2 (cacaca), whose ratio to decode@two is 2.000 times "
        "above the median."
    )


def test_a_candidate_that_is_faster_is_named_too() -> None:
    spec = spec_of("loss", "decode", "decode@two")
    columns = {"decode": [1.0, 2.0, 1.5], "decode@two": [2.0, 4.0, 6.0]}
    _, fast = device_findings(spec, trials_of(columns))
    assert fast.startswith("Relatively fast in decode: trial 2 (cacaca), whose ratio to decode@two")
    assert fast.endswith("is 2.000 times below the median.")


def test_devices_that_agree_have_no_such_candidates() -> None:
    spec = spec_of("loss", "decode@one", "decode@two")
    columns = {"decode@one": ONE, "decode@two": [3.0 * each for each in ONE]}
    (correlation,) = device_findings(spec, trials_of(columns))
    assert "correlation of 1.00" in correlation


@pytest.mark.parametrize(
    ("objectives", "provisional", "count"),
    [
        (("loss", "decode@one", "prefill@two"), (), 0),  # different times
        (("loss", "memory@one", "memory@two"), (), 0),  # no times
        (("loss", "decode@one", "decode@two"), (0, 1, 2), 0),  # two are left
        (("loss", "decode@one", "decode@two", "decode"), (), 3),
    ],
)
def test_what_is_compared(
    objectives: tuple[str, ...], provisional: Sequence[int], count: int
) -> None:
    spec = spec_of(*objectives)
    columns = dict.fromkeys(objectives, ONE)
    assert len([*device_findings(spec, trials_of(columns, provisional))]) == count


def test_candidates_without_one_of_the_times_are_left_out() -> None:
    spec = spec_of("loss", "decode@one", "decode@two")
    both = trials_of({"decode@one": ONE[:3], "decode@two": TWO[:3]})
    one_only = trials_of({"decode@one": ONE})
    (correlation, *_) = device_findings(spec, [*both, *one_only])
    assert "rank 3 candidates" in correlation


def test_equal_times_have_no_ranks() -> None:
    spec = spec_of("loss", "decode@one", "decode@two")
    columns = {"decode@one": [1.0, 1.0, 1.0], "decode@two": [1.0, 1.0, 1.0]}
    assert [*device_findings(spec, trials_of(columns))] == []
