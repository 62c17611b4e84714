"""A study that is read again and again: each time only what is new, and what was under way."""

import contextlib
import copy
import gc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

from studies.analysis.shapes import Shape, read_shapes
from studies.owner import is_lost
from studies.records import (
    TRANSIENT_FAILURES,
    ConfirmationRun,
    Evidence,
    ReferenceTime,
    Study,
    Trial,
)
from studies.spec.study_spec import StudySpec, from_json
from studies.storage.store import Store

# Their raw samples are read, so of many trials that are new at once only some are looked at.
_MOST_REFERENCE_TIMES = 200


class Followed:
    """What is known of a study by now. Reads only, each time in moments that others may write in.

    study, spec: as they were when it was first read; see `is_current`.
    trials: by id, references among them; those whose process has died are interrupted.
    shapes: by the hash of the architecture. evidence: by id, of the timed ones.
    reference_times: of the paired reference, in the order of time.
    """

    def __init__(self, store: Store, study: str) -> None:
        """Reads nothing of its trials; ValueError for a study that there is not."""
        self._store = store
        self.study: Study = store.study(study)
        self.spec: StudySpec = from_json(self.study.spec)
        self.trials: dict[int, Trial] = {}
        self.shapes: dict[str, Shape] = {}
        self.evidence: dict[int, Evidence] = {}
        self.reference_times: list[ReferenceTime] = []
        self.rejections: Mapping[str, int] = {}

    def is_current(self) -> bool:
        """False once the study was begun anew, or goes on with other settings."""
        return self._store.study(self.study.name) == self.study

    def as_it_is(self) -> Self:
        """A copy that stays so, for a thread that takes its time."""
        copied = copy.copy(self)
        copied.trials, copied.shapes = dict(self.trials), dict(self.shapes)
        copied.evidence, copied.reference_times = dict(self.evidence), list(self.reference_times)
        return copied

    def catch_up(self) -> frozenset[int]:
        """Reads on; the ids of the trials that are new, or other than they were, or gone."""
        with _uncollected():
            return self._catch_up()

    def _catch_up(self) -> frozenset[int]:
        name, last = self.study.name, max(self.trials, default=0)
        # What has ended stays as it is, so ids tell what is new, whatever the clocks say.
        waiting = [trial.id for trial in self.trials.values() if _may_change(trial)]
        found = {
            trial.id: released(trial) for trial in self._store.trials_since(name, last, waiting)
        }
        changed = {key for key, trial in found.items() if self.trials.get(key) != trial}
        gone = set(waiting) - set(found)
        for key in gone:
            del self.trials[key]
        self.trials |= found
        if changed:
            self._read_beside(name, last, waiting, found, changed)
        self.rejections = self._store.rejections(name)
        return frozenset(changed | gone)

    def _read_beside(
        self,
        name: str,
        last: int,
        waiting: list[int],
        found: Mapping[int, Trial],
        changed: set[int],
    ) -> None:
        models = [trial.model for trial in found.values() if trial.model is not None]
        layouts = {model.hash: model.layout for model in models}
        texts = self._store.architecture_texts(name, last, waiting)
        known = {digest: text for digest, text in texts.items() if digest in layouts}
        self.shapes |= read_shapes(known, layouts)
        evidence = self._store.evidence_since(name, last, waiting)
        timed = sorted(changed & evidence.keys() - self.evidence.keys())
        self.evidence |= evidence
        step = -(-len(timed) // _MOST_REFERENCE_TIMES) or 1
        self.reference_times += self._store.reference_times(timed[::step])


def released(trial: Trial) -> Trial:
    """A trial whose process has died, as the next run will find it: interrupted."""
    if trial.owner is None or trial.outcome is not None:
        return trial
    return replace(trial, owner=None) if is_lost(trial.owner, trial.seen_at) else trial


def at_work(runs: Iterable[ConfirmationRun]) -> list[ConfirmationRun]:
    """The repeats that a living process works on."""
    return [run for run in runs if run.ended_at is None and not is_lost(run.owner, run.seen_at)]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """What is read stays; looking through it for garbage, again and again, takes a third longer."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _may_change(trial: Trial) -> bool:
    """Whatever has not ended, and failures after which a reference is tried again."""
    return trial.outcome is None or trial.outcome.failure in TRANSIENT_FAILURES
