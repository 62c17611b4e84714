"""The training loop: scores, reproducibility, learning curve, failures and pauses."""

import contextlib
import functools
import itertools
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.training import fit as training
from evaluators.training.fit import (
    TokenizedText,
    TrainingSettings,
    mixed_windows,
    train,
)
from evaluators.training.recipe import Recipe
from hardware.quiet import measuring, yielding_to_measurements
from search_space.architecture import Architecture
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, stack

TINY = stack(CONV, ATTENTION)
SETTINGS = TrainingSettings(context_length=16, batch_size=2, token_budget=320)


def pattern(length: int, vocab_size: int = 64, seed: int = 0) -> np.ndarray:
    """Return ids that each follow from the id before, except for one in ten, which is random."""
    draw = np.random.default_rng(seed)
    ids = [1]
    while len(ids) < length:
        ids.append((5 * ids[-1] + 3) % vocab_size)
        if draw.random() < 0.1:
            ids[-1] = int(draw.integers(vocab_size))
    return np.array(ids, dtype=np.uint16)


def text_of(vocab_size: int = 64, training: int = 5_000, validation: int = 333) -> TokenizedText:
    return TokenizedText(
        training=pattern(training, vocab_size),
        validation=pattern(validation, vocab_size, seed=1),
        token_bytes=1 + np.arange(vocab_size) % 5,
    )


TEXT = text_of()


def unhindered() -> float:
    return 0.0


def losses(architecture: Architecture, settings: TrainingSettings, text: TokenizedText = TEXT):
    return [point.loss for point in train(architecture, text, settings, lambda _: None).curve]


@pytest.fixture(autouse=True)
def locks(monkeypatch, tmp_path) -> Path:
    """Use locks of our own, so that other measurements on this machine do not pause these tests."""
    monkeypatch.setattr(
        training,
        "yielding_to_measurements",
        functools.partial(yielding_to_measurements, folder=tmp_path),
    )
    return tmp_path


class TestTrain:
    def test_the_loss_falls_below_that_of_a_model_without_context(self):
        settings = TrainingSettings(context_length=16, batch_size=8, token_budget=16_000)
        bytes_a_token = TEXT.token_bytes[TEXT.validation[1:]].mean()
        assert losses(TINY, settings)[-1] < 0.5 * math.log2(64) / bytes_a_token

    def test_the_same_seed_gives_the_same_curve_and_another_seed_another(self):
        first = losses(TINY, SETTINGS)
        assert losses(TINY, SETTINGS) == first
        other = TrainingSettings(context_length=16, batch_size=2, token_budget=320, seed=1)
        assert losses(TINY, other)[-1] != first[-1]

    @pytest.mark.parametrize("name", CORNERS)
    def test_every_layout_learns(self, name):
        architecture = CORNERS[name]
        settings = TrainingSettings(context_length=16, batch_size=2, token_budget=960)
        curve = losses(architecture, settings, text_of(architecture.vocab_size))
        assert curve[-1] < curve[0]

    def test_more_validations_do_not_change_the_result(self):
        often = TrainingSettings(
            context_length=16, batch_size=2, token_budget=320, rungs=(0.1, 0.3, 0.9)
        )
        assert losses(TINY, often)[-1] == losses(TINY, SETTINGS)[-1]

    def test_the_end_is_scored_on_more_text_than_the_rungs(self):
        part = replace(TEXT, validation=TEXT.validation[:100])
        early = replace(TEXT, early=100)
        on_part, on_early, on_all = (losses(TINY, SETTINGS, text) for text in (part, early, TEXT))
        assert on_early[:-1] == on_part[:-1]
        assert on_early[-1] == on_all[-1] != on_part[-1]

    @pytest.mark.parametrize(
        ("budget", "rungs", "tokens"),
        [
            (320, (0.5,), [96, 160, 320]),
            (321, (0.7,), [96, 192, 256, 352]),
            (1, (0.5,), [32]),
        ],
    )
    def test_points_lie_at_or_just_after_their_fraction_of_the_budget(self, budget, rungs, tokens):
        settings = TrainingSettings(
            context_length=16, batch_size=2, token_budget=budget, rungs=rungs
        )
        reports: list[Progress] = []
        curve = train(TINY, TEXT, settings, reports.append).curve
        assert [point.tokens for point in curve] == tokens
        assert [progress.point for progress in reports if progress.point] == list(curve)
        assert reports[-1].done == 1.0

    def test_a_short_text_is_read_again(self):
        curve = train(TINY, text_of(training=100), SETTINGS, lambda _: None).curve
        assert curve[-1].tokens == 320

    def test_a_text_shorter_than_one_window_is_refused(self):
        with pytest.raises(ValueError, match="context_length: 16 requires more than the 16 tokens"):
            losses(TINY, SETTINGS, text_of(training=16))

    @pytest.mark.parametrize("rate", [1e3, math.inf])
    def test_a_diverging_training_fails_and_names_the_token(self, rate):
        wild = Recipe(matrix_rate=rate, vector_rate=rate, embedding_rate=rate)
        settings = TrainingSettings(
            context_length=16, batch_size=2, token_budget=3_200, recipe=wild
        )
        with pytest.raises(EvaluationFailed, match=r"diverged: .* at token [\d,]+$") as failure:
            losses(TINY, settings)
        assert failure.value.kind == "diverged"

    def test_threads_are_restored_even_if_a_report_stops_the_training(self):
        def stop(_: Progress) -> None:
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            with pytest.raises(KeyboardInterrupt):
                train(TINY, TEXT, SETTINGS, stop)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)


