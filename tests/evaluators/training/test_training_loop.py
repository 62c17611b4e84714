"""The training loop: pauses during measurements."""

import contextlib
import functools
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluators.evaluator import Progress
from evaluators.training import torch_context, training_loop
from evaluators.training.text_training import train
from evaluators.training.training_settings import TrainingSettings
from hardware.quiet import YieldToMeasurements, measuring, yielding_to_measurements
from tests.evaluators.training.texts import TEXT, TINY

SETTINGS = TrainingSettings(context_length=16, batch_size=2, token_budget=320)


@pytest.fixture(autouse=True)
def locks(monkeypatch, tmp_path) -> Path:
    """Use locks of our own, so that other measurements on this machine do not pause these tests."""
    monkeypatch.setattr(
        torch_context,
        "yielding_to_measurements",
        functools.partial(yielding_to_measurements, folder=tmp_path),
    )
    return tmp_path


class TestYieldingToMeasurements:
    SCRIPT = """
import functools, sys
from pathlib import Path
from evaluators.training import torch_context
from evaluators.training.text_training import train
from evaluators.training.training_settings import TrainingSettings
from hardware.quiet import yielding_to_measurements
from tests.evaluators.training.texts import TEXT, TINY

folder = Path(sys.argv[1])
torch_context.yielding_to_measurements = functools.partial(yielding_to_measurements, folder=folder)
endless = TrainingSettings(context_length=16, batch_size=2, token_budget=1 << 24)
(folder / "training").touch()
train(TINY, TEXT, endless, lambda progress: None)
"""

    def test_pauses_do_not_change_the_curve(self, locks):
        reports: list[Progress] = []
        measurers: list[threading.Thread] = []

        def report(progress: Progress) -> None:
            reports.append(progress)
            if not progress.text.startswith("paused"):
                requested = threading.Event()

                def measure() -> None:
                    with measuring(lambda _: requested.set(), patience_s=0.0, folder=locks):
                        time.sleep(0.01)

                measurers.append(threading.Thread(target=measure))
                measurers[-1].start()
                requested.wait()

        curve = train(TINY, TEXT, SETTINGS, report).curve
        for measurer in measurers:
            measurer.join()
        assert curve == train(TINY, TEXT, SETTINGS, lambda _: None).curve
        pauses = [progress for progress in reports if progress.text.startswith("paused")]
        others = [progress for progress in reports if progress not in pauses]
        # There is no pause after the last report.
        assert [pause.done for pause in pauses] == [report.done for report in others[:-1]]
        assert len(pauses) >= 9

    def test_pauses_do_not_count_in_the_rate(self, monkeypatch):
        paused_s = 0.0
        clock = itertools.count()

        @contextlib.contextmanager
        def often(*_, **__) -> Iterator[YieldToMeasurements]:
            def yield_to_measurements() -> float:
                nonlocal paused_s
                paused_s += pause_s
                return pause_s

            yield yield_to_measurements

        monkeypatch.setattr(torch_context, "yielding_to_measurements", often)
        monkeypatch.setattr(training_loop.time, "perf_counter", lambda: next(clock) + paused_s)
        texts: dict[float, list[str]] = {}
        for pause_s in (0.0, 1_000.0):
            texts[pause_s] = []
            train(
                TINY, TEXT, SETTINGS, lambda progress, to=texts[pause_s]: to.append(progress.text)
            )
        assert texts[0.0] == texts[1_000.0]
        assert "tokens/s" in texts[0.0][0]

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_a_real_training_uses_no_processor_time_during_a_measurement(self, locks):
        process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(locks)], cwd=Path(__file__).parents[3]
        )

        def ticks() -> int:
            """Return the processor time in hundredths of a second: fields 14 and 15 in proc(5)."""
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        def wait_until(condition: Callable[[], bool]) -> None:
            while not condition():
                assert process.poll() is None
                time.sleep(0.01)

        def works_for(more: int) -> None:
            wanted = ticks() + more
            wait_until(lambda: ticks() >= wanted)

        try:
            wait_until((locks / "training").exists)
            works_for(50)
            for _ in range(3):
                with measuring(lambda _: None, patience_s=0.0, folder=locks):
                    before = ticks()
                    time.sleep(0.3)
                    assert ticks() - before <= 3
                works_for(10)
        finally:
            process.kill()
            process.wait()
