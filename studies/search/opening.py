"""Open a study: store it, or check that it is the one that was started."""

from collections.abc import Sequence

from evaluators.evaluator import Evaluator
from search_space.input_errors import one_of
from studies.spec.difference import check_unchanged
from studies.spec.reference_models import with_reference
from studies.spec.start_files import with_stored_starts
from studies.spec.study_spec import StudySpec, from_json, named_scores, to_json
from studies.storage.store import Store


def check_scores(spec: StudySpec, evaluators: Sequence[Evaluator]) -> None:
    """Check that the evaluators produce every score that a study asks for.

    Raises:
        ValueError: They do not.
    """
    known = [name for evaluator in evaluators for name in evaluator.score_names]
    for field, name in named_scores(spec).items():
        if name not in known:
            raise ValueError(
                f"{field}: '{name}' is not {one_of(known)}, which the evaluators produce"
            )


def open_study(spec: StudySpec, total: int, store: Store) -> StudySpec:
    """Store the study, and return it with the first candidates that are stored with it.

    If two processes start a study at the same time, the first candidates are those of one of them.

    Args:
        spec: The study, with its paired reference filled in.
        total: The total number of candidates.
        store: The database.

    Raises:
        ValueError: The study was started with different settings.
    """
    text = _stored_text(spec, total)
    study = store.add_study(spec.name, text)
    stored = with_reference(from_json(study.spec, study.name))
    spec = with_stored_starts(spec, stored)
    check_unchanged(stored, spec)
    text = _stored_text(spec, total)
    if study.spec != text:
        store.update_spec(spec.name, text)
    return spec


def _stored_text(spec: StudySpec, total: int) -> str:
    # Stored specifications are shown to many, and the URL of a database may contain a password.
    nowhere = StudySpec.model_fields["storage"].default
    return to_json(spec.model_copy(update={"storage": nowhere, "trials": total}))
