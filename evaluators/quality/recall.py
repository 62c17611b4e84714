"""The recall score: how often a trained proxy looks up a value wrongly, which `loss` hardly shows.

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

from evaluators.evaluator import Evaluation, Report, Score, text_reporter
from evaluators.quality.recall_probe import NO_QUERY, RecallProbe, draw_questions
from evaluators.scores import RECALL_ERROR, make_score
from evaluators.training.recipe import Recipe
from evaluators.training.scoring import logits_and_targets
from evaluators.training.step import UNSCORED, Batch
from evaluators.training.torch_context import computing, memory_errors_as_results
from evaluators.training.torch_device import Device, check_device, precision
from evaluators.training.training_loop import fit
from evaluators.training.training_settings import TrainingSettings
from hardware.machine_lock import LONGEST_WAIT_S
from hardware.measurement import NORMAL_975
from hardware.quiet import YieldToMeasurements
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel

# Increase this whenever the same settings would lead to another score.
_VERSION = 2
# At the rate that suits text, layouts that can look up values learn it late or never (docs/log.md).
_RECIPE = Recipe(matrix_rate=2e-3)
_STEP_TOKENS = 1_024
_HELD_OUT_SEQUENCES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallSettings:
    """The probe, the proxy that answers it, and the proxy's training.

    Attributes:
        target_context: The context length of the deployed model, in tokens. An attention window
            is shortened so that it covers the same fraction of a sequence as of this context.
        width_share: The width of the proxy as a fraction of the candidate's.
        probe: The task.
        device: The device to train on.
        threads: torch's threads on a CPU.
        seed: The seed of the initial weights and of the sequences.
        longest_pause: See `TrainingSettings`.
    """

    target_context: int
    width_share: float = 0.125
    probe: RecallProbe = field(default_factory=RecallProbe)
    device: Device = "cpu"
    threads: int = 1
    seed: int = 0
    longest_pause: float = LONGEST_WAIT_S

    @property
    def training(self) -> TrainingSettings:
        """The settings of the proxy's training."""
        return TrainingSettings(
            context_length=self.probe.length,
            batch_size=max(1, _STEP_TOKENS // self.probe.length),
            token_budget=self.probe.token_budget,
            rungs=(),
            device=self.device,
            threads=self.threads,
            seed=self.seed,
            recipe=_RECIPE,
            longest_pause=self.longest_pause,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallJob:
    """The training of a proxy on the probe, and its answers.

    Attributes:
        proxy: The proxy, with the probe's vocabulary.
        settings: The probe and the training.
    """

    proxy: Architecture
    settings: RecallSettings

    def run(self, report: Report) -> Evaluation:
        """Train the proxy and count its wrong answers; see `Job.run`."""
        started = time.perf_counter()
        settings = self.settings
        with memory_errors_as_results():
            model = LanguageModel(self.proxy)
            # Layers do not start as the identity here, as they do for text: a single attention
            # layer above convolutions would learn to look up values long after the budget ends.
            model.initialise(settings.seed)
            fit(
                model,
                _batches(settings),
                settings.training,
                report,
                format_loss=lambda nats: f"{nats:.3f} nats/query",
                validate=None,
            )
            wrong = self._error_rate(model, report)
        return Evaluation(
            scores=(recall_score(wrong, _HELD_OUT_SEQUENCES * settings.probe.pairs),),
            seconds=time.perf_counter() - started,
        )

    def _error_rate(self, model: nn.Module, report: Report) -> float:
        settings = self.settings
        generator = np.random.default_rng([settings.seed, _HELD_OUT_SEQUENCES])
        held_out = _batch(settings, _HELD_OUT_SEQUENCES, generator)
        with computing(settings.training, text_reporter(report, done=1.0)) as yield_to_measurements:
            return error_rate(model, held_out, settings.device, yield_to_measurements)


class Recall:
    """The JobEvaluator of `recall_error`: the fraction of queries that are answered wrongly.

    The architecture's proxy, with the probe's vocabulary, is trained on the probe alone. It is then
    asked about sequences that it has not seen, and its answer is the most likely token. Every
    architecture reads the same sequences in the same order. A model that guesses among the values
    that were shown answers one query in `pairs` correctly.

    The confidence interval is Wilson's. Each pair that is shown counts as one observation, because
    all queries for a pair tend to be answered alike. The interval does not include the variation
    between seeds of the training.
    """

    stage = "recall"
    score_names = (RECALL_ERROR,)

    def __init__(self, settings: RecallSettings) -> None:
        """Check the settings.

        Args:
            settings: The probe, the proxy and its training.

        Raises:
            ValueError: torch cannot use the device.
        """
        check_device(settings.device)
        self._settings = settings

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the settings, the recipe, the version of torch and its precision."""
        facts = asdict(self._settings) | {
            "version": _VERSION,
            "recipe": asdict(_RECIPE),
            "torch": torch.__version__,
            "precision": precision(self._settings.device),
        }
        del facts["longest_pause"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Train the proxy on the probe and count its wrong answers.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The training diverged or ran out of memory.
        """
        return self.prepare(architecture, report).run(report)

    def prepare(self, architecture: Architecture, report: Report) -> RecallJob:
        """Return the training of the architecture's proxy on the probe."""
        probe = self._settings.probe
        window_share = min(1.0, probe.length / self._settings.target_context)
        proxy = proxy_of(architecture, self._settings.width_share, window_share)
        return RecallJob(proxy=replace(proxy, vocab_size=probe.vocabulary), settings=self._settings)


def error_rate(
    model: nn.Module, held_out: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> float:
    """Return the fraction of targets that are not the most likely token.

    Args:
        model: A model on `device` that maps tokens to logits.
        held_out: Sequences and their targets (B, T).
        device: The device to compute on.
        yield_to_measurements: Called before every forward pass; see `computing`.
    """
    wrong = asked = 0
    for logits_BTV, targets_BT in logits_and_targets(
        model, held_out, device, yield_to_measurements
    ):
        is_query_BT = targets_BT != UNSCORED
        answers_BT = logits_BTV.argmax(dim=-1)
        wrong += int((is_query_BT & (answers_BT != targets_BT)).sum())
        asked += int(is_query_BT.sum())
    return wrong / asked


def recall_score(wrong: float, trials: int) -> Score:
    """Return the score `recall_error` with Wilson's 95 % confidence interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).

    Args:
        wrong: The fraction of wrong answers.
        trials: The number of independent observations that the fraction is based on.
    """
    spread = NORMAL_975**2 / trials
    middle = (wrong + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (wrong * (1 - wrong) + spread / 4)) / (1 + spread)
    return make_score(
        RECALL_ERROR,
        wrong,
        low=max(0.0, min(wrong, middle - half)),
        high=min(1.0, max(wrong, middle + half)),
    )


def _batches(settings: RecallSettings) -> Iterator[Batch]:
    """Draw the batches of the training; no sequence is read twice."""
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
