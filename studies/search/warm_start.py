"""The start of a search from other studies and from architectures of files; see `start_from`."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.evaluator import Evaluator
from search_space.architecture import Architecture
from search_space.input_errors import format_value
from studies.search.reusable_candidates import (
    ReusableCandidate,
    ReusableCandidates,
    reusable_candidates,
)
from studies.spec.reference_models import model_of
from studies.spec.start_files import first_candidates, with_stored_starts
from studies.spec.study_spec import StudySpec, from_json
from studies.spec.study_tables import is_start_file
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What a study starts from.

    Attributes:
        spec: The study; its `starts` contain the fronts of the other studies.
        informing: The candidates of other studies that the sampler learns from before its first
            proposal. They do not become candidates. Empty once the study has begun.
        remarks: Sentences about what the study starts from, or could start from. Empty once the
            study has begun.
    """

    spec: StudySpec
    informing: tuple[ReusableCandidate, ...] = ()
    remarks: tuple[str, ...] = ()


def warm_start(spec: StudySpec, evaluators: Sequence[Evaluator], store: Store) -> WarmStart:
    """Return what a study starts from. Nothing is written.

    Until a study has begun its first candidate, all candidates of the other studies that have ended
    are considered. A study that is in the database keeps the first candidates that it was stored
    with.

    Args:
        spec: The study, with its reference model filled in and with the architectures of files.
        evaluators: The evaluators of the study.
        store: The database, which may be open only for reading.

    Raises:
        ValueError: A study in `sampler.start_from` is not in the database or has no complete
            candidate.
    """
    stored = {study.name: study.spec for study in store.studies()}
    files = {name: found for name, found in spec.starts.items() if is_start_file(name)}
    spec = spec.model_copy(update={"starts": files})
    if spec.name in stored:
        spec = with_stored_starts(spec, from_json(stored[spec.name], spec.name))
        if any(trial.model is not None for trial in store.trials(spec.name, numbers=[0])):
            return WarmStart(spec=spec)
    if not spec.sampler.start_from:
        suggestion = None
        if spec.name not in stored:
            suggestion = _suggestion(spec, evaluators, store, list(stored))
        return WarmStart(spec=spec, remarks=() if suggestion is None else (suggestion,))
    check_start_studies(spec, store)
    reusable = {
        name: reusable_candidates(spec, evaluators, store, name)
        for name in spec.sampler.start_from
        if not is_start_file(name)
    }
    fronts = {
        name: tuple(each.architecture for each in found.front) for name, found in reusable.items()
    }
    # Fronts that are stored with the study take precedence.
    spec = spec.model_copy(update={"starts": {**fronts, **spec.starts}})
    informing = _informing(spec, reusable)
    remarks = _remarks(spec, evaluators, store, reusable, informing)
    return WarmStart(spec=spec, informing=tuple(informing), remarks=tuple(remarks))


def check_start_studies(spec: StudySpec, store: Store) -> None:
    """Check that every study in `sampler.start_from` has a complete candidate.

    Raises:
        ValueError: A study is not in the database, or it has no complete candidate.
    """
    known = [study.name for study in store.studies()]
    for index, name in enumerate(spec.sampler.start_from):
        if is_start_file(name):
            continue
        field = f"sampler.start_from[{index}]"
        if name not in known:
            others = ", ".join(each for each in known if each != spec.name) or "no other study"
            raise ValueError(
                f"{field}: '{name}' is not a study of this program in the database, which holds "
                f"{others}; a file contains a slash or ends with .json or .jsonl"
            )
        if not store.numbers(name, ["complete"]):
            raise ValueError(f"{field}: the study '{name}' has no complete candidate")


def _informing(
    spec: StudySpec, reusable: Mapping[str, ReusableCandidates]
) -> list[ReusableCandidate]:
    """Return the candidates of other studies that inform the sampler, each architecture once.

    The sampler learns of first candidates and of reference models when they have been evaluated.
    """
    seen = {each for group in first_candidates(spec).values() for each in group}
    seen |= {model_of(spec, name) for name in spec.references}
    found = []
    for candidates in reusable.values():
        for each in candidates.others:
            if each.architecture not in seen:
                seen.add(each.architecture)
                found.append(each)
    return found


def _suggestion(
    spec: StudySpec, evaluators: Sequence[Evaluator], store: Store, others: Sequence[str]
) -> str | None:
    """Return a remark about the study that this one could learn most from, if there is one."""
    counts: dict[str, int] = {}
    for name in others:
        # A study that cannot be read must not prevent the start of another one.
        with contextlib.suppress(ValueError):
            counts[name] = reusable_candidates(spec, evaluators, store, name).evaluated
    best = max(counts, key=lambda name: counts[name], default=None)
    if best is None or not counts[best]:
        return None
    candidates = "1 candidate" if counts[best] == 1 else f"{counts[best]} candidates"
    return (
        f"'{best}' in this database has {candidates} with the same corpus, proxy and device; "
        f'sampler.start_from = ["{best}"] would use {"it" if counts[best] == 1 else "them"}'
    )


def _remarks(
    spec: StudySpec,
    evaluators: Sequence[Evaluator],
    store: Store,
    reusable: Mapping[str, ReusableCandidates],
    informing: Sequence[ReusableCandidate],
) -> Iterator[str]:
    """Yield a sentence for each entry of `start_from`."""
    named = 0
    for name, group in first_candidates(spec).items():
        evaluated = sum(_is_evaluated(each, evaluators, store) for each in group)
        clauses = [_first_clause(name, len(group), named, evaluated)]
        if name in reusable:
            clauses += _other_clauses(
                sum(each.trial.study == name for each in informing), reusable[name].unused
            )
        yield f"start_from: {'; '.join(clauses)}"
        named += len(group)
    if named > spec.trials:
        yield (
            f"start_from: only the first {spec.trials} of these {named} architectures become "
            f"candidates, because trials is {spec.trials}"
        )


def _first_clause(name: str, count: int, before: int, evaluated: int) -> str:
    source = format_value(name) if is_start_file(name) else f"the front of '{name}'"
    if not count:
        return f"{source} adds no candidate"
    place = "next" if before else "first"
    are = f"the {place} candidate is" if count == 1 else f"the {place} {count} candidates are"
    return (
        f"{are} {'from ' if is_start_file(name) else ''}{source} (already evaluated: {evaluated})"
    )


def _other_clauses(informing: int, unused: Mapping[str, int]) -> Iterator[str]:
    if informing:
        yield (
            "1 more of its candidates informs the sampler"
            if informing == 1
            else f"{informing} more of its candidates inform the sampler"
        )
    if unused:
        total = sum(unused.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unused.items()))
        yield f"{total} {'is' if total == 1 else 'are'} not used: {reasons}"


def _is_evaluated(
    architecture: Architecture, evaluators: Sequence[Evaluator], store: Store
) -> bool:
    """Return whether every evaluation of an architecture is in the cache."""
    return all(
        store.load_evaluation(each.fingerprint, architecture) is not None for each in evaluators
    )
