"""What longer trainings say, in a table and in sentences that quote the figures."""

from dataclasses import replace

import pytest

from evaluators.evaluator import Score
from nas.findings.confirmation_findings import probability_text, trust_findings, trust_line
from nas.views.confirmation_view import confirmation_document, confirmation_view
from studies.analysis.summaries import Axis, Front
from studies.confirmation.confirmation_results import Confirmation, ConfirmedCandidate
from studies.confirmation.confirmation_statistics import Noise, RankCorrelation


@pytest.fixture
def front(make_trial, spec) -> Front:
    names = {
        "loss": "bits/byte",
        "decode": "ms/token",
        "recall_error": "wrong",
        "task": "bits/byte",
    }
    return Front(
        study="small",
        spec=spec,
        axes=tuple(Axis(name=name, unit=unit, max=None) for name, unit in names.items()),
        members=(),
        dominated=(),
        infeasible=(),
        references=(),
        knee=None,
        reference_point=(),
        hypervolume=0.0,
    )


@pytest.fixture
def confirmation(make_trial) -> Confirmation:
    """Two of the front that are ties, one apart, and a runner-up whose long training diverged."""

    def confirmed(
        number: int, long: float | None, share: float | None, *failures: str
    ) -> ConfirmedCandidate:
        decode = Score(name="decode", value=20.2, unit="ms/token")
        return ConfirmedCandidate(
            trial=make_trial(number, loss=1.25, decode=20.0, recall_error=0.5, task=1.5),
            on_front=number < 100,
            fresh={5: 1.26, 6: 1.27},
            long=long,
            remeasured={"decode": decode},
            failures=failures,
            probability=share,
        )

    return Confirmation(
        study="small",
        short_tokens=400_000,
        inherited=False,
        not_retrained=(),
        long_tokens=1_600_000,
        candidates=(
            confirmed(7, 1.100, 0.999),
            confirmed(9, 1.101, 0.62),
            confirmed(4, 1.200, 1.0),
            confirmed(117, 1.300, 0.2),
            confirmed(118, None, None, "training with seed 1 on 1,600,000 tokens: diverged, nan"),
        ),
        under_way=0,
        noise=Noise(sd=0.006, low=0.004, high=0.0101, degrees=7),
        by_short_loss=RankCorrelation(value=0.93, low=0.7, high=0.99, count=4),
        by_parameters=RankCorrelation(value=0.4, low=-0.4, high=0.9, count=4),
        by_non_embedding=RankCorrelation(value=0.55, low=-0.2, high=0.9, count=4),
        ceiling=0.97,
        gap=0.02,
    )


def test_32_layers_and_four_objectives_fit_80_columns(confirmation, front, render) -> None:
    shown = render(confirmation_view(confirmation, front))
    for whole in ("117", "1.100", "1.265", "20.20", "400 k", "1.6 M", ">99%", "62%", "–"):
        assert whole in shown
    assert "caca" in shown  # of the layout, what is left of the line


def test_inherited_losses_are_not_told_as_those_of_short_trainings(
    confirmation, front, render
) -> None:
    shared = replace(confirmation, inherited=True)
    said = " ".join(trust_findings(shared))
    assert "losses inherited from the shared network rank 4 candidates" in said
    assert "losses after 400,000" not in said
    assert "shared" in render(confirmation_view(shared, front))


def test_objectives_of_trainings_that_are_not_repeated_are_named(confirmation) -> None:
    said = trust_findings(replace(confirmation, not_retrained=("task", "recall_error")))
    assert any(each.startswith("For that, task and recall_error count as") for each in said)
    assert not any("For that" in each for each in trust_findings(confirmation))


