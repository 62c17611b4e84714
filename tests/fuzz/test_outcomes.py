"""Tests that the checks of the other tests in this folder can fail."""

from pathlib import Path

import pytest

from tests.fuzz.outcomes import changed_paths, check_sentence


def test_changes_outside_a_folder_are_noticed(tmp_path: Path) -> None:
    with changed_paths() as changed:
        (tmp_path / "a").write_text("a")
        (tmp_path / "a").read_text()
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "folder").mkdir()
        (tmp_path / "b").unlink()
    names = [path.relative_to(tmp_path).name for path in changed]
    assert names == ["a", "a", "b", "folder", "b"]


@pytest.mark.parametrize("sentence", ["", "x" * 501, "two\nlines", "red \x1b[31m"])
def test_what_is_no_short_line_is_noticed(sentence: str) -> None:
    check_sentence("x" * 500)
    with pytest.raises(AssertionError):
        check_sentence(sentence)
