"""The field of a record that contains its text; a record is a line of JSONL or a row of a table."""

from collections.abc import Iterable

_MOST_LISTED = 200  # characters


def missing_field(where: str, field: str, fields: Iterable[str]) -> str:
    """Return the message about a record without the field.

    Args:
        where: What has no such field: a file, a line of it, or a dataset.
        field: The field.
        fields: The fields that exist.
    """
    existing = ", ".join(map(repr, fields)) or "none"
    return (
        f"corpus: {where} has no field '{field}' (its fields: {existing[:_MOST_LISTED]}); append "
        "#FIELD to the name to read another field"
    )


def checked_text(value: object, where: str, field: str) -> str:
    """Return the value of a field if it is a text.

    Args:
        value: The value.
        where: The record, for the message.
        field: The field.

    Raises:
        ValueError: It is not a string, or not one that UTF-8 can encode.
    """
    if not isinstance(value, str):
        raise ValueError(
            f"corpus: {where} is neither a string nor an object with a string as '{field}'"
        )
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(
            f"corpus: {where} contains an unpaired UTF-16 surrogate, which is not a character"
        )
    return value
