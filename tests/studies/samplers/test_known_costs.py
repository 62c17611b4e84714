"""Tests of what is special about the sampler that models the uncertain objective."""

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.trial import create_trial

from studies.samplers.earlier_trials import earlier_trials
from studies.samplers.known_costs import KnownCostsSampler, _Proposal
from studies.samplers.search_problem import problem_of_parameters
from tests.studies.samplers.toy_problems import predictor_of


def test_a_trial_that_violates_a_constraint_is_not_on_the_front() -> None:
    problem = problem_of_parameters(
        {"x": IntDistribution(0, 200)}, {1: predictor_of(lambda point: point["x"])}
    )
    sampler = KnownCostsSampler(problem, seed=0)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    for x, excess in ((40, -0.5), (90, 0.0), (140, 0.5), (170, -0.1)):
        study.add_trial(
            create_trial(
                params={"x": x},
                distributions=dict(problem.space),
                values=[1e-3 * (x - 180) ** 2, x],
                constraints={"limit": excess},
            )
        )
    earlier = earlier_trials(study, study.ask()._get_latest_trial(), problem)
    proposal = _Proposal(problem, earlier, np.random.default_rng(0))
    costs = {float(cost) for front in proposal._fronts for cost in front.edges[0]}
    assert {40.0, 90.0, 170.0} < costs
    assert 140.0 not in costs


def test_the_first_trials_reach_the_ends_of_more_choices_than_random_ones() -> None:
    names = [f"x{index}" for index in range(6)]
    space = {name: IntDistribution(0, 3) for name in names}
    problem = problem_of_parameters(space, {1: predictor_of(lambda point: point["x0"])})

    def reached(sampler: optuna.samplers.BaseSampler) -> int:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
        for _ in range(5):
            study.tell(study.ask(dict(space)), [0.0, 0.0])
        found = [{trial.params[name] for trial in study.trials} for name in names]
        return sum({0, 3} <= values for values in found)

    covering = [reached(KnownCostsSampler(problem, seed=seed)) for seed in range(8)]
    random = [reached(optuna.samplers.RandomSampler(seed=seed)) for seed in range(8)]
    assert np.mean(covering) > 1.2 * np.mean(random)
