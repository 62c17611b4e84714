"""Datasets of the Hugging Face hub, read as far as they are needed and kept in the cache."""

import contextlib
import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from evaluators.text.cache_files import cached, content_of
from evaluators.text.text_field import missing_field
from hardware.progress import Say
from search_space.input_files import exists

DATASET_PREFIX = "hf:"
"""The prefix of the name of a dataset."""


def is_installed() -> bool:
    """Return whether the package that reads datasets and Parquet is installed."""
    return importlib.util.find_spec("datasets") is not None


def check_dataset(name: str) -> None:
    """Check that datasets can be read here, without reading one.

    Raises:
        ValueError: The name is incomplete, or a package is not installed.
    """
    if not name.removeprefix(DATASET_PREFIX).partition(":")[0]:
        raise ValueError(f"corpus: '{name}' does not name a dataset, as in 'hf:OWNER/NAME'")
    check_package(f"'{name}'")


def check_package(what: object) -> None:
    """Check that the package that reads datasets and Parquet is installed.

    Args:
        what: What requires it, for the message.

    Raises:
        ValueError: It is not installed.
    """
    if not is_installed():
        raise ValueError(
            f"corpus: {what} requires the package datasets, which is not installed; install it "
            "with pip install 'hybrid-lm-search[parquet]'"
        )


def read_dataset(name: str, field: str, most_characters: int, say: Say) -> Iterator[str]:
    """Yield texts of the training split of a dataset, from its beginning.

    What was read once is kept in the cache, so that the network is needed only the first time and
    later changes of the dataset have no effect.

    Args:
        name: `hf:OWNER/NAME`, or `hf:OWNER/NAME:CONFIGURATION`; or a folder in place of OWNER/NAME.
        field: The column that contains the texts.
        most_characters: How many characters to read.
        say: Receives how much has been read.

    Raises:
        ValueError: The dataset does not exist, cannot be reached, or has no such column of texts.
    """
    check_dataset(name)
    facts = [_absolute(name), field, most_characters]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    say(f"reading the corpus: {name}")

    def lines() -> bytes:
        texts = _streamed(name, field, most_characters, say)
        return "\n".join(map(json.dumps, texts)).encode()

    for line in content_of(cached(f"dataset-{key}.jsonl", lines, say)).splitlines():
        yield json.loads(line)


@contextlib.contextmanager
def silent_readers() -> Iterator[None]:
    """Let the libraries that read datasets log nothing, which would disturb a live view."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _absolute(name: str) -> str:
    """Return the name of a dataset; that of a folder is then independent of the working folder."""
    place, colon, configuration = name.removeprefix(DATASET_PREFIX).partition(":")
    folder = Path(place)
    return f"{DATASET_PREFIX}{folder.absolute()}{colon}{configuration}" if exists(folder) else name


def _streamed(name: str, field: str, most_characters: int, say: Say) -> Iterator[str]:
    read = shown = 0
    for text in _texts(name, field):
        yield text
        read += len(text)
        if read >= most_characters:
            return
        if read - shown >= 1_000_000:
            shown = read
            done = 100 * read / most_characters
            say(f"reading the corpus: {name}, {read / 1e6:,.0f} million characters ({done:.0f} %)")


def _texts(name: str, field: str) -> Iterator[str]:
    # An optional dependency, which takes seconds to import.
    import datasets

    place, _, configuration = name.removeprefix(DATASET_PREFIX).partition(":")
    try:
        with silent_readers():
            table = datasets.load_dataset(
                place, configuration or None, split="train", streaming=True
            )
            if field not in (table.column_names or [field]):
                raise ValueError(missing_field(f"'{name}'", field, table.column_names))
            for number, row in enumerate(table, start=1):
                if field not in row:
                    raise ValueError(missing_field(f"'{name}'", field, row))
                if not isinstance(row[field], str):
                    raise ValueError(f"corpus: '{name}', row {number:,}: '{field}' is not a string")
                yield row[field]
    except Exception as error:  # whatever the readers of all its formats and protocols raise
        if str(error).startswith("corpus: "):
            raise
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200]
        raise ValueError(f"corpus: '{name}' cannot be read ({reason})") from error
