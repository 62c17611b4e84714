"""The training recipe for models of any shape: initial weights, learning rates, weight decay."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_space.torch_model import LanguageModel

_REFERENCE_WIDTH = 96
_SHALLOW = 8  # the number of layers up to which the same rates suit all depths


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """AdamW with a linear warm-up, followed by a linear decay of the learning rates to zero.

    The values come from sweeps over widths, depths and layouts (docs/log.md, 2026-11-23). Above 8
    layers, all three learning rates fall with the square root of the number of layers.

    Attributes:
        matrix_rate: The learning rate of a matrix with 96 inputs; it is inversely proportional to
            the number of inputs.
        vector_rate: The learning rate of norms, biases and convolutions.
        embedding_rate: The learning rate of an embedding of width 96. It falls with the square root
            of the width, as the initial values do.
        decay: A matrix that gets no gradient ends the run at e^-decay of its size, whatever the
            length of the run and the learning rate. This is the time scale of arXiv 2405.13698, as
            a fraction of the run.
        betas: AdamW's decay rates of the moment estimates.
        warm_up_share: The length of the warm-up, as a fraction of the steps.
        largest_gradient: The norm above which gradients are scaled down.
    """

    matrix_rate: float = 4e-3
    vector_rate: float = 2e-2
    embedding_rate: float = 2e-2
    decay: float = 0.6
    betas: tuple[float, float] = (0.8, 0.99)
    warm_up_share: float = 0.1
    largest_gradient: float = 1.0


def initialise_as_identity(model: LanguageModel, seed: int) -> None:
    """Initialise the weights so that every layer starts as the identity.

    The projections that write to the residual stream are zero, so a layer adds nothing until it has
    learned something. Random projections would drown out the token embeddings. This is worst for
    early attention, which starts as an average over all tokens, so that later layers could not
    distinguish them.

    Args:
        model: The model, whose weights are overwritten.
        seed: The seed of the other weights.
    """
    model.initialise(seed)
    writers = (
        ("post_norm.weight",)
        if model.architecture.sandwich_norm
        else ("out_proj.weight", "down_proj.weight")
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(writers):
                weight.zero_()


def make_optimizer(model: LanguageModel, recipe: Recipe, steps: int) -> torch.optim.AdamW:
    """Return the optimizer, with a peak learning rate and a weight decay for each group of weights.

    The learning rates are zero until `set_rate` sets them. Each parameter group holds the learning
    rate that it reaches after the warm-up under the key `peak`.

    Args:
        model: The model, on the device that it is trained on.
        recipe: The learning rates and the weight decay.
        steps: The total number of training steps.
    """
    on_gpu = model.embedding.weight.is_cuda
    groups = _parameter_groups(model, recipe, steps)
    for group in groups:
        # A recorded CUDA graph reads the learning rate from the GPU's memory.
        group["lr"] = torch.zeros((), device="cuda") if on_gpu else 0.0
    return torch.optim.AdamW(groups, betas=recipe.betas, fused=True, capturable=on_gpu)


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Set the learning rates for a step; none of them is zero.

    Args:
        optimizer: The optimizer from `make_optimizer`.
        recipe: The length of the warm-up.
        step: The number of the step, from 1 to `steps`.
        steps: The total number of training steps.
    """
    done = step / (steps + 1)
    factor = min(done / recipe.warm_up_share, (1.0 - done) / (1.0 - recipe.warm_up_share))
    for group in optimizer.param_groups:
        rate = factor * group["peak"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _parameter_groups(model: LanguageModel, recipe: Recipe, steps: int) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    # Every layer's update adds to the residual stream.
    by_depth = min(1.0, _SHALLOW / len(model.architecture.layers)) ** 0.5
    for name, weight in model.named_parameters():
        peak, decay = by_depth * recipe.vector_rate, 0.0
        if name == "embedding.weight":
            by_width = (_REFERENCE_WIDTH / weight.shape[1]) ** 0.5
            peak = by_depth * by_width * recipe.embedding_rate
        elif weight.ndim == 2 and not name.endswith("kernel_DW"):
            # Adam changes every weight by the learning rate, so a sum over more inputs changes
            # more: maximal update parametrisation, arXiv 2203.03466, table 3.
            peak = by_depth * recipe.matrix_rate * _REFERENCE_WIDTH / weight.shape[1]
            # AdamW shrinks a weight by rate times decay per step; the mean rate is half the peak.
            decay = recipe.decay / (peak * steps / 2)
        groups.setdefault((peak, decay), []).append(weight)
    return [
        {"params": weights, "peak": peak, "weight_decay": decay}
        for (peak, decay), weights in groups.items()
    ]
