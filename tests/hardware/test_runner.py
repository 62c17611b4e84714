import pytest

from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from tests.hardware.conformance import WORKLOADS, RunnerConformance


class TestLocalRunner(RunnerConformance):
    @pytest.fixture
    def runner(self):
        return LocalRunner(seconds=0.0)

    def test_settings_that_change_a_time_change_the_fingerprint(self, runner):
        prints = {runner.fingerprint, LocalRunner(seconds=1.0).fingerprint}
        assert len(prints) == 2
        assert all("threads 1" in fingerprint for fingerprint in prints)

    def test_results_are_fresh(self, runner, model):
        first, second = (runner.measure(model, WORKLOADS[:1]) for _ in range(2))
        assert first[0].samples_ns != second[0].samples_ns


class TestFakeRunner(RunnerConformance):
    @pytest.fixture
    def runner(self):
        return FakeRunner()

    def test_results_are_always_the_same_and_say_that_they_are_none(self, runner, model):
        first, second = (runner.measure(model, WORKLOADS) for _ in range(2))
        assert first == second
        assert {measurement.runtime for measurement in first} == {"fake"}

    def test_more_weights_and_more_depth_take_more_time(self, runner, model, tmp_path):
        decode, _, shallow, _ = runner.measure(model, WORKLOADS)
        assert min(decode.samples_ns) > max(shallow.samples_ns)
