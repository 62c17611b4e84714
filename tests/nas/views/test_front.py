import itertools
import re
from dataclasses import replace

import pytest

from evaluators.evaluator import Score
from nas.commands.pareto import parse_limits
from nas.views.front import front_document, show_best, show_front
from studies.analysis.study_front import Axis, Front
from studies.records import StageRun, Trial, scored_point
from studies.spec.study_tables import Objective
from tests.nas.calibrated import with_calibrated

AXES = (
    Axis(name="loss", unit="bits/byte", max=None),
    Axis(name="decode", unit="ms/token", max=None),
    Axis(name="prefill", unit="ms", max=None),
)


@pytest.fixture
def front(make_trial, spec) -> Front:
    members = (
        make_trial(3, loss=1.25, decode=20.0, prefill=1234.5),
        make_trial(117, loss=1.5, decode=10.0, prefill=345.6),
    )
    return Front(
        study="small",
        spec=spec,
        axes=AXES,
        members=members,
        dominated=(),
        infeasible=(
            scored_point(make_trial(5, "infeasible", reason="decode: too slow", decode=99.0)),
        ),
        references=(
            make_trial(
                0, reference="lfm2-350m-all-attention", loss=1.1, decode=30.0, prefill=2000.0
            ),
        ),
        knee=members[1],
        reference_point=(1.6, 22.0, 1300.0),
        hypervolume=12.5,
    )


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_three_objectives_and_32_layers_fit_80_columns(front, capsys) -> None:
    show_front(front, "small.toml")
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    for whole in ("lfm2-350m-all-attention", "117 (knee)", "million", "bits/byte", "ms/token"):
        assert whole in shown
    for value in ("1.250", "~20.00", "~1,234", "1.500", "~10.00", "~345.6", "~2,000"):
        assert f" {value} " in shown


def with_interval(trial: Trial, fraction: float) -> Trial:
    """Return the trial with intervals of ± this fraction around its times."""
    scores = tuple(
        score
        if score.name == "loss"
        else replace(score, low=score.value * (1 - fraction), high=score.value * (1 + fraction))
        for score in trial.scores
    )
    return replace(trial, scores=scores)


def test_four_objectives_leave_20_layers_two_lines_of_80_columns(make_trial, front, capsys) -> None:
    values = {"loss": 1.25, "decode": 20.5, "prefill": 1234.5, "recall_error": 0.4375}
    members = tuple(
        with_interval(make_trial(number, layout="cacslcacc-" * 2, **values), 0.0173)
        for number in (3, 117)
    )
    axes = (*AXES, Axis(name="recall_error", unit="wrong", max=None))
    four = replace(
        front,
        axes=axes,
        members=members,
        references=(),
        knee=members[1],
        reference_point=(2.0, 30.0, 2000.0, 1.0),
    )
    show_front(four, "small.toml")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    (first,) = [place for place, line in enumerate(lines) if "117 (knee)" in line]
    letters = [re.findall(r"(?:^| )([acsl-]{2,})(?= |$)", line) for line in lines[first:][:2]]
    assert "".join(itertools.chain(*letters)) == "cacslcacc-" * 2
    assert lines[first].split()[-4:] == ["1.250", "20.50", "1,234", "0.4375"]
    assert lines[first + 1].split()[-3:] == ["±0.35", "±21", "±0.0076"]


