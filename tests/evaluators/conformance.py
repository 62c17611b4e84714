"""The tests that every Evaluator must pass, as a class to inherit."""

import math
import re
import tempfile
from dataclasses import replace

import pytest

from evaluators.evaluator import Evaluation, Evaluator, Progress, Refinable
from evaluators.jobs import JobEvaluator
from evaluators.scores import DEVICE_NAME
from evaluators.trainers import Trainers
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, stack


class Stopped(Exception):
    """An exception that a study raises in a report to stop an evaluation."""


class EvaluatorConformance:
    """The contract of `Evaluator`. A subclass provides a fixture `evaluator` that is fast."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        raise NotImplementedError

    @pytest.fixture
    def architecture(self) -> Architecture:
        return stack(CONV, ATTENTION, None)

    @pytest.fixture(autouse=True)
    def no_temporary_file_left(self, tmp_path, monkeypatch):
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield
        assert not list(folder.iterdir())

    def test_every_evaluation_has_the_scores_that_the_evaluator_names(
        self, evaluator, architecture
    ):
        evaluation = evaluator.evaluate(architecture, lambda _: None)
        assert tuple(score.name for score in evaluation.scores) == evaluator.score_names
        for score in evaluation.scores:
            assert math.isfinite(score.value)
            assert score.unit
            if score.low is not None or score.high is not None:
                assert score.low <= score.value <= score.high
        assert evaluation.seconds >= 0

    def test_the_stage_is_a_word_and_may_name_a_device(self, evaluator):
        word, *device = evaluator.stage.split("@")
        assert word.isalpha()
        assert [re.fullmatch(DEVICE_NAME, each) is not None for each in device] in ([], [True])

    def test_an_evaluation_does_not_change_the_fingerprint(self, evaluator, architecture):
        before = evaluator.fingerprint
        evaluator.evaluate(architecture, lambda _: None)
        assert before
        assert evaluator.fingerprint == before

    def test_reported_progress_never_decreases(self, evaluator, architecture):
        reports: list[Progress] = []
        evaluator.evaluate(architecture, reports.append)
        fractions = [progress.done for progress in reports]
        assert fractions == sorted(fractions)
        assert all(0 <= fraction <= 1 for fraction in fractions)
        assert all(progress.text for progress in reports)

    def test_an_exception_in_a_report_ends_the_evaluation(self, evaluator, architecture):
        count = 0

        def stop(_: Progress) -> None:
            nonlocal count
            count += 1
            raise Stopped

        try:
            evaluator.evaluate(architecture, stop)
        except Stopped:
            assert count == 1
        else:
            assert count == 0  # the evaluation ended without a report


class JobEvaluatorConformance(EvaluatorConformance):
    """The contract of `JobEvaluator`. A subclass provides a fixture `evaluator` that is fast."""

    def test_a_job_leads_to_the_same_evaluation_in_another_process(self, evaluator, architecture):
        assert isinstance(evaluator, JobEvaluator)
        here = evaluator.evaluate(architecture, lambda _: None)
        with Trainers(1) as trainers:
            running = trainers.start(evaluator.prepare(architecture, lambda _: None))
            message = None
            while not isinstance(message, Evaluation):
                message = running.receive()
        assert replace(message, seconds=here.seconds) == here


class RefinableConformance(EvaluatorConformance):
    """The contract of `Refinable`. The fixture `evaluator` has a device that nothing disturbs."""

    def test_it_is_refinable(self, evaluator):
        assert isinstance(evaluator, Refinable)

    def test_a_refined_evaluation_keeps_what_was_measured(self, evaluator, architecture):
        first = evaluator.evaluate(architecture, lambda _: None)
        second = evaluator.refine(architecture, first, lambda _: None)
        third = evaluator.refine(architecture, second, lambda _: None)
        for earlier, later in ((first, second), (second, third)):
            assert tuple(score.name for score in later.scores) == evaluator.score_names
            assert later.measurements[: len(earlier.measurements)] == earlier.measurements
            assert len(later.measurements) - len(earlier.measurements) == len(first.measurements)

    def test_refining_does_not_widen_an_interval(self, evaluator, architecture):
        first = evaluator.evaluate(architecture, lambda _: None)
        second = evaluator.refine(architecture, first, lambda _: None)
        for before, after in zip(first.scores, second.scores, strict=True):
            if before.low is not None:
                # One percent more, because the value itself may have changed as well.
                assert after.high - after.low <= 1.01 * (before.high - before.low)

    def test_the_scores_follow_from_the_measurements(self, evaluator, architecture):
        first = evaluator.evaluate(architecture, lambda _: None)
        second = evaluator.refine(architecture, first, lambda _: None)
        unscored = replace(second, scores=first.scores)
        found = evaluator.rescore(architecture, unscored, lambda _: None)
        assert (found.scores, found.measurements) == (second.scores, second.measurements)

    def test_an_exception_in_a_report_ends_the_refinement(self, evaluator, architecture):
        def stop(_: Progress) -> None:
            raise Stopped

        reports: list[Progress] = []
        earlier = evaluator.evaluate(architecture, lambda _: None)
        evaluator.refine(architecture, earlier, reports.append)
        if reports:
            with pytest.raises(Stopped):
                evaluator.refine(architecture, earlier, stop)
