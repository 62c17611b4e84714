"""How a model is trained, whatever its shape: where its weights start, and how fast they move."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_space.torch_model import LanguageModel

_REFERENCE_WIDTH = 96
_SHALLOW = 8  # layers up to which one rate suits all depths


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """AdamW with a warm-up and then a line to zero; the rates are those at 96 inputs.

    The values come from sweeps over widths, depths and layouts (docs/log.md, 2026-11-23).

    matrix_rate: falls with a matrix's inputs. vector_rate: of norms, biases and convolutions.
    embedding_rate: falls with the root of the embedding's width, as its initial values do.
    Above 8 layers all three fall with the root of their number.
    decay: a matrix that gets no gradient ends the run at e^-decay of its size, however long the
        run and whatever the rate (the time scale of arXiv 2405.13698, as a share of the run).
    warm_up_share: of the steps. largest_gradient: norm above which gradients are scaled down.
    """

    matrix_rate: float = 4e-3
    vector_rate: float = 2e-2
    embedding_rate: float = 2e-2
    decay: float = 0.6
    betas: tuple[float, float] = (0.8, 0.99)
    warm_up_share: float = 0.1
    largest_gradient: float = 1.0


def start(model: LanguageModel, seed: int) -> None:
    """Draws the weights, and lets every layer begin as the identity.

    What a layer adds to the residual stream is zero until it has learned something. Drawn at random
    it would drown the tokens, which hurts most where attention comes early: it starts as an average
    over all tokens, and the layers above can no longer tell them apart.
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
    """Each group of weights keeps the rate that it reaches after the warm-up as `peak`."""
    on_gpu = model.embedding.weight.is_cuda
    groups = _parameter_groups(model, recipe, steps)
    for group in groups:
        # A recorded CUDA graph reads the rate from the GPU's memory.
        group["lr"] = torch.zeros((), device="cuda") if on_gpu else 0.0
    return torch.optim.AdamW(groups, betas=recipe.betas, fused=True, capturable=on_gpu)


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """The rates of step 1, 2, ... `steps`; none of them is zero."""
    done = step / (steps + 1)
    share = min(done / recipe.warm_up_share, (1.0 - done) / (1.0 - recipe.warm_up_share))
    for group in optimizer.param_groups:
        rate = share * group["peak"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _parameter_groups(model: LanguageModel, recipe: Recipe, steps: int) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    # Each layer adds a step of its own to the residual stream.
    by_depth = min(1.0, _SHALLOW / len(model.architecture.layers)) ** 0.5
    for name, weight in model.named_parameters():
        peak, decay = by_depth * recipe.vector_rate, 0.0
        if name == "embedding.weight":
            by_width = (_REFERENCE_WIDTH / weight.shape[1]) ** 0.5
            peak = by_depth * by_width * recipe.embedding_rate
        elif weight.ndim == 2 and not name.endswith("kernel_DW"):
            # Adam moves every weight by its rate, so a sum over more inputs moves further:
            # maximal update parametrisation, arXiv 2203.03466, table 3.
            peak = by_depth * recipe.matrix_rate * _REFERENCE_WIDTH / weight.shape[1]
            # AdamW shrinks by rate times decay a step, and the mean rate is half of the peak.
            decay = recipe.decay / (peak * steps / 2)
        groups.setdefault((peak, decay), []).append(weight)
    return [
        {"params": weights, "peak": peak, "weight_decay": decay}
        for (peak, decay), weights in groups.items()
    ]
