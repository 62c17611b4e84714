"""Corpora: the split into training and held-out text, and what is refused."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.text.corpus import Corpus, check_corpus, corpus_note, read_corpus
from evaluators.text.documents import MOST_CHARACTERS
from evaluators.text.tokenizer import encode, train_tokenizer
from evaluators.training.scoring import held_out_loss


def document(seed: int, lines: int = 60) -> str:
    words = random.Random(seed)
    return "".join(
        f"document {seed} line {line} says {words.randrange(10**9)}\n\n" for line in range(lines)
    )


def write(folder: Path, documents: dict[str, str]) -> str:
    for name, text in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return str(folder)


def characters(corpus: Corpus) -> str:
    return "".join(sorted("".join(corpus.training + corpus.held_out)))


def test_every_document_is_in_exactly_one_of_the_two_texts(tmp_path: Path) -> None:
    documents = {f"{seed}.txt": document(seed) for seed in range(40)}
    corpus = read_corpus(write(tmp_path, documents))

    # Blocks are cut at 32 kB and shuffled, so a line at a border may be in two pieces.
    training, held_out = "\n".join(corpus.training), "\n".join(corpus.held_out)
    for text in documents.values():
        lines = text.split("\n\n")[:-1]
        trained = sum(line in training for line in lines)
        scored = sum(line in held_out for line in lines)
        assert sorted((trained > 0, scored > 0)) == [False, True]
        assert trained + scored >= len(lines) - 2
    assert characters(corpus) == "".join(sorted("".join(documents.values())))


def test_every_step_is_reported(tmp_path: Path) -> None:
    documents = {f"{seed}.txt": document(seed) for seed in range(10)}
    reported: list[str] = []
    read_corpus(write(tmp_path, documents), reported.append)
    assert reported == [
        "reading the corpus",
        *(f"reading the corpus: file {number} of 10" for number in range(1, 11)),
        "reading the corpus: removing the overlap of training text and held-out text",
    ]


def test_duplicates_count_once_and_are_never_in_both_texts(tmp_path: Path) -> None:
    documents = {f"{seed}.txt": document(seed) for seed in range(20)}
    once = read_corpus(write(tmp_path / "once", documents))
    copies = {f"copy/{name}": text for name, text in documents.items()}
    assert read_corpus(write(tmp_path / "twice", documents | copies)) == once


def test_the_identity_depends_on_the_text_and_not_on_file_names(tmp_path: Path) -> None:
    texts = [document(seed) for seed in range(20)]
    named = read_corpus(write(tmp_path / "a", {f"{n}.txt": t for n, t in enumerate(texts)}))
    renamed = {f"x/{99 - n}": t for n, t in enumerate(texts)} | {".hidden/y": document(99)}
    assert read_corpus(write(tmp_path / "b", renamed)) == named

    changed = {f"{n}.txt": t for n, t in enumerate([texts[0] + "!", *texts[1:]])}
    assert read_corpus(write(tmp_path / "c", changed)).identity != named.identity


def test_one_long_file_is_cut_between_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(document(1, lines=20_000))
    corpus = read_corpus(str(path))
    held_out, training = "".join(corpus.held_out), "".join(corpus.training)
    assert 0.02 < len(held_out) / (len(held_out) + len(training)) < 0.25
    assert len(held_out) + len(training) == path.stat().st_size


def test_one_very_long_line_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    letters = random.Random(0)
    path.write_text("".join(letters.choices("abcdé", k=100_000)))
    corpus = read_corpus(str(path))
    assert len("".join(corpus.held_out)) == 20_000
    assert len("".join(corpus.training)) == 80_000


@pytest.mark.parametrize("text", ["x" * 100_000, "é\r\n" * 50_000, "one line\n\n" * 5_000])
def test_a_text_of_duplicates_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "copies.txt"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match="without duplicates, but at least 16,384 are required"):
        read_corpus(str(path))


def test_the_standard_library() -> None:
    corpus = read_corpus("python")
    training, held_out = "".join(corpus.training), "".join(corpus.held_out)
    assert len(training) > 5_000_000
    assert 1_000_000 < len(held_out) < 0.15 * len(training)
    assert max(len(block) for block in corpus.training) == 32_768
    assert read_corpus("python") == corpus


def test_what_is_refused(tmp_path: Path) -> None:
    binary = write(tmp_path / "binary", {"a.txt": document(1), "b.txt": document(2)})
    (tmp_path / "binary" / "c.bin").write_bytes(b"text and then \xff\xfe")
    empty = write(tmp_path / "empty", {"a.txt": " \n"})
    for name, message in {
        str(tmp_path / "absent"): "is not 'python', and no file or folder has that name",
        "~nobody-of-this-name/text": "no file or folder has that name",
        "long" * 1_000: "no file or folder has that name",
        binary: "c.bin is not UTF-8 text (byte 14 cannot be decoded)",
        empty: "has 0 characters of text",
        write(tmp_path / "small", {"a.txt": document(1)}): "at least 16,384 are required",
    }.items():
        with pytest.raises(ValueError, match=r"^corpus: ") as refusal:
            read_corpus(name)
        assert message in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_the_check_reads_no_file(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    check_corpus(str(tmp_path / "binary"))
    check_corpus("python")
    with pytest.raises(ValueError, match="no file or folder"):
        check_corpus("Python")


def test_lines_and_files_are_equivalent_documents(tmp_path: Path) -> None:
    texts = [document(seed) for seed in range(20)]
    as_files = read_corpus(write(tmp_path / "files", {f"{n}.txt": t for n, t in enumerate(texts)}))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in reversed(texts))
    (tmp_path / "lines.jsonl").write_text(lines)
    assert read_corpus(str(tmp_path / "lines.jsonl")) == as_files
    halves = [f"{tmp_path}/files/{digit}*.txt" for digit in range(10)]
    assert read_corpus(tuple(halves)) == as_files


def test_no_long_passage_of_held_out_text_is_trained_on(tmp_path: Path) -> None:
    words = random.Random(0)
    form = "The licence, which every document repeats. " * 8
    texts = []
    for seed in range(60):
        texts.append(form + document(seed))
        if seed % 4 == 0:
            lines = document(seed).splitlines(keepends=True)
            lines[words.randrange(len(lines))] = "another line\n"
            texts.append("".join(lines))
    lines_of_all = "\n".join(map(json.dumps, texts))
    (tmp_path / "copies.jsonl").write_text(lines_of_all)
    corpus = read_corpus(str(tmp_path / "copies.jsonl"))

    training = "".join(corpus.training)
    trained = {training[start : start + 200] for start in range(len(training) - 199)}
    for block in corpus.held_out:
        passages = (block[start : start + 200] for start in range(len(block) - 199))
        assert not any(passage in trained for passage in passages)
    assert corpus.copies >= 1
    assert corpus.unscored_bytes >= len(form) - 192
    assert len(training) > 100_000
    note = corpus_note(corpus)
    assert note is not None
    assert note.startswith(
        f"{corpus.copies} documents are not used for training, because they are near copies"
    )


def test_a_corpus_of_near_copies_is_refused(tmp_path: Path) -> None:
    book = document(1, lines=100)
    texts = [book + f"edition {number}" for number in range(40)]
    path = write(tmp_path, {f"{n}.txt": text for n, text in enumerate(texts)})
    with pytest.raises(
        ValueError, match="repeats itself too much: without text that occurs in both the training"
    ):
        read_corpus(path)


def test_the_standard_library_has_no_note() -> None:
    assert corpus_note(read_corpus("python")) is None


class Uniform(torch.nn.Module):
    """A model that gives every token the same probability."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*tokens_BT.shape, self.vocab_size)


