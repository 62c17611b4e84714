"""Study files in TOML, from disk or included with the program."""

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

from search_space.input_errors import suggest_name
from search_space.input_files import is_file, read_text
from search_space.strict import load_toml, parse_strict
from studies.spec.named_models import with_models
from studies.spec.start_files import with_start_files
from studies.spec.study_spec import StudySpec


def read_spec(source: str | Path) -> StudySpec:
    """Read a study file.

    Args:
        source: The path of a TOML file, or the name of an included study.

    Raises:
        ValueError: There is no such study, or it is not valid. The message is one sentence.
    """
    folder, name = Path(source).parent, str(source)
    data = load_toml(spec_text(source), name)
    if "starts" in data:
        raise ValueError(f"{name}: starts is not a known field; use sampler.start_from")
    spec = parse_strict(StudySpec, with_models(data, folder, name), name)
    return with_start_files(spec, folder, name)


def spec_text(source: str | Path) -> str:
    """Return the text of a study file, including its comments.

    Args:
        source: The path of a TOML file, or the name of an included study. A file takes precedence.

    Raises:
        ValueError: There is no such study, or the file cannot be read.
    """
    path, shipped = Path(source), _shipped()
    if is_file(path) or path.suffix == ".toml":
        return read_text(path)
    if str(source) in shipped:
        return shipped[str(source)].read_text(encoding="utf-8")
    near = suggest_name(str(source), list(shipped))
    raise ValueError(f"study: '{source}' is neither a file nor an included study; {near}")


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the studies that ship with the program."""
    return tuple(_shipped())


def _shipped() -> dict[str, Traversable]:
    folder = importlib.resources.files("studies") / "presets"
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): file for file in sorted(files, key=lambda f: f.name)}
