"""How changes of a study file after the start of its study are described."""

from dataclasses import replace

import pytest

from search_space.space.rules import Rules
from studies.spec.difference import difference
from studies.spec.study_spec import Objective, StudySpec
from tests.studies.fakes import small_spec


@pytest.fixture
def spec() -> StudySpec:
    return small_spec("sqlite:///nas.db")


def test_names_each_field_with_both_values(spec: StudySpec) -> None:
    other = spec.model_copy(
        update={
            "space": replace(spec.space, rules=Rules(first=("c",))),
            "objectives": (
                Objective(name="loss"),
                Objective(name="prefill", max=20.0),
                *spec.objectives[2:],
                Objective(name="parameters"),
            ),
            "proxy": spec.proxy.model_copy(update={"token_budget": 50_000}),
        }
    )
    assert difference(spec, other) == (
        'space.rules.first: null in the study, ["c"] in the file',
        "objectives[1].name: 'decode' in the study, 'prefill' in the file",
        "objectives[1].max: null in the study, 20.0 in the file",
        "proxy.token_budget: 40000 in the study, 50000 in the file",
        "objectives[3].name: nothing in the study, 'parameters' in the file",
        "objectives[3].max: nothing in the study, null in the file",
    )


def test_more_trials_and_another_database_are_the_same_study(spec: StudySpec) -> None:
    elsewhere = {"trials": 50, "storage": "postgresql://host/nas"}
    assert difference(spec, spec.model_copy(update=elsewhere)) == ()
