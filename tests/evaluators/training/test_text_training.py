"""A training on a text: scores, reproducibility, the learning curve, and failures."""

import functools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.training import torch_context
from evaluators.training.recipe import Recipe
from evaluators.training.text_training import train
from evaluators.training.tokenized_text import TokenizedText
from evaluators.training.training_settings import TrainingSettings
from hardware.quiet import yielding_to_measurements
from search_space.architecture import Architecture
from tests.evaluators.training.texts import TEXT, TINY, text_of
from tests.search_space.strategies import CORNERS

SETTINGS = TrainingSettings(context_length=16, batch_size=2, token_budget=320)


def losses(architecture: Architecture, settings: TrainingSettings, text: TokenizedText = TEXT):
    return [point.loss for point in train(architecture, text, settings, lambda _: None).curve]


@pytest.fixture(autouse=True)
def locks(monkeypatch, tmp_path: Path) -> None:
    """Use locks of our own, so that other measurements on this machine do not pause these tests."""
    monkeypatch.setattr(
        torch_context,
        "yielding_to_measurements",
        functools.partial(yielding_to_measurements, folder=tmp_path),
    )


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
