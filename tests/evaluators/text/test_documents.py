"""The documents of a corpus: names, files, folders, patterns, lines, rows, and error messages."""

import importlib.util
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from evaluators.text.documents import CorpusName, check_corpus, read_documents


def _read(name: CorpusName, *arguments: Any) -> list[str]:
    return list(read_documents(name, *arguments))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "a.txt": "one\n",
        "docs/b.md": "two\n",
        "docs/deep/c.md": "three\n",
        "docs/.hidden/d.md": "hidden\n",
        ".e.md": "hidden too\n",
        "lines.jsonl": '{"text": "four\\u2028still four", "n": 1}\n\n"five"\r\n{"text": "six"}',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path


FOUR = ["four\u2028still four", "five", "six"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.txt", ["one\n"]),
        ("docs", ["two\n", "three\n"]),
        ("docs/*.md", ["two\n"]),
        ("docs/**/*.md", ["two\n", "three\n"]),
        ("**/*.md", ["two\n", "three\n"]),
        ("docs/.hidden/*", ["hidden\n"]),
        ("[ab].*", ["one\n"]),
        ("lines.jsonl", FOUR),
        ("*.jsonl", FOUR),
        (("a.txt", "docs/**/c.md", "lines.jsonl"), ["one\n", "three\n", *FOUR]),
        (".", ["one\n", "two\n", "three\n", *FOUR]),
    ],
)
def test_a_name_stands_for_its_documents(folder: Path, name: CorpusName, found: list[str]) -> None:
    check_corpus(name)
    assert sorted(_read(name)) == sorted(found)
    absolute = str(folder / name) if isinstance(name, str) else [str(folder / n) for n in name]
    assert sorted(_read(absolute)) == sorted(found)


def test_the_number_of_each_file_is_reported_unless_it_is_the_only_one(folder: Path) -> None:
    reported: list[str] = []
    _read(("a.txt", "docs", "lines.jsonl"), reported.append)
    assert reported == ["reading the corpus: file 1 of 2", "reading the corpus: file 2 of 2"]


def test_python_and_a_file(folder: Path) -> None:
    assert sorted(_read(("a.txt", "python"))) == sorted(["one\n", *_read("python")])


def test_another_field_and_a_file_with_a_hash_sign_in_its_name(folder: Path) -> None:
    Path("c.jsonl").write_text('{"body": "seven", "text": 7}\n"eight"\n')
    assert _read("c.jsonl#body") == ["seven", "eight"]
    assert _read("c.jsonl*#body") == ["seven", "eight"]
    Path("c.jsonl#body").write_text("a text of its own")
    assert _read("c.jsonl#body") == ["a text of its own"]


def test_links_to_files_are_read_and_links_to_folders_are_not_followed(folder: Path) -> None:
    for name in ("one", "two", "three"):
        Path("docs", name).symlink_to("..", target_is_directory=True)
    Path("docs/linked.md").symlink_to(folder / "a.txt")
    Path("docs/broken.md").symlink_to(folder / "nothing")
    os.mkfifo("docs/pipe.md")
    for name in ("docs", "docs/**/*.md"):
        assert sorted(_read(name)) == ["one\n", "three\n", "two\n"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2, is not JSON (expecting property name enclosed in double quotes)"),
        ("plain words", "line 2, is not JSON (expecting value)"),
        (
            '{"body": "x", "id": 3}',
            "line 2, has no field 'text' (its fields: 'body', 'id'); append #FIELD to",
        ),
        ("{}", "line 2, has no field 'text' (its fields: none);"),
        ('{"text": null}', "line 2, is neither a string nor an object with a string as 'text'"),
        ('{"text": ["x"]}', "line 2, is neither a string nor"),
        ("17", "line 2, is neither a string nor"),
        ("[" * 100_000, "line 2, is JSON that is nested too deeply"),
        ('"\\ud800"', "line 2, contains an unpaired UTF-16 surrogate"),
        ("9" * 5_000, "line 2, is not JSON ("),
    ],
)
def test_the_message_names_a_malformed_line(folder: Path, line: str, message: str) -> None:
    Path("bad.jsonl").write_text(f'"right"\n{line}\n')
    check_corpus("bad.jsonl")
    with pytest.raises(ValueError, match=r"^corpus: bad\.jsonl, ") as refusal:
        _read("bad.jsonl")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ((), "[] is not a list of one or more names"),
        ("nowhere", "'nowhere' is not 'python', and no file or folder has that name"),
        (("a.txt", "nowhere"), "'nowhere' is not 'python'"),
        ("nowhere/*.md", "'nowhere/*.md' matches no file"),
        ("docs/**.md", "'docs/**.md' is not a valid pattern of paths"),
        ("\0", "no file or folder has that name"),
        ("nowhere.jsonl#body", "'nowhere.jsonl' is not"),
        ("python#body", "'python#body' is not possible: 'python' has no fields"),
        ("", "'' is not the name of a file or folder"),
        (("a.txt", ""), "'' is not the name of a file or folder"),
        ("#body", "'' is not the name of a file or folder"),
    ],
)
def test_missing_files_are_reported_before_any_file_is_read(
    folder: Path, name: CorpusName, message: str
) -> None:
    for check in (check_corpus, _read):
        if name != () or check is check_corpus:
            with pytest.raises(ValueError, match=r"^corpus: ") as refusal:
                check(name)
            assert message in str(refusal.value)