class TestYieldingToMeasurements:
    SCRIPT = """
import functools, sys
from pathlib import Path
from evaluators.training import fit as training
from hardware.quiet import yielding_to_measurements
from tests.evaluators.training.test_fit import TEXT, TINY

folder = Path(sys.argv[1])
training.yielding_to_measurements = functools.partial(yielding_to_measurements, folder=folder)
endless = training.TrainingSettings(context_length=16, batch_size=2, token_budget=1 << 24)
(folder / "training").touch()
training.train(TINY, TEXT, endless, lambda progress: None)
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
        assert [point.loss for point in curve] == losses(TINY, SETTINGS)
        pauses = [progress for progress in reports if progress.text.startswith("paused")]
        others = [progress for progress in reports if progress not in pauses]
        # There is no pause after the last report.
        assert [pause.done for pause in pauses] == [report.done for report in others[:-1]]
        assert len(pauses) >= 9

    def test_pauses_do_not_count_in_the_rate(self, monkeypatch):
        paused_s = 0.0
        clock = itertools.count()

        @contextlib.contextmanager
        def often(*_, **__) -> Iterator[training.YieldToMeasurements]:
            def yield_to_measurements() -> float:
                nonlocal paused_s
                paused_s += pause_s
                return pause_s

            yield yield_to_measurements

        monkeypatch.setattr(training, "yielding_to_measurements", often)
        monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock) + paused_s)
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


class TestBatches:
    def test_every_token_is_read_once_before_any_is_read_again(self):
        ids = np.arange(16 * 10 + 1, dtype=np.uint16)
        settings = TrainingSettings(context_length=16, batch_size=2, token_budget=16 * 20)
        batches = list(mixed_windows(ids, settings))
        inputs = torch.cat([batch.inputs_BT for batch in batches])
        targets = torch.cat([batch.targets_BT for batch in batches])
        assert inputs.shape == (20, 16)
        assert torch.equal(targets, inputs + 1)
        for once in (inputs[:10], inputs[10:]):
            assert torch.equal(once.flatten().sort().values, torch.arange(160))
        assert not torch.equal(inputs[:10], inputs[10:])


@pytest.mark.parametrize(
    ("field", "value"),
    [("context_length", 0), ("batch_size", 0), ("token_budget", -1), ("threads", 0)],
)
def test_settings_below_one_are_refused(field, value):
    with pytest.raises(ValueError, match=f"^{field}: {value} is not at least 1$"):
        TrainingSettings(**{field: value})


@pytest.mark.parametrize("rung", [0.0, 1.5])
def test_rungs_outside_the_budget_are_refused(rung):
    with pytest.raises(ValueError, match=f"^rungs: {rung} is not above 0 and at most 1$"):
        TrainingSettings(rungs=(0.5, rung))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
class TestCuda:
    @pytest.mark.parametrize("name", CORNERS)
    def test_a_curve_is_reproducible_and_close_to_that_of_a_cpu(self, name):
        architecture = CORNERS[name]
        text = text_of(architecture.vocab_size)
        cpu = TrainingSettings(context_length=16, batch_size=4, token_budget=640)
        cuda = replace(cpu, device="cuda")
        curve = losses(architecture, cuda, text)
        assert losses(architecture, cuda, text) == curve
        assert curve == pytest.approx(losses(architecture, cpu, text), rel=0.1)
