"""The latency evaluator of a named device, whose agent is a process of this machine."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import Evaluation, EvaluationFailed, Infeasible, Progress
from evaluators.speed import latency_job
from evaluators.speed.cooling import Cooling
from evaluators.speed.device_file import parse_devices, remote_runner_of
from evaluators.speed.device_latency import DeviceLatency
from evaluators.speed.latency import LatencyEvaluator, Quiet
from evaluators.speed.latency_job import DeviceTiming
from evaluators.speed.latency_settings import LatencySettings
from evaluators.speed.quiet_device import reserving
from hardware.channels.command import CommandChannel
from hardware.machine_lock import LockWait
from hardware.remote.bootstrap import FOLDER_VARIABLE
from hardware.remote.device_state import DeviceState, ThermalZone
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from studies.records import TRANSIENT_FAILURES
from tests.evaluators.conformance import RefinableConformance
from tests.evaluators.speed.timing import REFERENCE, SETTINGS, at_once, by_name
from tests.hardware.conformance import children
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, stack

MODEL = stack(CONV, ATTENTION, None)
NOBODY = LockWait(longest_wait=0.0, if_occupied="measure")
# The evaluators of the present test.
OPENED = contextlib.ExitStack()
PHONE = parse_devices(
    f"""
[phone]
channel = "command"
run = ["env", "--"]
python = "{sys.executable}"
runtime = "fake"
patience_s = 0
""",
    "devices.toml",
)["phone"]


@pytest.fixture(autouse=True)
def agent_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the agents of a test a folder of their own."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "device"))


@pytest.fixture
def runner() -> Iterator[RemoteRunner]:
    with remote_runner_of(PHONE) as runner, OPENED:
        yield runner


def latency_on(
    runner: RemoteRunner, quiet: Quiet = at_once, settings: LatencySettings = SETTINGS
) -> DeviceLatency:
    latency = plain_latency(runner, quiet, settings)
    return DeviceLatency(latency, "phone", runner.identity.id, timing_of(settings))


def plain_latency(
    runner: RemoteRunner, quiet: Quiet = at_once, settings: LatencySettings = SETTINGS
) -> LatencyEvaluator:
    """Return an evaluator that is closed at the end of the test."""
    return OPENED.enter_context(
        LatencyEvaluator(runner, settings, REFERENCE, CalibrationsInMemory(), quiet)
    )


def timing_of(settings: LatencySettings) -> DeviceTiming:
    return DeviceTiming(definition=PHONE, settings=settings, reference=REFERENCE)


class TestDeviceLatency(RefinableConformance):
    @pytest.fixture
    def evaluator(self, runner: RemoteRunner) -> DeviceLatency:
        return latency_on(runner, settings=replace(SETTINGS, more_depths=(0, 64)))


def test_names_and_identity_are_those_of_the_device(runner: RemoteRunner) -> None:
    latency = latency_on(runner, settings=replace(SETTINGS, more_depths=(64,)))
    assert latency.stage == "latency@phone"
    assert latency.score_names == (
        "decode@phone",
        "decode_p95@phone",
        "prefill@phone",
        "prefill_p95@phone",
        "decode@64@phone",
        "memory@phone",
        "decode_memory@phone",
        "prefill_memory@phone",
        "size@phone",
    )
    assert latency.fingerprint.endswith(f" identity {runner.identity.id} as phone")
    other = plain_latency(runner)
    timing = timing_of(SETTINGS)
    names = [
        DeviceLatency(other, name, identity, timing).fingerprint
        for name, identity in (("phone", "1"), ("phone", "2"), ("pi5", "1"))
    ]
    assert len(set(names)) == 3


def test_the_scores_are_those_of_the_wrapped_evaluator(runner: RemoteRunner) -> None:
    found = by_name(latency_on(runner).evaluate(MODEL, lambda _: None))
    expected = by_name(plain_latency(runner).evaluate(MODEL, lambda _: None))
    assert [*found] == [f"{name}@phone" for name in expected]
    for name, score in expected.items():
        assert found[f"{name}@phone"].unit == score.unit
        assert found[f"{name}@phone"].value == pytest.approx(score.value, rel=0.05)


class Cutting:
    """A report that kills the agent the first `times` times that windows are being timed."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.texts: list[str] = []

    def __call__(self, progress: Progress) -> None:
        self.texts.append(progress.text)
        if self.left and not progress.text.startswith(("building", "device")):
            if "connecting again" in progress.text:
                return
            self.left -= 1
            (agent,) = children()
            os.kill(agent, signal.SIGKILL)


def counted(runner: RemoteRunner) -> tuple[Quiet, list[str]]:
    """Return a `Quiet` of the device, and a list that grows with each reservation."""
    reserve = reserving(runner, 0.0, NOBODY)
    made: list[str] = []

    def quiet(say: Callable[[str], None]):
        made.append("reserved")
        return reserve(say)

    return quiet, made


def measured_with(runner: RemoteRunner, cuts: int) -> tuple[Evaluation, Cutting, list[str]]:
    quiet, reservations = counted(runner)
    report = Cutting(cuts)
    return latency_on(runner, quiet).evaluate(MODEL, report), report, reservations


