"""Trains one model on a budget of tokens and scores it in bits per byte of held-out text.

B batch, T time, V vocabulary, N windows of T tokens.
"""

import contextlib
import ctypes
import functools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.evaluator import CurvePoint, EvaluationFailed, Progress, Report
from evaluators.recipe import Recipe, make_optimizer, set_rate, start
from evaluators.tokenizer import TokenIds
from hardware.quiet import MakeWay, making_way
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

Device: TypeAlias = Literal["cpu", "cuda"]

# Scored in one pass: enough to keep a core busy, few enough to stay in its cache.
_SCORED_TOKENS = 1_024

# A target that `cross_entropy` passes over.
_UNSCORED = -100

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


def check_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' is not available to torch on this machine; cpu is")


@functools.cache
def precision(device: Device) -> Literal["bf16", "fp32"]:
    """bf16 under autocast where the hardware multiplies it, otherwise float32."""
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return "bf16" if native else "fp32"


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
    done = 0.0

    def follow(progress: Progress) -> None:
        nonlocal done
        done = progress.done
        report(progress)

    def say(sentence: str) -> None:
        report(Progress(done=done, text=sentence))

    _keep_freed_memory()
    with _torch_threads(settings.threads), making_way(say) as make_way:
        return _train(model, text, settings, follow, make_way)


def bits_per_byte(
    model: nn.Module, text: TokenizedText, settings: TrainingSettings, make_way: MakeWay
) -> float:
    """Bits that the model spends on a byte of validation text, in windows of the context length.

    Every token but the first is scored once, behind the tokens of its own window. `make_way` is
    called between any two passes.
    """
    tokens = torch.from_numpy(text.validation.astype(np.int64))
    scored_bytes = int(text.token_bytes[text.validation[1:]].sum())
    padding = -(len(tokens) - 1) % settings.context_length
    inputs_NT = F.pad(tokens[:-1], (0, padding)).view(-1, settings.context_length)
    targets_NT = F.pad(tokens[1:], (0, padding), value=_UNSCORED).view_as(inputs_NT)
    at_once = max(1, _SCORED_TOKENS // settings.context_length)
    nats = 0.0
    with torch.inference_mode():
        for inputs_BT, targets_BT in zip(
            inputs_NT.split(at_once), targets_NT.split(at_once), strict=True
        ):
            make_way()
            with _autocast(settings.device):
                logits_BTV = model(inputs_BT.to(settings.device))
            nats += F.cross_entropy(
                logits_BTV.flatten(0, 1).float(),
                targets_BT.flatten().to(settings.device),
                ignore_index=_UNSCORED,
                reduction="sum",
            ).item()
    return nats / math.log(2.0) / scored_bytes


def _train(
    model: LanguageModel,
    text: TokenizedText,
    settings: TrainingSettings,
    report: Report,
    make_way: MakeWay,
) -> tuple[CurvePoint, ...]:
    start(model, settings.seed)
    model.to(settings.device)
    optimizer = make_optimizer(model, settings.recipe, settings.steps)
    bits_per_nat = 1.0 / math.log(2.0) / float(text.token_bytes[text.training].mean())
    validated = _validated_steps(settings)
    stride = max(1, settings.steps // _REPORTS)
    first_loss = 0.0
    curve: list[CurvePoint] = []
    recent: list[Tensor] = []
    update = _Update(model, optimizer, settings)
    since = time.perf_counter()
    for step, window_BS in enumerate(_batches(text.training, settings), start=1):
        since += make_way()
        set_rate(optimizer, settings.recipe, step, settings.steps)
        recent.append(update(window_BS))
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
        if step in validated:
            point = CurvePoint(tokens=tokens, loss=bits_per_byte(model, text, settings, make_way))
            if not math.isfinite(point.loss):
                raise EvaluationFailed("diverged", f"validation loss at token {tokens:,}")
            curve.append(point)
        report(
            Progress(
                done=step / settings.steps,
                text=f"{tokens:,} tokens, {loss * bits_per_nat:.3f} bits/byte in training, "
                f"{rate:,.0f} tokens/s",
                point=point,
            )
        )
        since = time.perf_counter()
    return tuple(curve)


class _Update:
    """One step on windows of T + 1 tokens: the loss in nats a token, still on the device.

    A small model keeps a GPU waiting for Python; there the fourth step is recorded as a CUDA graph,
    which is replayed from then on.
    """

    _EAGER_STEPS = 3

    def __init__(
        self, model: LanguageModel, optimizer: torch.optim.AdamW, settings: TrainingSettings
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._device = settings.device
        self._largest_gradient = settings.recipe.largest_gradient
        self._taken = 0
        if settings.device == "cuda":
            self._graph = torch.cuda.CUDAGraph()
            self._stream = torch.cuda.Stream()

    def __call__(self, window_BS: Tensor) -> Tensor:
        if self._device == "cpu":
            return self._step(window_BS)
        self._taken += 1
        if self._taken <= self._EAGER_STEPS:
            # Recording asks for steps on a stream of their own before it.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._step(window_BS)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._taken == self._EAGER_STEPS + 1:
            self._window_BS = window_BS.clone()
            self._optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph):
                self._loss = self._step(self._window_BS)
        self._window_BS.copy_(window_BS)
        self._graph.replay()
        return self._loss.clone()

    def _step(self, window_BS: Tensor) -> Tensor:
        with _autocast(self._device):
            logits_BTV = self._model(window_BS[:, :-1])
        loss: Tensor = _MeanCrossEntropy.apply(logits_BTV.flatten(0, 1), window_BS[:, 1:].flatten())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._largest_gradient)
        self._optimizer.step()
        return loss.detach()


class _MeanCrossEntropy(torch.autograd.Function):
    """Mean of -log softmax(logits)[target], its gradient taken in the forward pass.

    That gradient, softmax(x) - onehot(target) over N, takes one exponential where log_softmax and
    its backward take two, and is kept in the logits' own precision: half the time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        p_NV = torch.softmax(logits_NV, dim=-1, dtype=torch.float32)
        targets_N1 = targets_N[:, None]
        p_N1 = p_NV.gather(1, targets_N1)
        # In float32 a probability below e^-87 is 0.
        loss = -p_N1.clamp_min(torch.finfo(torch.float32).tiny).log().mean()
        p_NV.scatter_(1, targets_N1, p_N1 - 1.0)
        ctx.save_for_backward(p_NV.div_(len(targets_N)).to(logits_NV.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * grads[0], None


def _batches(ids: TokenIds, settings: TrainingSettings) -> Iterator[Tensor]:
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
        yield windows_NS[chosen]


def _validated_steps(settings: TrainingSettings) -> frozenset[int]:
    """The first step at which each share of the budget has been read."""
    shares = {*_CURVE_SHARES, *settings.rungs, 1.0}
    return frozenset(
        math.ceil(share * settings.token_budget / settings.step_tokens) for share in shares
    )


def _autocast(device: Device) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=precision(device) == "bf16")


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Asks glibc to reuse large blocks rather than to return them to the kernel.

    A step allocates the same tensors as the one before. Mapped anew, each of their pages costs a
    page fault; all of them together are a tenth of the training time on a CPU.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 1 << 30)
