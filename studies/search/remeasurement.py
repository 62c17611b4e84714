"""Measures candidates again whose times are provisional, when the machine is quieter.

A provisional time decides nothing, so it delays the search but never misleads it. Some settled
times are measured again as well: their scatter shows how far repeats differ on this device.
"""

import functools
import time
from collections.abc import Callable, Collection, Sequence

from evaluators.cache import refine_cached
from evaluators.evaluator import (
    Evaluation,
    EvaluationFailed,
    Evaluator,
    Infeasible,
    Progress,
    Refinable,
)
from evaluators.scores import device_of, is_timed
from hardware.processor_load import load_of_others
from search_space.architecture import Architecture
from studies.analysis.pareto_front import non_dominated
from studies.owner import this_process
from studies.records import Trial
from studies.search.complete_trials import CompleteTrials
from studies.search.events import (
    Listener,
    Remark,
    StageEnded,
    StageProgress,
    StageStarted,
    TrialRemeasured,
)
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec, asked_scores
from studies.storage.store import Store

# Including the first measurement of a candidate.
_MOST_RUNS = 4
# How long measuring again may take before the front is shown, in seconds.
_FINAL_SECONDS = 90.0
# The machine is too busy if this many consecutive measurements have left their times provisional.
_VAIN_ATTEMPTS = 3
# A settled time is measured again after this many complete candidates, and each time their number
# has doubled.
_FIRST_CONTROL = 4


def machine_is_quiet() -> bool:
    """Return whether other programs leave at least one core of this machine alone."""
    return load_of_others() is None


