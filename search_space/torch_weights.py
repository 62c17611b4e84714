"""The torch model's weights by name, as numpy arrays: which there are, and how they begin."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel, initial_value


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The shape of every weight, in the model's order; no memory is taken for them."""
    with torch.device("meta"):
        model = LanguageModel(architecture)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def weights_of(model: LanguageModel) -> dict[str, NDArray[np.float32]]:
    """The weights where they are, on a CPU; copies of them, on a GPU."""
    return {
        name: weight.detach().cpu().float().numpy() for name, weight in model.named_parameters()
    }


class InitialWeights(Mapping[str, NDArray[np.float32]]):
    """What `LanguageModel.initialise` draws; each weight when it is asked for, and never kept.

    So a model is written with one of its matrices in memory at a time.
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
