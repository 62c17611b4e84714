"""Training of one model on a budget of tokens, and its loss in bits per byte of held-out text.

B batch, S = T + 1 tokens of a window and its last target.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.evaluator import CurvePoint, EvaluationFailed, Progress, ProgressReporter, Report
from evaluators.text.tokenizer import TokenIds
from evaluators.training.recipe import Recipe, initialise_as_identity, make_optimizer, set_rate
from evaluators.training.scoring import HeldOutLoss, held_out_loss
from evaluators.training.step import Batch, TrainingStep
from evaluators.training.torch_device import Device, keep_freed_memory, torch_threads
from hardware.machine_lock import LONGEST_WAIT_S
from hardware.progress import Say
from hardware.quiet import YieldToMeasurements, yielding_to_measurements
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

Validate: TypeAlias = Callable[[YieldToMeasurements], float]
"""Returns the model's validation loss; calls its argument before every forward pass."""

# Indexing with token ids takes eight bytes for each of them.
_COUNTED_TOKENS = 1 << 20

_CURVE_FRACTIONS = (0.25, 0.5)
_REPORTS = 50
# A training has diverged when its loss exceeds the loss before the first step by this factor.
_DIVERGED = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The length of a training, its batches and the device.

    Attributes:
        context_length: Tokens per window.
        batch_size: Windows per step.
        token_budget: Tokens to read, rounded up to whole steps.
        rungs: Fractions of the budget after which the validation loss is computed, in addition to
            a quarter, a half and the whole.
        device: The device to train on.
        threads: torch's threads on a CPU; the previous number is restored afterwards.
        seed: The seed of the initial weights and of the order of the windows.
        recipe: The optimizer's settings.
        longest_pause: Seconds after which the training continues although the measurement that it
            pauses for has not ended. No score depends on it.
    """

    context_length: int = 256
    batch_size: int = 4
    token_budget: int = 400_000
    rungs: tuple[float, ...] = (0.5,)
    device: Device = "cpu"
    threads: int = 1
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    longest_pause: float = LONGEST_WAIT_S

    def __post_init__(self) -> None:
        for name in ("context_length", "batch_size", "token_budget", "threads"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name}: {value} is not at least 1")
        for rung in self.rungs:
            if not 0.0 < rung <= 1.0:
                raise ValueError(f"rungs: {rung} is not above 0 and at most 1")

    @property
    def step_tokens(self) -> int:
        """Tokens per step."""
        return self.batch_size * self.context_length

    @property
    def steps(self) -> int:
        """Steps that read the whole budget."""
        return math.ceil(self.token_budget / self.step_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A text as token ids.

    Attributes:
        training: The ids to train on.
        validation: The ids to score.
        token_bytes: The number of UTF-8 bytes of each id of the vocabulary.
        early: How many of the first validation ids are scored before the end of the training; None
            scores all of them.
    """

    training: TokenIds
    validation: TokenIds
    token_bytes: NDArray[np.int64]
    early: int | None = None

    @property
    def mean_bytes(self) -> float:
        """The mean number of UTF-8 bytes per token of the training text."""
        parts = range(0, len(self.training), _COUNTED_TOKENS)
        total = sum(
            int(self.token_bytes[self.training[start : start + _COUNTED_TOKENS]].sum())
            for start in parts
        )
        return total / len(self.training)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        curve: The learning curve. Its last point, at the end of the budget, is `loss.whole`. The
            others are losses on the first `TokenizedText.early` ids of the validation text.
        loss: The losses at the end of the budget.
    """

    curve: tuple[CurvePoint, ...]
    loss: HeldOutLoss


def train(
    architecture: Architecture, text: TokenizedText, settings: TrainingSettings, report: Report
) -> TrainingResult:
    """Train a model from scratch and score it.

    All architectures with the same vocabulary size read the same batches in the same order, and
    weights of the same name and shape have the same initial values. The training pauses while
    something is measured on this machine.

    Args:
        architecture: The model to train.
        text: The text to train on and to score.
        settings: The length of the training and its other settings.
        report: Receives the progress.

    Raises:
        EvaluationFailed: The loss diverged.
        ValueError: The text is shorter than one window.
    """
    return train_model(LanguageModel(architecture), text, settings, report)


def train_model(
    model: LanguageModel, text: TokenizedText, settings: TrainingSettings, report: Report
) -> TrainingResult:
    """Initialise the weights of a given model, train it and score it.

    Args:
        model: The model; its weights are replaced.
        text: The tokens to train on and to validate with.
        settings: Budget, batches, seed and device.
        report: Receives the progress, with a point of the learning curve after each validation.

    Raises:
        EvaluationFailed: The loss diverged.
        ValueError: The text is shorter than one window.
    """
    initialise_as_identity(model, settings.seed)
    bits_per_nat = 1.0 / math.log(2.0) / text.mean_bytes
    reporter = ProgressReporter(report)
    early = fit(
        model,
        mixed_windows(text.training, settings),
        settings,
        reporter,
        format_loss=lambda nats: f"{nats * bits_per_nat:.3f} bits/byte",
        validate=lambda yield_to_measurements: (
            _score(model, text, settings, yield_to_measurements, text.early).whole
        ),
    )
    tokens = settings.steps * settings.step_tokens
    with computing(settings, reporter.say) as yield_to_measurements:
        reporter.say("scoring the held-out text")
        loss = _score(model, text, settings, yield_to_measurements)
        _check_finite(loss.whole, tokens)
        end = CurvePoint(tokens=tokens, loss=loss.whole)
        report(Progress(done=1.0, text=f"{tokens:,} tokens, {loss.whole:.3f} bits/byte", point=end))
    return TrainingResult(curve=(*early, end), loss=loss)


def score(
    model: nn.Module, text: TokenizedText, settings: TrainingSettings, say: Say
) -> HeldOutLoss:
    """Return the losses of a trained model on the validation text.

    Args:
        model: A model on `settings.device`.
        text: The tokens to validate with.
        settings: The context length, the device and the threads.
        say: Receives a line about every pause for a measurement.
    """
    with computing(settings, say) as yield_to_measurements:
        return _score(model, text, settings, yield_to_measurements)


def fit(
    model: LanguageModel,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    report: Report,
    *,
    format_loss: Callable[[float], str],
    validate: Validate | None,
) -> tuple[CurvePoint, ...]:
    """Train a model from its present weights, on `settings.steps` batches.

    Args:
        model: The model to train.
        batches: At least `settings.steps` batches.
        settings: The length of the training and its other settings.
        report: Receives the progress.
        format_loss: Formats a training loss, given in nats per target, for progress texts.
        validate: Returns the validation losses of the learning curve; None for no curve.

    Returns:
        The learning curve before the end of the budget; empty without `validate`.

    Raises:
        EvaluationFailed: The loss diverged.
    """
    reporter = ProgressReporter(report)
    with computing(settings, reporter.say) as yield_to_measurements:
        return _fit(
            model, batches, settings, reporter, format_loss, validate, yield_to_measurements
        )


@contextlib.contextmanager
def computing(settings: TrainingSettings, say: Say) -> Iterator[YieldToMeasurements]:
    """Set up torch for training or scoring, and let measurements on this machine interrupt it.

    Args:
        settings: The number of threads and the longest pause.
        say: Receives a line about every pause for a measurement.

    Yields:
        A function to call between any two steps or forward passes. It blocks while something is
        measured on this machine and returns the seconds that this took.
    """
    keep_freed_memory()
    with (
        torch_threads(settings.threads),
        yielding_to_measurements(say, longest_wait=settings.longest_pause) as yield_to_measurements,
    ):
        yield yield_to_measurements


@contextlib.contextmanager
def memory_errors_as_results() -> Iterator[None]:
    """Turn an out-of-memory error of torch or Python into a failed evaluation.

    Raises:
        EvaluationFailed: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
        raise EvaluationFailed("out of memory", reason) from error


