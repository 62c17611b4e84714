"""The torch model: steps against whole passes, causality, initial values, weights by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from search_space.architecture import Layer
from search_space.preset_models import preset
from search_space.torch_model import InitialWeights, LanguageModel, weight_shapes, weights_of
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, LINEAR, architectures, stack


def random_model(architecture, seed: int = 0) -> LanguageModel:
    """Return a model with initial weights, except that norms and biases are not constant."""
    model = LanguageModel(architecture)
    model.initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def random_tokens(architecture, length: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(architecture.vocab_size, (batch, length), generator=generator)


def one_by_one(model: LanguageModel, tokens_BT: Tensor) -> Tensor:
    states = model.initial_state(len(tokens_BT))
    logits = [
        model.step(tokens_B, states, position)
        for position, tokens_B in enumerate(tokens_BT.unbind(1))
    ]
    return torch.stack(logits, dim=1)


def worst(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference, in standard deviations of the expected values."""
    return float((actual - expected).abs().max() / expected.std())


@pytest.mark.parametrize("name", CORNERS)
@torch.no_grad()
def test_a_whole_pass_equals_the_tokens_one_by_one(name):
    model, tokens_BT = random_model(CORNERS[name]), random_tokens(CORNERS[name], 12)
    assert worst(one_by_one(model, tokens_BT), model(tokens_BT)) < 1e-4


@settings(max_examples=25)
@given(architecture=architectures())
@torch.no_grad()
def test_a_whole_pass_of_any_architecture_equals_the_tokens_one_by_one(architecture):
    model, tokens_BT = random_model(architecture), random_tokens(architecture, 9)
    # Norms of a few small numbers amplify rounding errors up to a hundredfold; mistakes are larger.
    assert worst(one_by_one(model, tokens_BT), model(tokens_BT)) < 5e-3


@pytest.mark.parametrize("name", CORNERS)
def test_no_token_depends_on_later_ones(name):
    model, tokens_BT = random_model(CORNERS[name]), random_tokens(CORNERS[name], 8)
    other_BT = tokens_BT.clone()
    other_BT[:, 5] = (other_BT[:, 5] + 1) % CORNERS[name].vocab_size
    with torch.no_grad():
        before, after = model(tokens_BT), model(other_BT)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-6)
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-3


@pytest.mark.parametrize("name", CORNERS)
def test_every_weight_is_trained(name):
    model = random_model(CORNERS[name])
    logits = model(random_tokens(CORNERS[name], 12))
    logits.square().mean().backward()
    untrained = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    # A softmax over a single token is constant.
    constant = name == "window 1"
    assert all(constant and ".mixer." in weight for weight in untrained), untrained


class TestInitialValues:
    def test_equal_names_and_shapes_have_equal_values_in_different_models(self):
        one = LanguageModel(stack(CONV, ATTENTION, LINEAR))
        other = LanguageModel(stack(CONV, None, LINEAR, tied_head=False, sandwich_norm=True))
        one.initialise(3)
        other.initialise(3)
        ours, theirs = dict(one.named_parameters()), dict(other.named_parameters())
        shared = ours.keys() & theirs.keys()
        assert len(shared) > 20
        assert "layers.2.mixer.out_proj.weight" in shared
        for name in shared:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)

    def test_seeds_and_names_differ(self):
        architecture = stack(CONV, CONV)
        one, other = LanguageModel(architecture), LanguageModel(architecture)
        one.initialise(0)
        other.initialise(1)
        weights = [dict(model.named_parameters()) for model in (one, other)]
        name = "layers.{}.mixer.in_proj.weight"
        assert not torch.equal(weights[0][name.format(0)], weights[0][name.format(1)])
        assert not torch.equal(weights[0][name.format(0)], weights[1][name.format(0)])

    def test_the_global_generator_is_neither_used_nor_advanced(self):
        model = LanguageModel(stack(CONV))
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        model.initialise(0)
        first = model.embedding.weight.detach().clone()
        torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
        model.initialise(0)
        torch.testing.assert_close(model.embedding.weight.detach(), first, rtol=0, atol=0)

    def test_no_weight_is_left_uninitialised(self):
        for architecture in CORNERS.values():
            model = LanguageModel(architecture)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.fill_(float("nan"))
            model.initialise(0)
            assert all(weight.isfinite().all() for weight in model.parameters())

    def test_the_scale_of_the_residual_stream_does_not_depend_on_depth(self):
        def scale(depth: int) -> float:
            layer = Layer(mixer=CONV, feed_forward_width=256)
            architecture = stack(CONV, width=128, embedding_width=128)
            model = LanguageModel(replace(architecture, layers=(layer,) * depth))
            model.initialise(0)
            x_BTD = torch.randn(4, 32, 128, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                for block in model.layers:
                    x_BTD = block(x_BTD)
            return float(x_BTD.std())

        shallow, deep = scale(2), scale(32)
        assert 0.8 < deep / shallow < 1.25


class TestWeightsByName:
    @pytest.mark.parametrize("name", CORNERS)
    def test_initial_weights_are_those_that_the_model_draws(self, name: str) -> None:
        model = LanguageModel(CORNERS[name])
        model.initialise(5)
        expected, drawn = weights_of(model), InitialWeights(CORNERS[name], 5)
        assert list(drawn) == list(expected)
        for weight, values in expected.items():
            assert np.array_equal(drawn[weight], values), weight

    def test_shapes_of_a_model_too_large_for_memory(self) -> None:
        shapes = weight_shapes(preset("lfm3-1.7b"))
        assert shapes["embedding.weight"] == (128_000, 2_048)
        assert shapes["layers.0.mixer.kernel_DW"] == (2_048, 7)
