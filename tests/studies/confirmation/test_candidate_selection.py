"""Tests of the selection of candidates to confirm, and of the unexpected losses among them."""

from dataclasses import replace

import pytest

from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses, read_expected_losses
from studies.analysis.pareto_front import non_dominated
from studies.confirmation.candidate_selection import (
    candidates_to_confirm,
    complete_points,
    unexpected_losses,
)
from tests.studies.analysis.layout_losses import layout_loss, noisy_losses, random_layouts
from tests.studies.confirmation.confirmed_study import ConfirmedStudy


class TestContenders:
    def test_runners_up_are_those_whose_loss_is_nearest_to_the_front(
        self, written: ConfirmedStudy
    ) -> None:
        for loss, decode in [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0)]:
            written.trial(loss, decode)
        written.trial(2.5, 9.5)  # loss 1.5 above the first
        written.trial(2.2, 8.0)  # loss 0.2 above the second
        written.trial(3.3, 1.0)  # loss 0.3 above the third
        written.trial(3.25, 2.0)  # loss 0.25 above the third
        assert candidates_to_confirm(written.front, 6) == (0, 1, 2, 4, 6, 5)
        assert candidates_to_confirm(written.front) == (0, 1, 2, 4, 6, 5, 3)
        assert candidates_to_confirm(written.front, 100) == (0, 1, 2, 4, 6, 5, 3)

    def test_a_long_front_is_sampled_evenly(self, written: ConfirmedStudy) -> None:
        for step in range(11):
            written.trial(1.0 + step, 20.0 - step)
        written.trial(30.0, 30.0)
        assert candidates_to_confirm(written.front, 3) == (0, 5, 10)
        assert candidates_to_confirm(written.front) == tuple(range(11))
        assert (
            len(candidates_to_confirm(written.front, 7))
            == len(set(candidates_to_confirm(written.front, 7)))
            == 7
        )

    def test_too_few_candidates_are_an_error(self, written: ConfirmedStudy) -> None:
        written.trial(1.0, 9.0)
        written.trial(2.0, 5.0)
        with pytest.raises(ValueError, match="'small' has 2 complete candidates"):
            candidates_to_confirm(written.front)

    def test_those_that_come_first_precede_closer_ones(self, written: ConfirmedStudy) -> None:
        for loss, decode in [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0)]:
            written.trial(loss, decode)
        for loss, decode in [(2.5, 9.5), (2.2, 8.0), (3.3, 1.0), (3.25, 2.0)]:
            written.trial(loss, decode)
        front = written.front
        assert candidates_to_confirm(front, 6, first=(3, 6)) == (0, 1, 2, 6, 3, 4)
        assert candidates_to_confirm(front, 4, first=(3,)) == (0, 1, 2, 3)
        assert candidates_to_confirm(front, 3, first=(3,)) == (0, 1, 2)


def _model(written: ConfirmedStudy, **expected: tuple[float, float]) -> ExpectedLosses:
    """Return expected losses and standard deviations that a test chooses, by trial: `t3=(1, 2)`."""
    points = {f"t{point.number}": point for point in complete_points(written.front)}
    return ExpectedLosses(
        candidates=20,
        correlation=0.9,
        losses={
            points[name].architecture: ExpectedLoss(
                measured=points[name].values["loss"], expected=loss, sd=sd
            )
            for name, (loss, sd) in expected.items()
        },
    )


def test_unexpected_losses_are_found_on_the_front_and_where_they_hide_a_member(
    written: ConfirmedStudy,
) -> None:
    for loss, decode in [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0)]:
        written.trial(loss, decode)
    written.trial(2.5, 9.5)
    written.trial(2.2, 8.0)
    written.trial(3.3, 1.0)
    written.trial(3.25, 2.0)
    model = _model(
        written,
        t0=(1.2, 0.11),  # within two standard deviations
        t1=(2.3, 0.1),
        t2=(2.5, 0.1),
        t3=(0.5, 0.1),  # would have the lowest loss
        t4=(2.1, 0.01),  # would still be dominated by trial 1
        t5=(2.9, 0.3),  # would be on the front, but is not unexpected
        t6=(2.9, 0.1),  # would be between trials 1 and 2
    )
    found = unexpected_losses(written.front, model)
    assert found.members == (1, 2)
    assert found.runners_up == (3, 6)
    assert found.expected.keys() == set(range(7))
    assert found.expected[3].expected == 0.5
    assert found.model is model


def test_a_provisional_member_hides_no_candidate(written: ConfirmedStudy) -> None:
    written.trial(2.0, 5.0)
    written.trial(3.0, 6.0)
    written.trial(1.0, 9.0)
    front, model = written.front, _model(written, t1=(2.5, 0.1))
    assert unexpected_losses(front, model).runners_up == ()
    (fast,) = (trial for trial in front.members if trial.number == 0)
    scores = tuple(replace(each, provisional=each.name == "decode") for each in fast.scores)
    members = tuple(
        replace(fast, scores=scores) if trial is fast else trial for trial in front.members
    )
    assert unexpected_losses(replace(front, members=members), model).runners_up == (1,)


def test_a_shifted_loss_is_named_and_comes_first(written: ConfirmedStudy) -> None:
    """All other losses follow from the layouts; the slow candidates have the lowest losses."""
    layouts = random_layouts(60)
    losses = noisy_losses(layouts, 0.003)
    shifted = sorted(layouts, key=lambda key: layout_loss(layouts[key]))[30]
    limit = layout_loss(layouts[shifted]) + 0.06
    numbers = {}
    for key, architecture in layouts.items():
        decode = 1.0 if key == shifted or layout_loss(architecture) > limit else 2.0
        loss = losses[key] + (0.15 if key == shifted else 0.0)
        numbers[key] = written.trial(loss, decode, architecture).number
    front, number = written.front, numbers[shifted]
    assert number in [point.number for point in front.dominated]
    model = read_expected_losses(written.store, "small")
    assert model is not None
    found = unexpected_losses(front, model)
    assert number in found.runners_up
    size = len(front.members)
    assert candidates_to_confirm(front, size + 1)[-1] != number
    first = candidates_to_confirm(front, size + len(found.runners_up), found.runners_up)
    assert set(first[size:]) == set(found.runners_up)

    # The same follows from the fronts with one loss replaced at a time.
    points = complete_points(front)
    rows = [(each.values["loss"], each.values["decode"]) for each in points]
    hidden = []
    for place, point in enumerate(points):
        loss = model.losses[point.architecture]
        replaced = [*rows[:place], (loss.expected, rows[place][1]), *rows[place + 1 :]]
        if loss.is_unexpected and place >= size and place in non_dominated(replaced):
            hidden.append(point.number)
    assert sorted(hidden) == list(found.runners_up)