def test_every_vocabulary_is_scored_on_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = {f"{seed}.txt": "ñ" + document(seed) for seed in range(40)}
    corpus = read_corpus(write(tmp_path / "texts", texts))
    held_out = "".join(corpus.held_out).encode()
    for vocab_size in (256, 300, 1_000, 4_000):
        tokenizer = train_tokenizer(corpus.training, vocab_size, lambda _: None)
        ids = encode(tokenizer, corpus.held_out, lambda _: None)
        model, token_bytes = Uniform(vocab_size), tokenizer.token_bytes
        found = held_out_loss(model, ids, token_bytes, 64, "cpu", lambda: 0.0).whole
        # A uniform model spends the same number of bits on every token, so that its bits per byte
        # show how many bytes were counted: all but those of the first token, which has no context.
        counted = math.log2(vocab_size) * (len(ids) - 1) / found
        first = int(tokenizer.token_bytes[ids[0]])
        assert counted == pytest.approx(len(held_out) - first, rel=1e-6)
        assert first <= 12


def test_of_a_large_corpus_a_random_part_is_used_whatever_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [document(seed) for seed in range(300)]
    lines = [json.dumps(text) + "\n" for text in texts]
    (tmp_path / "all.jsonl").write_text("".join(lines))
    (tmp_path / "reversed.jsonl").write_text("".join(reversed(lines)))
    everything = read_corpus(str(tmp_path / "all.jsonl"))
    assert everything.used_share == 1.0
    size = len("".join(texts))
    monkeypatch.setattr("evaluators.text.corpus.MOST_CHARACTERS", size // 3)
    part = read_corpus(str(tmp_path / "all.jsonl"))
    assert read_corpus(str(tmp_path / "reversed.jsonl")) == part
    assert part.used_share == pytest.approx(1 / 3, rel=0.05)
    assert len(characters(part)) == pytest.approx(size / 3, rel=0.05)
    note = corpus_note(part)
    assert note is not None
    assert note.startswith("a random part of the corpus is used, 33 % of it")
    # A random part: not only documents from the beginning or the end.
    used = [text for text in texts if text.split("\n")[0] in "".join(part.training)]
    assert 0.3 < sum(map(texts.index, used)) / len(used) / len(texts) < 0.7


def test_the_quickstart_states_how_much_of_a_large_corpus_is_used() -> None:
    text = (Path(__file__).parents[3] / "studies/presets/quickstart.toml").read_text()
    assert f"than {MOST_CHARACTERS // 1_000_000} million characters is sampled" in text


@pytest.mark.slow
def test_a_corpus_that_is_larger_than_the_memory(tmp_path: Path) -> None:
    """Read 5 GB of text in a process whose memory is limited to 1.5 GB."""
    draw = np.random.default_rng(0)
    with (tmp_path / "large.jsonl").open("wb") as file:
        for _ in range(50_000):
            letters = draw.integers(ord("a"), ord("z") + 1, 100_000, dtype=np.uint8)
            file.write(b'"' + letters.tobytes() + b'"\n')
    assert (tmp_path / "large.jsonl").stat().st_size > 4_900_000_000
    program = (
        "import resource, sys\n"
        "from evaluators.text.corpus import read_corpus\n"
        "corpus = read_corpus(sys.argv[1])\n"
        "assert sum(map(len, corpus.training)) > 100_000_000\n"
        "assert 1_000_000 < sum(map(len, corpus.held_out)) < 1_300_000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "large.jsonl")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(found.stdout) * 1_024 < 1_500_000_000
