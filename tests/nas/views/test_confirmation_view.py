"""Tests of the table, the findings and the JSON document of a confirmation."""

import math
from dataclasses import replace

import pytest

from evaluators.evaluator import Score
from nas.findings.confirmation_findings import (
    confirmation_findings,
    confirmation_line,
    probability_text,
)
from nas.views.confirmation_view import confirmation_document, confirmation_view
from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses
from studies.analysis.study_front import Axis, Front
from studies.confirmation.candidate_selection import UnexpectedLosses
from studies.confirmation.confirmation_results import CandidateConfirmation, Confirmation
from studies.confirmation.confirmation_statistics import Noise, RankCorrelation
from studies.confirmation.long_loss_model import LongLossModel, PredictedLongLoss
from tests.nas.calibrated import calibrated, with_calibrated


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
    """Three members of the front, two of them ties; two runners-up, one of which diverged."""

    def confirmed(
        number: int, long: float | None, probability: float | None, *failures: str
    ) -> CandidateConfirmation:
        decode = calibrated(Score(name="decode", value=20.2, unit="ms/token"))
        trial = make_trial(number, loss=1.25, decode=20.0, recall_error=0.5, task=1.5)
        return CandidateConfirmation(
            trial=with_calibrated(trial, "decode"),
            on_front=number < 100,
            fresh={5: 1.26, 6: 1.27},
            long=long,
            remeasured={"decode": decode},
            failures=failures,
            probability=probability,
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
        unfinished=0,
        noise=Noise(sd=0.006, low=0.004, high=0.0101, degrees=7),
        by_short_loss=RankCorrelation(value=0.93, low=0.7, high=0.99, count=4),
        by_parameters=RankCorrelation(value=0.4, low=-0.4, high=0.9, count=4),
        by_non_embedding=RankCorrelation(value=0.55, low=-0.2, high=0.9, count=4),
        ceiling=0.97,
        significant_gap=0.02,
    )


def test_32_layers_and_four_objectives_fit_80_columns(confirmation, front, render) -> None:
    shown = render(confirmation_view(confirmation, front))
    for whole in ("117", "1.100", "1.265", "20.20", "400 k", "1.6 M", ">99 %", "62 %", "–"):
        assert whole in shown
    assert "caca" in shown  # the part of the layout that fits on the line


def test_a_provisional_time_is_marked_and_left_out_of_the_changes(
    confirmation, front, render
) -> None:
    assert "~" not in render(confirmation_view(confirmation, front))
    first, *others = confirmation.candidates
    wild = Score(name="decode", value=40.0, unit="ms/token")
    wild = calibrated(wild, half_width=math.log(2), provisional=True)
    candidates = (replace(first, remeasured={"decode": wild}), *others)
    unsure = replace(confirmation, candidates=candidates)
    shown = render(confirmation_view(unsure, front))
    assert "~40.00" in shown
    assert "~: the confidence interval is wider than the requested ±2 %" in shown
    findings = list(confirmation_findings(unsure))
    assert any("decode 1.0 % (at most 1.0 %)" in each for each in findings)
    assert any(
        each.startswith("Remeasured decode is still provisional for trial 7: ") for each in findings
    )
    document = confirmation_document(unsure, front.spec)
    flags = [each["again"]["decode"]["provisional"] for each in document["candidates"]]
    assert flags == [True, False, False, False, False]
    assert all(each["provisional"] == [] for each in document["candidates"])


def test_a_provisional_time_that_was_not_remeasured_is_marked(confirmation, front, render) -> None:
    first, *others = confirmation.candidates
    trial = with_calibrated(first.trial, "decode", half_width=0.5, provisional=True)
    candidates = (replace(first, trial=trial, remeasured={}), *others)
    unsure = replace(confirmation, candidates=candidates)
    shown = render(confirmation_view(unsure, front))
    assert "~20.00" in shown
    assert "~: the confidence interval is wider than the requested ±2 %" in shown
    document = confirmation_document(unsure, front.spec)
    assert [each["provisional"] for each in document["candidates"]] == [["decode"], *[[]] * 4]


def test_a_time_of_an_earlier_release_is_marked_by_its_interval(
    confirmation, front, render
) -> None:
    """Earlier releases did not store whether a time is provisional."""
    first, second, *others = confirmation.candidates
    narrow = Score(name="decode", value=30.0, unit="ms/token", low=29.7, high=30.3)
    wide = Score(name="decode", value=40.0, unit="ms/token", low=38.0, high=42.0)
    candidates = (
        replace(first, remeasured={"decode": narrow}),
        replace(second, remeasured={"decode": wide}),
        *others,
    )
    earlier = replace(confirmation, candidates=candidates)
    shown = render(confirmation_view(earlier, front))
    assert "~40.00" in shown
    assert "~30.00" not in shown
    document = confirmation_document(earlier, front.spec)
    flags = [each["again"]["decode"]["provisional"] for each in document["candidates"]]
    assert flags == [False, True, False, False, False]


