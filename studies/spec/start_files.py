"""The architectures that a study starts from: those of files, and those stored with the study."""

import hashlib
from pathlib import Path

from search_space.architecture import Architecture, architecture_hash
from search_space.architecture_file import ListedArchitecture, read_architectures
from search_space.input_files import exists
from search_space.quantization import Quantization
from search_space.space.membership import why_outside
from search_space.space.space_definition import Space
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import is_start_file


def with_start_files(spec: StudySpec, folder: Path, source: str) -> StudySpec:
    """Return a study with the architectures of the files in `sampler.start_from`.

    A path that does not exist is kept, because a study that was started earlier has the
    architectures in its database.

    Args:
        spec: The study.
        folder: The folder that paths are relative to.
        source: The name of the study file, which error messages start with.

    Raises:
        ValueError: A file cannot be read, or an architecture is not in the space.
    """
    starts: dict[str, tuple[Architecture, ...] | str] = {}
    for index, name in enumerate(spec.sampler.start_from):
        if not is_start_file(name):
            continue
        path = folder / name
        if not exists(path):
            starts[name] = str(path)
            continue
        try:
            listed = read_architectures(path)
            for each in listed:
                _check_in_space(each, spec.space, spec.target.quantization)
        except ValueError as error:
            raise ValueError(f"{source}: sampler.start_from[{index}]: {error}") from None
        starts[name] = tuple(each.architecture for each in listed)
    return spec.model_copy(update={"starts": starts}) if starts else spec


def check_start_files(spec: StudySpec) -> None:
    """Check that every file in `sampler.start_from` exists, or is stored with the study.

    Raises:
        ValueError: A path does not exist.
    """
    for index, name in enumerate(spec.sampler.start_from):
        path = spec.starts.get(name)
        if isinstance(path, str):
            raise ValueError(
                f"sampler.start_from[{index}]: '{path}' does not exist, and no copy of it is "
                "stored with the study"
            )


def with_stored_starts(spec: StudySpec, stored: StudySpec) -> StudySpec:
    """Return a study that starts from the architectures that it was started with.

    The fronts of other studies are those of that time. A file that still exists is kept as it is
    now, so that `check_unchanged` reports a change to it.

    Args:
        spec: The study as its file describes it now.
        stored: The study as it is stored in its database.
    """
    files = {name: found for name, found in spec.starts.items() if is_start_file(name)}
    known = {name: found for name, found in stored.starts.items() if name not in files}
    missing = {
        name: stored.starts.get(name, found)
        for name, found in files.items()
        if isinstance(found, str)
    }
    return spec.model_copy(update={"starts": {**known, **files, **missing}})


def first_candidates(spec: StudySpec) -> dict[str, tuple[Architecture, ...]]:
    """Return the architectures that become the first candidates, in order and each of them once.

    Args:
        spec: The study; the architectures of its `sampler.start_from` are known.

    Returns:
        The architectures of each name in `sampler.start_from`, without those of earlier names.
    """
    found: dict[str, tuple[Architecture, ...]] = {}
    seen: set[Architecture] = set()
    for name in spec.sampler.start_from:
        known = spec.starts.get(name, ())
        assert not isinstance(known, str), "checked by check_start_files"
        new = dict.fromkeys(each for each in known if each not in seen)
        seen.update(new)
        found[name] = tuple(new)
    return found


def described_starts(spec: StudySpec) -> dict[str, str]:
    """Return a short text for each entry of `starts`, which differs if its architectures differ."""
    described = {}
    for name, found in spec.starts.items():
        if isinstance(found, str):
            described[name] = found
        else:
            hashes = " ".join(architecture_hash(each) for each in found)
            digest = hashlib.sha256(hashes.encode()).hexdigest()[:16]
            described[name] = f"{len(found)} with the hash {digest}"
    return described


def _check_in_space(listed: ListedArchitecture, space: Space, quantization: Quantization) -> None:
    reason = why_outside(listed.architecture, space, quantization)
    if reason is not None:
        raise ValueError(f"{listed.place}: the architecture is not in the space; {reason}")
