"""An Architecture as the JSON file that every command reads back."""

from pathlib import Path

from search_space.architecture import Architecture, to_json


def write_architecture(architecture: Architecture, path: Path, *, overwrite: bool) -> None:
    """The canonical text, indented. ValueError where the file exists or cannot be written."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(to_json(architecture, indent=2) + "\n")
    except FileExistsError:
        raise ValueError(f"output: '{path}' exists already; --force overwrites it") from None
    except OSError as error:
        raise ValueError(f"output: '{path}': {(error.strerror or 'no file').lower()}") from None
