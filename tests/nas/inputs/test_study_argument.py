"""Arguments of commands that name a study, and what follows from where its database is."""

from pathlib import Path

import pytest

from nas.inputs.study_argument import argument_for_next_command, new_database_remark, read_study
from tests.nas.tiny_study import write_study


@pytest.mark.parametrize(
    ("text", "storage", "argument"),
    [
        ("mine.toml", None, "mine.toml"),
        ("my study.toml", None, "'my study.toml'"),
        ("mine", "sqlite:///all.db", "mine --storage sqlite:///all.db"),
        ("mine", "sqlite:///my all.db", "mine --storage 'sqlite:///my all.db'"),
        ("mine", "postgresql://me:secret@host/nas", "mine --storage URL"),
    ],
)
def test_a_suggested_command_finds_the_study_and_shows_no_password(
    text: str, storage: str | None, argument: str
) -> None:
    assert argument_for_next_command(text, storage) == argument


@pytest.mark.parametrize("storage", ["foo", "mysql://host/nas", "sqlite:///"])
def test_a_wrong_url_of_the_option_is_not_blamed_on_the_file(storage: str, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    with pytest.raises(ValueError, match=r"^storage: "):
        read_study(str(study), storage)
    assert read_study(str(study), "sqlite:///all.db").storage == "sqlite:///all.db"


def test_a_database_that_is_not_next_to_the_study_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is relative to the current folder, in which earlier releases looked, too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "tiny.toml").touch()
    url = "sqlite:///nas.db"
    monkeypatch.chdir(tmp_path)
    assert new_database_remark("tiny.toml", url) is None
    monkeypatch.chdir(elsewhere)
    assert new_database_remark("../tiny.toml", url) == (
        f"storage: the database is created in '{elsewhere}', because 'nas.db' is relative to the "
        "current folder, not to the study file"
    )
    assert new_database_remark("../tiny.toml", f"sqlite:///{tmp_path}/nas.db") is None
    assert new_database_remark("../tiny.toml", "postgresql://user@host/nas") is None
    assert new_database_remark("quickstart", url) is None
    (elsewhere / "nas.db").touch()
    assert new_database_remark("../tiny.toml", url) is None