def test_parquet_without_its_package_names_the_extra_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("docs/rows.parquet").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("docs", "docs/rows.parquet", "docs/*.parquet", "docs/rows.parquet#body"):
        with pytest.raises(ValueError, match=r"pip install 'hybrid-lm-search\[parquet\]'$"):
            check_corpus(name)
    check_corpus("docs/*.md")


class TestParquet:
    @pytest.fixture(autouse=True)
    def rows(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HOME", str(folder / ".home"))  # datasets reads it on import
        pytest.importorskip("datasets")
        self.write("rows/a.parquet", {"text": ["one", "two"], "id": [1, 2]})
        self.write("rows/deep/b[1].parquet", {"id": [3], "text": ["three"]})

    def write(self, name: str, columns: dict[str, list[object]]) -> None:
        import datasets

        Path(name).parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(columns).to_parquet(name)

    def test_each_row_is_a_document(self) -> None:
        for name in ("rows", "rows/**/*.parquet", ("rows/a.parquet", "rows/deep/b[[]1].parquet")):
            check_corpus(name)
            assert sorted(_read(name)) == ["one", "three", "two"]

    def test_the_message_names_what_is_malformed(self) -> None:
        self.write("null.parquet", {"text": ["right", None]})
        Path("no.parquet").write_bytes(b"PAR1, and no more than that")
        for name, message in {
            "rows/a.parquet#body": "rows/a.parquet has no field 'body' (its fields: 'text', 'id')",
            "rows/a.parquet#id": "rows/a.parquet, row 1, is neither a string nor",
            "null.parquet": "null.parquet, row 2, is neither a string nor",
            "no.parquet": "no.parquet is not a Parquet table",
        }.items():
            with pytest.raises(ValueError, match=r"^corpus: ") as refusal:
                _read(name)
            assert message in str(refusal.value)
            assert "\n" not in str(refusal.value)

    def test_the_library_logs_nothing(self) -> None:
        Path("no.parquet").write_bytes(b"PAR1, and no more than that")
        logged: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = logged.append  # type: ignore[method-assign]
        logger = logging.getLogger("datasets")
        logger.addHandler(handler)
        try:
            with pytest.raises(ValueError, match="not a Parquet table"):
                _read("no.parquet")
        finally:
            logger.removeHandler(handler)
        assert not logged


def test_strings_with_line_breaks_are_documents(folder: Path) -> None:
    texts = [f"document {n}\nof two lines" for n in range(20)]
    Path("many.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert _read("many.jsonl") == texts


class TestLongTexts:
    """Texts that are read piece by piece."""

    @pytest.fixture(autouse=True)
    def short_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evaluators.text.text_bytes._PIECE_BYTES", 100)
        monkeypatch.setattr("evaluators.text.text_files._LONGEST_DOCUMENT", 1_000)

    def test_are_cut_at_blank_lines_and_nothing_is_lost(self, folder: Path) -> None:
        text = "".join(f"Paragraph {n} with ä, € and 😀.\n\n" for n in range(500))
        Path("long.txt").write_text(text)
        found = _read("long.txt")
        assert "".join(found) == text
        assert len(found) > 10
        assert all(len(each) <= 250 and each.endswith("\n\n") for each in found)

    def test_are_cut_at_the_same_places_in_a_list(self, folder: Path) -> None:
        text = "".join(f"Paragraph {n}.\n\n" for n in range(500))
        Path("long.txt").write_text(text)
        Path("long.jsonl").write_text(json.dumps(text) + "\n")
        assert _read("long.jsonl") == _read("long.txt")

    @pytest.mark.parametrize("place", [0, 99, 100, 101, 250, 499])
    def test_the_message_names_the_first_byte_that_is_not_utf8(
        self, folder: Path, place: int
    ) -> None:
        content = bytearray("é".encode() * 250)
        content[place] = 0xFF
        Path("wrong.txt").write_bytes(content)
        with pytest.raises(UnicodeDecodeError) as expected:
            content.decode()
        with pytest.raises(ValueError, match=f"byte {expected.value.start:,} cannot be decoded"):
            _read("wrong.txt")

    def test_a_character_that_the_end_of_the_file_cuts_is_reported(self, folder: Path) -> None:
        Path("cut.txt").write_bytes(b"x" * 299 + "é".encode()[:1])
        with pytest.raises(ValueError, match="byte 299 cannot be decoded"):
            _read("cut.txt")

    def test_lines_that_are_longer_than_a_piece(self, folder: Path) -> None:
        texts = [f"{n} " * 80 for n in range(30)]
        Path("lines.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, texts)))
        assert _read("lines.jsonl") == texts

    def test_a_line_without_an_end_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evaluators.text.text_files._LONGEST_LINE", 2_000)
        Path("endless.jsonl").write_text('"' + "x" * 10_000)
        with pytest.raises(ValueError, match="has a line of more than 2,000 characters"):
            _read("endless.jsonl")
