"""A thread that shows that this process is alive, and stores the progress of its trials.

A training step or a measurement may take minutes, and the database may not answer for a while.
Neither may delay the other.
"""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from evaluators.evaluator import Progress
from studies.owner import LEASE_S, SIGNS_PER_LEASE
from studies.records import Trial
from studies.storage.claims import TrialTaken
from studies.storage.store import Store

# How often other processes see progress. Each stored report is a transaction.
_REPORT_S = 2.0


class Heartbeat:
    """Gives signs of life while the context is entered.

    Args:
        store: The database.
        lease_s: Seconds without a sign of life after which others consider this process dead.
    """

    def __init__(self, store: Store, *, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._lock = threading.Lock()
        # By the id of a trial. How many stages have ended, so that no report is mistaken for one of
        # the next:
        self._stages: Counter[int] = Counter()
        self._progress: dict[int, tuple[Trial, Progress]] = {}
        self._taken: dict[int, TrialTaken] = {}
        self._failure: ValueError | None = None

    def __enter__(self) -> Self:
        self._store.set_lease(self._lease_s)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def report(self, trial: Trial, progress: Progress) -> None:
        """Let the thread store the progress of a trial, unless a later report comes first.

        Args:
            trial: The trial, which is in a stage.
            progress: The progress of the stage.

        Raises:
            TrialTaken: The thread has found that another process owns the trial.
            ValueError: The thread has found that the database cannot be used any more.
        """
        with self._lock:
            self._progress[trial.id] = trial, progress
            if self._failure is not None:
                raise self._failure
            if trial.id in self._taken:
                raise self._taken[trial.id]

    def end_stage(self, trial: Trial) -> None:
        """Discard the last report on a trial and what the thread has found: the stage has ended."""
        with self._lock:
            self._stages[trial.id] += 1
            self._progress.pop(trial.id, None)
            self._taken.pop(trial.id, None)

    def _run(self) -> None:
        try:
            self._give_signs()
        except ValueError as failure:  # the thread that evaluates raises it
            with self._lock:
                self._failure = failure

    def _give_signs(self) -> None:
        between_s = self._lease_s / SIGNS_PER_LEASE
        beaten_at = time.monotonic()
        while not self._stopped.wait(min(_REPORT_S, between_s)):
            self._store_progress()
            if time.monotonic() - beaten_at >= between_s and self._store.beat():
                beaten_at = time.monotonic()

    def _store_progress(self) -> None:
        with self._lock:
            reports = list(self._progress.values())
            self._progress.clear()
            stages = self._stages.copy()
        for trial, progress in reports:
            try:
                self._store.report(trial, progress)
            except TrialTaken as taken:
                with self._lock:
                    if self._stages[trial.id] == stages[trial.id]:
                        self._taken[trial.id] = taken
