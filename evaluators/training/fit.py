"""Trains one model on a budget of tokens and scores it in bits per byte of held-out text.

B batch, T time, V vocabulary, N windows of T tokens.
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
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.evaluator import CurvePoint, EvaluationFailed, Progress, Report
from evaluators.text.tokenizer import Say, TokenIds
from evaluators.training.recipe import Recipe, make_optimizer, set_rate, start
from evaluators.training.step import UNSCORED, Batch, TrainingStep
from evaluators.training.torch_device import Device, autocast, keep_freed_memory, torch_threads
from hardware.quiet import YieldToMeasurements, yielding_to_measurements
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

Validate: TypeAlias = Callable[[YieldToMeasurements], float]

# Scored in one pass: enough to keep a core busy, few enough to stay in its cache.
_SCORED_TOKENS = 1_024

_CURVE_SHARES = (0.25, 0.5)
_REPORTS = 50
# Times the loss before the first step: a run that is above has left the rails.
_DIVERGED = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How long and on what a model is trained.

    token_budget: tokens read, rounded up to whole steps.
    rungs: shares of the budget after which the validation loss is taken, beside a quarter, a half
        and the whole.
    threads: of torch on a CPU; the setting before is put back.
    """

    context_length: int = 256
    batch_size: int = 4
    token_budget: int = 400_000
    rungs: tuple[float, ...] = (0.5,)
    device: Device = "cpu"
    threads: int = 1
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)

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
        return self.batch_size * self.context_length

    @property
    def steps(self) -> int:
        return math.ceil(self.token_budget / self.step_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """Ids to train on, ids to be scored on, and the bytes of text that each id stands for."""

    training: TokenIds
    validation: TokenIds
    token_bytes: NDArray[np.int64]


def train(
    architecture: Architecture, text: TokenizedText, settings: TrainingSettings, report: Report
) -> tuple[CurvePoint, ...]:
    """The validation losses of a model trained from scratch; the last is that of the whole budget.

    Every architecture of one vocabulary sees the same batches in the same order, and weights of the
    same name and shape start alike. Pauses while something is measured on this machine. Raises
    EvaluationFailed when the loss diverges.
    """
    return train_model(LanguageModel(architecture), text, settings, report)


def train_model(
    model: LanguageModel, text: TokenizedText, settings: TrainingSettings, report: Report
) -> tuple[CurvePoint, ...]:
    """`train`, of a model that its caller keeps; whatever its weights are, they are drawn anew."""
    start(model, settings.seed)
    bits_per_nat = 1.0 / math.log(2.0) / float(text.token_bytes[text.training].mean())
    return fit(
        model,
        mixed_windows(text.training, settings),
        settings,
        report,
        in_words=lambda nats: f"{nats * bits_per_nat:.3f} bits/byte",
        validate=lambda yield_to_measurements: bits_per_byte(
            model, text, settings, yield_to_measurements
        ),
    )


def fit(
    model: LanguageModel,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    report: Report,
    *,
    in_words: Callable[[float], str],
    validate: Validate | None,
) -> tuple[CurvePoint, ...]:
    """Trains a model from the weights that it has, on `settings.steps` batches.

    in_words: a training loss in nats a target, for those who watch.
    validate: gives the points of the curve; without it there are none. Raises as `train`.
    """
    done = 0.0

    def follow(progress: Progress) -> None:
        nonlocal done
        done = progress.done
        report(progress)

    def say(sentence: str) -> None:
        report(Progress(done=done, text=sentence))

    with computing(settings, say) as yield_to_measurements:
        return _fit(model, batches, settings, follow, in_words, validate, yield_to_measurements)


@contextlib.contextmanager
def computing(settings: TrainingSettings, say: Say) -> Iterator[YieldToMeasurements]:
    """Room to train or to score in, with what is to be called between any two passes."""
    keep_freed_memory()
    with torch_threads(settings.threads), yielding_to_measurements(say) as yield_to_measurements:
        yield yield_to_measurements


@contextlib.contextmanager
def memory_errors_as_results() -> Iterator[None]:
    """What is too large to be built, trained or scored is an EvaluationFailed."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
        raise EvaluationFailed("out of memory", reason) from error


def bits_per_byte(
    model: nn.Module,
    text: TokenizedText,
    settings: TrainingSettings,
    yield_to_measurements: YieldToMeasurements,
) -> float:
    """Bits that the model spends on a byte of validation text, in windows of the context length.

    Every token but the first is scored once, behind the tokens of its own window. `make_way` is
    called between any two passes.
    """
    tokens = torch.from_numpy(text.validation.astype(np.int64))
    scored_bytes = int(text.token_bytes[text.validation[1:]].sum())
    padding = -(len(tokens) - 1) % settings.context_length
    inputs_NT = F.pad(tokens[:-1], (0, padding)).view(-1, settings.context_length)
    targets_NT = F.pad(tokens[1:], (0, padding), value=UNSCORED).view_as(inputs_NT)
    windows = Batch(inputs_BT=inputs_NT, targets_BT=targets_NT)
    return (
        nats(model, windows, settings.device, yield_to_measurements) / math.log(2.0) / scored_bytes
    )


def nats(
    model: nn.Module, windows: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> float:
    """What the model spends on all targets of the windows; `make_way` as in `bits_per_byte`."""
    found = 0.0
    for logits_BTV, targets_BT in scored(model, windows, device, yield_to_measurements):
        found += F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            targets_BT.flatten(),
            ignore_index=UNSCORED,
            reduction="sum",
        ).item()
    return found


def scored(
    model: nn.Module, windows: Batch, device: Device, yield_to_measurements: YieldToMeasurements
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of the windows, a few windows at once."""
    at_once = max(1, _SCORED_TOKENS // windows.inputs_BT.shape[1])
    for inputs_BT, targets_BT in zip(
        windows.inputs_BT.split(at_once), windows.targets_BT.split(at_once), strict=True
    ):
        yield_to_measurements()
        with torch.inference_mode(), autocast(device):
            logits_BTV = model(inputs_BT.to(device))
        yield logits_BTV, targets_BT.to(device)


def _fit(
    model: LanguageModel,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    report: Report,
    in_words: Callable[[float], str],
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
        if step % stride and step not in validated:
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
            if not math.isfinite(point.loss):
                raise EvaluationFailed("diverged", f"validation loss at token {tokens:,}")
            curve.append(point)
        report(
            Progress(
                done=step / settings.steps,
                text=f"{tokens:,} tokens, {in_words(loss)} in training, {rate:,.0f} tokens/s",
                point=point,
            )
        )
        since = time.perf_counter()
    return tuple(curve)


def mixed_windows(ids: TokenIds, settings: TrainingSettings) -> Iterator[Batch]:
    """Windows of T + 1 tokens in a random order, each once before any comes again."""
    if len(ids) <= settings.context_length:
        raise ValueError(
            f"context_length: {settings.context_length} needs more than the {len(ids)} tokens "
            "that the corpus holds"
        )
    tokens = torch.from_numpy(ids.astype(np.int64)).to(settings.device)
    windows_NS = tokens.unfold(0, settings.context_length + 1, settings.context_length)
    generator = np.random.default_rng(settings.seed)
    wanted = settings.steps * settings.batch_size
    rounds = math.ceil(wanted / len(windows_NS))
    order = np.concatenate([generator.permutation(len(windows_NS)) for _ in range(rounds)])
    indices = torch.from_numpy(order[:wanted]).to(settings.device)
    for chosen in indices.split(settings.batch_size):
        chosen_BS = windows_NS[chosen]
        yield Batch(inputs_BT=chosen_BS[:, :-1], targets_BT=chosen_BS[:, 1:])


def _validated_steps(settings: TrainingSettings) -> frozenset[int]:
    """The first step at which each share of the budget has been read."""
    shares = {*_CURVE_SHARES, *settings.rungs, 1.0}
    return frozenset(
        math.ceil(share * settings.token_budget / settings.step_tokens) for share in shares
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Also where it is the cause: a recording that breaks off ends with an error of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if "DefaultCPUAllocator" in str(error):  # a plain RuntimeError on a CPU
        return True
    return error.__context__ is not None and _is_out_of_memory(error.__context__)