class Remeasurements:
    """Measures trials of one study again with this process's evaluators.

    Args:
        spec: The study.
        evaluators: The evaluators of the study; those that are `Refinable` are used.
        store: The database.
        complete: The complete candidates of the study.
        listener: Receives the progress, and what was measured.
        is_quiet: Returns whether the machine is quiet now.
    """

    def __init__(
        self,
        spec: StudySpec,
        evaluators: Sequence[Evaluator],
        store: Store,
        complete: CompleteTrials,
        listener: Listener,
        is_quiet: Callable[[], bool] = machine_is_quiet,
    ) -> None:
        self._spec = spec
        self._store = store
        self._complete = complete
        self._listener = listener
        self._is_quiet = is_quiet
        self._evaluators = [each for each in evaluators if isinstance(each, Refinable)]
        self._timed = {name for name in asked_scores(spec) if is_timed(name)}
        self._owner = this_process()
        self._failed: set[str] = set()  # hashes of architectures
        self._renewed: set[int] = set()  # ids of trials
        # The number of runs by the id and the revision of a trial, because counting takes a query.
        self._counted: dict[tuple[int, int], int] = {}
        self._next_control = _FIRST_CONTROL
        self._postpone_control()

    def between_trials(self) -> list[Trial]:
        """Measure one trial again, if there is one to measure and the machine is quiet.

        Returns:
            The trial with its new scores; empty if none was measured.
        """
        if not self._evaluators or not self._timed:
            return []
        complete = self._complete.read()
        waiting = self._provisional(complete)
        trial = waiting[0] if waiting else self._control(complete)
        if trial is None or not self._is_quiet():
            return []
        if not waiting:
            self._postpone_control()
            text = (
                f"{trial.title} has settled times and is measured again as a control: its repeats "
                "show how far the runs of a model differ on this device"
            )
            self._listener(Remark(text=text))
        return self._measured(trial)

    def before_front(self) -> list[Trial]:
        """Measure provisional trials again, the best first, for a limited time.

        Returns:
            The trials with their new scores.
        """
        found: list[Trial] = []
        if not self._evaluators or not self._timed:
            return found
        vain = 0
        end = time.monotonic() + _FINAL_SECONDS
        while time.monotonic() < end and vain < _VAIN_ATTEMPTS:
            waiting = self._provisional(self._complete.read())
            if not waiting:
                break
            measured = self._measured(waiting[0])
            found += measured
            settled = [trial for trial in measured if not trial.provisional(self._timed)]
            vain = 0 if settled else vain + 1
        return found

    def forget_reference_times(self) -> None:
        """Forget all timings of the reference model but the latest of each workload."""
        fingerprints = [each.fingerprint for each in self._evaluators]
        calibrations = self._store.calibrations(fingerprints)
        for calibration in calibrations:
            self._store.forget_timings(calibration.key)
        if calibrations:
            reference = paired_reference(self._spec)
            text = (
                f"the time of {reference} is estimated again, from new timings only, and the front "
                "is measured again; all times in ms follow the new estimate"
            )
            self._listener(Remark(text=text))

    def renew_front(self) -> list[Trial]:
        """Measure the members of the front again that this method has not measured yet.

        With the new times, others may be on the front. Repeat this until nothing is measured: each
        candidate is measured at most once.

        Returns:
            The trials with their new scores.
        """
        complete = [trial for trial in self._complete.read() if trial.duplicate_of is None]
        names = [objective.name for objective in self._spec.objectives]
        points = [[trial.values[name] for name in names] for trial in complete]
        front = non_dominated(points, [bool(trial.provisional(names)) for trial in complete])
        members = [complete[index] for index in front]
        left = [trial for trial in members if trial.id not in self._renewed]
        self._renewed.update(trial.id for trial in left)
        return [updated for trial in left for updated in self._measured(trial)]

    def is_waiting(self, trial: Trial) -> bool:
        """Return whether a trial's provisional times are still to be measured again.

        Those of a duplicate are if those of the earlier trial are.
        """
        return (
            trial.state == "complete"
            and bool(trial.provisional(self._timed))
            and trial.model is not None
            and trial.model.hash not in self._failed
            and 0 < self._runs(trial) < _MOST_RUNS
        )

    def _provisional(self, complete: Collection[Trial]) -> list[Trial]:
        """Return the trials that are waiting: the least measured first, then the best.

        Those that another process is likely to measure come last.
        """
        references = self._store.trials(self._spec.name, "reference")
        waiting = [
            trial
            for trial in (*references, *complete)
            if trial.duplicate_of is None and self.is_waiting(trial)
        ]
        names = [objective.name for objective in self._spec.objectives]
        points = [[trial.values[name] for name in names] for trial in waiting]
        best = {waiting[index].id for index in non_dominated(points)}
        others = self._of_other_processes(waiting)
        return sorted(
            waiting,
            key=lambda trial: (trial.id in others, self._runs(trial), trial.id not in best),
        )

    def _control(self, complete: Collection[Trial]) -> Trial | None:
        """Return a settled trial to measure again, if one is due; see `_FIRST_CONTROL`."""
        if len(complete) < self._next_control:
            return None
        settled = [
            trial
            for trial in complete
            if trial.duplicate_of is None and not trial.provisional(self._timed)
        ]
        others = self._of_other_processes(settled)
        settled.sort(key=lambda trial: trial.id in others)
        return next((trial for trial in settled if self._runs(trial) == 1), None)

    def _of_other_processes(self, trials: Collection[Trial]) -> set[int]:
        """Return the ids of the trials that another living process has evaluated.

        If every process measures its own trials first, two of them rarely measure the same one.
        """
        others = {trial.owner for trial in trials if trial.owner is not None} - {self._owner}
        alive = {owner for owner in others if self._store.judge(owner) != "lost"}
        return {trial.id for trial in trials if trial.owner in alive}

    def _postpone_control(self) -> None:
        while self._next_control <= len(self._complete.read()):
            self._next_control *= 2

    def _evaluators_of(self, trial: Trial) -> list[Refinable]:
        """Return this process's evaluators that have measured a trial; none for other devices."""
        fingerprints = {run.fingerprint for run in trial.stages}
        return [each for each in self._evaluators if each.fingerprint in fingerprints]

    def _evaluators_to_refine(self, trial: Trial) -> list[Refinable]:
        """Return the evaluators that measure on the devices whose times are provisional.

        If no time is provisional, return all evaluators of the trial.
        """
        devices = {device_of(name) for name in trial.provisional(self._timed)}
        evaluators = self._evaluators_of(trial)
        if not devices:
            return evaluators
        return [each for each in evaluators if devices & set(map(device_of, each.score_names))]

    def _runs(self, trial: Trial) -> int:
        """Return how often this process's evaluators have measured a trial."""
        key = trial.id, trial.revision
        if key not in self._counted:
            counts = (
                self._store.runs(trial, each.fingerprint) for each in self._evaluators_of(trial)
            )
            self._counted[key] = max(counts, default=0)
        return self._counted[key]

    def _measured(self, trial: Trial) -> list[Trial]:
        """Measure a trial again; return it with its new scores, or nothing if that has failed."""
        assert trial.model is not None
        architecture = self._store.architecture(trial.model.hash)
        refined = 0
        for evaluator in self._evaluators_to_refine(trial):
            if not self._is_refined(evaluator, trial, architecture):
                self._failed.add(trial.model.hash)
                break
            refined += 1
        if not refined:
            return []
        (updated,) = self._store.trials(self._spec.name, trial.kind, numbers=[trial.number])
        self._listener(TrialRemeasured(trial=updated, earlier=trial.scores))
        return [updated]

    def _is_refined(self, evaluator: Refinable, trial: Trial, architecture: Architecture) -> bool:
        """Measure a trial again with one evaluator and store the result; return whether it could.

        If another process measures the trial at the same time, the measurements of both are stored.
        """
        earlier = self._store.load_evaluation(evaluator.fingerprint, architecture)
        assert earlier is not None, "the trial has this stage"
        stage = evaluator.stage
        self._listener(StageStarted(trial=trial, stage=stage))
        report = functools.partial(self._report, trial, stage)
        start = time.monotonic()
        evaluation: Evaluation | None = None
        remarks: tuple[str, ...]
        try:
            evaluation = refine_cached(evaluator, architecture, earlier, self._store, report)
            remarks = evaluation.remarks
        except (EvaluationFailed, Infeasible) as error:
            remarks = (
                f"measuring {trial.title} again failed ({error}); its earlier result is kept",
            )
        seconds = time.monotonic() - start
        self._listener(StageEnded(trial=trial, stage=stage, evaluation=evaluation, seconds=seconds))
        for remark in remarks:
            self._listener(Remark(text=remark))
        return evaluation is not None

    def _report(self, trial: Trial, stage: str, progress: Progress) -> None:
        self._listener(StageProgress(trial=trial, stage=stage, progress=progress))
