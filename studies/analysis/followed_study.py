"""A study that is read repeatedly; each time, only what is new or was still running is read."""

import contextlib
import copy
import gc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

from search_space.architecture import Architecture
from studies.analysis.shapes import Shape, read_shapes
from studies.owner import seems_lost
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

# Reading them means reading raw samples, so they are read for only some of many new trials.
_MOST_REFERENCE_TIMES = 200


class FollowedStudy:
    """The state of a study when it was last read.

    Following a study only reads, in short transactions that let other processes write in between.

    Attributes:
        study: The study as it was when it was first read; see `is_current`.
        spec: Its settings, from the same time.
        trials: The trials by id, reference models included. Trials whose process died are
            interrupted.
        shapes: The shapes of the architectures, by hash.
        evidence: The circumstances of the timed trials, by id.
        reference_times: The times of the paired reference model, in chronological order.
        rejections: The number of draws that each rule of the space rejected.
    """

    def __init__(self, store: Store, study: str) -> None:
        """Start to follow a study, without reading its trials yet.

        Args:
            store: The database.
            study: The name of the study.

        Raises:
            ValueError: The database has no study of this name.
        """
        self._store = store
        self.study: Study = store.study(study)
        self.spec: StudySpec = from_json(self.study.spec, study)
        self.trials: dict[int, Trial] = {}
        self.shapes: dict[str, Shape] = {}
        self.evidence: dict[int, Evidence] = {}
        self.reference_times: list[ReferenceTime] = []
        self.rejections: Mapping[str, int] = {}
        self._revision = 0

    def is_current(self) -> bool:
        """Return False once the study was restarted or resumed with other settings."""
        return self._store.study(self.study.name) == self.study

    def architecture(self, digest: str) -> Architecture:
        """Return the architecture with this hash, read from the database.

        Args:
            digest: The hash of an architecture of one of the trials.

        Raises:
            ValueError: The database does not hold it any more, or it is damaged.
        """
        return self._store.architecture(digest)

    def frozen_copy(self) -> Self:
        """Return a copy that later reads do not change, for use in another thread."""
        copied = copy.copy(self)
        copied.trials, copied.shapes = dict(self.trials), dict(self.shapes)
        copied.evidence, copied.reference_times = dict(self.evidence), list(self.reference_times)
        return copied

    def catch_up(self) -> frozenset[int]:
        """Read what is new.

        Returns:
            The ids of the trials that are new, changed or deleted.
        """
        with _garbage_collection_paused():
            return self._catch_up()

    def _catch_up(self) -> frozenset[int]:
        name, last = self.study.name, max(self.trials, default=0)
        # Ids identify what is new, whatever the clocks of the processes show, and revisions what
        # has changed after its end.
        waiting = [trial.id for trial in self.trials.values() if _may_change(trial)]
        revision = self._store.revision(name)
        revised = self._store.changed_trials(name, self._revision)
        waiting = list({*waiting, *(key for key in revised if key in self.trials)})
        found = {
            trial.id: interrupted_if_lost(trial)
            for trial in self._store.trials_since(name, last, waiting)
        }
        changed = {key for key, trial in found.items() if self.trials.get(key) != trial}
        gone = set(waiting) - set(found)
        for key in gone:
            del self.trials[key]
        self.trials |= found
        if changed:
            self._read_details(name, last, waiting, found, changed)
        # What changes during this read has a larger one, and is read the next time.
        self._revision = revision
        self.rejections = self._store.rejections(name)
        return frozenset(changed | gone)

    def _read_details(
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


def interrupted_if_lost(trial: Trial) -> Trial:
    """Return a running trial whose process died as interrupted, which is how a run will find it.

    All other trials are returned unchanged.
    """
    if trial.owner is None or trial.outcome is not None:
        return trial
    return replace(trial, owner=None) if seems_lost(trial.owner) else trial


def active_runs(runs: Iterable[ConfirmationRun]) -> list[ConfirmationRun]:
    """Return the confirmation runs that a living process is working on."""
    return [run for run in runs if run.ended_at is None and not seems_lost(run.owner)]


@contextlib.contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection: scanning objects that are all kept takes a third more time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _may_change(trial: Trial) -> bool:
    """Return whether a trial is unfinished, or failed in a way after which it may be retried."""
    return trial.outcome is None or trial.outcome.failure in TRANSIENT_FAILURES
