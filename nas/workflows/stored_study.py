"""Compare a study file with the study that its database holds under the same name."""

from studies.spec.difference import check_unchanged
from studies.spec.reference_models import (
    with_reference,
    with_stored_models,
    with_stored_reference,
)
from studies.spec.start_files import with_stored_starts
from studies.spec.study_spec import StudySpec, from_json
from studies.storage.migrations import NotBegun
from studies.storage.store import Store


def resumed_study(spec: StudySpec) -> StudySpec:
    """Return a study as `nas run` would resume it; nothing is written.

    Args:
        spec: The study as its file describes it.

    Returns:
        The study with the models that are stored with it and no longer exist as files, and with the
        reference model that it was started with. A study that was not started yet is unchanged.

    Raises:
        ValueError: The study was started with other settings, or its database cannot be read.
    """
    try:
        store = Store.open_to_read(spec.storage)
    except NotBegun:
        return spec
    with store:
        stored = {study.name: study.spec for study in store.studies()}
    if spec.name not in stored:
        return spec
    begun = from_json(stored[spec.name], spec.name)
    spec = with_stored_starts(with_stored_models(spec, begun), begun)
    spec = with_stored_reference(spec, begun)
    check_unchanged(with_reference(begun), with_reference(spec))
    return spec
