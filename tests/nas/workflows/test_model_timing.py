"""Comparisons of tiny models in real processes; the tests do not depend on how long they take."""

import functools
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hardware.machine_lock import LockWait
from hardware.measurement import parse_workload
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable, ModelFile
from nas.workflows.comparison import Comparison, results_of
from nas.workflows.model_timing import measure_models
from nas.workflows.timing_conditions import Conditions, conditions_of
from nas.workflows.work_progress import WorkProgress
from search_space.llama_cpp.gguf_file import write_gguf
from search_space.onnx_model import write_onnx
from tests.hardware.conformance import children
from tests.hardware.llama_programs import llama_program
from tests.hardware.machines import Machine
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, stack

TIMING_BUDGETS = [
    TimingBudget(workload=parse_workload(text), precision=0.5, seconds=0.1)
    for text in ("pp16", "tg8@16", "tg8")
]
A = Measurable(name="a", source=CORNERS["one layer"])
B = Measurable(name="b", source=CORNERS["only attention"])
C = Measurable(name="c", source=CORNERS["no mixer at all"])
# Blocks of int4 weights have 32 of them.
UNSTORABLE = Measurable(name="narrow", source=stack(CONV, embedding_width=24))

Measure = Callable[..., Comparison]


def silent(progress: WorkProgress) -> None:
    pass


def conditions(*models: Measurable, **asked: object) -> Conditions:
    usual = {"runtime": None, "quantization": None, "threads": 1}
    return conditions_of(models, TIMING_BUDGETS, **usual | asked)


def unreachable(*models: Measurable) -> Conditions:
    """Return conditions under which every result is provisional."""
    return replace(
        conditions(*models),
        timing_budgets=tuple(replace(each, precision=1e-6) for each in TIMING_BUDGETS),
    )


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_windows: None) -> Measure:
    """Measure without waiting for other measurements on this machine."""
    monkeypatch.setattr("hardware.quiet._machine_folder", lambda: tmp_path)

    def measure(
        *models: Measurable, against: Measurable | None = None, listener=silent, make=conditions
    ):
        if make is conditions:  # on a busy machine, most results would be measured three times
            monkeypatch.setattr("nas.workflows.model_timing._MOST_REPEATS", 0)
        everything = [*models, *([] if against is None else [against])]
        return measure_models(models, against, make(*everything), listener)

    return measure


def measured(comparison: Comparison) -> list[str]:
    return [each.model.name for each in comparison.measured]


def failures(comparison: Comparison) -> dict[str, str]:
    return {failure.model.name: failure.reason for failure in comparison.failures}


def test_all_are_timed_with_the_first_which_is_loaded_once(measure: Measure) -> None:
    comparison = measure(A, B, C)
    assert comparison.reference == A
    assert measured(comparison) == ["b", "c"]
    assert comparison.failures == ()
    measurements = [runs[0] for model in comparison.measured for runs in model.runs]
    assert len({each.reference.load_ns for each in measurements}) == 1
    assert len({each.load_ns for each in measurements}) == 2
    assert len({each.cores for each in (*measurements, measurements[0].reference)}) == 1
    for each in measurements:
        assert len(each.samples_ns) // each.window == (
            len(each.reference.samples_ns) // each.reference.window
        )


@pytest.mark.parametrize(
    ("models", "counts"),
    [
        ((A,), [("a", 0, 1)]),
        ((A, B), [("a", 0, 2), ("b", 0, 2)]),
        ((A, B, C), [("a", 0, 3), ("b", 0, 3), ("c", 1, 3)]),
        ((A, UNSTORABLE), [("a", 0, 2), ("narrow", 0, 2), ("a", 1, 2)]),
    ],
)
def test_the_models_that_were_asked_for_are_counted(measure: Measure, models, counts) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(progress: WorkProgress) -> None:
        if progress.subject:  # the machine has none
            heard.append((progress.subject, progress.done, progress.total))

    measure(*models, listener=listen)
    assert [key for key, _ in itertools.groupby(heard)] == counts


def test_workloads_that_leave_memory_allocated_are_timed_last(measure: Measure) -> None:
    (alone,) = measure(A).measured
    assert [str(runs[0].workload) for runs in alone.runs] == ["tg8", "tg8@16", "pp16"]


def test_one_model_is_measured_alone_unless_a_reference_is_named(measure: Measure) -> None:
    alone, paired, itself = measure(A), measure(A, against=B), measure(A, against=A)
    assert (alone.reference, paired.reference, itself.reference) == (None, B, A)
    assert alone.measured[0].runs[0][0].reference is None
    assert measured(paired) == measured(itself) == ["a"]
    assert itself.measured[0].runs[0][0].reference is not None


def test_a_reference_among_the_models_is_measured_once(measure: Measure) -> None:
    comparison = measure(A, B, against=B)
    assert comparison.reference == B
    assert measured(comparison) == ["a"]


