"""How much of a corpus a training reads, against what the training says of it."""

import random
from pathlib import Path

import pytest

from evaluators.text.corpus import read_corpus
from nas.workflows.corpus_usage import CorpusUsage, corpus_usage
from search_space.preset_models import PRESETS
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudySpec:
    """Of a corpus of 30 documents of a few thousand bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = random.Random(0)
    texts = [" ".join(str(words.randrange(10**6)) for _ in range(500)) for _ in range(30)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    spec = read_spec("quickstart")
    proxy = spec.proxy.model_copy(update={"corpus": f"{tmp_path}/*.txt", "token_budget": 100_000})
    return spec.model_copy(update={"proxy": proxy})


def test_bytes_of_both_sides_and_of_the_budget(spec: StudySpec) -> None:
    found = _reading(spec)
    whole = sum(path.stat().st_size for path in Path(str(spec.proxy.corpus)).parent.glob("*.txt"))
    assert found.training_bytes + found.held_out_bytes == whole
    # Digits fall into tokens of two or three of them.
    assert 150_000 < found.read_bytes < 350_000
    assert found.note is None
    assert f"reads {found.read_bytes / found.training_bytes:.3g} times over" in str(found)


def test_a_task_leaves_less_of_the_budget_for_the_corpus(spec: StudySpec) -> None:
    proxy = spec.proxy.model_copy(update={"task": "tasks.jsonl", "task_share": 0.25})
    whole = _reading(spec).read_bytes
    rest = _reading(spec.model_copy(update={"proxy": proxy})).read_bytes
    assert rest == pytest.approx(0.75 * whole)


def test_a_small_part_is_a_percentage() -> None:
    reading = CorpusUsage(
        training_bytes=10_000_000, held_out_bytes=300_000, read_bytes=9e4, note=None
    )
    assert str(reading) == ("10 MB to train on, 0.3 MB held out; a training reads 0.9 % of it")


def _reading(spec: StudySpec) -> CorpusUsage:
    corpus = read_corpus(spec.proxy.corpus)
    return corpus_usage(spec, PRESETS["hybrid-20m"], corpus, lambda said: None)