def test_a_connection_that_is_lost_once_is_opened_again(runner: RemoteRunner) -> None:
    evaluation, report, reservations = measured_with(runner, cuts=1)
    assert report.left == 0
    assert len(reservations) == 2
    assert sum("connecting again" in text for text in report.texts) == 1
    undisturbed, _, _ = measured_with(runner, cuts=0)
    assert len(evaluation.measurements) == len(undisturbed.measurements)
    found, expected = by_name(evaluation), by_name(undisturbed)
    assert found.keys() == expected.keys()
    # The reservation of the new connection is recorded, as that of an undisturbed one is.
    assert {each.disturbance is None for each in evaluation.measurements} == {
        each.disturbance is None for each in undisturbed.measurements
    }
    assert found["size@phone"].value == expected["size@phone"].value


def test_a_connection_that_is_lost_twice_fails_in_a_way_that_is_tried_again(
    runner: RemoteRunner,
) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        measured_with(runner, cuts=2)
    assert caught.value.kind == "device lost"
    assert caught.value.kind in TRANSIENT_FAILURES
    # The next evaluation connects a third time.
    assert measured_with(runner, cuts=0)[0].scores


def test_a_lost_device_changes_no_fingerprint_and_no_stored_score(tmp_path: Path) -> None:
    """Both are needed to store what was measured before, when the device is out of reach."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    channel = CommandChannel((), python=str(python))
    with RemoteRunner(channel, RemoteSettings(runtime="fake")) as runner, OPENED:
        latency = latency_on(runner)
        evaluation = latency.evaluate(MODEL, lambda _: None)
        before = latency.fingerprint
        python.unlink()
        runner.close()
        with pytest.raises(EvaluationFailed) as caught:
            latency.evaluate(MODEL, lambda _: None)
        assert caught.value.kind == "device lost"
        assert latency.fingerprint == before
        assert latency.rescore(MODEL, evaluation, lambda _: None) == evaluation


def test_a_job_measures_what_the_evaluator_concludes_from(runner: RemoteRunner) -> None:
    """The job connects by itself, as it does in another process."""
    latency = latency_on(runner)
    try:
        measured = latency.job(MODEL).run(lambda _: None)
    finally:
        for kept in latency_job._kept.values():
            kept.close()
            kept._runner.close()
        latency_job._kept.clear()
    assert measured.scores == ()
    found = latency.conclude(measured, None)
    assert tuple(score.name for score in found.scores) == latency.score_names
    assert latency.rescore(MODEL, measured, lambda _: None).scores == found.scores
    twice = latency.conclude(measured, found)
    assert twice.measurements == (*found.measurements, *measured.measurements)


def test_a_job_does_not_measure_on_another_device_of_the_same_name(
    runner: RemoteRunner,
) -> None:
    job = replace(latency_on(runner).job(MODEL), identity="that of a lost phone")
    with pytest.raises(EvaluationFailed) as caught:
        job.run(lambda _: None)
    assert caught.value.kind == "device lost"
    assert f"({runner.identity.id} instead of that of a lost phone)" in caught.value.reason
    assert latency_job._kept == {}


def test_a_refinement_survives_a_lost_connection(runner: RemoteRunner) -> None:
    quiet, reservations = counted(runner)
    latency = latency_on(runner, quiet)
    first = latency.evaluate(MODEL, lambda _: None)
    refined = latency.refine(MODEL, first, Cutting(1))
    assert len(reservations) == 3
    assert refined.measurements[: len(first.measurements)] == first.measurements
    assert len(refined.measurements) == 2 * len(first.measurements)


def test_other_failures_are_not_tried_again(runner: RemoteRunner) -> None:
    quiet, reservations = counted(runner)
    with pytest.raises(EvaluationFailed) as caught:
        latency_on(runner, quiet).evaluate(stack(CONV, embedding_width=16), lambda _: None)
    assert caught.value.kind == "build error"
    assert len(reservations) == 1


def test_a_model_that_the_runtime_lacks_is_infeasible_before_the_device_is_reserved(
    runner: RemoteRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, reservations = counted(runner)
    latency = latency_on(runner, quiet)
    monkeypatch.setattr(RemoteRunner, "model_format", "gguf")
    with pytest.raises(Infeasible):
        latency.evaluate(stack(LINEAR), lambda _: None)
    assert reservations == []


class TestReserving:
    def test_cooling_counts_as_waiting(
        self, runner: RemoteRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        celsius = iter([50.0, 20.0])

        def state(_: RemoteRunner) -> DeviceState:
            zone = ThermalZone(name="cpu", celsius=next(celsius))
            return DeviceState(
                zones=(zone,), clocks_mhz=(), free_memory_bytes=None, free_disk_bytes=0, packages={}
            )

        monkeypatch.setattr(RemoteRunner, "state", state)
        monkeypatch.setattr("evaluators.speed.cooling._LOOK_S", 0.05)
        said: list[str] = []
        cooling = Cooling(below_c=38, patience_s=60)
        with reserving(runner, 0.0, NOBODY, cooling)(said.append) as reservation:
            assert reservation.waited_s >= 0.05
        assert any("cooling from 50 to 38 °C" in text for text in said)

    def test_a_device_that_cannot_be_reached_is_lost(self) -> None:
        channel = CommandChannel((), python="/no/such/python")
        runner = RemoteRunner(channel, RemoteSettings(runtime="fake"))
        with pytest.raises(EvaluationFailed) as caught, reserving(runner, 0.0, NOBODY)(str):
            pass
        assert caught.value.kind == "device lost"
