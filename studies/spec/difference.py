"""The settings that changed in a study file since its study was started."""

import json
import re
from collections.abc import Iterator

from search_space.architecture import architecture_hash
from studies.spec.start_files import described_starts
from studies.spec.study_spec import StudySpec

# No score depends on these.
_CHANGEABLE = (
    "trials",
    "storage",
    "device.longest_wait",
    "device.if_occupied",
    "proxy.parallel",
)
_LIMIT = re.compile(r"(objectives|constraints)\[\d+\]\.max")


def difference(old: StudySpec, new: StudySpec) -> tuple[str, ...]:
    """Return one clause for each setting that differs between a stored study and its file.

    The number of trials, the database, the waiting for a busy machine, the number of parallel
    trainings and the limits of scores may change without making it a different study: ended
    candidates are judged again.

    Args:
        old: The specification in the database.
        new: The specification in the file.

    Returns:
        Clauses such as `proxy.token_budget: 400000 in the study, 200000 in the file`.
    """
    before, after = (dict(_flat(_settings(spec))) for spec in (old, new))
    paths = dict.fromkeys([*before, *after])
    return tuple(
        f"{path}: {old_value} in the study, {new_value} in the file"
        for path in paths
        if (old_value := before.get(path, "nothing")) != (new_value := after.get(path, "nothing"))
        and path not in _CHANGEABLE
        and not _LIMIT.fullmatch(path)
    )


def check_unchanged(stored: StudySpec, spec: StudySpec) -> None:
    """Check that a study file still describes the study that was started.

    Args:
        stored: The specification in the database, with its paired reference filled in.
        spec: The specification in the file, with its paired reference filled in.

    Raises:
        ValueError: A setting differs that `difference` reports.
    """
    changes = difference(stored, spec)
    if changes:
        raise ValueError(
            f"name: '{spec.name}' is a study that was started with other settings: "
            f"{'; '.join(changes)}; choose another name, or start it again with nas run --restart"
        )


def _settings(spec: StudySpec) -> dict[str, object]:
    """Return all settings as plain data, with hashes in place of whole architectures."""
    models = {
        name: model if isinstance(model, str) else architecture_hash(model)
        for name, model in spec.models.items()
    }
    return spec.model_dump(mode="json") | {"models": models, "starts": described_starts(spec)}


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every leaf; a list of plain values counts as one leaf."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
    else:
        yield path, repr(value) if isinstance(value, str) else json.dumps(value)
