"""How changes of a study file after the start of its study are described."""

from dataclasses import replace

import pytest

from search_space.space.rules import Rules
from studies.spec.difference import difference
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
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
        "proxy.token_budget: 40000 in the study, 50000 in the file",
        "objectives[3].name: nothing in the study, 'parameters' in the file",
    )


def test_more_trials_and_another_database_are_the_same_study(spec: StudySpec) -> None:
    elsewhere = {"trials": 50, "storage": "postgresql://host/nas"}
    assert difference(spec, spec.model_copy(update=elsewhere)) == ()


def test_waiting_for_a_busy_machine_otherwise_is_the_same_study(spec: StudySpec) -> None:
    device = spec.device.model_copy(update={"longest_wait": 5.0, "if_occupied": "stop"})
    assert difference(spec, spec.model_copy(update={"device": device})) == ()


def test_other_limits_are_the_same_study(spec: StudySpec) -> None:
    spec = spec.model_copy(update={"constraints": (Constraint(name="size", max=500.0),)})
    other = spec.model_copy(
        update={
            "objectives": (*spec.objectives[:2], Objective(name="memory", max=400.0)),
            "constraints": (Constraint(name="size", max=600.0),),
        }
    )
    assert difference(spec, other) == difference(other, spec) == ()


def test_another_constraint_is_another_study(spec: StudySpec) -> None:
    """Stages of ended candidates may not have measured its score."""
    other = spec.model_copy(update={"constraints": (Constraint(name="size", max=500.0),)})
    added = difference(spec, other)
    assert "constraints[0].name: nothing in the study, 'size' in the file" in added
    assert not any("max" in clause for clause in added)
    renamed = spec.model_copy(update={"constraints": (Constraint(name="prefill", max=500.0),)})
    assert difference(other, renamed) == (
        "constraints[0].name: 'size' in the study, 'prefill' in the file",
    )


def test_no_other_setting_called_max_may_change(spec: StudySpec) -> None:
    """Only the limits of objectives and constraints are judged again."""
    old, new = (
        replace(spec.space, rules=Rules(parameters=(2_000_000, most)))
        for most in (3_000_000, 4_000_000)
    )
    changed = difference(
        spec.model_copy(update={"space": old}), spec.model_copy(update={"space": new})
    )
    assert changed == (
        "space.rules.parameters: [2000000, 3000000] in the study, [2000000, 4000000] in the file",
    )
