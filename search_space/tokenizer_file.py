"""Loads tokenizers that the library `tokenizers` saved, and the files that lie next to them."""

from pathlib import Path

import tokenizers

from search_space.input_files import exists, read_file, read_text
from search_space.strict import load_table

# The largest published tokenizers have about 35 MB.
_MOST_BYTES = 200_000_000
# A configuration of a tokenizer can list all its special tokens.
_MOST_COMPANION_BYTES = 16_000_000


def load_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """Load the tokenizer in a file.

    Raises:
        ValueError: The file cannot be read, or it is not a tokenizer.
    """
    content = read_file(path, _MOST_BYTES)
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises no other
        raise ValueError(f"{path} is not a tokenizer file: {error}") from None


def read_companion(tokenizer: Path, name: str) -> str | None:
    """Read a file that transformers saved next to a tokenizer, such as its special tokens.

    Args:
        tokenizer: The file of the tokenizer.
        name: The name of the other file.

    Returns:
        The text of the file; None if there is no such file.

    Raises:
        ValueError: The file cannot be read, or it should be a JSON object and is not.
    """
    path = tokenizer.with_name(name)
    if not exists(path):
        return None
    text = read_text(path, _MOST_COMPANION_BYTES)
    if path.suffix == ".json":
        load_table(text, str(path))
    return text
