"""Tests of the check of whole databases."""

from pathlib import Path

import pytest

from studies.storage.integrity import check_database
from studies.storage.store import Store
from tests.studies.storage.sound_database import execute, write_database


def test_a_sound_database_has_neither_damage_nor_remarks(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    report = check_database(write_database(path))
    assert (report.damage, report.remarks) == ((), ())
    assert report.rows["nas_studies"] == 1
    assert report.rows["nas_trials"] == 17


def test_a_sound_database_of_any_kind_is_sound(url: str) -> None:
    with Store.open(url) as store:
        store.add_study("ours", "{}")
    (fault,) = check_database(url).damage
    assert "nas_studies, row id=1" in fault  # its specification lacks everything
    assert "objectives" in fault or "space" in fault or "missing" in fault


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM nas_stages WHERE trial = 3 AND position = 0", None),
        ("DELETE FROM nas_architectures", "architecture refers to no row of nas_architectures"),
        ("DELETE FROM nas_evaluations", "refers to no row of nas_evaluations"),
        ("DELETE FROM trials", "its draw is not in Optuna's tables"),
        ("UPDATE nas_measurements SET waited_ns = 'x'", "waited_ns 'x' cannot be decoded"),
        ("UPDATE nas_measurements SET workload = 'x'", "workload: 'x'"),
        ("UPDATE nas_studies SET spec = 'x'", "not valid JSON"),
        ("UPDATE trial_params SET distribution_json = 'x'", "trial_params, row param_id=1"),
        ("UPDATE trial_params SET param_value = 99", "trial_params, row param_id="),
        ("UPDATE trial_params SET param_value = NULL", "trial_params, row param_id=1"),
        ("UPDATE nas_studies SET name = 'x'", "name 'x' is not 'small'"),
        ("DELETE FROM nas_scores WHERE name = 'loss'", "no score 'loss'"),
        ("UPDATE nas_calibrations SET low = 0", "low 0.0 is not a finite number above 0"),
        ("DROP TABLE nas_repeats", "nas_repeats: the table is missing"),
        ("ALTER TABLE nas_repeats DROP COLUMN reason", "the column 'reason' is missing"),
    ],
)
def test_damage_is_listed(tmp_path: Path, statement: str, fault: str | None) -> None:
    url = write_database(tmp_path / "study.db")
    execute(tmp_path / "study.db", statement)
    damage = check_database(url).damage
    if fault is None:
        assert damage == ()
    else:
        assert any(fault in each for each in damage)
        assert all(len(each) < 400 for each in damage)


def test_many_faults_of_one_kind_are_not_all_listed(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    execute(tmp_path / "study.db", "UPDATE nas_scores SET unit = 5.5")
    execute(tmp_path / "study.db", "UPDATE nas_scores SET unit = X'00'")
    damage = check_database(url).damage
    assert len(damage) <= 42
    assert any("more of this kind" in each for each in damage)


def test_a_running_trial_whose_process_has_ended_is_a_remark(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    execute(
        tmp_path / "study.db",
        "UPDATE nas_trials SET state = 'running', ended_at = NULL WHERE number = 4 "
        "AND kind = 'candidate'",
    )
    report = check_database(url)
    assert report.damage == ()
    (remark,) = report.remarks
    assert remark.startswith("trial 4 of small is running, but its process has ended")
