"""A runner whose device misbehaves once: the error is a sentence, and the next load works."""

import json
from typing import Any

import pytest

from hardware.machine_lock import LockWait
from hardware.measurement import parse_workload
from hardware.quiet import MachineOccupied
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from hardware.runner import RunnerError
from tests.hardware.conformance import CAPACITY, write_model
from tests.hardware.remote.scripted_device import ScriptedChannel

WORKLOAD = parse_workload("tg4@8")
WINDOW = {"samples_ns": [10, 10], "waited_ns": [0, 0], "peak_memory_bytes": 1}
LOADING = {
    "runtime": "ort",
    "threads": 1,
    "cores": [0],
    "load_ns": 1,
    "model_bytes": 1,
    "empty_memory_bytes": 1,
    "loaded_memory_bytes": 1,
}
# The device misbehaves at the first start only.
ONCE = """
def instead(request):
    if os.path.exists(sys.argv[1]):
        answer(request, ANSWERS.get(request["do"], {}))
    else:
        open(sys.argv[1], "w").close()
        misbehave(request)
serve(DO, instead)
"""


@pytest.fixture
def model(tmp_path, nothing_stays):
    return write_model(tmp_path / "model")


@pytest.fixture
def device(tmp_path, nothing_stays):
    """Return a function that describes a device that misbehaves once, at the request `do`."""
    runners = []

    def make(do: str, misbehave: str, runtime: Any = "onnxruntime") -> RemoteRunner:
        script = f"DO = {do!r}\ndef misbehave(request):\n {misbehave}\n{ONCE}"
        channel = ScriptedChannel(script, tmp_path / "misbehaved")
        runners.append(RemoteRunner(channel, RemoteSettings(runtime=runtime)))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


def time_once(runner: RemoteRunner, model) -> None:
    with runner.load(model, CAPACITY) as loaded:
        loaded.snapshot()
        assert loaded.calmer_cores() is None
        assert loaded.time(WORKLOAD, 2).samples_ns == (10, 10)


def check_recovery(runner: RemoteRunner, model, pattern: str) -> RunnerError:
    with pytest.raises(RunnerError, match=pattern) as caught:
        time_once(runner, model)
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) <= 500
    time_once(runner, model)
    return caught.value


@pytest.mark.parametrize(
    ("do", "content"),
    [
        ("time", {**WINDOW, "samples_ns": [10, -10]}),
        ("time", {**WINDOW, "samples_ns": [10, 0]}),
        ("time", {**WINDOW, "samples_ns": [10, 10**16]}),  # four months
        ("time", {**WINDOW, "samples_ns": [10] * 3}),
        ("time", {**WINDOW, "samples_ns": [10] * 20_000}),
        ("time", {**WINDOW, "samples_ns": [True, True]}),
        ("time", {**WINDOW, "peak_memory_bytes": float("nan")}),
        ("time", {**WINDOW, "waited_ns": [0, float("inf")]}),
        ("time", {"\x1b[2J": "\x1b[2J" * 10_000}),
        ("load", {"model": -1, "loading": LOADING}),
        ("load", {"model": 1, "loading": {**LOADING, "load_ns": 10**30}}),
        ("load", {"model": 1}),
        ("snapshot", {"environment": None, "counters": None}),
        ("calmer cores", {"cores": [0.5]}),
        ("use", {"fingerprint": 3, "memory_step_bytes": 4096}),
        ("identify", {"id": "../../etc"}),
    ],
)
def test_an_impossible_answer_loses_the_device_until_the_next_load(device, model, do, content):
    script = f"answer(request, json.loads({json.dumps(content)!r}))"
    error = check_recovery(device(do, script), model, f"^lost: .*invalid answer to '{do}' ")
    assert error.reason.startswith("scripted device: ")


@pytest.mark.parametrize("do", ["identify", "use", "file", "load", "time", "snapshot"])
@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        ("sys.exit(5)", "exit code 5"),
        ("os.kill(os.getpid(), 9)", "exit code -9"),
        ("send(b'\\x1b[2J\\xff\\n')", "invalid answer"),
        ("answer({'id': request['id'] - 1}, {})", "invalid answer"),
    ],
)
def test_a_device_that_fails_is_lost_until_the_next_load(device, model, do, script, pattern):
    check_recovery(device(do, script), model, f"^lost: scripted device: .*{pattern}")


