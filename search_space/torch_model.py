"""The language model in torch, for whole sequences and for one token at a time with caches.

`onnx_model.py` contains the same parts, with the same names in the same order.

Shape suffixes: B batch, T time, D width, E embedding width, V vocabulary.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_space.architecture import Architecture, Layer
from search_space.torch_blocks import FeedForward, RMSNorm, State, mixer_block


class LayerBlock(nn.Module):
    """A layer: a mixer and a feed-forward layer, each added to the residual stream.

    x -> mixer_norm -> mixer -> (mixer_post_norm) -> + -> feed_forward_norm -> feed_forward
    '----------------------------------------------'  '--- -> (feed_forward_post_norm) -> + ->
    """

    def __init__(self, layer: Layer, architecture: Architecture) -> None:
        super().__init__()

        def norm(exists: bool) -> RMSNorm | None:
            return RMSNorm(architecture.width, architecture.norm_eps) if exists else None

        has_mixer, sandwich = layer.mixer is not None, architecture.sandwich_norm
        self.mixer_norm = norm(has_mixer)
        self.mixer = mixer_block(layer.mixer, architecture) if layer.mixer is not None else None
        self.mixer_post_norm = norm(has_mixer and sandwich)
        self.feed_forward_norm = RMSNorm(architecture.width, architecture.norm_eps)
        self.feed_forward = FeedForward(layer.feed_forward_width, architecture)
        self.feed_forward_post_norm = norm(sandwich)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Read a whole sequence."""
        if self.mixer is not None and self.mixer_norm is not None:
            x_BTD = x_BTD + _apply(self.mixer_post_norm, self.mixer(self.mixer_norm(x_BTD)))
        return self._feed_forward(x_BTD)

    def initial_state(self, batch: int) -> State:
        """Return the state of the mixer before the first token; empty without a mixer."""
        return () if self.mixer is None else self.mixer.initial_state(batch)

    def step(self, x_B1D: Tensor, state: State, position: int) -> tuple[Tensor, State]:
        """Read the token at `position` and return its output and the new state."""
        if self.mixer is not None and self.mixer_norm is not None:
            y_B1D, state = self.mixer.step(self.mixer_norm(x_B1D), state, position)
            x_B1D = x_B1D + _apply(self.mixer_post_norm, y_B1D)
        return self._feed_forward(x_B1D), state

    def _feed_forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
        return x_BTD + _apply(self.feed_forward_post_norm, y_BTD)


class LanguageModel(nn.Module):
    """The language model of an architecture; `initialise` gives its weights their values.

    tokens -> embedding (-> embedding_up) -> layers -> final_norm (-> head_down) -> head -> logits

    A tied head has no weight of its own: it uses the weight of the embedding.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        vocabulary, embedding_width = architecture.vocab_size, architecture.embedding_width
        width = architecture.width
        self.architecture = architecture
        self.embedding = nn.Embedding(vocabulary, embedding_width)
        self.embedding_up = (
            nn.Linear(embedding_width, width, bias=False) if architecture.factorised else None
        )
        self.layers = nn.ModuleList(
            LayerBlock(layer, architecture) for layer in architecture.layers
        )
        self.final_norm = RMSNorm(width, architecture.norm_eps)
        self.head_down = (
            nn.Linear(width, embedding_width, bias=False) if architecture.factorised else None
        )
        self.head = (
            None if architecture.tied_head else nn.Linear(embedding_width, vocabulary, bias=False)
        )

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next token at every position, (B, T, V)."""
        x_BTD = self._embed(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return self._score(x_BTD)

    def initial_state(self, batch: int) -> list[State]:
        """Return the state of every layer before the first token."""
        return [layer.initial_state(batch) for layer in self._layer_blocks()]

    def step(self, tokens_B: Tensor, states: list[State], position: int) -> Tensor:
        """Read one token per sequence.

        Args:
            tokens_B: The tokens.
            states: The state of every layer, as `initial_state` returns it; updated in place.
            position: The number of tokens read before.

        Returns:
            The logits of the next token, (B, V).
        """
        x_B1D = self._embed(tokens_B[:, None])
        for index, layer in enumerate(self._layer_blocks()):
            x_B1D, states[index] = layer.step(x_B1D, states[index], position)
        return self._score(x_B1D)[:, 0]

    def initialise(self, seed: int) -> None:
        """Draw every weight from a generator that is seeded by `seed` and the weight's name.

        Two models of the same depth therefore share the initial values of all weights with equal
        names and shapes. Matrices have a variance of 1 / inputs. Those that write to the residual
        stream are divided by sqrt(2 * depth), as in GPT-2, so that the scale of the stream does not
        depend on the depth.
        """
        depth = len(self.layers)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                weight.copy_(initial_value(name, weight.shape, seed=seed, depth=depth))

    def _layer_blocks(self) -> list[LayerBlock]:
        return [layer for layer in self.layers if isinstance(layer, LayerBlock)]

    def _embed(self, tokens_BT: Tensor) -> Tensor:
        x_BTE = self.embedding(tokens_BT)
        x_BTD = _apply(self.embedding_up, x_BTE)
        multiplier = self.architecture.embedding_multiplier
        return x_BTD if multiplier == 1.0 else x_BTD * multiplier

    def _score(self, x_BTD: Tensor) -> Tensor:
        y_BTE = _apply(self.head_down, self.final_norm(x_BTD))
        weight_VE = self.embedding.weight if self.head is None else self.head.weight
        return nn.functional.linear(y_BTE, weight_VE)


class InitialWeights(Mapping[str, NDArray[np.float32]]):
    """The weights that `LanguageModel.initialise` draws, by name.

    Each weight is drawn when it is accessed and is not cached, so that a model can be written with
    one of its matrices in memory at a time.
    """

    def __init__(self, architecture: Architecture, seed: int) -> None:
        self._shapes = weight_shapes(architecture)
        self._depth = len(architecture.layers)
        self._seed = seed

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shape = torch.Size(self._shapes[name])
        drawn: NDArray[np.float32] = initial_value(
            name, shape, seed=self._seed, depth=self._depth
        ).numpy()
        return drawn

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name, in the order of the model; allocates no weights."""
    with torch.device("meta"):
        model = LanguageModel(architecture)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def weights_of(model: LanguageModel) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a model by name: views of weights on a CPU, copies from a GPU."""
    return {
        name: weight.detach().cpu().float().numpy() for name, weight in model.named_parameters()
    }


def initial_value(name: str, shape: torch.Size, *, seed: int, depth: int) -> Tensor:
    """Return the value that `LanguageModel.initialise` gives to a weight.

    Args:
        name: The name of the weight.
        shape: The shape of the weight.
        seed: The seed of the model.
        depth: The number of layers of the model.
    """
    if name.endswith("norm.weight"):
        return torch.ones(shape)
    if name.endswith("decay_proj.bias"):
        # Half-lives from a few to a few hundred tokens, one per head.
        return torch.linspace(-2.0, 3.5, shape.numel())
    if name.endswith(".bias"):
        return torch.zeros(shape)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    deviation = 1.0 / math.sqrt(shape[-1])
    if name.endswith(("out_proj.weight", "down_proj.weight")):
        deviation /= math.sqrt(2 * depth)
    return torch.randn(shape, generator=generator).mul_(deviation)


def _apply(block: nn.Module | None, x: Tensor) -> Tensor:
    if block is None:
        return x
    y: Tensor = block(x)
    return y
