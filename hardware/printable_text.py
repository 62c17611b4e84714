"""Text of other programs, devices and users, without characters that a terminal might obey."""

_LONGEST = 2_000


def printable(text: str) -> str:
    """Return the printable characters of a text, at most 2,000 of them."""
    return "".join(character if character.isprintable() else " " for character in text[:_LONGEST])