def _fit(
    model: LanguageModel,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    report: Report,
    format_loss: Callable[[float], str],
    validate: Validate | None,
    yield_to_measurements: YieldToMeasurements,
) -> tuple[CurvePoint, ...]:
    model.to(settings.device)
    optimizer = make_optimizer(model, settings.recipe, settings.steps)
    take_step = TrainingStep(model, optimizer, settings.device, settings.recipe.largest_gradient)
    validated = _validated_steps(settings) if validate is not None else frozenset()
    stride = max(1, settings.steps // _REPORTS)
    first_loss = 0.0
    curve: list[CurvePoint] = []
    recent: list[Tensor] = []
    since = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        since += yield_to_measurements()
        set_rate(optimizer, settings.recipe, step, settings.steps)
        recent.append(take_step(batch))
        if step % stride and step not in validated and step != settings.steps:
            continue
        tokens = step * settings.step_tokens
        loss = torch.stack(recent).mean().item()
        first_loss = first_loss or max(recent[0].item(), math.log(model.architecture.vocab_size))
        if not loss < _DIVERGED * first_loss:
            raise EvaluationFailed("diverged", f"training loss {loss:.3g} nats at token {tokens:,}")
        rate = len(recent) * settings.step_tokens / (time.perf_counter() - since)
        recent.clear()
        point = None
        if validate is not None and step in validated:
            point = CurvePoint(tokens=tokens, loss=validate(yield_to_measurements))
            _check_finite(point.loss, tokens)
            curve.append(point)
        report(
            Progress(
                done=step / settings.steps,
                text=f"{tokens:,} tokens, {format_loss(loss)} in training, {rate:,.0f} tokens/s",
                point=point,
            )
        )
        since = time.perf_counter()
    return tuple(curve)


def _score(
    model: nn.Module,
    text: TokenizedText,
    settings: TrainingSettings,
    yield_to_measurements: YieldToMeasurements,
    most: int | None = None,
) -> HeldOutLoss:
    return held_out_loss(
        model,
        text.validation[:most],
        text.token_bytes,
        settings.context_length,
        settings.device,
        yield_to_measurements,
    )


def _check_finite(loss: float, tokens: int) -> None:
    if not math.isfinite(loss):
        raise EvaluationFailed("diverged", f"the validation loss is not finite at token {tokens:,}")


def mixed_windows(ids: TokenIds, settings: TrainingSettings) -> Iterator[Batch]:
    """Yield `settings.steps` batches of windows in random order.

    Every window is read once before any window is read again.

    Args:
        ids: The text.
        settings: The size and number of the batches, the seed and the device.

    Raises:
        ValueError: The text is shorter than one window and its last target.
    """
    if len(ids) <= settings.context_length:
        raise ValueError(
            f"context_length: {settings.context_length} requires more than the {len(ids)} tokens "
            "of the corpus"
        )
    length = settings.context_length
    count = (len(ids) - 1) // length
    generator = np.random.default_rng(settings.seed)
    wanted = settings.steps * settings.batch_size
    rounds = math.ceil(wanted / count)
    order = np.concatenate([generator.permutation(count) for _ in range(rounds)])[:wanted]
    for first in range(0, wanted, settings.batch_size):
        chosen_B = order[first : first + settings.batch_size]
        # The last target of a window is the first input of the next.
        chosen_BS = ids[length * chosen_B[:, None] + np.arange(length + 1)].astype(np.int64)
        tokens_BS = torch.from_numpy(chosen_BS).to(settings.device)
        yield Batch(inputs_BT=tokens_BS[:, :-1], targets_BT=tokens_BS[:, 1:])


def _validated_steps(settings: TrainingSettings) -> frozenset[int]:
    """Return the steps before the end after which there is a validation."""
    fractions = {*_CURVE_FRACTIONS, *settings.rungs}
    steps = {
        math.ceil(fraction * settings.token_budget / settings.step_tokens) for fraction in fractions
    }
    return frozenset(steps - {settings.steps})


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or the error that it followed, says that memory ran out.

    A CUDA graph whose recording runs out of memory ends with another error.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if "DefaultCPUAllocator" in str(error):  # a plain RuntimeError on a CPU
        return True
    return error.__context__ is not None and _is_out_of_memory(error.__context__)
