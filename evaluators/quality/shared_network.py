"""One network with every mixer at every layer, trained on layouts that are drawn from it.

B batch, T time, V vocabulary.
"""

import contextlib
import fcntl
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from evaluators.evaluator import EvaluationFailed, Progress, ProgressReporter, Report
from evaluators.training.recipe import initialise_as_identity, make_optimizer, set_rate
from evaluators.training.step import Batch, mean_cross_entropy
from evaluators.training.tokenized_text import TokenizedText, mixed_windows
from evaluators.training.torch_context import computing
from evaluators.training.torch_device import autocast
from evaluators.training.training_settings import TrainingSettings
from hardware.machine_lock import named_holders
from hardware.processes import describe_holder, lock_holders
from hardware.progress import Say
from hardware.quiet import YieldToMeasurements
from search_space.architecture import Architecture, Layer, layout_letter
from search_space.torch_blocks import RMSNorm, mixer_block
from search_space.torch_model import LanguageModel

DrawCandidate: TypeAlias = Callable[[int], Architecture]

# The parameter of the Dirichlet distribution of the letters' frequencies in a layout. Below 1,
# layouts of few letters are common.
_CONCENTRATION = 0.5
_REPORTS = 200
_SAVE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_MIXER_PARTS = ("mixer_norm", "mixer", "mixer_post_norm")


class SharedNetwork(LanguageModel):
    """A model without mixers, plus every mixer of the space for each of its layers.

    layers:  0 feed-forward   1 feed-forward   ...     as wide as in the widest candidate
    mixers:  0 c a s l        1 c a s l        ...     each with its own norms

    A candidate is a subnetwork: at each layer it has one of the mixers or none, and the first
    channels of the feed-forward.
    """

    def __init__(self, pure: Sequence[Architecture]) -> None:
        """Build the network; its weights are not initialised.

        Args:
            pure: One architecture for each mixer of the space, made of that mixer alone.
        """
        widest = max(layer.feed_forward_width for each in pure for layer in each.layers)
        layers = tuple(Layer(mixer=None, feed_forward_width=widest) for _ in pure[0].layers)
        super().__init__(replace(pure[0], layers=layers))
        self.mixer_choices = frozenset(layer.mixer for each in pure for layer in each.layers)
        self.mixers = nn.ModuleList(
            nn.ModuleDict(
                {
                    layout_letter(layer.mixer): _MixerPart(layer, each)
                    for each in pure
                    if (layer := each.layers[depth]).mixer is not None
                }
            )
            for depth in range(len(layers))
        )

    def mismatch(self, architecture: Architecture) -> str | None:
        """Return why an architecture is not a subnetwork, as a clause, or None if it is one."""
        bare = self.architecture
        if len(architecture.layers) != len(bare.layers):
            return f"it has {len(architecture.layers)} layers, the network has {len(bare.layers)}"
        if replace(architecture, layers=bare.layers) != bare:
            return "its width, vocabulary or norms differ from the network's"
        for number, layer in enumerate(architecture.layers):
            if layer.mixer not in self.mixer_choices:
                return f"the mixer of layer {number} is not one of the network's mixers"
            if layer.feed_forward_width > bare.layers[0].feed_forward_width:
                return f"the feed-forward of layer {number} is wider than the network's"
        return None

    def candidate_logits(self, architecture: Architecture, tokens_BT: Tensor) -> Tensor:
        """Return the logits (B, T, V) of a candidate.

        Gradients reach only the weights that the candidate uses.

        Args:
            architecture: A subnetwork, for which `mismatch` returns None.
            tokens_BT: The token ids to read.
        """
        with torch.device("meta"):
            candidate = LanguageModel(architecture)
        weights = self._candidate_weights(candidate)
        logits_BTV: Tensor = functional_call(candidate, weights, tokens_BT)
        return logits_BTV

    def extract(self, architecture: Architecture) -> LanguageModel:
        """Return a candidate as a model of its own, with copies of its weights."""
        candidate = LanguageModel(architecture)
        with torch.no_grad():
            for name, weight in self._candidate_weights(candidate).items():
                candidate.get_parameter(name).copy_(weight)
        return candidate.to(self.embedding.weight.device)

    def _candidate_weights(self, candidate: LanguageModel) -> dict[str, Tensor]:
        layout = candidate.architecture.layout
        own = dict(self.named_parameters())
        weights = {}
        for name, weight in candidate.named_parameters():
            whole = own[_name_in_network(name, layout)]
            weights[name] = whole[tuple(slice(length) for length in weight.shape)]
        return weights


