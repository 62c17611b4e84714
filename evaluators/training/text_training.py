"""Training of one model on a text from scratch, and its loss in bits per byte of held-out text."""

import math
from dataclasses import dataclass

from torch import nn

from evaluators.evaluator import CurvePoint, Progress, ProgressReporter, Report
from evaluators.training.recipe import initialise_as_identity
from evaluators.training.scoring import HeldOutLoss, held_out_loss
from evaluators.training.tokenized_text import TokenizedText, mixed_windows
from evaluators.training.torch_context import computing
from evaluators.training.training_loop import check_finite, fit
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import Say
from hardware.quiet import YieldToMeasurements
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel


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
        check_finite(loss.whole, tokens)
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
