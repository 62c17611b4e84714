"""Compressed text files: gzip is read, damaged files and other archives are refused."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluators.text.documents import check_corpus, read_documents

TEXT = "".join(f"Paragraph {n} with ä, € and 😀.\n\n" for n in range(200))
LINES = '{"text": "one"}\n"two"\n'


def _read(path: Path) -> list[str]:
    check_corpus(str(path))
    return list(read_documents(str(path)))


def _refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^corpus: ") as refused:
        _read(path)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert len(sentence) <= 500
    return sentence


class TestGzip:
    @pytest.mark.parametrize("name", ["text.txt.gz", "text.gz", "TEXT.TXT.GZ", "text.txt"])
    def test_a_text_is_one_document_whatever_its_name_is(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress(TEXT.encode()))
        assert _read(tmp_path / name) == [TEXT]

    @pytest.mark.parametrize("name", ["lines.jsonl.gz", "LINES.JSONL.GZ", "lines.jsonl"])
    def test_each_line_of_jsonl_is_a_document(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress(LINES.encode()))
        assert _read(tmp_path / name) == ["one", "two"]

    def test_a_field_can_be_named(self, tmp_path: Path) -> None:
        (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(b'{"body": "one"}\n'))
        assert list(read_documents(f"{tmp_path}/*.gz#body")) == ["one"]

    def test_a_name_that_ends_with_gz_does_not_make_a_file_compressed(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt.gz").write_text(TEXT)
        (tmp_path / "lines.jsonl.gz").write_text(LINES)
        assert sorted(_read(tmp_path)) == sorted([TEXT, "one", "two"])

    def test_concatenated_files_are_one_text(self, tmp_path: Path) -> None:
        parts = (TEXT[:1_000], "", TEXT[1_000:])
        (tmp_path / "text.gz").write_bytes(b"".join(gzip.compress(each.encode()) for each in parts))
        assert _read(tmp_path / "text.gz") == [TEXT]

    def test_pieces_that_end_within_a_character(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evaluators.text.text_bytes._PIECE_BYTES", 7)
        (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
        assert _read(tmp_path / "text.gz") == [TEXT]

    def test_the_message_counts_the_bytes_of_the_text(self, tmp_path: Path) -> None:
        (tmp_path / "text.gz").write_bytes(gzip.compress(b"x" * 1_234 + b"\xff"))
        assert "is not UTF-8 text (byte 1,234 cannot be decoded)" in _refusal(tmp_path / "text.gz")

    def test_a_file_that_ends_too_early_is_refused_wherever_it_ends(self, tmp_path: Path) -> None:
        content = gzip.compress(TEXT.encode())
        for length in (*range(2, 40), *range(40, len(content), 50), len(content) - 1):
            (tmp_path / "text.gz").write_bytes(content[:length])
            assert _refusal(tmp_path / "text.gz").endswith("is a gzip file that ends too early")

    def test_no_damaged_byte_changes_the_text(self, tmp_path: Path) -> None:
        content = gzip.compress(LINES.encode())
        refused = 0
        for place in range(2, len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 0xFF
            (tmp_path / "text.gz").write_bytes(damaged)
            try:
                assert _read(tmp_path / "text.gz") == [LINES]
            except ValueError:
                assert " gzip file" in _refusal(tmp_path / "text.gz")
                refused += 1
        assert refused > len(content) / 2  # all but the time and the system in its header

    def test_what_follows_the_compressed_text_is_not_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()) + b"more")
        assert "is a damaged gzip file (" in _refusal(tmp_path / "text.gz")


class TestMuchLargerContent:
    def test_is_refused_before_it_fills_the_memory(self, tmp_path: Path) -> None:
        (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(100_000_000)))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="less than 1/100 of its size, as hardly any text"):
                for _ in read_documents(str(tmp_path / "zeros.gz")):
                    pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 10_000_000

    def test_is_refused_in_a_line_that_does_not_end(self, tmp_path: Path) -> None:
        (tmp_path / "endless.jsonl.gz").write_bytes(gzip.compress(b'"' + b"x" * 20_000_000))
        assert "less than 1/100 of its size" in _refusal(tmp_path / "endless.jsonl.gz")

    def test_is_read_from_a_small_file_that_repeats_itself(self, tmp_path: Path) -> None:
        text = "A line that repeats.\n" * 40_000
        content = gzip.compress(text.encode())
        assert len(text) > 100 * len(content)
        (tmp_path / "text.gz").write_bytes(content)
        assert _read(tmp_path / "text.gz") == [text]

    def test_is_read_from_a_large_file_of_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evaluators.text.text_bytes._ALWAYS_ALLOWED", 100)
        (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
        assert _read(tmp_path / "text.gz") == [TEXT]


def _zip(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("text.txt", text)
    return file.getvalue()


def _tar(text: bytes, form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        member = tarfile.TarInfo("text.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file.getvalue()


def _zstd(text: bytes) -> bytes:
    """Return a frame of one uncompressed block (RFC 8878, section 3.1.1)."""
    assert len(text) < 256
    block_header = (len(text) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(text)]) + block_header + text


@pytest.mark.parametrize(
    ("compress", "what"),
    [
        (bz2.compress, "compressed with bzip2; decompress it first"),
        (lzma.compress, "compressed with xz; decompress it first"),
        (_zstd, "compressed with zstd; decompress it first"),
        (_zip, "a zip archive; extract it first"),
        (_tar, "a tar archive; extract it first"),
        (lambda text: _tar(text, tarfile.USTAR_FORMAT), "a tar archive; extract it first"),
        (lambda text: _tar(text, tarfile.GNU_FORMAT), "a tar archive; extract it first"),
        (lambda text: gzip.compress(_tar(text)), "a tar archive; extract it first"),
        (
            lambda text: gzip.compress(gzip.compress(text)),
            "compressed with gzip; decompress it first",
        ),
    ],
)
@pytest.mark.parametrize("name", ["text", "text.txt.gz", "lines.jsonl"])
def test_what_is_compressed_in_another_way_is_named(
    tmp_path: Path, compress: Callable[[bytes], bytes], what: str, name: str
) -> None:
    (tmp_path / name).write_bytes(compress(b"Words.\n" * 30))
    assert _refusal(tmp_path / name) == f"corpus: {tmp_path / name} is {what}"


def test_a_text_about_tar_archives_is_a_text(tmp_path: Path) -> None:
    text = "x" * 257 + "ustar  is the magic of a tar archive"
    (tmp_path / "text.txt").write_text(text)
    assert _read(tmp_path / "text.txt") == [text]