def balanced_layouts(
    letters: Sequence[str], depth: int, generator: np.random.Generator
) -> tuple[str, ...]:
    """Draw as many layouts as there are letters, so that each layer has every letter exactly once.

    The first layout is drawn with some letters more likely than others, so that layouts of one or
    two letters occur as well. The other layouts have the same pattern with the letters rotated.

    Args:
        letters: The letters of the mixers.
        depth: The number of layers.
        generator: The source of randomness.
    """
    count = len(letters)
    likelihoods = generator.dirichlet([_CONCENTRATION] * count)
    drawn = generator.choice(count, size=depth, p=likelihoods)
    order = generator.permutation(count)
    return tuple(
        "".join(letters[order[(place + turn) % count]] for place in drawn)
        for turn in generator.permutation(count)
    )


def train_shared(
    network: SharedNetwork,
    draw_candidate: DrawCandidate,
    text: TokenizedText,
    settings: TrainingSettings,
    file: Path,
    report: Report,
) -> None:
    """Train the network, or resume its training from `file`.

    The training is saved once a minute, so that an interruption loses at most one minute of work.
    A resumed training ends with exactly the weights of an uninterrupted one. If several processes
    call this for one file, the first trains, and the others wait and load the result.

    Args:
        network: The network to train.
        draw_candidate: Takes the number of a step, from 0, and returns the candidate to train.
        text: The text to train on.
        settings: The length of the training and its other settings.
        file: The safetensors file that the training is saved in.
        report: Receives the progress.

    Raises:
        EvaluationFailed: The loss diverged, or the process that trains the network is stopped.
    """
    reporter = ProgressReporter(report)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        _one_process(file, settings.longest_pause, reporter.say),
        computing(settings, reporter.say) as yield_to_measurements,
    ):
        _train(network, draw_candidate, text, settings, file, reporter, yield_to_measurements)


class _MixerPart(nn.Module):
    """A layer without its feed-forward; its tensors are named as in a layer of LanguageModel."""

    def __init__(self, layer: Layer, architecture: Architecture) -> None:
        super().__init__()
        assert layer.mixer is not None
        width, eps = architecture.width, architecture.norm_eps
        self.mixer_norm = RMSNorm(width, eps)
        self.mixer = mixer_block(layer.mixer, architecture)
        self.mixer_post_norm = RMSNorm(width, eps) if architecture.sandwich_norm else None


def _name_in_network(name: str, layout: str) -> str:
    """Return `mixers.3.c.mixer.out_proj.weight` for `layers.3.mixer.out_proj.weight`."""
    parts = name.split(".")
    if parts[0] == "layers" and parts[2] in _MIXER_PARTS:
        return ".".join(("mixers", parts[1], layout[int(parts[1])], *parts[2:]))
    return name


