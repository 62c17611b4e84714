"""What changes when a limit of a study changes after its candidates have ended."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from evaluators.evaluator import Evaluation, Infeasible, Report
from search_space.architecture import Architecture
from search_space.preset_models import preset
from studies.records import Outcome, Trial
from studies.search.events import Event, Remark, TrialEnded
from studies.search.loop import run_study
from studies.search.rejudgement import Rejudgement, rejudge
from studies.spec.study_spec import StudySpec, from_json, to_json
from studies.spec.study_tables import Constraint, Objective, SamplerSettings
from studies.storage.store import Store
from tests.studies.fakes import Stages, all_stages, run_with_fakes, small_spec, unlucky

pytestmark = pytest.mark.usefixtures("proposals_in_memory")


def limited(url: str, decode: float | None, **changes: object) -> StudySpec:
    objectives = (Objective(name="loss"), Objective(name="decode", max=decode))
    return small_spec(url, **{"objectives": objectives, "trials": 16} | changes)


def lowest(trial: Trial) -> float:
    (score,) = (each for each in trial.scores if each.name == "decode")
    assert score.low is not None
    return score.low


def numbers(trials: Sequence[Trial], *states: str) -> set[int]:
    return {trial.number for trial in trials if trial.state in states}


def ended(store: Store, spec: StudySpec, outcome: Outcome, name: str = "hybrid-20m") -> Trial:
    """Add a candidate without any scores that ended like this."""
    store.add_study(spec.name, to_json(spec))
    trial = store.claim(spec.name, total=100)
    assert trial is not None
    return store.end(store.begin(trial, preset(name)), outcome)


class TestHigherLimit:
    def test_resumes_the_candidates_that_keep_it_and_no_others(
        self, sqlite_url: str, store: Store
    ) -> None:
        stages = all_stages()
        before = run_with_fakes(limited(sqlite_url, 2.5), store, stages)
        trained = list(stages[2].asked)
        after = run_with_fakes(limited(sqlite_url, 3.0), store, stages)
        refused = [trial for trial in before if trial.state == "infeasible"]
        kept = {trial.number for trial in refused if lowest(trial) <= 3.0}
        assert 0 < len(kept) < len(refused)
        for old, new in zip(before, after, strict=True):
            if old.number in kept:
                assert new.state in ("complete", "stopped")
                assert new.scores[: len(old.scores)] == old.scores
                assert new.outcome is not None
                assert new.outcome.exceeded == {}
            else:
                assert new == old
        # Nothing that was evaluated before is evaluated again.
        assert all(count == 1 for stage in stages for count in Counter(stage.asked).values())
        assert len(stages[2].asked) - len(trained) == len(kept)

    def test_is_stored_and_reported(self, sqlite_url: str, store: Store) -> None:
        run_with_fakes(limited(sqlite_url, 2.5), store)
        events: list[Event] = []
        spec = limited(sqlite_url, 3.0, trials=17)
        run_study(spec, evaluators=all_stages(), store=store, listener=events.append)
        assert from_json(store.study(spec.name).spec).objectives == spec.objectives
        assert len(store.studies()) == 1
        assert len(store.trials(spec.name)) == 17
        (text,) = [event.text for event in events if isinstance(event, Remark)]
        resumed = len([event for event in events if isinstance(event, TrialEnded)]) - 1
        assert text.startswith(f"{resumed} candidates that were refused meet the limits now")

    def test_no_limit_at_all_resumes_every_refused_candidate(
        self, sqlite_url: str, store: Store
    ) -> None:
        run_with_fakes(limited(sqlite_url, 2.5), store)
        after = run_with_fakes(limited(sqlite_url, None), store)
        assert numbers(after, "complete", "stopped") == set(range(16))

    def test_a_limit_of_a_constraint(self, sqlite_url: str, store: Store) -> None:
        constraint = Constraint(name="memory", max=3.0)
        spec = limited(sqlite_url, None, constraints=(constraint,))
        before = run_with_fakes(spec, store)
        generous = (constraint.model_copy(update={"max": 6.5}),)
        after = run_with_fakes(spec.model_copy(update={"constraints": generous}), store)
        memory = {trial.number: trial.values["memory"] for trial in after}
        assert numbers(before, "infeasible") == {n for n, value in memory.items() if value > 3.0}
        assert numbers(after, "infeasible") == {n for n, value in memory.items() if value > 6.5}
        assert numbers(after, "infeasible") < numbers(before, "infeasible")

    def test_another_changed_setting_is_still_another_study(
        self, sqlite_url: str, store: Store
    ) -> None:
        before = run_with_fakes(limited(sqlite_url, 2.5), store)
        with pytest.raises(ValueError, match="seed: 0 in the study, 9 in the file") as caught:
            run_with_fakes(limited(sqlite_url, 3.0, seed=9), store)
        assert "max" not in str(caught.value)
        assert store.trials("small") == before


class TestLowerLimit:
    def test_refuses_complete_and_stopped_candidates(self, sqlite_url: str, store: Store) -> None:
        before = run_with_fakes(limited(sqlite_url, 3.0, trials=24), store)
        stages = all_stages()
        after = run_with_fakes(limited(sqlite_url, 2.0, trials=24), store, stages)
        assert [stage.asked for stage in stages] == [[], [], []]
        refused = dict.fromkeys(("complete", "stopped"), 0)
        for old, new in zip(before, after, strict=True):
            if old.state == "infeasible" or lowest(old) <= 2.0:
                assert new == old
                continue
            refused[old.state] += 1
            assert new.outcome is not None
            assert new.state == "infeasible"
            assert new.outcome.exceeded == {"decode": lowest(old)}
            assert "is above the limit of 2 ms" in str(new.outcome.reason)
            assert new.revision > old.revision
            assert (new.scores, new.ended_at) == (old.scores, old.ended_at)
        assert min(refused.values()) > 0

    def test_can_be_taken_back(self, sqlite_url: str, store: Store) -> None:
        rungless = small_spec(sqlite_url).proxy.model_copy(update={"rungs": ()})
        stages = all_stages()
        before = run_with_fakes(limited(sqlite_url, 3.0, proxy=rungless), store, stages)
        run_with_fakes(limited(sqlite_url, 2.0, proxy=rungless), store, stages)
        after = run_with_fakes(limited(sqlite_url, 3.0, proxy=rungless), store, stages)
        assert [(trial.state, trial.scores) for trial in after] == [
            (trial.state, trial.scores) for trial in before
        ]
        assert all(count == 1 for stage in stages for count in Counter(stage.asked).values())

    def test_a_score_that_may_keep_it_is_not_refused(self, sqlite_url: str, store: Store) -> None:
        before = run_with_fakes(limited(sqlite_url, None), store)
        (first, *_) = (trial for trial in before if trial.state == "complete")
        between = (lowest(first) + first.values["decode"]) / 2
        after = run_with_fakes(limited(sqlite_url, between), store)
        assert first.number in numbers(after, "complete")


@pytest.mark.parametrize("kind", ["random", "tpe", "nsga2"])
def test_after_every_change_exactly_the_candidates_above_the_limit_are_infeasible(
    sqlite_url: str, store: Store, kind: str
) -> None:
    """The sampler continues to propose candidates in between."""
    sampler = SamplerSettings(kind=kind, startup_trials=4)
    for index, most in enumerate((2.5, 3.2, 2.0, None, 2.7)):
        spec = limited(sqlite_url, most, sampler=sampler, trials=8 + 3 * index)
        trials = run_with_fakes(spec, store)
        assert len(trials) == spec.trials
        assert numbers(trials, "complete", "stopped", "infeasible") == set(range(spec.trials))
        assert numbers(trials, "infeasible") == {
            trial.number for trial in trials if most is not None and lowest(trial) > most
        }


def test_duplicates_follow(sqlite_url: str, store: Store) -> None:
    space = replace(
        small_spec(sqlite_url).space,
        depth=(1,),
        mixers=("c", "a", "s", "l"),
        vocab_size=(1_024,),
    )
    for most in (0.5, 1.0, 0.4):
        spec = limited(sqlite_url, most, space=space, trials=40)
        stages = all_stages()
        trials = run_with_fakes(spec, store, stages)
        originals = {trial.number: trial for trial in trials if trial.duplicate_of is None}
        assert len(originals) == len({trial.model for trial in trials}) < 30
        assert numbers(trials, "infeasible") == {
            trial.number for trial in trials if lowest(trial) > most
        }
        refused = numbers(trials, "infeasible")
        assert refused - set(originals), "no duplicate is concerned"
        for trial in trials:
            if trial.duplicate_of is not None:
                original = originals[trial.duplicate_of]
                assert (trial.model, trial.state) == (original.model, original.state)
                assert trial.scores == original.scores
        assert len(stages[1].asked) == (len(originals) if most == 0.5 else 0)


class TestWithoutScores:
    def test_a_predicted_refusal_is_judged_by_its_lower_bound(
        self, sqlite_url: str, store: Store
    ) -> None:
        reason = "decode: predicted at 3.2 to 3.4 ms, above the limit of 3 ms"
        outcome = Outcome(
            state="infeasible", stage="latency", reason=reason, exceeded={"decode": 3.2}
        )
        trial = ended(store, limited(sqlite_url, 3.0), outcome)
        assert rejudge(limited(sqlite_url, 3.19), store) == Rejudgement(reopened=(), refused=())
        assert store.trials("small") == (trial,)
        assert rejudge(limited(sqlite_url, 3.2), store).reopened == (trial,)
        assert numbers(store.trials("small"), "interrupted") == {trial.number}

    @pytest.mark.parametrize("most", [2_999.0, 3_200.0, None])
    def test_an_earlier_release_recorded_the_bound_of_a_prediction_only_in_its_sentence(
        self, sqlite_url: str, store: Store, most: float | None
    ) -> None:
        reason = (
            "decode: predicted at 3,000 to 3,400 ms, above the budget of 2,500 ms, and therefore "
            "not measured (in cross-validation, 100 % of 40 models)"
        )
        outcome = Outcome(state="infeasible", stage="latency", reason=reason)
        ended(store, limited(sqlite_url, 2_500.0), outcome)
        reopened = rejudge(limited(sqlite_url, most), store).reopened
        assert len(reopened) == (most != 2_999.0)

    @pytest.mark.parametrize("state", ["infeasible", "failed"])
    def test_other_reasons_do_not_depend_on_limits(
        self, sqlite_url: str, store: Store, state: str
    ) -> None:
        outcome = Outcome(
            state=state,
            stage="latency",
            reason="llama.cpp does not support layers of this kind",
            failure="build error" if state == "failed" else None,
        )
        ended(store, limited(sqlite_url, 3.0), outcome)
        assert rejudge(limited(sqlite_url, None), store) == Rejudgement(reopened=(), refused=())


def test_candidates_that_an_earlier_release_refused(sqlite_url: str, store: Store) -> None:
    """It did not record which limits were exceeded."""
    before = run_with_fakes(limited(sqlite_url, 2.5), store)
    with store._database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE nas_trials SET exceeded = NULL, "
            "reason = replace(reason, 'is above the limit of', 'is above the budget of')"
        )
    assert rejudge(limited(sqlite_url, 2.5), store).reopened == ()
    reopened = rejudge(limited(sqlite_url, 3.0), store).reopened
    assert numbers(reopened, "infeasible") == {
        trial.number for trial in before if trial.state == "infeasible" and lowest(trial) <= 3.0
    }
    assert reopened


def test_what_a_runtime_does_not_support_or_cannot_build_stays(
    sqlite_url: str, store: Store
) -> None:
    stages = all_stages()
    measure = stages[1].measure

    def unsupported(architecture: Architecture, report: Report) -> Evaluation:
        if unlucky(architecture, 0.3):
            raise Infeasible("it has no such layers")
        return measure(architecture, report)

    stages[1].measure = unsupported
    stages[2].failing = lambda architecture: unlucky(architecture, 0.7)
    before = run_with_fakes(limited(sqlite_url, 2.5), store, stages)
    after = run_with_fakes(limited(sqlite_url, 3.5), store, all_stages())
    unchanged = [
        trial
        for trial in before
        if trial.state == "failed"
        or (trial.outcome is not None and trial.outcome.reason == "it has no such layers")
    ]
    assert {trial.state for trial in unchanged} == {"infeasible", "failed"}
    assert unchanged == [after[trial.number] for trial in unchanged]


class TestTwoProcesses:
    def test_each_candidate_is_reopened_or_refused_by_one(self, url: str) -> None:
        with Store.open(url) as store:
            before = run_with_fakes(limited(url, 2.5), store)

        def judge(most: float) -> list[Rejudgement]:
            with Store.open(url) as one, Store.open(url) as other, ThreadPoolExecutor(2) as pool:
                spec = limited(url, most)
                return list(pool.map(lambda store: rejudge(spec, store), (one, other)))

        raised = judge(3.0)
        reopened = [trial.number for each in raised for trial in each.reopened]
        assert sorted(reopened) == sorted(
            trial.number for trial in before if trial.state == "infeasible" and lowest(trial) <= 3.0
        )
        lowered = judge(2.0)
        refused = [trial.number for each in lowered for trial in each.refused]
        assert sorted(refused) == sorted(
            trial.number for trial in before if lowest(trial) > 2.0 and trial.state != "infeasible"
        )

    def test_both_resume_a_study_with_a_higher_limit(self, url: str) -> None:
        with Store.open(url) as store:
            run_with_fakes(limited(url, 2.0, trials=24), store)
        stages = [all_stages(), all_stages()]

        def work(stages: Stages) -> None:
            with Store.open(url) as store:
                run_with_fakes(limited(url, 3.0, trials=24), store, stages)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, stages))
        with Store.open(url) as store:
            trials = store.trials("small")
        assert numbers(trials, "infeasible") == {
            trial.number for trial in trials if lowest(trial) > 3.0
        }
        assert numbers(trials, "complete", "stopped", "infeasible") == set(range(24))
        assert stages[0][1].asked + stages[1][1].asked == []
        trained = stages[0][2].asked + stages[1][2].asked
        assert len(trained) == len(set(trained))

    def test_one_with_earlier_limits_refuses_nothing_that_the_other_accepted(
        self, sqlite_url: str, store: Store
    ) -> None:
        """The other process resumes the study with a higher limit while this one runs it."""
        strict, generous = (limited(sqlite_url, most, trials=12) for most in (2.0, None))

        def resume_elsewhere(event: Event) -> None:
            if isinstance(event, TrialEnded) and event.trial.number == 7:
                with Store.open(sqlite_url) as other:
                    run_study(generous, evaluators=all_stages(), store=other, trials=8)

        run_study(strict, evaluators=all_stages(), store=store, listener=resume_elsewhere)
        trials = store.trials("small")
        assert numbers(trials[:8], "complete", "stopped") == set(range(8))
        assert any(lowest(trial) > 2.0 for trial in trials[:8])


@pytest.mark.parametrize(
    ("reopened", "refused", "expected"),
    [
        (0, 0, ""),
        (1, 0, "1 candidate that was refused meets the limits now and is resumed: trial 0"),
        (
            3,
            0,
            "3 candidates that were refused meet the limits now and are resumed: trial 0, trial 0, "
            "trial 0",
        ),
        (0, 1, "1 candidate exceeds a limit now: trial 0 (decode: 9 ms is too much)"),
        (
            1,
            5,
            "1 candidate that was refused meets the limits now and is resumed: trial 0; "
            "5 candidates exceed a limit now: trial 0 (decode: 9 ms is too much), "
            "trial 0 (decode: 9 ms is too much), trial 0 (decode: 9 ms is too much) and 2 more",
        ),
    ],
)
def test_the_change_in_words(
    sqlite_url: str, store: Store, reopened: int, refused: int, expected: str
) -> None:
    outcome = Outcome(state="infeasible", stage="latency", reason="decode: 9 ms is too much")
    trial = ended(store, limited(sqlite_url, 3.0), outcome)
    found = Rejudgement(reopened=(trial,) * reopened, refused=(trial,) * refused)
    assert str(found) == expected
