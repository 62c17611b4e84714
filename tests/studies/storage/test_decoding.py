"""Tests that damaged or inconsistent databases are reported with the table and the row."""

from collections.abc import Callable
from pathlib import Path

import pytest

from studies.analysis import study_front, summaries, trial_detail
from studies.analysis.followed_study import FollowedStudy
from studies.confirmation.confirmation_results import read_confirmation
from studies.damage import DamagedDatabase
from studies.storage.store import Store
from tests.studies.storage.sound_database import execute, write_database

_DAMAGES = {
    "DELETE FROM nas_scores WHERE name = 'loss'": "trial 0 has no score 'loss'",
    "UPDATE nas_scores SET value = 'abc' WHERE name = 'loss'": "nas_scores: value 'abc' is not a",
    "UPDATE nas_scores SET value = -1 WHERE name = 'decode'": "value -1.0 is not a finite",
    "UPDATE nas_scores SET value = 9e999": "value Infinity is not a finite number of at least 0",
    "UPDATE nas_trials SET state = 'lost' WHERE id = 3": "nas_trials, row id=3: state 'lost' is",
    "UPDATE nas_trials SET state = 'running' WHERE id = 3": "state running contradicts ended_at",
    "UPDATE nas_trials SET started_at = 'noon' WHERE id = 3": "started_at 'noon' is not a time",
    "UPDATE nas_trials SET curve = '[[1,' WHERE id = 3": "row id=3: curve '[[1,' cannot be decoded",
    "UPDATE nas_trials SET deaths = X'00'": "deaths \"b'\\\\x00'\" is not a whole number",
    "UPDATE nas_trials SET exceeded = '{\"a\": []}'": "exceeded '{\"a\": []}' cannot be decoded",
    "UPDATE nas_architectures SET json = '5'": "json '5' is not the architecture with this hash",
    "DELETE FROM nas_architectures": "is not in nas_architectures",
    "DELETE FROM nas_processes": "is not in nas_processes",
    "UPDATE nas_evaluations SET curve = '{}'": "curve '{}' cannot be decoded",
    'UPDATE nas_measurements SET disturbance = \'{"steal": "x"}\'': 'disturbance \'{"steal"',
    "UPDATE nas_measurements SET samples_ns = '[]'": "samples_ns: tg8@64 has no sample",
    "UPDATE nas_environments SET json = '[1]'": "json '[1]' cannot be decoded",
    "UPDATE nas_studies SET created_at = 5": "nas_studies, row id=1: created_at 5 is not a time",
    "ALTER TABLE nas_scores DROP COLUMN low": "no such column: nas_scores.low",
    "DROP TABLE nas_stages": "no such table: nas_stages",
    "UPDATE nas_version SET version = 0": "it has tables of a study but no version",
}


def _read_everything(url: str) -> None:
    with Store.open_to_read(url) as store:
        summaries.status(store, "small")
        front = study_front.front(store, "small")
        read_confirmation(store, front)
        for number in range(16):
            trial_detail.detail(store, "small", str(number))
        store.evidence_since("small", 0, [])


def test_a_sound_database_is_read(tmp_path: Path) -> None:
    _read_everything(write_database(tmp_path / "study.db"))


@pytest.mark.parametrize(("statement", "words"), _DAMAGES.items(), ids=list(_DAMAGES))
def test_damage_is_reported_with_table_and_row(tmp_path: Path, statement: str, words: str) -> None:
    url = write_database(tmp_path / "study.db")
    execute(tmp_path / "study.db", statement)
    with pytest.raises(ValueError, match=r"^storage: ") as caught:
        _read_everything(url)
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 500


def test_overwritten_pages_are_reported(tmp_path: Path) -> None:
    url = write_database(tmp_path / "study.db")
    content = bytearray((tmp_path / "study.db").read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(DamagedDatabase, match="is a damaged SQLite database; `nas db check`"):
        _read_everything(url)


@pytest.mark.parametrize(
    "read",
    [
        summaries.status,
        study_front.front,
        FollowedStudy,
        lambda store, study: trial_detail.detail(store, study, "0"),
    ],
)
@pytest.mark.parametrize(
    ("spec", "fault"),
    [("{}", "name is missing"), ("x", "line 1, column 1 is not valid JSON: expecting value")],
)
def test_a_damaged_specification_is_reported_with_the_name_of_its_study(
    tmp_path: Path, read: Callable[[Store, str], object], spec: str, fault: str
) -> None:
    url = write_database(tmp_path / "study.db")
    execute(tmp_path / "study.db", f"UPDATE nas_studies SET spec = '{spec}'")
    with (
        Store.open_to_read(url) as store,
        pytest.raises(ValueError, match=f"^the stored study 'small': {fault}$"),
    ):
        read(store, "small")
