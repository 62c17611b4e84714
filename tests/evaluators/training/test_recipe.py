"""The training recipe: initial weights, learning rates and weight decay."""

import math
from dataclasses import replace

import pytest
import torch

from evaluators.training.recipe import Recipe, initialise_as_identity, make_optimizer, set_rate
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import CORNERS, stack

RECIPE = Recipe()


def peaks(architecture) -> dict[str, tuple[float, float]]:
    """Return the peak learning rate and the weight decay by the name of the weight."""
    model = LanguageModel(architecture)
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {
        names[id(weight)]: (group["peak"], group["weight_decay"])
        for group in make_optimizer(model, RECIPE, steps=100).param_groups
        for weight in group["params"]
    }


@pytest.mark.parametrize("name", CORNERS)
def test_every_layer_starts_as_the_identity(name):
    architecture = CORNERS[name]
    model, tokens = LanguageModel(architecture), torch.arange(10)[None]
    initialise_as_identity(model, seed=0)
    whole = model(tokens)
    model.layers = torch.nn.ModuleList()
    assert torch.equal(whole, model(tokens))
    assert whole.std() > 0


@pytest.mark.parametrize("name", CORNERS)
def test_every_layer_gets_a_gradient(name):
    model = LanguageModel(CORNERS[name])
    initialise_as_identity(model, seed=0)
    model(torch.arange(10)[None]).square().mean().backward()
    writers = ("post_norm" if CORNERS[name].sandwich_norm else "out_proj", "down_proj")
    gradients = [
        weight.grad.abs().max().item()
        for key, weight in model.named_parameters()
        if writers[0] in key or (writers[1] in key and not CORNERS[name].sandwich_norm)
    ]
    assert gradients
    assert min(gradients) > 0


@pytest.mark.parametrize("name", CORNERS)
def test_every_weight_has_one_rate_and_only_matrices_decay(name):
    rates = peaks(CORNERS[name])
    weights = dict(LanguageModel(CORNERS[name]).named_parameters())
    assert rates.keys() == weights.keys()
    for key, (rate, decay) in rates.items():
        assert rate > 0
        is_matrix = key.endswith("_proj.weight") or key in {
            "embedding_up.weight",
            "head_down.weight",
            "head.weight",
        }
        assert (decay > 0) == is_matrix


def test_rates_depend_on_the_width():
    narrow, wide = stack(None), replace(stack(None), width=128, embedding_width=128)
    name = "layers.0.feed_forward.gate_proj.weight"
    assert peaks(wide)[name][0] == peaks(narrow)[name][0] / 4
    assert peaks(wide)["embedding.weight"][0] == peaks(narrow)["embedding.weight"][0] / 2
    assert peaks(wide)["final_norm.weight"] == peaks(narrow)["final_norm.weight"]


def test_all_rates_fall_with_the_root_of_the_depth_above_eight_layers():
    one, eight, deep = (peaks(stack(*[None] * depth)) for depth in (1, 8, 32))
    assert {name: eight[name] for name in one} == one
    for name, (rate, decay) in deep.items():
        if name in eight:
            assert rate == pytest.approx(eight[name][0] / 2)
            assert decay == pytest.approx(2 * eight[name][1])


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 391])
def test_the_rate_rises_for_a_tenth_of_the_steps_and_then_falls_nearly_to_zero(steps):
    optimizer = make_optimizer(LanguageModel(stack(None)), RECIPE, steps)
    factors = []
    for step in range(1, steps + 1):
        set_rate(optimizer, RECIPE, step, steps)
        factors += {round(group["lr"] / group["peak"], 9) for group in optimizer.param_groups}
    assert len(factors) == steps
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if steps == 391:
        assert top + 1 in (39, 40)
        assert factors[-1] < 0.003


@pytest.mark.parametrize("steps", [1, 10, 391, 5_000])
def test_a_matrix_without_gradient_shrinks_by_the_same_factor_in_every_run(steps):
    model = LanguageModel(stack(None))
    optimizer = make_optimizer(model, RECIPE, steps)
    kept = dict.fromkeys(range(len(optimizer.param_groups)), 1.0)
    for step in range(1, steps + 1):
        set_rate(optimizer, RECIPE, step, steps)
        for index, group in enumerate(optimizer.param_groups):
            kept[index] *= 1.0 - group["lr"] * group["weight_decay"]
    *shrunk, largest = sorted(set(kept.values()))
    assert largest == 1.0
    assert shrunk == pytest.approx([math.exp(-RECIPE.decay)] * len(shrunk), rel=0.4)
    if steps > 100:
        assert shrunk == pytest.approx([math.exp(-RECIPE.decay)] * len(shrunk), rel=0.01)