def test_a_task_of_long_trainings_is_told_as_one(confirmation, front, render) -> None:
    task = {"task": Score(name="task", value=1.0, unit="bits/byte", low=0.9, high=1.1)}
    candidates = tuple(
        replace(each, remeasured={**each.remeasured, **task}) for each in confirmation.candidates
    )
    said = list(trust_findings(replace(confirmation, candidates=candidates)))
    assert (
        "For that, task counts as the long trainings found it, as noisy as among the short ones, "
        "and drawn apart from the loss."
    ) in said
    (times,) = [each for each in said if each.startswith("Measured anew")]
    assert "task" not in times  # it is of another length
    partly = replace(confirmation, candidates=(*candidates[:-1], confirmation.candidates[-1]))
    lines = render(confirmation_view(partly, front)).splitlines()
    (last,) = [line.split() for line in lines if line.strip().startswith("118 behind")]
    assert "1.500" in last  # of the study's own training, as for all others
    assert last[-2] == "–"
    (first,) = [line.split() for line in lines if line.strip().startswith("7 ")]
    assert "1.500" in first
    assert first[-2] == "1.000"


def test_what_is_assumed_of_the_long_trainings_is_said_beside_the_noise(confirmation) -> None:
    said = list(trust_findings(confirmation))
    assert said[0].startswith("Seed noise of trainings on 400,000 tokens: 0.006 bits/byte (sd; ")
    assert said[1] == (
        "Each candidate has one long training, which tells nothing of its own seed noise: what "
        "follows takes it to be that of the short ones."
    )


def test_every_figure_is_quoted_with_its_interval(confirmation) -> None:
    said = list(trust_findings(confirmation))
    assert any("0.006 bits/byte (sd; 95 %: 0.004 to 0.01; 7 degrees" in each for each in said)
    (ranks,) = [each for each in said if "Spearman 0.93 (95 %: 0.70 to 0.99)" in each]
    assert "after 400,000 tokens rank 4 candidates as those after 1,600,000" in ranks
    assert "with such seed noise a faultless score comes to 0.97" in ranks
    (plain,) = [each for each in said if "non-embedding parameters 0.55 (95 %:" in each]
    assert "as well as" not in plain
    (ties,) = [each for each in said if "are ties" in each]
    assert "less than 0.02" in ties
    assert "Of 3 pairs on the front 2 can be told apart" in ties
    assert "Not distinguishable by loss: trials 7 and 9." in said
    assert "Doubtful: trial 9 (62%)." in said
    assert "Runners-up that may belong on the front: trial 117 (20%)." in said
    assert any(each.startswith("Trial 118 failed in its training with seed 1") for each in said)
    assert any("decode 1.0% (at most 1.0%)" in each for each in said)
    assert not any("Not all is done" in each for each in said)


def test_a_baseline_that_ranks_better_is_said_to(confirmation) -> None:
    better = replace(confirmation, by_short_loss=confirmation.by_parameters)
    assert any(
        "non-embedding parameters rank as well as the study's losses" in each
        for each in trust_findings(better)
    )


def test_what_is_not_known_yet_is_not_said(confirmation, front, render) -> None:
    begun = replace(
        confirmation,
        candidates=tuple(
            replace(each, long=None, fresh={}, probability=None, remeasured={}, failures=())
            for each in confirmation.candidates
        ),
        long_tokens=None,
        under_way=2,
        noise=None,
        by_short_loss=None,
        by_parameters=None,
        by_non_embedding=None,
        ceiling=None,
        gap=None,
    )
    (said,) = trust_findings(begun)
    assert said.startswith("Not all is done: 5 candidates lack the long training, 2 repeats")
    assert "1.250" in render(confirmation_view(begun, front))
    document = confirmation_document(begun)
    assert document["seed_noise"] is None
    assert document["candidates"][0]["front_probability"] is None


def test_one_line_says_how_far_to_trust_or_how_to_find_out(confirmation) -> None:
    assert trust_line(None, "small") == "not confirmed by longer trainings: nas confirm small"
    line = trust_line(confirmation, "small")
    assert line.startswith("confirmed: losses rank 4 candidates as trainings on 1,600,000 tokens")
    assert "Spearman 0.93 (95 %: 0.70 to 0.99); seed noise 0.006" in line
    part = replace(confirmation, by_short_loss=None)
    assert trust_line(part, "small") == "confirmed in part: nas confirm small goes on"


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "0%"), (0.004, "<1%"), (0.5, "50%"), (0.9999, ">99%"), (1.0, "100%")],
)
def test_a_probability_is_certain_only_where_it_is(share, text: str) -> None:
    assert probability_text(share) == text
