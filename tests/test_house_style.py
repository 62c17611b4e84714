"""The house style that no linter checks: docstrings, phrases, and one name for one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nas", "studies", "evaluators", "hardware", "search_space")
SOURCES = (*PACKAGES, "tests", "benchmarks")

# A docstring is an imperative or a noun phrase. These words begin neither.
DANGLING = re.compile(
    r"(Of|By|As|In so|To what|Than|Whose|With what|Without what|From what|At what|For whom"
    r"|Behind)\b"
    r"(?! (a )?(default|course|example))"
)
# Single words are in docs/glossary.txt, which codespell reads.
PHRASES = re.compile(
    r"\b(told apart|tells? apart|goes on with|go on with|mak(?:es?|ing) way|"
    r"what noise|as far as it goes|known less well|behind the front|stopped on the way|"
    r"in all; )\b"
)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the docstring of everything in a module that has one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def pages() -> list[Path]:
    front_end = (ROOT / "nas/dashboard/static").glob("*.*")
    readable = [path for path in front_end if path.suffix in (".js", ".css", ".html")]
    return [*sources(*SOURCES), *readable, *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]


@pytest.mark.parametrize("folder", SOURCES)
def test_no_docstring_opens_with_a_dangling_preposition(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sources(folder)
        for line, text in documented(ast.parse(path.read_text(encoding="utf-8")))
        if DANGLING.match(text)
    ]
    assert found == []


def test_no_page_uses_a_private_phrase() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in pages()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PHRASES.search(line)
    ]
    assert found == []


def test_no_two_modules_share_a_name() -> None:
    places = defaultdict(list)
    for path in sources(*PACKAGES):
        if path.stem != "__init__":
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert [paths for paths in places.values() if len(paths) > 1] == []


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path in sources(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert [paths for paths in places.values() if len(paths) > 1] == []
