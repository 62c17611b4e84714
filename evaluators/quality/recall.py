"""Scores an architecture by what its proxy can look up, which the loss on text hardly tells.

B batch, T time, V vocabulary.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn

from evaluators.evaluator import Evaluation, Progress, Report, Score
from evaluators.quality.recall_probe import NO_QUERY, RecallProbe, draw_questions
from evaluators.training.fit import (
    TrainingSettings,
    computing,
    fit,
    memory_errors_as_results,
    scored,
)
from evaluators.training.recipe import Recipe
from evaluators.training.step import UNSCORED, Batch
from evaluators.training.torch_device import Device, check_device, precision
from hardware.quiet import YieldToMeasurements
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel

# To be raised whenever this code would give the same settings another score.
_VERSION = 2
# At the rate that suits text, layouts that can look up learn it late, or not at all (docs/log.md).
_RECIPE = Recipe(matrix_rate=2e-3)
_STEP_TOKENS = 1_024
_HELD_OUT_SEQUENCES = 256
_NORMAL_QUANTILE = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallSettings:
    """The probe, the proxy that is asked, and its training.

    target_context, width_share: see `ProxyTraining`; a window covers the same share of a sequence
        as of the deployed model's context.
    """

    target_context: int
    width_share: float = 0.125
    probe: RecallProbe = field(default_factory=RecallProbe)
    device: Device = "cpu"
    threads: int = 1
    seed: int = 0

    @property
    def training(self) -> TrainingSettings:
        return TrainingSettings(
            context_length=self.probe.length,
            batch_size=max(1, _STEP_TOKENS // self.probe.length),
            token_budget=self.probe.token_budget,
            rungs=(),
            device=self.device,
            threads=self.threads,
            seed=self.seed,
            recipe=_RECIPE,
        )


class Recall:
    """The Evaluator of `recall_error`: the share of queries that are answered wrongly.

    The proxy of an architecture, with the probe's vocabulary, is trained on the probe alone, then
    asked about sequences that it has not seen; its answer is the likeliest token. Every
    architecture reads the same sequences in the same order. One that only guesses among the values
    that were shown is right once in `pairs`.

    The interval is Wilson's, each pair that is shown counting as one trial, since queries for it
    stand or fall together. What another seed of the training would change is not in it.
    """

    stage = "recall"
    score_names = ("recall_error",)

    def __init__(self, settings: RecallSettings) -> None:
        """ValueError for a device that torch does not have."""
        check_device(settings.device)
        self._settings = settings

    @cached_property
    def fingerprint(self) -> str:
        facts = asdict(self._settings) | {
            "version": _VERSION,
            "recipe": asdict(_RECIPE),
            "torch": torch.__version__,
            "precision": precision(self._settings.device),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Raises EvaluationFailed when the training diverges or memory runs out."""
        started = time.perf_counter()
        probe = self._settings.probe
        window_share = min(1.0, probe.length / self._settings.target_context)
        proxy = replace(
            proxy_of(architecture, self._settings.width_share, window_share),
            vocab_size=probe.vocabulary,
        )
        with memory_errors_as_results():
            model = LanguageModel(proxy)
            # Not as the identity, as before text: one attention behind convolutions would learn to
            # look up far later than the budget ends.
            model.initialise(self._settings.seed)
            fit(
                model,
                _batches(self._settings),
                self._settings.training,
                report,
                in_words=lambda nats: f"{nats:.3f} nats/query",
                validate=None,
            )
            share = self._wrong_share(model, report)
        return Evaluation(
            scores=(recall_error(share, _HELD_OUT_SEQUENCES * probe.pairs),),
            seconds=time.perf_counter() - started,
        )

    def _wrong_share(self, model: nn.Module, report: Report) -> float:
        settings = self._settings
        generator = np.random.default_rng([settings.seed, _HELD_OUT_SEQUENCES])
        held_out = _batch(settings, _HELD_OUT_SEQUENCES, generator)

        def say(sentence: str) -> None:
            report(Progress(done=1.0, text=sentence))

        with computing(settings.training, say) as yield_to_measurements:
            return wrong_share(model, held_out, settings.device, yield_to_measurements)


def wrong_share(
    model: nn.Module, held_out: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> float:
    """Of all targets, those that are not the likeliest token by the model's logits."""
    wrong = asked = 0
    for logits_BTV, targets_BT in scored(model, held_out, device, yield_to_measurements):
        is_query_BT = targets_BT != UNSCORED
        answers_BT = logits_BTV.argmax(dim=-1)
        wrong += int((is_query_BT & (answers_BT != targets_BT)).sum())
        asked += int(is_query_BT.sum())
    return wrong / asked


def recall_error(share: float, trials: int) -> Score:
    """The score, with Wilson's 95 % interval of a share in so many trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    spread = _NORMAL_QUANTILE**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Score(
        name="recall_error",
        value=share,
        unit="wrong",
        low=max(0.0, min(share, middle - half)),
        high=min(1.0, max(share, middle + half)),
    )


def _batches(settings: RecallSettings) -> Iterator[Batch]:
    """Sequences drawn one after the other, none of which is read twice."""
    generator = np.random.default_rng(settings.seed)
    training = settings.training
    for _ in range(training.steps):
        yield _batch(settings, training.batch_size, generator)


def _batch(settings: RecallSettings, count: int, generator: np.random.Generator) -> Batch:
    drawn = draw_questions(settings.probe, count, generator)
    targets_BT = np.where(drawn.answers_BT == NO_QUERY, UNSCORED, drawn.answers_BT)
    return Batch(
        inputs_BT=torch.from_numpy(drawn.tokens_BT).to(settings.device),
        targets_BT=torch.from_numpy(targets_BT).to(settings.device),
    )
