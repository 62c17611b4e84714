"""The language model in torch: whole sequences for training, one token at a time with caches.

B batch, T time, D width, E embedding width, V vocabulary. `onnx_model.py` has the same blocks with
the same names in the same order.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from search_space.architecture import Architecture, Layer
from search_space.torch_blocks import (
    FeedForward,
    RMSNorm,
    State,
    mixer_block,
)


class LayerBlock(nn.Module):
    """
    x -> mixer_norm -> mixer -> (mixer_post_norm) -> + -> feed_forward_norm -> feed_forward
    '----------------------------------------------'  '--- -> (feed_forward_post_norm) -> + ->
    """

    def __init__(self, layer: Layer, architecture: Architecture) -> None:
        super().__init__()

        def norm(wanted: bool) -> RMSNorm | None:
            return RMSNorm(architecture.width, architecture.norm_eps) if wanted else None

        has_mixer, sandwich = layer.mixer is not None, architecture.sandwich_norm
        self.mixer_norm = norm(has_mixer)
        self.mixer = mixer_block(layer.mixer, architecture) if layer.mixer is not None else None
        self.mixer_post_norm = norm(has_mixer and sandwich)
        self.feed_forward_norm = RMSNorm(architecture.width, architecture.norm_eps)
        self.feed_forward = FeedForward(layer.feed_forward_width, architecture)
        self.feed_forward_post_norm = norm(sandwich)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.mixer is not None and self.mixer_norm is not None:
            x_BTD = x_BTD + _apply(self.mixer_post_norm, self.mixer(self.mixer_norm(x_BTD)))
        return self._feed_forward(x_BTD)

    def initial_state(self, batch: int) -> State:
        return () if self.mixer is None else self.mixer.initial_state(batch)

    def step(self, x_B1D: Tensor, state: State, position: int) -> tuple[Tensor, State]:
        if self.mixer is not None and self.mixer_norm is not None:
            y_B1D, state = self.mixer.step(self.mixer_norm(x_B1D), state, position)
            x_B1D = x_B1D + _apply(self.mixer_post_norm, y_B1D)
        return self._feed_forward(x_B1D), state

    def _feed_forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
        return x_BTD + _apply(self.feed_forward_post_norm, y_BTD)


class LanguageModel(nn.Module):
    """
    tokens -> embedding (-> embedding_up) -> layers -> final_norm (-> head_down) -> head -> logits

    A tied head has no weight of its own: it is the embedding's table.
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
        """Logits (B, T, V) of the next token at every position."""
        x_BTD = self._embed(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return self._score(x_BTD)

    def initial_state(self, batch: int) -> list[State]:
        return [layer.initial_state(batch) for layer in self._layer_blocks()]

    def step(self, tokens_B: Tensor, states: list[State], position: int) -> Tensor:
        """Logits (B, V) after one more token at `position`; `states` is brought up to date."""
        x_B1D = self._embed(tokens_B[:, None])
        for index, layer in enumerate(self._layer_blocks()):
            x_B1D, states[index] = layer.step(x_B1D, states[index], position)
        return self._score(x_B1D)[:, 0]

    def initialise(self, seed: int) -> None:
        """Draws every weight from a generator seeded by `seed` and the weight's own name.

        Two models of one depth share the initial values of each weight that has the same name and
        shape. Matrices get a variance of 1 / inputs; those that write to the residual stream are
        divided by the root of twice the depth (GPT-2's rule), so that it does not set the stream's
        scale.
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


def initial_value(name: str, shape: torch.Size, *, seed: int, depth: int) -> Tensor:
    """What `LanguageModel.initialise` gives that weight in a model of `depth` layers."""
    if name.endswith("norm.weight"):
        return torch.ones(shape)
    if name.endswith("decay_proj.bias"):
        # Half-lives from a few to some hundreds of tokens, one for each head.
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
