"""What is trained on, what is held out of it, and what is refused."""

import random
from pathlib import Path

import pytest

from evaluators.corpus import Corpus, check_corpus, read_corpus


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


def test_every_document_is_on_exactly_one_side(tmp_path: Path) -> None:
    documents = {f"{seed}.txt": document(seed) for seed in range(40)}
    corpus = read_corpus(write(tmp_path, documents))

    # Blocks are cut at 32 kB and mixed, so a line at a border may be in two pieces.
    training, held_out = "\n".join(corpus.training), "\n".join(corpus.held_out)
    for text in documents.values():
        lines = text.split("\n\n")[:-1]
        trained = sum(line in training for line in lines)
        judged = sum(line in held_out for line in lines)
        assert sorted((trained > 0, judged > 0)) == [False, True]
        assert trained + judged >= len(lines) - 2
    assert characters(corpus) == "".join(sorted("".join(documents.values())))


def test_copies_count_once_and_never_land_on_both_sides(tmp_path: Path) -> None:
    documents = {f"{seed}.txt": document(seed) for seed in range(20)}
    once = read_corpus(write(tmp_path / "once", documents))
    copies = {f"copy/{name}": text for name, text in documents.items()}
    assert read_corpus(write(tmp_path / "twice", documents | copies)) == once


def test_names_and_order_of_files_do_not_matter_but_a_changed_letter_does(tmp_path: Path) -> None:
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


def test_one_endless_line_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    letters = random.Random(0)
    path.write_text("".join(letters.choices("abcdé", k=100_000)))
    corpus = read_corpus(str(path))
    assert len("".join(corpus.held_out)) == 20_000
    assert len("".join(corpus.training)) == 80_000


@pytest.mark.parametrize("text", ["x" * 100_000, "é\r\n" * 50_000, "one line\n\n" * 5_000])
def test_a_text_that_only_repeats_itself_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "copies.txt"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match="copies left out, and at least 16,384 are needed"):
        read_corpus(str(path))


def test_the_standard_library() -> None:
    corpus = read_corpus("python")
    training, held_out = "".join(corpus.training), "".join(corpus.held_out)
    assert len(training) > 5_000_000
    assert len(held_out) > 100_000
    assert len(held_out) < 0.05 * len(training)
    assert max(len(block) for block in corpus.training) == 32_768
    assert read_corpus("python") == corpus


def test_what_is_refused(tmp_path: Path) -> None:
    binary = write(tmp_path / "binary", {"a.txt": document(1), "b.txt": document(2)})
    (tmp_path / "binary" / "c.bin").write_bytes(b"text and then \xff\xfe")
    empty = write(tmp_path / "empty", {"a.txt": " \n"})
    for name, words in {
        str(tmp_path / "absent"): "is not 'python' and no file or folder of that name exists",
        "~nobody-of-this-name/text": "no file or folder of that name exists",
        "long" * 1_000: "no file or folder of that name exists",
        binary: "c.bin is not UTF-8 text (byte 14 cannot be decoded)",
        empty: "holds 0 characters of text",
        write(tmp_path / "small", {"a.txt": document(1)}): "at least 16,384 are needed",
    }.items():
        with pytest.raises(ValueError, match=r"^corpus: ") as refusal:
            read_corpus(name)
        assert words in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_the_check_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    check_corpus(str(tmp_path / "binary"))
    check_corpus("python")
    with pytest.raises(ValueError, match="no file or folder"):
        check_corpus("Python")
