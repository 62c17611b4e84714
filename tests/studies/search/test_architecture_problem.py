"""Tests of what a study tells its sampler about architectures."""

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial

from search_space.costs import parameter_counts
from search_space.space.encoding import FixedSuggester, draw, encode
from search_space.space.rules import Rules
from search_space.space.space_definition import Space, check_sizes
from studies.samplers.search_problem import Parameters, SearchProblem, identity
from studies.search.architecture_problem import study_problem
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
from tests.studies.fakes import decode_ms, small_spec

SPACES = {
    "usual": small_spec("sqlite:///a.db").space,
    "one layer": Space(
        depth=(1,), width=(64, 128), mixers=("a",), feed_forward=(1.0,), vocab_size=(512,)
    ),
    "no attention": Space(
        depth=(2, 3), width=(64,), mixers=("c", "-"), feed_forward=(1.0, 2.0), vocab_size=(512,)
    ),
    "kernel 1": Space(
        depth=(2,),
        width=(64,),
        mixers=("c",),
        feed_forward=(1.0, 2.0),
        vocab_size=(512,),
        kernel=(1, 3),
    ),
}


def _spec(space: Space = SPACES["usual"], **changes: object) -> StudySpec:
    objectives = tuple(Objective(name=name) for name in ("loss", "decode", "parameters"))
    return small_spec("sqlite:///a.db", space=space, objectives=objectives, **changes)


def _points(problem: SearchProblem, count: int) -> list[Parameters]:
    generator = np.random.default_rng(0)
    return [problem.draw(generator) for _ in range(count)]


def _trial(
    problem: SearchProblem, space: Space, point: Parameters, excess: float | None = None
) -> FrozenTrial:
    architecture = draw(space, FixedSuggester(point))
    values = [2.0, decode_ms(architecture), float(parameter_counts(architecture).total)]
    return create_trial(
        params=dict(point),
        distributions=dict(problem.space),
        values=values,
        constraints=None if excess is None else {"memory.max": excess},
    )


@pytest.mark.parametrize("name", SPACES)
def test_draws_and_mutations_are_canonical_legal_points(name: str) -> None:
    space = SPACES[name]
    spec = _spec(space)
    problem = study_problem(spec)
    generator = np.random.default_rng(1)
    mutated = set()
    for point in _points(problem, 20):
        for each in (point, problem.mutate(point, generator)):
            if each is None:
                continue
            architecture = draw(space, FixedSuggester(each))
            assert encode(space, architecture) == each == problem.legal(each)
            assert all(check.excess <= 0 for check in check_sizes(architecture, space, "int4"))
            assert each.keys() == problem.space.keys()
            mutated.add(identity(each))
    assert len(mutated) > 1


def test_a_point_that_breaks_a_rule_about_sizes_is_not_legal() -> None:
    space = SPACES["usual"]
    narrow = study_problem(
        _spec(
            Space(
                depth=space.depth,
                width=space.width,
                mixers=space.mixers,
                feed_forward=space.feed_forward,
                vocab_size=space.vocab_size,
                rules=Rules(parameters=(1, 6_000_000)),
            )
        )
    )
    sizes = [
        parameter_counts(draw(space, FixedSuggester(point))).total
        for point in _points(study_problem(_spec(space)), 40)
    ]
    legal = [narrow.legal(point) is not None for point in _points(study_problem(_spec(space)), 40)]
    assert legal == [size <= 6_000_000 for size in sizes]
    assert len(set(legal)) == 2


def test_costs_are_learned_from_finished_trials() -> None:
    space = SPACES["usual"]
    problem = study_problem(_spec(space))
    assert sorted(problem.costs) == [1, 2]
    known, new = np.split(np.array(_points(problem, 60), dtype=object), [40])
    finished = [_trial(problem, space, point) for point in known]
    times, deviations = problem.costs[1](list(new), finished)
    true = [decode_ms(draw(space, FixedSuggester(point))) for point in new]
    assert times == pytest.approx(true, rel=0.25)
    assert np.median(np.abs(times / true - 1)) < 0.05
    assert np.all(deviations > 0)
    sizes, exact = problem.costs[2](list(new), finished)
    assert list(sizes) == [
        parameter_counts(draw(space, FixedSuggester(point))).total for point in new
    ]
    assert not exact.any()


def test_limits_make_large_architectures_improbable() -> None:
    space = SPACES["usual"]
    problem = study_problem(_spec(space, constraints=(Constraint(name="memory", max=5.0),)))
    points = _points(problem, 40)
    sizes = np.array(
        [parameter_counts(draw(space, FixedSuggester(point))).total for point in points]
    )
    finished = [
        _trial(problem, space, point, excess=size / 2e6 / 5.0 - 1)
        for point, size in zip(points, sizes, strict=True)
    ]
    probability = problem.feasibility(points, finished)
    assert np.all(probability[sizes / 2e6 < 4.0] > 0.9)
    assert np.all(probability[sizes / 2e6 > 6.0] < 0.1)
    assert 0 < np.mean(sizes / 2e6 > 6.0) < 1
