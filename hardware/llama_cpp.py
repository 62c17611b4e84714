"""Measure GGUF files on this machine with llama.cpp's own llama-bench."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hardware.cores import ChooseCores, calmer_cores, check_threads, idlest_cores
from hardware.environment import fingerprint_of, read_counters, read_environment
from hardware.llama_bench import LlamaBench, find_llama_bench, version_of
from hardware.local import HUGE_PAGE_BYTES, interrupt_deferred
from hardware.measurement import Workload
from hardware.runner import DeviceSnapshot, LoadedModel, Loading, ModelFormat, RunnerError, Window

# Tokens that one run of llama-bench generates; it reports only the time of all of them together.
_TOKENS_PER_RUN = 8
# Runs per process. Except on Linux, it may start the spare ones while it is being stopped.
_RUNS, _SPARE_RUNS = 1_000, 100

_Answer = TypeVar("_Answer")


class LlamaCppRunner:
    """Runs models with llama-bench in processes of this machine.

    A llama-bench process repeats one workload and is stopped (SIGSTOP) between windows, on Linux
    also between the runs of a window. For another workload the model is loaded again.

    llama-bench reports the total time of several tokens, so each of their samples is their mean.
    The mapped pages of the model file count as resident memory.

    Args:
        llama_bench: The program; None looks it up on the PATH.
        threads: Threads that a model computes with.
        timeout_s: Seconds without output after which a process is given up.
        choose_cores: Called once, when the first model is loaded.

    Raises:
        ValueError: There is no such program, or this machine has fewer cores than `threads`.
    """

    model_format: ModelFormat = "gguf"
    memory_step_bytes = HUGE_PAGE_BYTES

    def __init__(
        self,
        llama_bench: Path | None = None,
        *,
        threads: int = 1,
        timeout_s: float = 600.0,
        choose_cores: ChooseCores = idlest_cores,
    ) -> None:
        check_threads(threads)
        self.program = find_llama_bench(llama_bench)
        self.version = version_of(self.program)
        self.threads = threads
        self.timeout_s = timeout_s
        self._choose_cores = choose_cores
        self.cores: tuple[int, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """See `Runner.fingerprint`."""
        return fingerprint_of(read_environment(self.version), self.threads)

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        """See `Runner.load`."""
        if not model.is_file():
            raise RunnerError("refused", f"{model} is not a file")
        if self.cores is None:
            linux = sys.platform == "linux"
            self.cores = tuple(self._choose_cores(self.threads)) if linux else ()
        loaded = _LlamaCppModel(self, self.cores, model, capacity)
        try:
            yield loaded
        finally:
            loaded.end()


class _LlamaCppModel:
    """A model in the llama-bench process that runs its latest workload."""

    def __init__(
        self, runner: LlamaCppRunner, cores: tuple[int, ...], model: Path, capacity: int
    ) -> None:
        self._runner = runner
        self._cores = cores
        self._model = model
        self._capacity = capacity
        self._workload: Workload | None = None
        self._process: LlamaBench | None = None
        self._ended_s = 0.0  # processor time of the earlier processes
        self._failure: RunnerError | None = None
        self.loading = self._try(self._load)

    def time(self, workload: Workload, samples: int) -> Window:
        return self._try(lambda: self._time(workload, samples))

    def snapshot(self) -> DeviceSnapshot:
        return self._try(self._snapshot)

    def move(self, cores: Sequence[int]) -> None:
        def pin() -> None:
            if self._process is not None:
                self._process.pin(cores)

        self._try(pin)
        self._cores = self._runner.cores = tuple(cores)
        self.loading = replace(self.loading, cores=tuple(cores))

    def calmer_cores(self) -> list[int] | None:
        return calmer_cores(self._cores)

    def end(self) -> None:
        if self._process is not None:
            self._ended_s += self._process.own_s()
            self._process.end()
            self._process = None

    def _try(self, act: Callable[[], _Answer]) -> _Answer:
        """Call `act`; any error in it, including an interrupt, ends the model."""
        if self._failure is not None:
            raise self._failure
        try:
            return act()
        except BaseException as error:
            self.end()
            interrupted = RunnerError("crashed", "the process was interrupted during a request")
            self._failure = error if isinstance(error, RunnerError) else interrupted
            raise

    def _load(self) -> Loading:
        # One run shows that the model works; only --verbose reports why it does not.
        process = self._start("--verbose", "--n-prompt", "0", "--n-gen", _listed(1, _SPARE_RUNS))
        empty_memory_bytes = process.memory_bytes("VmRSS")
        start = time.perf_counter_ns()
        process.wait_for(": warmup")
        load_ns = time.perf_counter_ns() - start
        loaded_memory_bytes = process.memory_bytes("VmRSS")
        process.run()
        process.stop()
        return Loading(
            runtime="llama.cpp",
            threads=self._runner.threads,
            cores=self._cores,
            load_ns=load_ns,
            model_bytes=self._model.stat().st_size,
            empty_memory_bytes=empty_memory_bytes,
            loaded_memory_bytes=loaded_memory_bytes,
        )

    def _time(self, workload: Workload, samples: int) -> Window:
        longest = workload.depth + workload.tokens
        if longest > self._capacity:
            reason = (
                f"tokens: {longest} tokens, including the depth, exceed the capacity of "
                f"{self._capacity}"
            )
            raise RunnerError("refused", reason)
        samples_per_run = 1 if workload.phase == "prefill" else _tokens_per_run(workload)
        peak_memory_bytes, samples_ns, waited_ns = 0, list[int](), list[int | None]()
        while len(samples_ns) < samples:
            process = self._process_of(workload)
            process.resume()
            while len(samples_ns) < samples and process.runs_left > 0:
                run = process.run()
                waited = None if run.waited_ns is None else run.waited_ns // samples_per_run
                samples_ns += [run.run_ns // samples_per_run] * samples_per_run
                waited_ns += [waited] * samples_per_run
            process.stop()
            peak_memory_bytes = max(peak_memory_bytes, process.memory_bytes("VmHWM"))
        return Window(
            samples_ns=tuple(samples_ns[:samples]),
            waited_ns=_if_all_known(waited_ns[:samples]),
            peak_memory_bytes=peak_memory_bytes,
        )

    def _process_of(self, workload: Workload) -> LlamaBench:
        """Return a process that is stopped before a run of the workload.

        Except on Linux, a fast model may have started several runs before it was stopped, so
        `runs_left` can be negative.
        """
        if self._process is None or workload != self._workload or self._process.runs_left <= 0:
            # The first run, of one token, fills the context depth; the others restore it.
            runs = f"1,{_listed(_tokens_per_run(workload), _RUNS + _SPARE_RUNS)}"
            arguments = ["--n-depth", str(workload.depth)]
            if workload.phase == "decode":
                arguments += ["--n-prompt", "0", "--n-gen", runs]
            else:  # a warm-up would read a whole prompt and make the next one only 1 to 2 % faster
                arguments += ["--n-prompt", runs, "--n-gen", "0", "--no-warmup"]
            process = self._start(*arguments)
            process.run()
            process.stop()
            process.runs_left, self._workload = _RUNS, workload
            self._process = process
        return self._process

    def _start(self, *arguments: str) -> LlamaBench:
        self.end()
        command = [str(self._runner.program), "--model", str(self._model), *arguments]
        command += ["--threads", str(self._runner.threads), "--repetitions", "1"]
        command += ["--output", "jsonl", "--progress"]
        with interrupt_deferred():
            self._process = process = LlamaBench(command, self._cores, self._runner.timeout_s)
        process.wait_for(": starting")
        return process

    def _snapshot(self) -> DeviceSnapshot:
        counters = read_counters()
        if counters is not None:
            own_s = self._ended_s + (0.0 if self._process is None else self._process.own_s())
            counters = replace(counters, own_s=own_s)
        return DeviceSnapshot(environment=read_environment(self._runner.version), counters=counters)


def _tokens_per_run(workload: Workload) -> int:
    """Return the tokens of one run: a whole prompt, or a few tokens to generate."""
    return workload.tokens if workload.phase == "prefill" else min(_TOKENS_PER_RUN, workload.tokens)


def _if_all_known(waited_ns: Sequence[int | None]) -> tuple[int, ...] | None:
    known = tuple(waited for waited in waited_ns if waited is not None)
    return known if len(known) == len(waited_ns) else None


def _listed(tokens: int, times: int) -> str:
    return ",".join([str(tokens)] * times)
