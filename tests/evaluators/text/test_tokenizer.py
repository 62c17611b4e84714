"""Tokenizers: lossless encoding, bytes per token, and a cache that survives damage."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.text.cache_files import cache_folder
from evaluators.text.tokenizer import Tokenizer, decode, encode, train_tokenizer

BLOCKS = tuple(
    f"def f{n}(x):\n    return x ** {n}  # the {n}th power, naïvely — ±0\n" * 20 for n in range(40)
)


def silent(text: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nas"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return train_tokenizer(BLOCKS, 512, silent)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_restored_and_its_bytes_add_up(trained: Tokenizer, text: str) -> None:
    ids = encode(trained, [text], silent)
    assert decode(trained, ids) == text
    assert trained.token_bytes[ids].sum() == len(text.encode())


def test_a_larger_vocabulary_encodes_the_text_in_fewer_tokens(trained: Tokenizer) -> None:
    small = train_tokenizer(BLOCKS, 256, silent)
    assert len(small.token_bytes) == 256
    assert set(small.token_bytes) == {1}
    assert len(trained.token_bytes) <= 512
    assert 2 * len(encode(trained, BLOCKS, silent)) < len(encode(small, BLOCKS, silent))


def test_encoding_stops_at_the_requested_number_of_ids(trained: Tokenizer) -> None:
    everything = encode(trained, BLOCKS, silent)
    some = encode(trained, BLOCKS, silent, at_least=1_000)
    assert np.array_equal(some, everything[:1_000])
    assert np.array_equal(encode(trained, BLOCKS, silent, at_least=10**9), everything)


def test_a_long_encoding_reports_how_much_is_done(trained: Tokenizer) -> None:
    reported: list[str] = []
    encode(trained, BLOCKS, reported.append)  # 40 blocks, eight at a time
    assert reported == [
        "encoding the text",
        *(f"encoding the text: {share} %" for share in (20, 40, 60, 80)),
    ]
    reported.clear()
    half = len(encode(trained, BLOCKS[:20], silent))
    encode(trained, BLOCKS, reported.append, at_least=half)  # ends in the third batch
    shares = [float(text.split(": ")[1].removesuffix(" %")) for text in reported[1:]]
    assert shares == pytest.approx([40, 80], abs=2)  # 8 and 16 blocks of 20


def test_the_same_text_gives_the_same_tokenizer_in_another_cache(trained: Tokenizer) -> None:
    second = train_tokenizer(BLOCKS, 512, silent)
    assert second.identity == trained.identity
    assert train_tokenizer(BLOCKS[1:], 512, silent).identity != trained.identity


def test_a_second_call_reads_the_cache_and_a_damaged_file_is_rebuilt(own_cache: Path) -> None:
    reported: list[str] = []

    def ids() -> list[int]:
        tokenizer = train_tokenizer(BLOCKS, 300, reported.append)
        return list(encode(tokenizer, BLOCKS, reported.append, at_least=500))

    first = ids()
    assert reported == ["training a tokenizer of 300 tokens", "encoding 500 tokens of text"]
    reported.clear()
    assert ids() == first
    assert reported == []

    files = sorted(own_cache.iterdir())
    assert [path.suffix for path in files] == [".json", ".npy"]
    for path, damage in zip(files, (b"{}", b""), strict=True):
        whole = path.read_bytes()
        path.write_bytes(damage)
        assert ids() == first
        assert reported[0] == f"{path} is damaged and will be rebuilt"
        assert path.read_bytes() == whole
        reported.clear()

    flipped = bytearray(files[1].read_bytes())
    flipped[-40] ^= 1
    files[1].write_bytes(flipped)
    assert ids() == first
    assert "damaged" in reported[0]


def test_ids_can_be_read_with_numpy_alone(own_cache: Path) -> None:
    tokenizer = train_tokenizer(BLOCKS, 300, silent)
    ids = encode(tokenizer, BLOCKS, silent)
    (path,) = own_cache.glob("*.npy")
    assert np.array_equal(np.load(path), ids)


def test_a_cache_that_cannot_be_written_is_reported_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Tokenizer
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    reported: list[str] = []
    assert decode(trained, encode(trained, ["some text"], reported.append)) == "some text"
    assert reported[-1].endswith("cannot be written (Not a directory)")


def test_a_cache_that_cannot_be_read_is_reported_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Tokenizer
) -> None:
    # The root user may read the files of all others, but no file whose name is too long.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("long" * 100)))
    reported: list[str] = []
    assert decode(trained, encode(trained, ["some text"], reported.append)) == "some text"
    assert reported[0].endswith("cannot be read (File name too long)")
    assert reported[-1].endswith("cannot be written (File name too long)")


def test_the_environment_is_restored(trained: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    encode(trained, ["one"], silent)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    encode(trained, ["two"], silent)
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_folder() == tmp_path / "nas"
    monkeypatch.setenv("HOME", "/home/someone")
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == Path("/home/someone/.cache/nas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/someone/.cache/nas")


@pytest.mark.parametrize("vocab_size", [255, 65_537])
def test_a_vocabulary_out_of_range_is_refused(vocab_size: int) -> None:
    with pytest.raises(ValueError, match=f"vocab_size: {vocab_size} is not between 256 and 65,536"):
        train_tokenizer(BLOCKS, vocab_size, silent)