def test_a_failure_leaves_the_others_their_results(measure: Measure) -> None:
    comparison = measure(A, UNSTORABLE, B)
    assert measured(comparison) == ["b"]
    assert failures(comparison) == {
        "narrow": "build error: embedding_width: 24 is not a multiple of 32, the block size "
        "of int4 weights"
    }


def test_the_next_model_becomes_the_reference_if_the_first_fails(measure: Measure) -> None:
    comparison = measure(UNSTORABLE, A, B)
    assert comparison.reference == A
    assert measured(comparison) == ["b"]
    assert list(failures(comparison)) == ["narrow"]


def test_a_model_is_measured_alone_if_all_others_fail(measure: Measure) -> None:
    comparison = measure(A, UNSTORABLE)
    assert comparison.reference is None
    assert measured(comparison) == ["a"]
    assert list(failures(comparison)) == ["narrow"]


def test_nothing_is_measured_if_the_named_reference_fails(measure: Measure) -> None:
    comparison = measure(A, B, against=UNSTORABLE)
    assert (comparison.measured, comparison.reference) == ((), None)
    assert results_of(comparison) == ()
    assert failures(comparison)["a"] == "not measured, because narrow failed"
    assert list(failures(comparison)) == ["narrow", "a", "b"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_results_are_kept_if_the_reference_process_dies(measure: Measure) -> None:
    others = children()

    def kill_the_reference(progress: WorkProgress) -> None:
        if progress.subject == "c":
            for process in children() - others:
                os.kill(process, signal.SIGSEGV)

    comparison = measure(A, B, C, listener=kill_the_reference)
    assert measured(comparison) == ["b"]
    assert "signal 11" in failures(comparison)["a"]
    assert failures(comparison)["c"] == "not measured, because a failed"
    assert children() <= others


@pytest.mark.parametrize("victim", ["the reference", "the model"])
def test_a_process_that_another_program_kills_is_replaced(measure: Measure, victim: str) -> None:
    others = children()
    loaded: set[int] = set()  # the process of the reference model
    killed: set[int] = set()

    def kill(progress: WorkProgress) -> None:
        if progress.subject == "b" and progress.text == "loading":
            loaded.update(children() - others)
        elif progress.subject == "b" and not killed:
            now = children() - others
            killed.update(now & loaded if victim == "the reference" else now - loaded)
            for process in killed:
                os.kill(process, signal.SIGKILL)

    comparison = measure(A, B, C, listener=kill)
    assert len(killed) == 1
    assert measured(comparison) == ["b", "c"]
    assert comparison.failures == ()
    name = "a" if victim == "the reference" else "b"
    assert comparison.remarks == (
        f"{name} was measured again, because its process was killed: another program ended the "
        "process (SIGKILL)",
    )
    assert children() <= others


def test_a_model_whose_process_is_killed_every_time_is_a_failure(measure: Measure) -> None:
    others = children()
    loaded: set[int] = set()
    killed: set[int] = set()

    def kill(progress: WorkProgress) -> None:
        if progress.subject == "b" and progress.text == "loading" and not killed:
            loaded.update(children() - others)
        elif progress.subject == "b":
            for process in children() - others - loaded - killed:
                killed.add(process)
                os.kill(process, signal.SIGKILL)

    comparison = measure(A, B, C, listener=kill)
    assert len(killed) == 3
    assert measured(comparison) == ["c"]
    assert failures(comparison) == {
        "b": "killed: another program ended the process (SIGKILL)",
    }


def test_times_on_an_occupied_machine_are_provisional(measure: Measure, tmp_path: Path) -> None:
    """Another process of this machine measures, and does not end."""
    program = "import fcntl, sys, time; fcntl.flock(0, 2); print(flush=True); time.sleep(3600)"
    lock = tmp_path / "nas-measuring.lock"
    lock.touch()
    with (
        lock.open() as file,
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=file, stdout=subprocess.PIPE
        ) as holder,
    ):
        assert holder.stdout.readline()
        try:
            occupied = functools.partial(conditions, lock_wait=LockWait(longest_wait=0.1))
            comparison = measure(A, B, make=occupied)
            stop = LockWait(longest_wait=0.1, if_occupied="stop")
            with pytest.raises(ValueError, match=r"^longest_wait: another measurement on this"):
                measure(A, B, make=functools.partial(conditions, lock_wait=stop))
        finally:
            holder.kill()
    results = [result for result in results_of(comparison) if not result.is_reference]
    assert len(results) == 3
    assert all(result.provisional for result in results)
    (remark,) = comparison.remarks
    assert f"pid {holder.pid}" in remark
    assert remark.endswith("; the times that were measured meanwhile are provisional")


