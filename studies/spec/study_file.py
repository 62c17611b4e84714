"""Study files: TOML from disk, or one of those that ship with the program."""

import importlib.resources
import re
import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path

from search_space.input_errors import nearest
from search_space.strict import parse_strict, read_text
from studies.spec.named_models import with_models
from studies.spec.study_spec import StudySpec


def read_spec(source: str | Path) -> StudySpec:
    """The study of a TOML file, or the shipped one of that name; ValueError with one sentence."""
    data = _toml_data(spec_text(source), str(source))
    return parse_strict(StudySpec, with_models(data, Path(source).parent, str(source)), str(source))


def spec_text(source: str | Path) -> str:
    """The text of that file or shipped study, comments and all."""
    path, shipped = Path(source), _shipped()
    if path.is_file() or path.suffix == ".toml":
        return read_text(path)
    if str(source) in shipped:
        return shipped[str(source)].read_text(encoding="utf-8")
    near = nearest(str(source), list(shipped))
    raise ValueError(f"study: '{source}' is neither a file nor a shipped study; {near}")


def shipped_studies() -> tuple[str, ...]:
    """The names of the studies that ship with the program."""
    return tuple(_shipped())


def _shipped() -> dict[str, Traversable]:
    folder = importlib.resources.files("studies") / "presets"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): file for file in sorted(files, key=lambda f: f.name)}


def _toml_data(text: str, source: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = re.fullmatch(r"(.*) \(at (line \d+|end of document).*\)", str(error))
        what, where = message.groups() if message else (str(error), "the text")
        raise ValueError(f"{source}: {where} is not TOML: {what.lower()}") from None
    except RecursionError:
        raise ValueError(f"{source}: lists nest deeper than any field does") from None
    except ValueError:
        # The only other one: Python's limit on the digits of a whole number.
        raise ValueError(f"{source}: a number has too many digits") from None
