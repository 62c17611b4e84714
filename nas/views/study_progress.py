"""What a running study has done so far, collected from its events, and the estimated time left."""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from nas.views.live_display import Clock
from nas.views.live_stage import LiveStage
from studies.analysis.run_times import MOST_RECENT, saved_seconds, stage_seconds
from studies.records import Trial
from studies.search.events import (
    Event,
    StageEnded,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialLost,
    TrialRemeasured,
    TrialStarted,
)
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

# Stages in words, where their names do not explain themselves. The names are those of evaluators,
# which are slow to import.
_MEASUREMENT = "latency"
_FIRST = {"text": "time per byte of text"}
_AGAIN = {
    "latency": "measuring its times again",
    "text": "computing its times per byte of text again",
}


@dataclass(slots=True, kw_only=True)
class TrialAtWork:
    """A trial that is being evaluated, or whose times are measured again.

    Attributes:
        trial: The trial.
        stage: Its present stage; None before the first one.
    """

    trial: Trial
    stage: LiveStage | None = None


class StudyProgress:
    """What has happened in a run of a study.

    Attributes:
        spec: The study.
        preparation: What is being prepared; empty once the search has started.
        total: Number of candidates that the run was asked for.
        parallel: Number of candidates that may be at work at the same time.
        ended_before: Number of candidates that had ended before this run.
        ended: The candidates that have ended, in this run or before.
        at_work: The trials that are at work, by id, in the order in which their stages began.
        begun_last: The id of the trial whose stage began last.
        started_at: When the run started, on the clock in seconds, as are the following.
        candidates_from: When the first candidate of this run started.
        candidate_ended_at: When a candidate last ended.
    """

    def __init__(self, spec: StudySpec, clock: Clock = time.monotonic) -> None:
        """Start the clock.

        Args:
            spec: The study.
            clock: Measures the time of the trials, in seconds.
        """
        self.spec = spec
        self.preparation = ""
        self.total = spec.trials
        self.parallel = 1
        self.ended_before = 0
        self.ended: list[Trial] = []
        self.at_work: dict[int, TrialAtWork] = {}
        self.begun_last: int | None = None
        self.started_at = clock()
        self.candidates_from: float | None = None
        self.candidate_ended_at: float | None = None
        self._clock = clock
        # The seconds that cached evaluations saved: in this run, and by the id of a candidate in
        # earlier ones.
        self._saved_s = 0.0
        self._saved_before_s: Mapping[int, float] = {}
        # The stages of candidates that had ended and are resumed, by their ids; they are cached.
        self._cached: dict[int, frozenset[str]] = {}
        # How many candidates were at work when another one ended.
        self._left_at_work = 0
        # The trial that is measured, by id, and since when.
        self._measured: tuple[int, float] | None = None

    def is_paused(self, trial: Trial) -> bool:
        """Return whether a trial waits until another one has been measured."""
        return self._measured is not None and self._measured[0] != trial.id

    def read_earlier(self, store: Store) -> None:
        """Read the candidates that ended in earlier runs of the study."""
        known = store.trials(self.spec.name)
        self.ended = [trial for trial in known if trial.outcome is not None]
        self._saved_before_s = {
            trial.id: saved_seconds(store, trial) for trial in self.ended[-MOST_RECENT:]
        }

    def follow(self, event: Event) -> None:
        """Update the progress with an event."""
        match event:
            case StudyStarted():
                self.preparation = ""
                self.total, self.ended_before = event.total, event.ended
                self.parallel = event.parallel
            case TrialStarted():
                self.at_work[event.trial.id] = TrialAtWork(trial=event.trial)
                if event.trial.kind == "candidate":
                    for earlier in self.ended:
                        if earlier.id == event.trial.id:  # it is resumed
                            stages = frozenset(run.stage for run in earlier.stages)
                            self._cached[earlier.id] = stages
                    self._forget(event.trial)
                    if self.candidates_from is None:
                        self.candidates_from = self._clock()
            case StageStarted():
                self.at_work.pop(event.trial.id, None)
                self.at_work[event.trial.id] = TrialAtWork(
                    trial=event.trial, stage=LiveStage(_stage_title(event), self._clock())
                )
                self.begun_last = event.trial.id
                if event.stage == _MEASUREMENT:
                    self._measured = event.trial.id, self._clock()
            case StageProgress():
                stage = self.at_work[event.trial.id].stage
                assert stage is not None, "progress follows the start of a stage"
                stage.follow(event.progress, self._clock())
            case StageEnded():
                self._end_measurement(event.trial)
                if event.trial.outcome is not None:  # measuring it again may have failed
                    self.at_work.pop(event.trial.id, None)
                elif event.trial.kind == "candidate" and event.evaluation is not None:
                    self._saved_s += max(0.0, event.evaluation.seconds - event.seconds)
            case TrialEnded():
                self._end_measurement(event.trial)
                self.at_work.pop(event.trial.id, None)
                if event.trial.kind == "candidate":
                    self.ended.append(event.trial)
                    self.candidate_ended_at = self._clock()
                    self._left_at_work = sum(
                        each.trial.kind == "candidate" for each in self.at_work.values()
                    )
            case TrialRemeasured():
                self.at_work.pop(event.trial.id, None)
                if event.trial.kind == "candidate":
                    self._forget(event.trial)
                    self.ended.append(event.trial)
            case TrialLost():
                self._end_measurement(event.trial)
                self.at_work.pop(event.trial.id, None)
            case _:
                pass

    def _end_measurement(self, trial: Trial) -> None:
        """Continue the stages that were paused while this trial was measured."""
        if self._measured is None or self._measured[0] != trial.id:
            return
        paused_s = self._clock() - self._measured[1]
        for each in self.at_work.values():
            if each.trial.id != trial.id and each.stage is not None:
                each.stage.skip(paused_s)
        self._measured = None

    def _forget(self, trial: Trial) -> None:
        self.ended = [each for each in self.ended if each.id != trial.id]

    def seconds_left(self, now: float) -> float | None:
        """Estimate the remaining time from the mean time per candidate.

        That is the mean of this run; before its first candidate has ended, the mean of the time
        that earlier runs spent in stages, divided by the number of candidates at the same time. A
        cached evaluation counts with the time that it took originally, because the remaining
        candidates may not be cached.

        Args:
            now: The present time on the clock, in seconds.

        Returns:
            Seconds, or None until a candidate has ended.
        """
        half_done = 0.0
        begun_at, ended_at = self.candidates_from, self.candidate_ended_at
        ended_here = len(self.ended) - self.ended_before
        if ended_here > 0 and begun_at is not None and ended_at is not None:
            # Those that were at work when a candidate ended were halfway through, on average.
            half_done = self._left_at_work / 2
            mean = (ended_at - begun_at + self._saved_s / self.parallel) / (ended_here + half_done)
            since = ended_at
        elif self.ended:
            recent = self.ended[-MOST_RECENT:]
            seconds = (
                stage_seconds(trial) + self._saved_before_s.get(trial.id, 0.0) for trial in recent
            )
            mean = statistics.fmean(seconds) / self.parallel
            since = now if begun_at is None else begun_at
        else:
            return None
        left = mean * (self.total - len(self.ended) - half_done)
        for resumed in self.at_work.keys() & self._cached.keys():
            left -= mean * self._cached_fraction(self._cached[resumed])
        return max(0.0, left - (now - since))

    def _cached_fraction(self, cached: frozenset[str]) -> float:
        """Return the fraction of the longest recent candidate's time that cached stages take."""
        longest = max(self.ended[-MOST_RECENT:], key=stage_seconds, default=None)
        if longest is None or not stage_seconds(longest):
            return 0.0
        missing = math.fsum(run.seconds for run in longest.stages if run.stage not in cached)
        return 1.0 - missing / stage_seconds(longest)


def _stage_title(event: StageStarted) -> str:
    """Return the name of a stage in words; the times of an ended trial may be measured again."""
    kind, _, device = event.stage.partition("@")
    on_device = f" on {device}" if device else ""
    if event.trial.outcome is None:
        return _FIRST.get(kind, kind) + on_device
    return _AGAIN.get(kind, f"{kind} again") + on_device
