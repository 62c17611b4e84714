"""The models that a host has loaded on this device, by a runner of this device."""

import contextlib
import itertools
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hardware.cores import idlest_cores
from hardware.measurement import Workload
from hardware.remote.host_pipe import RequestRefused, model_file
from hardware.remote.identity import read_clusters
from hardware.runner import LoadedModel, Runner, RunnerError


class DeviceModels:
    """A runner of this device and the models that it has loaded.

    Args:
        folder: The folder with the files of models, in folders with a number as their name.
        settings: The fields of `RemoteSettings`.

    Raises:
        ImportError: The runtime is not installed.
        ValueError: A setting is not possible here.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._runner = _runner(settings)
        self._numbers = itertools.count(1)  # no number is used again
        self._loaded: dict[int, tuple[LoadedModel, contextlib.ExitStack]] = {}

    def facts(self) -> dict[str, Any]:
        """Return what a host needs to know about the runner."""
        return {
            "fingerprint": self._runner.fingerprint,
            "memory_step_bytes": self._runner.memory_step_bytes,
        }

    def close(self) -> None:
        """Unload all models."""
        with contextlib.ExitStack() as contexts:
            for _, loaded in self._loaded.values():
                contexts.enter_context(loaded)
            self._loaded = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request about a model and return the answer.

        Raises:
            RequestRefused: The model cannot be measured.
            ValueError: There is no such request or model.
        """
        try:
            return self._answer(request)
        except RunnerError as error:
            raise RequestRefused(error.kind, error.reason) from error

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "load":
            return self._load(request)
        if request["model"] not in self._loaded:
            raise ValueError(f"model: {request['model']!r} is not loaded")
        model, contexts = self._loaded[request["model"]]
        match request["do"]:
            case "unload":
                del self._loaded[request["model"]]
                contexts.close()
                return {}
            case "time":
                return asdict(model.time(Workload(**request["workload"]), request["samples"]))
            case "move":
                model.move(request["cores"])
                return {}
            case "calmer cores":
                return {"cores": model.calmer_cores()}
            case "snapshot":
                return asdict(model.snapshot())
            case other:
                raise ValueError(f"do: {other!r} is not a request of this release")

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        path = model_file(self._folder, request["files"], request["name"])
        number = next(self._numbers)
        with contextlib.ExitStack() as contexts:
            contexts.callback(shutil.rmtree, path.parent, ignore_errors=True)
            model = contexts.enter_context(self._runner.load(path, request["capacity"]))
            self._loaded[number] = model, contexts.pop_all()
        return {"model": number, "loading": asdict(model.loading)}


def _runner(settings: dict[str, Any]) -> Runner:
    threads, fixed = settings["threads"], _fixed_cores(settings["cores"], settings["threads"])

    def choose(count: int) -> list[int]:
        return idlest_cores(count) if fixed is None else fixed

    match settings["runtime"]:
        case "onnxruntime":
            from hardware.local import LocalRunner

            return LocalRunner(threads=threads, choose_cores=choose)
        case "llama.cpp":
            from hardware.llama_cpp import LlamaCppRunner

            named = settings["llama_bench"]
            program = None if named is None else Path(named).expanduser()
            return LlamaCppRunner(program, threads=threads, choose_cores=choose)
        case "fake":
            from hardware.fake import FakeRunner

            return FakeRunner()
        case other:
            raise ValueError(f"runtime: {other!r} is not 'onnxruntime', 'llama.cpp' or 'fake'")


def _fixed_cores(cores: list[int] | str | None, threads: int) -> list[int] | None:
    """Return the cores that the settings name, one for each thread; None for any.

    Raises:
        ValueError: There are fewer cores than threads, or this process may not use one.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    match cores:
        case None:
            return None
        case "big":
            named = [core for core in read_clusters()[0].cores if core in allowed]
        case [*numbers]:
            named = numbers
        case _:
            raise ValueError(f"cores: {cores!r} is not 'big' or a list of numbers")
    missing = [core for core in named if core not in allowed]
    if missing:
        raise ValueError(f"cores: {missing} are not among those that can be used: {allowed}")
    if len(named) < threads:
        raise ValueError(f"cores: {named} are fewer than the {threads} threads of a model")
    return named[:threads]
