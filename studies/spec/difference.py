"""What was changed in a study file since its study was begun."""

import json
from collections.abc import Iterator

from search_space.architecture import architecture_hash
from studies.spec.study_spec import StudySpec


def difference(old: StudySpec, new: StudySpec) -> tuple[str, ...]:
    """`proxy.token_budget: 400000 in the study, 200000 in the file`, for each field that differs.

    A study may be given more trials, or moved to another database, and remain the same study.
    """
    before, after = (dict(_flat(_settings(spec))) for spec in (old, new))
    paths = dict.fromkeys([*before, *after])
    return tuple(
        f"{path}: {old_value} in the study, {new_value} in the file"
        for path in paths
        if (old_value := before.get(path, "nothing")) != (new_value := after.get(path, "nothing"))
        and path not in ("trials", "storage")
    )


def _settings(spec: StudySpec) -> dict[str, object]:
    """A model by its hash: a sentence has no room for its layers."""
    models = {
        name: model if isinstance(model, str) else architecture_hash(model)
        for name, model in spec.models.items()
    }
    return spec.model_dump(mode="json") | {"models": models}


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf by its path, as a file would show it; a list of plain values is one leaf."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
    else:
        yield path, repr(value) if isinstance(value, str) else json.dumps(value)