def test_inherited_losses_are_not_described_as_those_of_short_runs(
    confirmation, front, render
) -> None:
    shared = replace(confirmation, inherited=True)
    findings = " ".join(confirmation_findings(shared))
    assert (
        "Spearman correlation of the losses inherited from the shared network with those"
        in findings
    )
    assert "for 4 candidates: 0.93" in findings
    assert "losses after 400,000" not in findings
    assert "shared" in render(confirmation_view(shared, front))


def test_objectives_that_were_not_retrained_are_named(confirmation) -> None:
    findings = confirmation_findings(replace(confirmation, not_retrained=("task", "recall_error")))
    assert any(
        each.startswith("These probabilities use task and recall_error as") for each in findings
    )
    assert not any("These probabilities" in each for each in confirmation_findings(confirmation))


def test_a_task_of_long_training_runs_is_described_as_one(confirmation, front, render) -> None:
    task = {"task": Score(name="task", value=1.0, unit="bits/byte", low=0.9, high=1.1)}
    candidates = tuple(
        replace(each, remeasured={**each.remeasured, **task}) for each in confirmation.candidates
    )
    findings = list(confirmation_findings(replace(confirmation, candidates=candidates)))
    assert (
        "These probabilities use the task scores of the long training runs with the seed noise of "
        "the short ones, drawn independently of the loss."
    ) in findings
    (times,) = [each for each in findings if each.startswith("Median change of remeasured scores")]
    assert "task" not in times  # it comes from training of another length
    partly = replace(confirmation, candidates=(*candidates[:-1], confirmation.candidates[-1]))
    lines = render(confirmation_view(partly, front)).splitlines()
    (last,) = [line.split() for line in lines if line.strip().startswith("118* ")]
    assert "1.500" in last  # from the study's own training, as for all others
    assert last[-2] == "–"
    (first,) = [line.split() for line in lines if line.strip().startswith("7 ")]
    assert "1.500" in first
    assert first[-3] == "1.000"  # before the probability, >99 %


def test_what_is_assumed_about_the_long_runs_is_stated_next_to_the_noise(confirmation) -> None:
    findings = list(confirmation_findings(confirmation))
    assert findings[0].startswith("Seed noise of training on 400,000 tokens: 0.006 bits/byte (")
    assert findings[1] == (
        "Each candidate has only one long training run, which cannot show its own seed noise; the "
        "following findings assume that this noise equals that of the short training runs."
    )


def test_every_figure_is_quoted_with_its_interval(confirmation) -> None:
    findings = list(confirmation_findings(confirmation))
    noise = (
        "0.006 bits/byte (standard deviation; 95 % confidence interval: 0.004 to 0.01; 7 degrees"
    )
    assert any(noise in each for each in findings)
    interval = "95 % confidence interval: 0.70 to 0.99"
    (ranks,) = [each for each in findings if f"for 4 candidates: 0.93 ({interval})" in each]
    assert "losses after 400,000 tokens with those after 1,600,000 tokens" in ranks
    assert "Given this seed noise, a perfect proxy would reach 0.97." in ranks
    size = "0.55 (95 % confidence interval: -0.20 to 0.90) for non-embedding parameters"
    (baseline,) = [each for each in findings if size in each]
    assert "as well as" not in baseline
    (ties,) = [each for each in findings if "are ties" in each]
    assert "less than 0.02" in ties
    assert "Pairs on the front that differ significantly in loss: 2 of 3." in ties
    assert "Not distinguishable by loss: trials 7 and 9." in findings
    assert "Doubtful members: trial 9 (62 %)." in findings
    assert "Runners-up that may belong on the front: trial 117 (20 %)." in findings
    assert any(each.startswith("Trial 118 failed in its training with seed 1") for each in findings)
    assert any("decode 1.0 % (at most 1.0 %)" in each for each in findings)
    assert not any("incomplete" in each for each in findings)


def test_a_baseline_that_ranks_better_is_reported(confirmation) -> None:
    better = replace(confirmation, by_short_loss=confirmation.by_parameters)
    assert any(
        "non-embedding parameters rank the candidates at least as well as the study's losses"
        in each
        for each in confirmation_findings(better)
    )