WAITS = "waiting for another measurement on this machine"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def joined_by(machine: Machine, script: str) -> Callable[[WorkProgress], None]:
    """Return a listener that starts another process while a model is timed, which then waits."""

    def listen(progress: WorkProgress) -> None:
        if progress.subject == "b" and progress.text != "loading" and not machine.count(WAITS):
            machine.start(script)
            machine.wait_for(WAITS)
        if progress.subject == "c" and progress.text == "loading":
            machine.write("c is loaded")

    return listen


def test_another_measurement_has_its_turn_between_two_models(
    measure: Measure, machine: Machine
) -> None:
    listener = joined_by(machine, 'with measure():\n    write("the other measures")')
    comparison = measure(A, B, C, listener=listener)
    assert measured(comparison) == ["b", "c"]
    events = [event for event in machine.events() if not event.startswith("waiting")]
    assert events == ["the other measures", "c is loaded"]


def test_results_are_kept_if_the_machine_is_occupied_meanwhile(
    measure: Measure, machine: Machine
) -> None:
    listener = joined_by(machine, "with measure():\n    time.sleep(3600)")
    stop = LockWait(longest_wait=0.5, if_occupied="stop")
    comparison = measure(
        A, B, C, listener=listener, make=functools.partial(conditions, lock_wait=stop)
    )
    assert measured(comparison) == ["b"]
    ((name, reason),) = failures(comparison).items()
    assert name == "c"
    assert reason.startswith("not measured: longest_wait: another measurement on this machine has")


def test_provisional_results_are_measured_again_after_all_models(measure: Measure) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(progress: WorkProgress) -> None:
        heard.append((progress.subject, progress.done, progress.total))

    comparison = measure(A, B, C, listener=listen, make=unreachable)
    assert measured(comparison) == ["b", "c"]
    for model in comparison.measured:
        assert [len(runs) for runs in model.runs] == [3, 3, 3]
        for runs in model.runs:
            assert len({run.load_ns for run in runs}) == 3  # loaded again
            times = [run.measured_at for run in runs]
            assert times == sorted(times)
            assert all(run.reference is not None for run in runs)
    of_models = [key for key, _ in itertools.groupby(heard) if key[0]]
    assert of_models == [
        *(("a", 0, 3), ("b", 0, 3), ("c", 1, 3)),
        *(("a", 1, 3), ("b, run 2", 1, 3), ("c, run 2", 2, 3)),
        *(("a", 1, 3), ("b, run 3", 1, 3), ("c, run 3", 2, 3)),
    ]
    results = results_of(comparison)
    assert len(results) == 9
    assert all(result.provisional for result in results if not result.is_reference)


def test_a_single_model_is_measured_again_alone(measure: Measure) -> None:
    comparison = measure(A, make=unreachable)
    (alone,) = comparison.measured
    assert comparison.reference is None
    assert [len(runs) for runs in alone.runs] == [3, 3, 3]
    assert all(run.reference is None for runs in alone.runs for run in runs)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_results_are_kept_if_a_repeat_fails(measure: Measure) -> None:
    others = children()

    def kill(progress: WorkProgress) -> None:
        if progress.subject == "b, run 2":
            for process in children() - others:
                os.kill(process, signal.SIGSEGV)

    comparison = measure(A, B, C, listener=kill, make=unreachable)
    assert measured(comparison) == ["b", "c"]
    assert [[len(runs) for runs in each.runs] for each in comparison.measured] == [[1, 1, 1]] * 2
    ((name, reason),) = failures(comparison).items()
    assert name == "a"
    assert reason.startswith("not measured again: ")
    assert "signal 11" in reason
    assert len(results_of(comparison)) == 9


def test_an_onnx_file_is_measured_and_left_as_it_was(measure: Measure, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    path = write_onnx(CORNERS["every mixer"], folder, quantization="fp32", context_length=32)
    files = {file: file.read_bytes() for file in folder.iterdir()}
    source = ModelFile(path=path, model_format="onnx", context_length=32)
    comparison = measure(Measurable(name="exported", source=source), A)
    assert measured(comparison) == ["a"]
    assert {file: file.read_bytes() for file in folder.iterdir()} == files


def test_runtimes_are_compared_on_the_same_cores(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = llama_program("llama-bench").parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    architecture = stack(CONV, replace(ATTENTION, heads=2))
    path = tmp_path / "small.gguf"
    write_gguf(architecture, path, quantization="int4", context_length=64)
    file = Measurable(name="small.gguf", source=ModelFile(path=path, model_format="gguf"))
    built = Measurable(name="small", source=architecture)
    (pair,) = measure(file, against=built).measured
    for each, *_ in pair.runs:
        assert (each.runtime, each.reference.runtime) == ("llama.cpp", "onnxruntime")
        assert each.cores == each.reference.cores


def test_a_model_that_the_runtime_cannot_express_is_a_failure(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = llama_program("llama-bench").parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    asked = conditions(C, runtime="llama.cpp")
    comparison = measure_models([C], None, asked, silent)
    assert failures(comparison) == {
        "c": "build error: llama.cpp does not support layers without a mixer"
    }