def test_a_value_comes_with_half_its_interval(front, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    known = tuple(with_interval(trial, 0.01) for trial in (*front.members, *front.references))
    show_front(replace(front, members=known[:2], references=known[2:]), "small.toml")
    shown = capsys.readouterr().out
    assert " 20.00 ±0.20 " in shown
    assert "±: half the width of the 95 % confidence interval\n" in shown
    assert "intervals cover the ratio to hybrid-20m only" in " ".join(shown.split())
    assert "~" not in shown


def test_intervals_of_calibrated_times_cover_both_errors(front, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    members = tuple(with_calibrated(trial, "decode", "prefill") for trial in front.members)
    show_front(replace(front, members=members, references=()), "small.toml")
    shown = " ".join(capsys.readouterr().out.split())
    # 20 ms * hypot(1 %, 2 %): the interval of the ratio, and that of the reference model's time.
    assert " 20.00 ±0.45 " in shown
    assert (
        "times: the ratio to hybrid-20m (measured interleaved), multiplied by the time of "
        "hybrid-20m; intervals cover the errors of both and the scatter between repeats, and may "
        "be wider than the ±2 % that is requested of the ratio, which alone decides whether a time "
        "is provisional"
    ) in shown
    assert "earlier release" not in shown
    assert "~" not in shown


def test_provisional_times_are_marked_and_explained_once(front, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    settled = with_calibrated(front.members[0], "decode", "prefill")
    doubtful = with_calibrated(front.members[1], "prefill")
    doubtful = with_calibrated(doubtful, "decode", half_width=0.3, provisional=True)
    marked = replace(front, members=(settled, doubtful), references=())
    show_front(marked, "small.toml")
    shown = " ".join(capsys.readouterr().out.split())
    assert " ~10.00 (7.403 to 13.51) " in shown
    assert "in parentheses: the ends of a lopsided 95 % confidence interval" in shown
    legend = (
        "~ provisional: too uncertain to decide anything; `nas run` measures it again when the "
        "machine is quieter"
    )
    assert shown.count(legend) == 1
    assert shown.count("~") == 2
    assert "1 of 2 members is on the front only provisionally" in shown
    first, second = front_document(marked, None)["front"]
    assert (first["provisional"], second["provisional"]) == ([], ["decode"])


def test_candidates_that_may_exceed_a_limit_are_marked(front, capsys) -> None:
    limited = front.spec.model_copy(
        update={
            "objectives": (
                Objective(name="loss"),
                Objective(name="decode", max=20.1),
                Objective(name="prefill"),
            )
        }
    )
    members = tuple(with_calibrated(trial, "decode", "prefill") for trial in front.members)
    shown_front = replace(front, spec=limited, members=members, references=())
    show_front(shown_front, "small.toml")
    lines = capsys.readouterr().out.splitlines()
    # 20 ms ±0.45 may be above 20.1 ms; 10 ms is not.
    assert [line.split()[1] for line in lines if re.match(r" [12] +\d", line)] == ["3?", "117"]
    assert "? trial 3 may exceed the limit of decode" in lines
    documents = front_document(shown_front, None)["front"]
    assert [each["unsure_limits"] for each in documents] == [["decode"], []]
    show_best(shown_front, members[0], {"decode": 20.2}, "small.toml")
    assert "\ntrial 3 may exceed the limit of decode\n" in capsys.readouterr().out


def test_a_wide_interval_of_an_earlier_release_is_marked(front, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    members = (with_interval(front.members[0], 0.05), with_interval(front.members[1], 0.015))
    marked = replace(front, members=members, references=())
    show_front(marked, "small.toml")
    shown = capsys.readouterr().out
    assert " ~20.00 ±1.0 " in shown
    assert " 10.00 ±0.15 " in shown
    assert (
        "~ from an earlier release: the confidence interval is wider than the requested ±2 %"
        in shown
    )
    first, second = front_document(marked, None)["front"]
    assert (first["provisional"], second["provisional"]) == (["decode", "prefill"], [])


def test_objectives_that_the_plot_has_no_axis_for_are_named(front, capsys) -> None:
    show_front(front, "small.toml")
    assert "\nnot plotted, only in the table: prefill\n" in capsys.readouterr().out
    show_front(replace(front, axes=AXES[:2], reference_point=(1.6, 22.0)), "small.toml")
    assert "not plotted" not in capsys.readouterr().out


def test_the_caption_explains_only_the_signs_that_are_plotted(front, capsys) -> None:
    show_front(front, "small.toml")
    shown = capsys.readouterr().out
    assert "@ reference model" in shown
    # The infeasible candidate has no loss, so it is not in the plot.
    assert "infeasible" not in shown
    assert "dominated" not in shown
    assert "hypervolume 12.5 (reference point: loss 1.600, decode 22.00, prefill 1,300)" in shown


def test_lopsided_intervals_fit_80_columns(front, capsys) -> None:
    members = tuple(
        with_calibrated(trial, "decode", "prefill", half_width=0.4, provisional=True)
        for trial in front.members
    )
    show_front(replace(front, members=members), "small.toml")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    place = next(place for place, line in enumerate(lines) if "~20.00" in line)
    # Each end has its own line, because the layouts take the room.
    assert lines[place + 1].split()[-2:] == ["(13.40", "(827.1"]
    assert lines[place + 2].split() == ["to", "29.85)", "to", "1,843)"]


def test_a_study_without_a_complete_candidate_has_the_reason(make_trial, spec, capsys) -> None:
    reason = "decode: 9 ms is above the limit of 1 ms"
    refused = (scored_point(make_trial(4, "infeasible", reason=reason)),)
    empty = Front(
        study="small",
        spec=spec,
        axes=AXES,
        members=(),
        dominated=(),
        infeasible=refused,
        references=(),
        knee=None,
        reference_point=(),
        hypervolume=0.0,
    )
    show_front(empty, "small.toml")
    shown = " ".join(capsys.readouterr().out.split())
    assert "no candidate is complete" in shown
    assert (
        "1 candidate is infeasible, such as trial 4: decode: 9 ms is above the limit of 1 ms"
        in shown
    )
    assert "nas status small.toml" in shown
    assert front_document(empty, None)["front"] == []


def test_the_best_within_limits_is_named_with_all_its_scores(front, capsys) -> None:
    show_best(front, front.members[1], {"decode": 12.0}, "small.toml")
    show_best(front, None, {"decode": 1.0}, "small.toml")
    best, scores, following, none = capsys.readouterr().out.splitlines()
    assert best == "lowest loss with decode at most 12: trial 117"
    assert scores == "loss 1.500 bits/byte, decode ~10.00 ms/token, prefill ~345.6 ms"
    assert following == "next: nas export small.toml 117 --format json"
    assert none.startswith("no complete candidate has decode at most 1; the lowest decode is ")
    fastest = min(front.members, key=lambda trial: trial.values["decode"])
    assert none.endswith(f" (trial {fastest.number})")


def test_a_lowest_time_that_is_provisional_is_marked(front, capsys) -> None:
    members = [
        with_calibrated(trial, "decode", half_width=0.5, provisional=trial.number == 117)
        for trial in front.members
    ]
    show_best(replace(front, members=tuple(members)), None, {"decode": 1.0}, "small.toml")
    show_best(replace(front, members=tuple(members[:1])), None, {"decode": 1.0}, "small.toml")
    marked, settled = capsys.readouterr().out.splitlines()
    assert marked.endswith("the lowest decode is ~10.00 (6.063 to 16.49) (trial 117)")
    assert settled.endswith("the lowest decode is 20.00 (12.13 to 32.99) (trial 3)")


def test_only_objectives_and_limited_scores_are_listed_with_their_intervals(
    make_trial, front, capsys
) -> None:
    trial = make_trial(3, loss=1.25, decode=20.0, prefill=345.6)
    others = (("size", 10.25), ("memory", 41.5))
    of_file = (Score(name=name, value=value, unit="MB") for name, value in others)
    trial = replace(trial, scores=(*of_file, *trial.scores))
    best = with_calibrated(with_calibrated(trial, "prefill"), "decode", provisional=True)
    front = replace(front, members=(best,), knee=best)
    show_best(front, best, {"memory": 50.0}, "small.toml")
    listed = capsys.readouterr().out.splitlines()[1]
    assert listed == (
        "loss 1.250 bits/byte, decode ~20.00 ±0.45 ms/token, prefill 345.6 ±7.7 ms, memory 41.50 MB"
    )
    document = front_document(front, best)["front"][0]
    (decode,) = (score for score in best.scores if score.name == "decode")
    assert (document["low"]["decode"], document["high"]["decode"]) == (decode.low, decode.high)
    assert document["low"]["loss"] is None


def test_losses_that_no_confirmation_has_repeated_come_with_the_usual_noise(front, capsys) -> None:
    legend = "losses: differences below about 0.01 bits/byte are seed noise, unless `nas confirm`"
    show_front(front, "small.toml")
    assert legend in " ".join(capsys.readouterr().out.split())
    without_loss = replace(front, axes=AXES[1:], reference_point=(22.0, 1300.0))
    show_front(without_loss, "small.toml")
    assert "seed noise" not in capsys.readouterr().out


def test_a_confirmation_is_suggested_only_if_there_are_enough_candidates(front, capsys) -> None:
    show_front(front, "small.toml")
    assert "nas confirm" not in capsys.readouterr().out
    third = scored_point(front.members[0])
    show_front(replace(front, dominated=(third,)), "small.toml")
    assert "run nas confirm small.toml" in capsys.readouterr().out


def with_provisional(trial: Trial) -> Trial:
    """Return the trial with a time that is known to be unreliable."""
    settled = with_calibrated(trial, "prefill")
    return with_calibrated(settled, "decode", half_width=0.3, provisional=True)


def test_better_candidates_with_provisional_scores_are_named(make_trial, front, capsys) -> None:
    settled = with_calibrated(front.members[0], "decode", "prefill")
    others = [
        with_provisional(make_trial(number, loss=loss, decode=9.0, prefill=300.0))
        for number, loss in ((7, 1.125), (8, 1.0), (9, 1.0625), (10, 1.1875), (11, 1.5))
    ]
    mixed = replace(front, members=(settled, *others), references=())
    limits = {"decode": 21.0}
    show_best(mixed, settled, limits, "small.toml")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lowest loss with decode at most 21: trial 3"
    expected = "trial 8 (loss 1.000), trial 9 (loss 1.062), trial 7 (loss 1.125) and 1 more"
    assert f"left out because of provisional scores: {expected}" in lines
    show_best(replace(mixed, members=(settled, others[-1])), settled, limits, "small.toml")
    shown = capsys.readouterr().out
    assert "left out" not in shown
    assert "the choice is provisional" not in shown


def test_a_best_candidate_with_a_provisional_score_is_marked(front, capsys) -> None:
    best = with_provisional(front.members[1])
    provisional = replace(front, members=(front.members[0], best), references=())
    show_best(provisional, best, {"decode": 12.0}, "small.toml")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lowest loss with decode at most 12: trial 117"
    assert (
        "the choice is provisional: decode of trial 117 is provisional, and no candidate with "
        "settled scores has decode at most 12"
    ) in lines
    assert front_document(provisional, best)["best"]["provisional"] == ["decode"]
    # Its decoding time does not matter where it is not limited.
    show_best(provisional, best, {"prefill": 400.0}, "small.toml")
    assert "the choice is provisional" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["decode", "decode=", "decode=fast", "=3", "decode=nan"])
def test_a_limit_is_a_name_and_a_number(text: str) -> None:
    assert parse_limits(["decode=20", "memory=1e3"]) == {"decode": 20.0, "memory": 1000.0}
    with pytest.raises(ValueError, match=f"max: '{text}' is not NAME=VALUE"):
        parse_limits([text])


def test_a_limit_that_no_score_can_reach_is_refused() -> None:
    assert parse_limits(["recall_error=0"]) == {"recall_error": 0.0}
    with pytest.raises(ValueError, match=r"^max: 'decode=-1' is below 0, but no score is$"):
        parse_limits(["decode=-1"])


@pytest.mark.parametrize(("others", "warned"), [("here", False), ("elsewhere", True)])
def test_latencies_of_two_devices_are_reported_as_not_comparable(
    front, capsys, others, warned
) -> None:
    def timed(trial: Trial, where: str) -> Trial:
        return replace(trial, stages=(StageRun(stage="latency", fingerprint=where, seconds=1.0),))

    first, second = front.members
    show_front(replace(front, members=(timed(first, "here"), timed(second, others))), "small.toml")
    assert ("devices or releases and are not comparable" in capsys.readouterr().out) == warned