def test_what_is_not_known_yet_is_left_out(confirmation, front, render) -> None:
    started = replace(
        confirmation,
        candidates=tuple(
            replace(each, long=None, fresh={}, probability=None, remeasured={}, failures=())
            for each in confirmation.candidates
        ),
        long_tokens=None,
        unfinished=2,
        noise=None,
        by_short_loss=None,
        by_parameters=None,
        by_non_embedding=None,
        ceiling=None,
        significant_gap=None,
    )
    (findings,) = confirmation_findings(started)
    assert findings.startswith(
        "The confirmation is incomplete: 5 candidates lack the long training run and 2 jobs are "
        "unfinished"
    )
    assert "1.250" in render(confirmation_view(started, front))
    document = confirmation_document(started, front.spec)
    assert document["seed_noise"] is None
    assert document["candidates"][0]["front_probability"] is None


def test_one_line_states_the_confirmation_or_how_to_start_it(confirmation) -> None:
    assert (
        confirmation_line(None, "small", complete=3)
        == "not confirmed by longer training: run nas confirm small"
    )
    line = confirmation_line(confirmation, "small", complete=5)
    assert line.startswith(
        "confirmed: the losses of 4 candidates and those after 1,600,000 tokens have Spearman "
        "correlation 0.93 (95 % confidence interval: 0.70 to 0.99); seed noise 0.006"
    )
    part = replace(confirmation, by_short_loss=None, unfinished=1)
    resumes = "partly confirmed: nas confirm small resumes"
    assert confirmation_line(part, "small", complete=5) == resumes
    first, *others = confirmation.candidates
    untrained = (replace(first, long=None), *others)
    part = replace(confirmation, by_short_loss=None, candidates=untrained)
    assert confirmation_line(part, "small", complete=5) == resumes


def test_one_line_suggests_no_command_that_would_fail_or_do_nothing(confirmation) -> None:
    for complete in (0, 2):
        assert confirmation_line(None, "small", complete=complete) == (
            "not confirmed by longer training, which requires at least 3 complete candidates"
        )
    equal = replace(confirmation, by_short_loss=None)
    assert confirmation_line(equal, "small", complete=5) == (
        "confirmed: no rank correlation: there are too few candidates, or all losses are equal"
    )


@pytest.mark.parametrize(
    ("probability", "text"),
    [(None, "–"), (0.0, "0 %"), (0.004, "<1 %"), (0.5, "50 %"), (0.9999, ">99 %"), (1.0, "100 %")],
)
def test_a_probability_is_certain_only_where_it_is(probability, text: str) -> None:
    assert probability_text(probability) == text


def test_expected_losses_and_the_model_of_long_losses_are_shown(
    confirmation: Confirmation, front: Front, render
) -> None:
    document = confirmation_document(confirmation, front.spec)
    assert document["expected_losses"] is document["long_loss_model"] is None
    assert all(each["expected_loss"] is None for each in document["candidates"])

    low = ExpectedLoss(measured=1.25, expected=1.5, sd=0.05)
    short = RankCorrelation(value=0.93, low=0.7, high=0.99, count=20)
    model = RankCorrelation(value=0.95, low=0.8, high=0.99, count=20)
    added = replace(
        confirmation,
        unexpected=UnexpectedLosses(
            model=ExpectedLosses(candidates=40, correlation=0.75, losses={}),
            expected={7: low, 117: replace(low, measured=1.45)},
            members=(7,),
            runners_up=(),
        ),
        long_model=LongLossModel(
            by_model=model,
            by_short_loss=short,
            to_confirm=(PredictedLongLoss(number=30, loss=1.05),),
        ),
    )
    document = confirmation_document(added, front.spec)
    assert document["expected_losses"] == {
        "candidates": 40,
        "spearman": 0.75,
        "unexpected_on_front": [7],
        "unexpected_runners_up": [],
    }
    losses = {each["trial"]: each["expected_loss"] for each in document["candidates"]}
    assert losses[7] == {"value": 1.5, "sd": 0.05, "unexpected": True}
    assert losses[117] == {"value": 1.5, "sd": 0.05, "unexpected": False}
    assert losses[9] is None
    found = document["long_loss_model"]
    assert found["spearman"]["short_loss"]["value"] == 0.93
    assert found["spearman"]["model"] == {"value": 0.95, "low": 0.8, "high": 0.99, "count": 20}
    assert found["model_is_better"]
    assert found["to_confirm"] == [{"trial": 30, "predicted_long_loss": 1.05}]
    shown = " ".join(render(confirmation_view(added, front)).split())
    for text in ("trial 7 (its loss 1.250 is lower", "the model ranks better", "trial 30 (1.050)"):
        assert text in shown
