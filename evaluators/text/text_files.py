"""The documents in one file: a text, lines of JSONL or rows of Parquet, read piece by piece."""

import codecs
import glob
import json
from collections.abc import Iterator
from pathlib import Path

from evaluators.text.dataset import silent_readers
from evaluators.text.text_bytes import text_bytes
from evaluators.text.text_field import checked_text, missing_field
from search_space.input_files import UnreadableFile, check_file

# This only excludes what is hardly a text.
_MOST_BYTES = 1_000_000_000_000
# A line of JSONL is held in memory.
_LONGEST_LINE = 1 << 28
# Longer documents, in characters, are cut into sections, each of which counts as one.
_LONGEST_DOCUMENT = 1_000_000
_SECTION = 16_384


def sections(text: str, longest: int) -> Iterator[str]:
    """Yield the text, or sections of it if it has more than `longest` characters.

    A section has at most 16,384 characters and a fourth of `longest`. It ends at a blank line or
    the end of a line where possible.
    """
    if len(text) <= longest:
        yield text
    else:
        yield from _cut(text, longest)


def documents_of(text: str) -> Iterator[str]:
    """Yield the text, or sections of it if it has more than a million characters."""
    yield from sections(text, _LONGEST_DOCUMENT)


def _cut(text: str, longest: int) -> Iterator[str]:
    start, size = 0, max(1, min(_SECTION, longest // 4))
    while start < len(text):
        end = _end_of_section(text, start, size)
        yield text[start:end]
        start = end


def _end_of_section(text: str, start: int, size: int) -> int:
    end = start + size
    if end >= len(text):
        return len(text)
    for border in ("\n\n", "\n"):
        found = text.rfind(border, start, end)
        if found >= 0:
            return found + len(border)
    return end


def check_text_file(path: Path) -> None:
    """Check that a file can be opened; raise ValueError if it cannot."""
    try:
        check_file(path, _MOST_BYTES)
    except UnreadableFile as error:
        raise ValueError(f"corpus: {path} cannot be read ({error.reason})") from None


def read_text_file(path: Path) -> Iterator[str]:
    """Yield the text of a file; if it is long, as sections that are read one after the other."""
    text, is_long = "", False
    for piece in _decoded(path):
        text += piece
        if len(text) > _LONGEST_DOCUMENT:
            is_long = True
            *whole, text = _cut(text, _LONGEST_DOCUMENT)
            yield from whole
    if is_long:
        yield from _cut(text, _LONGEST_DOCUMENT)
    else:
        yield text


def _decoded(path: Path) -> Iterator[str]:
    """Yield the text of a UTF-8 file in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    try:
        for piece in text_bytes(path, _MOST_BYTES):
            kept, _ = decoder.getstate()  # the beginning of a character
            start, read = read - len(kept), read + len(piece)
            yield decoder.decode(piece)
        start = read - len(decoder.getstate()[0])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {path} is not UTF-8 text (byte {start + error.start:,} cannot be decoded)"
        ) from error


def _lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, without their ends."""
    # Not splitlines: a text may contain other line separators, and JSON Lines has only this one.
    rest = ""
    for number, piece in enumerate(_decoded(path)):
        first, *lines = (piece if number else piece.removeprefix("\ufeff")).split("\n")
        rest += first
        if lines:
            yield rest
            yield from lines[:-1]
            rest = lines[-1]
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"corpus: {path} has a line of more than {_LONGEST_LINE:,} characters")
    yield rest


def read_lines(path: Path, field: str) -> Iterator[str]:
    """Yield the documents of a JSONL file; each line is a string, or an object with the field."""
    for number, line in enumerate(_lines_of(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,},"
        try:
            value = json.loads(line)
        except ValueError as error:
            what = error.msg.lower() if isinstance(error, json.JSONDecodeError) else str(error)
            raise ValueError(f"corpus: {where} is not JSON ({what})") from None
        except RecursionError:
            raise ValueError(f"corpus: {where} is JSON that is nested too deeply") from None
        if isinstance(value, dict):
            if field not in value:
                raise ValueError(missing_field(where, field, value))
            value = value[field]
        yield checked_text(value, where, field)


def read_rows(path: Path, field: str) -> Iterator[str]:
    """Yield the documents of a Parquet file, whose column `field` contains them."""
    # An optional dependency, which takes seconds to import.
    import datasets

    check_text_file(path)
    try:
        # Streamed, because loading would leave a copy of the file in a cache in the user's home.
        with silent_readers():
            table = datasets.load_dataset(
                "parquet",
                data_files=glob.escape(str(path.absolute())),
                split="train",
                streaming=True,
            )
            if field not in table.column_names:
                raise ValueError(missing_field(str(path), field, table.column_names))
            for number, row in enumerate(table.select_columns([field]), start=1):
                yield checked_text(row[field], f"{path}, row {number:,},", field)
    except (ValueError, OSError) as error:
        if str(error).startswith("corpus: "):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"corpus: {path} is not a Parquet table ({reason})") from error
