"""The training loop: steps of the optimizer, the learning curve, progress, and divergence."""

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

import torch
from torch import Tensor

from evaluators.evaluator import CurvePoint, EvaluationFailed, Progress, ProgressReporter, Report
from evaluators.training.recipe import make_optimizer, set_rate
from evaluators.training.step import Batch, TrainingStep
from evaluators.training.torch_context import computing
from evaluators.training.training_settings import TrainingSettings
from hardware.quiet import YieldToMeasurements
from search_space.torch_model import LanguageModel

Validate: TypeAlias = Callable[[YieldToMeasurements], float]
"""Returns the model's validation loss; calls its argument before every forward pass."""

_CURVE_FRACTIONS = (0.25, 0.5)
_REPORTS = 50
# A training has diverged when its loss exceeds the loss before the first step by this factor.
_DIVERGED = 1.5


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


def check_finite(loss: float, tokens: int) -> None:
    """Check that a validation loss is finite.

    Args:
        loss: The loss.
        tokens: The number of training tokens read so far, for the message.

    Raises:
        EvaluationFailed: It is not; the training has diverged.
    """
    if not math.isfinite(loss):
        raise EvaluationFailed("diverged", f"the validation loss is not finite at token {tokens:,}")


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
            check_finite(point.loss, tokens)
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


def _validated_steps(settings: TrainingSettings) -> frozenset[int]:
    """Return the steps before the end after which there is a validation."""
    fractions = {*_CURVE_FRACTIONS, *settings.rungs}
    steps = {
        math.ceil(fraction * settings.token_budget / settings.step_tokens) for fraction in fractions
    }
    return frozenset(steps - {settings.steps})