def _train(
    network: SharedNetwork,
    draw_candidate: DrawCandidate,
    text: TokenizedText,
    settings: TrainingSettings,
    file: Path,
    reporter: ProgressReporter,
    yield_to_measurements: YieldToMeasurements,
) -> None:
    initialise_as_identity(network, settings.seed)
    network.to(settings.device)
    optimizer = make_optimizer(network, settings.recipe, settings.steps)
    begun_at = _load(file, network, optimizer, reporter.say)
    bits_per_nat = 1.0 / math.log(2.0) / float(text.token_bytes[text.training].mean())
    stride = max(1, settings.steps // _REPORTS)
    recent: list[Tensor] = []
    since, saved_at = time.perf_counter(), time.monotonic()
    windows = itertools.islice(mixed_windows(text.training, settings), begun_at, None)
    for step, batch in enumerate(windows, start=begun_at + 1):
        since += yield_to_measurements()
        set_rate(optimizer, settings.recipe, step, settings.steps)
        recent.append(_step(network, draw_candidate(step - 1), optimizer, batch, settings))
        if time.monotonic() - saved_at > _SAVE_SECONDS and step < settings.steps:
            _save(file, network, optimizer, step)
            saved_at = time.monotonic()
        if step % stride and step < settings.steps:
            continue
        loss = torch.stack(recent).mean().item()
        if not math.isfinite(loss):
            raise EvaluationFailed(
                "diverged", f"the shared network's loss is not finite at step {step:,}"
            )
        rate = (step - begun_at) * settings.step_tokens / (time.perf_counter() - since)
        left_s = (settings.steps - step) * settings.step_tokens / rate
        reporter(
            Progress(
                done=step / settings.steps,
                text=f"shared network: {step * settings.step_tokens:,} tokens, "
                f"{loss * bits_per_nat:.3f} bits/byte in training, {rate:,.0f} tokens/s, "
                f"{left_s / 60:,.0f} min left",
            )
        )
        recent.clear()
    if begun_at < settings.steps:
        _save(file, network, None, settings.steps)


def _step(
    network: SharedNetwork,
    candidate: Architecture,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingSettings,
) -> Tensor:
    """Train the weights that the candidate uses and return its loss, in nats per token."""
    with autocast(settings.device):
        logits_BTV = network.candidate_logits(candidate, batch.inputs_BT)
    loss = mean_cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), settings.recipe.largest_gradient)
    optimizer.step()
    return loss.detach()


@contextlib.contextmanager
def _one_process(file: Path, longest_stop: float, say: Say) -> Iterator[None]:
    """Let one process at a time train the network of a file.

    A process that trains is waited for without a limit, but one that is stopped for no longer than
    `longest_stop` seconds.
    """
    with file.with_suffix(".lock").open("w") as lock:
        stopped_since: float | None = None
        while not _try_lock(lock):
            now = time.monotonic()
            holders = [describe_holder(pid) for pid in lock_holders(lock.fileno(), "WRITE")]
            names = named_holders(holders)
            say(f"waiting for the process that trains the shared network{names}")
            if not any(holder.is_stopped for holder in holders):
                stopped_since = None
            elif stopped_since is None:
                stopped_since = now
            elif now - stopped_since >= longest_stop:
                raise EvaluationFailed(
                    "timed out", f"the process that trains the shared network is stopped{names}"
                )
            time.sleep(_LOOK_SECONDS)
        yield


def _try_lock(lock: TextIO) -> bool:
    """Take the lock and return True, or return False if another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _save(
    file: Path, network: SharedNetwork, optimizer: torch.optim.Optimizer | None, step: int
) -> None:
    """Replace the file atomically; the optimizer is None after the last step."""
    tensors: dict[str, Tensor] = {
        f"weight/{name}": weight for name, weight in network.named_parameters()
    }
    if optimizer is not None:
        for name, weight in network.named_parameters():
            for part, value in optimizer.state[weight].items():
                tensors[f"{part}/{name}"] = value
    unfinished = file.with_suffix(".unfinished")
    save_file(tensors, unfinished, metadata={"step": str(step)})
    unfinished.replace(file)


def _load(file: Path, network: SharedNetwork, optimizer: torch.optim.Optimizer, say: Say) -> int:
    """Load a saved training and return its number of steps; 0 if there is no readable file."""
    if not file.is_file():
        return 0
    weights = dict(network.named_parameters())
    try:
        with safe_open(file, "pt") as stored, torch.no_grad():
            step = int(stored.metadata()["step"])
            for key in stored.keys():  # noqa: SIM118 - `stored` is not a mapping
                part, _, name = key.partition("/")
                value = stored.get_tensor(key)
                if part == "weight":
                    weights[name].copy_(value)
                else:
                    optimizer.state[weights[name]][part] = value.to(weights[name].device)
    except SafetensorError:
        say(f"{file} is damaged and will be rebuilt")
        return 0
    return step
