"""A study file compared with the study that was started from it."""

from pathlib import Path

import pytest

from nas.workflows.stored_study import resumed_study
from search_space.preset_models import PRESETS
from studies.spec.reference_models import paired_reference, with_reference
from studies.spec.study_spec import StudySpec, to_json
from studies.spec.study_tables import Constraint
from studies.storage.store import Store
from tests.studies.fakes import small_spec


@pytest.fixture
def started(tmp_path: Path) -> StudySpec:
    """A study that is in its database."""
    spec = small_spec(f"sqlite:///{tmp_path}/nas.db", constraints=(Constraint(name="size", max=9),))
    with Store.open(spec.storage) as store:
        store.add_study(spec.name, to_json(with_reference(spec)))
    return spec


def test_a_study_that_was_not_started_needs_no_database(tmp_path: Path) -> None:
    spec = small_spec(f"sqlite:///{tmp_path}/nas.db")
    assert resumed_study(spec) == spec
    assert not (tmp_path / "nas.db").exists()


def test_another_study_in_the_database_does_not_matter(started: StudySpec) -> None:
    other = started.model_copy(update={"name": "other", "seed": 9})
    assert resumed_study(other) == other


def test_the_reference_model_is_that_of_the_study(
    started: StudySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This also applies if a later release has a preset that is nearer in size."""
    later = {"hybrid-20m": PRESETS["lfm2-2.6b"], "lfm2-700m": PRESETS["lfm2-700m"]}
    monkeypatch.setattr("studies.spec.reference_models.PRESETS", later)
    assert paired_reference(started) == "lfm2-700m"
    assert paired_reference(resumed_study(started)) == "hybrid-20m"


def test_limits_and_trials_may_change(started: StudySpec) -> None:
    changed = started.model_copy(
        update={"trials": 70, "constraints": (Constraint(name="size", max=8.0),)}
    )
    resumed = resumed_study(changed)
    assert (resumed.trials, resumed.constraints) == (70, changed.constraints)


def test_other_changes_are_an_error(started: StudySpec) -> None:
    changed = started.model_copy(update={"seed": 9})
    with pytest.raises(ValueError, match="other settings: seed: 0 in the study, 9 in the file;"):
        resumed_study(changed)
