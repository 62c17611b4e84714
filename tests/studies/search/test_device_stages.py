"""Stages that are measured on devices by other processes, next to trainings."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from evaluators.evaluator import Evaluation, EvaluationFailed, Report, Score
from evaluators.trainers import Trainers
from hardware.measurement import Measurement
from search_space.architecture import Architecture, architecture_hash
from studies.search.events import Event, StageEnded, StageStarted, TrialEnded
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, Target
from studies.storage.store import Store
from tests.studies.fakes import RefinableFake, TrainingFake, static

pytestmark = pytest.mark.usefixtures("proposals_in_memory")

SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class DeviceJob:
    """Measures as `RefinableFake` does, without a score, in `SECONDS`."""

    architecture: Architecture

    def run(self, report: Report) -> Evaluation:
        time.sleep(SECONDS)
        return replace(RefinableFake().evaluate(self.architecture, report), scores=())


@dataclass(kw_only=True)
class DeviceFake(RefinableFake):
    """A MeasuringEvaluator of a named device."""

    device: str = "phone"

    def __post_init__(self) -> None:
        self.stage = f"latency@{self.device}"
        self.score_names = (f"decode@{self.device}",)
        super().__post_init__()

    def job(self, architecture: Architecture) -> DeviceJob:
        self.asked.append(architecture_hash(architecture))
        return DeviceJob(architecture=architecture)

    def conclude(self, measured: Evaluation, earlier: Evaluation | None) -> Evaluation:
        runs = (*(() if earlier is None else earlier.measurements), *measured.measurements)
        return replace(measured, scores=(self._score(runs),), measurements=runs)

    def _score(self, runs: Sequence[Measurement]) -> Score:
        return replace(super()._score(runs), name=self.score_names[0])


def study_of(spec: StudySpec, *devices: str) -> StudySpec:
    objectives = (Objective(name="loss"), *(Objective(name=f"decode@{each}") for each in devices))
    return spec.model_copy(update={"objectives": objectives, "target": Target(devices=devices)})


def run(
    spec: StudySpec, store: Store, devices: list[DeviceFake], *, parallel: int = 1
) -> list[Event]:
    events: list[Event] = []
    measurers = {each.stage: Trainers(1) for each in devices}
    with Trainers(parallel) as trainers:
        try:
            run_study(
                spec,
                evaluators=(static(), *devices, TrainingFake(seconds=SECONDS)),
                store=store,
                runner=trainers,
                device_runners=measurers,
                listener=events.append,
                is_quiet=lambda: True,
            )
        finally:
            for each in measurers.values():
                each.__exit__(None, None, None)
    return events


def test_every_candidate_is_measured_once_on_each_device(spec: StudySpec, store: Store) -> None:
    devices = [DeviceFake(device="phone"), DeviceFake(device="board")]
    events = run(study_of(spec, "phone", "board"), store, devices)
    ended = [event.trial for event in events if isinstance(event, TrialEnded)]
    measured = {trial.model.hash for trial in ended if trial.model and trial.state == "complete"}
    for device in devices:
        assert len(device.asked) == len(set(device.asked))
        assert measured <= set(device.asked)
    for trial in ended:
        if trial.state == "complete":
            assert {"loss", "decode@phone", "decode@board"} <= trial.values.keys()


def test_a_device_measures_one_candidate_at_a_time_while_others_are_trained(
    spec: StudySpec, store: Store
) -> None:
    at_work: dict[str, set[int]] = defaultdict(set)
    together: set[frozenset[str]] = set()
    events = run(study_of(spec, "phone"), store, [DeviceFake()])
    for event in events:
        if isinstance(event, StageStarted):
            at_work[event.stage].add(event.trial.id)
        elif isinstance(event, StageEnded):
            at_work[event.stage].discard(event.trial.id)
        together.add(frozenset(stage for stage, trials in at_work.items() if trials))
    # One training and one measurement at a time, and both at the same time.
    assert {"latency@phone", "training"} in together


def test_a_cached_measurement_is_not_made_again(spec: StudySpec, store: Store) -> None:
    first = DeviceFake()
    run(study_of(spec, "phone"), store, [first])
    again = DeviceFake()
    run(study_of(spec, "phone").model_copy(update={"name": "again"}), store, [again])
    assert first.asked
    assert again.asked == []


@dataclass(frozen=True, kw_only=True)
class LostJob:
    """The job of a device that no longer answers."""

    def run(self, report: Report) -> Evaluation:
        raise EvaluationFailed("device lost", "no answer within 45 s")


def test_a_lost_device_ends_the_run_and_condemns_no_candidate(
    spec: StudySpec, store: Store
) -> None:
    device = DeviceFake()
    answered: list[str] = []

    def job(architecture: Architecture) -> DeviceJob | LostJob:
        answered.append(architecture_hash(architecture))
        return DeviceJob(architecture=architecture) if len(answered) < 3 else LostJob()

    device.job = job  # type: ignore[method-assign, assignment]
    with pytest.raises(
        ValueError, match=r"^the device 'phone' was lost: no answer within 45 s; run the same"
    ):
        run(study_of(spec, "phone"), store, [device])
    states = {trial.state for trial in store.trials(spec.name)}
    assert "failed" not in states
    assert "running" not in states
    run(study_of(spec, "phone"), store, [DeviceFake()])
    ended = store.trials(spec.name)
    assert len(ended) == spec.trials
    assert {trial.state for trial in ended} <= {"complete", "stopped"}
