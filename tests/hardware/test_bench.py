import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hardware
from hardware.bench import Bench
from hardware.local import LocalRunner
from hardware.measurement import Workload
from search_space.onnx_model import write_onnx
from tests.hardware.onnx_models import description_of, write
from tests.search_space.strategies import ATTENTION, CORNERS, stack


class TestWindows:
    """The position of the session after windows of a given number of samples."""

    @pytest.fixture
    def bench(self, tmp_path) -> Bench:
        return Bench(model=str(write(tmp_path / "model")), capacity=52, cores=None, threads=1)

    def test_decoding_continues_where_the_last_window_stopped_until_the_end(self, bench):
        positions = [
            position_after_window(bench, "decode", 12, depth=40, samples=5) for _ in range(4)
        ]
        assert positions == [45, 50, 43, 48]

    def test_a_prompt_is_always_read_after_the_context_depth(self, bench):
        positions = [
            position_after_window(bench, "prefill", 30, depth=10, samples=2) for _ in range(2)
        ]
        assert positions == [40, 40]

    def test_each_workload_has_its_own_position(self, bench):
        positions = [
            position_after_window(bench, *workload, samples=3)
            for workload in [("decode", 12, 40), ("prefill", 8, 0), ("decode", 9, 0)] * 2
        ]
        assert positions == [43, 8, 3, 46, 8, 6]

    @pytest.mark.parametrize("name", CORNERS)
    def test_no_state_grows_in_a_long_timing(self, name, tmp_path):
        model = write(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        bench = Bench(model=str(model), capacity=64, cores=None, threads=1)
        position_after_window(bench, "decode", 12, depth=40, samples=2000)
        logits = bench.session.read(np.array([1]))
        assert np.isfinite(logits).all()
        assert logits.std() > 0

    def test_memory_of_weights_and_of_caches_is_distinguished(self, tmp_path):
        # 77 MB of weights, 68 MB of keys and values.
        architecture = stack(ATTENTION, vocab_size=300_000, width=64, embedding_width=64)
        folder = tmp_path / "large"
        folder.mkdir()
        length = 1 << 18
        model = write_onnx(architecture, folder, quantization="fp32", context_length=length)
        # In a new process, because this one may have free memory from earlier tests.
        with LocalRunner().load(model, length) as loaded:
            loading = loaded.loading
            window = loaded.time(Workload(phase="decode", tokens=12, depth=40), 1)
        weights = loading.model_bytes
        assert weights == model.stat().st_size + description_of(model)["data_bytes"] > 77e6
        assert loading.loaded_memory_bytes - loading.empty_memory_bytes > 77e6
        assert window.peak_memory_bytes - loading.loaded_memory_bytes > 66e6


def time_window(bench, phase, tokens, depth, samples):
    workload = {"phase": phase, "tokens": tokens, "depth": depth}
    return bench.answer({"time": workload, "samples": samples})


def position_after_window(bench, phase, tokens, depth, samples) -> int:
    assert len(time_window(bench, phase, tokens, depth, samples)["samples_ns"]) == samples
    return bench.session.position


class TestDialogue:
    """The dialogue of a person, or of a runner that reaches a device through a pipe."""

    def dialogue(self, *lines) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hardware.bench"],
            input="".join(f"{json.dumps(line)}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )

    def test_each_line_is_answered_and_the_end_of_input_ends_the_program(self, tmp_path):
        load = {
            "model": str(write(tmp_path / "model")),
            "capacity": 52,
            "cores": None,
            "threads": 1,
        }
        window = {"time": {"phase": "decode", "tokens": 4, "depth": 2}, "samples": 7}
        cores = sorted(os.sched_getaffinity(0))[-1:] if sys.platform == "linux" else []
        done = self.dialogue(load, window, {"snapshot": True}, {"move": cores}, window)
        assert done.returncode == 0
        assert done.stderr == ""
        loading, first, snapshot, moved, second = map(json.loads, done.stdout.splitlines())
        assert loading["runtime"] == "onnxruntime"
        assert moved == {}
        for answer in (first, second):
            assert len(answer["samples_ns"]) == len(answer["waited_ns"]) == 7
        assert snapshot["environment"]["runtime_version"].startswith("onnxruntime 1.")

    def test_output_of_a_library_is_not_mistaken_for_an_answer(self, tmp_path):
        script = (
            "import os, hardware.bench as bench\n"
            "def loud(version, read=bench.read_environment):\n"
            "    os.write(1, b'printed by a library')\n"
            "    return read(version)\n"
            "bench.read_environment = loud\n"
            "bench.main()\n"
        )
        load = {"model": str(write(tmp_path / "model")), "capacity": 52, "cores": None}
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            input=f"{json.dumps(load | {'threads': 1})}\n{json.dumps({'snapshot': True})}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert len([json.loads(line) for line in done.stdout.splitlines()]) == 2
        assert done.stderr == "printed by a library"

    def test_five_files_are_enough(self, tmp_path):
        """A device has neither the other modules nor the libraries that they import."""
        device = tmp_path / "device"
        (device / "hardware").mkdir(parents=True)
        names = ("bench", "environment", "onnx_session", "random_weights", "thread_scheduling")
        for name in names:
            shutil.copy(Path(hardware.__file__).with_name(f"{name}.py"), device / "hardware")
        (device / "hardware" / "__init__.py").touch()  # so that the installed package is not used
        script = (
            "import sys, hardware.bench\n"
            "hardware.bench.main()\n"
            "print(*sorted(each for each in sys.modules if each.startswith('hardware.')))\n"
            "print(hardware.bench.__file__, 'scipy' in sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            input="",
            env=os.environ | {"PYTHONPATH": str(device)},
            capture_output=True,
            text=True,
            check=True,
        )
        modules, rest = done.stderr.splitlines()  # whatever a library prints goes there
        assert modules.split() == [f"hardware.{name}" for name in names]
        assert rest == f"{device / 'hardware' / 'bench.py'} False"

    def test_without_requests_there_is_no_output(self):
        done = self.dialogue()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
