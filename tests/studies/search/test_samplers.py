import math
from dataclasses import replace
from typing import get_args

import optuna
import pytest

from search_space.architecture import Architecture
from search_space.costs import decode_flops, parameter_counts
from search_space.space.encoding import draw, encode
from search_space.space.rules import Rules
from search_space.space.space_definition import Space, check_sizes
from studies.samplers.search_problem import SearchProblem
from studies.search.architecture_problem import study_problem
from studies.search.samplers import SAMPLERS, make_sampler
from studies.spec.study_tables import NamedSampler, Objective
from tests.studies.fakes import small_spec

SPACE = Space(
    depth=(4, 6, 8),
    width=(128, 256, 384),
    mixers=("c", "a", "l", "-"),
    feed_forward=(1.0, 2.0, 4.0),
    vocab_size=(1024, 4096),
    kernel=(3, 7),
    head_dim=(32,),
    kv_heads=(1, 2, 4),
    rules=Rules(attention_layers=(0, 4)),
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

KINDS = get_args(NamedSampler)
OBJECTIVES = (Objective(name="loss"), Objective(name="decode"))
PROBLEM = study_problem(small_spec("sqlite:///unused.db", space=SPACE, objectives=OBJECTIVES))


def new_problem(space: Space = SPACE) -> SearchProblem:
    objectives = (Objective(name="loss"), Objective(name="decode"))
    return study_problem(small_spec("sqlite:///none.db", space=space, objectives=objectives))


def new_storage() -> optuna.storages.BaseStorage:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="small", storage=storage, directions=["minimize"] * 2)
    return storage


def study_in(storage: optuna.storages.BaseStorage, kind: NamedSampler, seed: int) -> optuna.Study:
    sampler = make_sampler(kind, startup_trials=6, seed=seed, problem=new_problem())
    return optuna.load_study(study_name="small", storage=storage, sampler=sampler)


def new_study(kind: NamedSampler, seed: int = 0) -> optuna.Study:
    return study_in(new_storage(), kind, seed)


def scores(architecture: Architecture) -> tuple[float, float]:
    """Size improves the loss and costs time; one attention layer helps and each `-` hurts."""
    size = parameter_counts(architecture).total
    layout = architecture.layout
    loss = 10 - math.log(size) / 4 - 0.2 * ("a" in layout) + 0.3 * layout.count("-")
    return loss, decode_flops(architecture, 1024) / 1e6


def resume(study: optuna.Study, trials: int) -> list[Architecture]:
    drawn = []
    for _ in range(trials):
        trial = study.ask()
        architecture = draw(SPACE, trial)
        drawn.append(architecture)
        if parameter_counts(architecture).total > 8_000_000:
            trial.set_constraint("parameters", 1.0)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial.set_constraint("parameters", -1.0)
            study.tell(trial, scores(architecture))
    return drawn


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_an_interrupted_study_resumes_as_if_it_had_never_stopped(self, kind):
        whole = resume(new_study(kind), 9)
        # Three processes in turn, each with its own sampler.
        storage = new_storage()
        begun = resume(study_in(storage, kind, seed=0), 7)
        begun += resume(study_in(storage, kind, seed=0), 1)
        assert begun + resume(study_in(storage, kind, seed=0), 1) == whole

    def test_another_seed_draws_other_candidates(self, kind):
        assert resume(new_study(kind, seed=0), 4) != resume(new_study(kind, seed=1), 4)

    def test_no_draw_is_repeated_in_random_trials(self, kind):
        assert len(set(resume(new_study(kind), 6))) == 6

    def test_a_reference_goes_first_when_it_is_enqueued(self, kind):
        study, expected = new_study(kind), draw(SPACE, new_study("random", seed=9).ask())
        study.enqueue_trial(encode(SPACE, expected))
        assert resume(study, 2)[0] == expected


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "evolution", "front-mutation"])
def test_a_sampler_that_learns_avoids_what_only_hurts(kind):
    drawn = resume(new_study(kind), 80)
    fractions = [
        sum(model.layout.count("-") for model in part) / sum(len(model.layers) for model in part)
        for part in (drawn[:6], drawn[-20:])
    ]
    assert fractions[1] < fractions[0]


def test_the_table_lists_the_samplers_that_a_study_file_can_name():
    assert tuple(SAMPLERS) == KINDS
    descriptions = [entry.description for entry in SAMPLERS.values()]
    assert len(set(descriptions)) == len(KINDS)
    assert all("\n" not in each and len(each) < 100 for each in descriptions)


def draws(kind: NamedSampler, space: Space, trials: int) -> list[Architecture]:
    """Return what a sampler proposes if all architectures have the same decode time."""
    sampler = make_sampler(kind, startup_trials=3, seed=0, problem=new_problem(space))
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(draw(space, trial))
        study.tell(trial, (scores(found[-1])[0], 1.0))
    return found


@pytest.mark.parametrize("kind", ["known-costs", "evolution", "front-mutation", "screened-tpe"])
class TestKindsThatKnowTheSpace:
    def test_all_candidates_obey_the_size_rules_and_differ(self, kind):
        space = replace(SPACE, rules=Rules(parameters=(1_000_000, 4_000_000)))
        found = draws(kind, space, 12)
        assert all(
            check.excess <= 0
            for architecture in found
            for check in check_sizes(architecture, space, "fp32")
        )
        assert len(set(found)) == 12

    def test_a_space_with_one_mixer_and_one_choice_is_exhausted(self, kind):
        space = Space(
            depth=(2,),
            width=(64, 128, 192, 256, 320),
            mixers=("c",),
            feed_forward=(2.0,),
            vocab_size=(512,),
        )
        found = draws(kind, space, 6)
        assert {architecture.width for architecture in found[:5]} == set(space.width)

    def test_a_space_of_one_architecture_is_drawn_again_and_again(self, kind):
        space = Space(
            depth=(2,), width=(64,), mixers=("c",), feed_forward=(2.0,), vocab_size=(512,)
        )
        assert len(set(draws(kind, space, 5))) == 1
