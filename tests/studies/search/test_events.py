"""Tests of the order in which a study reports what happens."""

from collections import Counter

from evaluators.evaluator import EvaluationFailed
from search_space.architecture import Architecture
from studies.search.events import (
    Event,
    StageEnded,
    StageProgress,
    StageStarted,
    TrialEnded,
    TrialRemeasured,
)
from studies.search.loop import run_study
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.fakes import busy_at_first, small_spec, static, training, unlucky


def test_every_stage_that_has_started_ends_before_anything_else(
    sqlite_url: str, store: Store
) -> None:
    """Whether it succeeds, fails, stops its trial early, or measures it again in vain."""
    objectives = (
        Objective(name="loss"),
        Objective(name="decode", max=3.0),
        Objective(name="memory"),
    )
    spec = small_spec(
        sqlite_url, trials=40, objectives=objectives, references=("lfm2-350m-all-conv",)
    )
    device, trained = busy_at_first(lambda each: unlucky(each, 0.5)), training()
    trained.failing = lambda architecture: unlucky(architecture, 0.1)

    def fail(architecture: Architecture) -> None:
        if len(device.refined) % 2:
            raise EvaluationFailed("device lost", "gone")

    device.before_refining = fail
    events: list[Event] = []
    run_study(
        spec,
        evaluators=(static(), device, trained),
        store=store,
        listener=events.append,
        is_quiet=lambda: True,
    )
    current: tuple[int, str] | None = None
    for event in events:
        match event:
            case StageStarted():
                assert current is None
                current = event.trial.id, event.stage
            case StageProgress():
                assert current == (event.trial.id, event.stage)
            case StageEnded():
                assert current == (event.trial.id, event.stage)
                current = None
            case _:
                assert current is None
    assert current is None

    ended = [event.trial for event in events if isinstance(event, TrialEnded)]
    states = Counter(trial.state for trial in ended if trial.duplicate_of is None)
    assert set(states) == {"complete", "infeasible", "stopped", "failed"}
    without_result = [
        event for event in events if isinstance(event, StageEnded) and event.evaluation is None
    ]
    again = [event for event in without_result if event.trial.outcome is not None]
    first = [event for event in without_result if event.trial.outcome is None]
    predicted = [
        trial
        for trial in ended
        if trial.state == "infeasible" and "decode" not in trial.values and not trial.duplicate_of
    ]
    assert len(first) == states["failed"] + states["stopped"] + len(predicted)
    remeasured = [event for event in events if isinstance(event, TrialRemeasured)]
    begun = [event for event in events if isinstance(event, StageStarted) and event.trial.outcome]
    assert again
    assert remeasured
    assert len(again) + len(remeasured) == len(begun)