def test_a_device_that_closes_its_output_is_lost_until_the_next_load(device, model):
    runner = device("time", "os.close(1); wait()")
    check_recovery(runner, model, "^lost: scripted device: the connection was closed")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("refused", "refused"),
        ("out of memory", "out of memory"),
        ("killed", "killed"),
        ("missing", "refused"),
        ("occupied", "refused"),  # it was not asked to reserve anything
        ("\x1b[2J", "refused"),
    ],
)
def test_an_error_of_a_device_has_a_known_kind(device, model, kind, expected):
    error = f"{{'kind': {kind!r}, 'reason': '\\x1b[2J no' * 999}}"
    runner = device("load", f"send_object(id=request['id'], error={error})")
    assert check_recovery(runner, model, " no ").kind == expected


def test_every_later_request_to_a_lost_model_fails_in_the_same_way(device, model):
    runner = device("time", "answer(request, {})")
    with runner.load(model, CAPACITY) as loaded:
        with pytest.raises(RunnerError, match=r"^lost: ") as caught:
            loaded.time(WORKLOAD, 2)
        for later in (loaded.snapshot, loaded.calmer_cores, lambda: loaded.move([0])):
            with pytest.raises(RunnerError) as again:
                later()
            assert again.value.reason == caught.value.reason
        time_once(runner, model)


def test_simulated_times_may_be_longer_than_their_request(device, model):
    window = {**WINDOW, "samples_ns": [10**15, 10**15]}
    runner = device("time", f"answer(request, {window})", runtime="fake")
    with runner.load(model, CAPACITY) as loaded:
        assert loaded.time(WORKLOAD, 2).samples_ns == (10**15, 10**15)


def test_another_device_at_the_same_address_is_not_measured(device, model):
    other = "{**ANSWERS['identify'], 'id': 'f' * 16}"
    runner = device("identify", f"answer(request, {other})")
    assert runner.identity.id == "f" * 16
    runner.close()
    with pytest.raises(RunnerError, match=r"^lost: .*another device than before"):
        time_once(runner, model)


OCCUPIED = "send_object(id=request['id'], error={'kind': 'occupied', 'reason': 'by \\x1b[2Jann'})"
OBSTACLE = "answer(request, {'waited_s': 0.5, 'obstacle': 'training has not paused'})"


def measuring(runner: RemoteRunner):
    return runner.measuring(lambda _: None, patience_s=0.0, lock_wait=LockWait())


def test_a_device_may_be_occupied(device, nothing_stays):
    with (
        pytest.raises(MachineOccupied, match=r"^by  \[2Jann$"),
        measuring(device("reserve", OCCUPIED)),
    ):
        pass


def write_requests_to(path) -> str:
    """Return a script of a device that writes down the order of requests, and dies at `time`."""
    return (
        "greet()\n"
        "for request in requests():\n"
        f" with open({str(path)!r}, 'a') as file: file.write(request['do'] + '\\n')\n"
        " if request['do'] == 'time' and not os.path.exists(sys.argv[1]):\n"
        "  open(sys.argv[1], 'w').close(); sys.exit(1)\n"
        " if request['do'] == 'reserve':\n"
        "  answer(request, {'waited_s': 0.0, 'obstacle': 'busy' if sys.argv[2] and "
        "os.path.exists(sys.argv[1]) else None})\n"
        " else: answer(request, ANSWERS.get(request['do'], {}))\n"
    )


@pytest.mark.parametrize("is_occupied_then", [False, True])
def test_a_device_is_reserved_again_after_a_lost_connection(tmp_path, model, is_occupied_then):
    log = tmp_path / "requests"
    argument = "yes" if is_occupied_then else ""
    channel = ScriptedChannel(write_requests_to(log), tmp_path / "misbehaved", argument)
    with RemoteRunner(channel, RemoteSettings()) as runner, measuring(runner):
        with pytest.raises(RunnerError, match=r"^lost: "):
            time_once(runner, model)
        if is_occupied_then:
            with pytest.raises(RunnerError, match=r"^lost: .*now the device is occupied: busy"):
                time_once(runner, model)
        else:
            time_once(runner, model)
    requests = log.read_text().split("\n")
    starts = [index for index, do in enumerate(requests) if do == "identify"]
    assert len(starts) == 2
    assert requests[starts[1] + 1] == "reserve"
    assert ("release" in requests) != is_occupied_then
