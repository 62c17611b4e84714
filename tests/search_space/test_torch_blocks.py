"""Each mixer against a plain loop over positions in float64 that follows its formula."""

import math
import warnings
from dataclasses import replace
from typing import assert_never, get_args

import pytest
import torch
from torch import Tensor, nn

from search_space.architecture import Attention, LinearAttention, Mixer, ShortConv
from search_space.torch_blocks import FeedForward, mixer_block
from tests.search_space.strategies import ATTENTION, LINEAR, WINDOW, stack

WIDTH = 12
LENGTHS = (1, 2, 3, 9)

MIXERS = {
    "kernel 1": ShortConv(kernel=1),
    "kernel 2": ShortConv(kernel=2),
    "kernel 3": ShortConv(kernel=3),
    "kernel 12": ShortConv(kernel=12),
    "attention": ATTENTION,
    "one head": replace(ATTENTION, heads=1, kv_heads=1),
    "no groups": replace(ATTENTION, kv_heads=4),
    "one group": replace(ATTENTION, heads=3, kv_heads=1, head_dim=2),
    "half rotates": replace(ATTENTION, rope_share=0.5, rope_base=100.0),
    "nothing rotates": replace(ATTENTION, rope_share=0.0),
    "no head norm": replace(ATTENTION, qk_norm=False),
    "biases": replace(ATTENTION, qkv_bias=True, qk_norm=False),
    "head gate": replace(ATTENTION, head_gate=True, qkv_bias=True),
    "window 1": replace(WINDOW, window=1),
    "window 3": replace(WINDOW, window=3, head_gate=True),
    "window 40": replace(WINDOW, window=40),
    "linear": LINEAR,
    "linear, one head": LinearAttention(heads=1, key_dim=3, value_dim=1),
    "linear, wide keys": LinearAttention(heads=3, key_dim=5, value_dim=2),
}


def random_block(mixer):
    """Return the mixer's block at width 12; all weights are random, also norms and biases."""
    block = mixer_block(mixer, stack(mixer, width=WIDTH, embedding_width=WIDTH))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in block.parameters():
            fan_in = weight.shape[-1] if weight.dim() > 1 else 1
            weight.copy_(torch.randn(weight.shape, generator=generator) / math.sqrt(fan_in))
    return block


def random_input(length: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(length))


def naive(mixer, weights: dict[str, Tensor], x_TD: Tensor) -> Tensor:
    match mixer:
        case ShortConv():
            return naive_short_conv(mixer, weights, x_TD)
        case Attention():
            return naive_attention(mixer, weights, x_TD)
        case LinearAttention():
            return naive_linear_attention(mixer, weights, x_TD)
        case _:
            assert_never(mixer)


def naive_short_conv(mixer: ShortConv, weights, x_TD: Tensor) -> Tensor:
    outputs = []
    projected = [weights["in_proj.weight"] @ x_D for x_D in x_TD]
    gated = [values[:WIDTH] * values[2 * WIDTH :] for values in projected]
    for t in range(len(x_TD)):
        mixed_D = torch.zeros(WIDTH, dtype=torch.float64)
        for back in range(min(mixer.kernel, t + 1)):
            mixed_D = mixed_D + weights["kernel_DW"][:, mixer.kernel - 1 - back] * gated[t - back]
        outputs.append(weights["out_proj.weight"] @ (projected[t][WIDTH : 2 * WIDTH] * mixed_D))
    return torch.stack(outputs)


def naive_attention(mixer: Attention, weights, x_TD: Tensor) -> Tensor:
    def project(part: str, x_D: Tensor) -> Tensor:
        y = weights[f"{part}_proj.weight"] @ x_D
        return y + weights[f"{part}_proj.bias"] if mixer.qkv_bias else y

    def head(values: Tensor, index: int) -> Tensor:
        return values[index * mixer.head_dim : (index + 1) * mixer.head_dim]

    def placed(values_d: Tensor, part: str, position: int) -> Tensor:
        """Normalise, then rotate pair i as a complex number by position * base^(-2i / d)."""
        if mixer.qk_norm:
            values_d = rms_norm(values_d) * weights[f"{part}_norm.weight"]
        pairs = mixer.head_dim // 2
        exponents = torch.arange(pairs, dtype=torch.float64) / pairs
        angles = position * mixer.rope_base**-exponents
        angles[round(pairs * mixer.rope_share) :] = 0
        turned = torch.complex(values_d[:pairs], values_d[pairs:]) * torch.exp(1j * angles)
        return torch.cat([turned.real, turned.imag])

    queries, keys, values = ([project(part, x_D) for x_D in x_TD] for part in "qkv")
    outputs = []
    for t in range(len(x_TD)):
        first = 0 if mixer.window is None else max(0, t + 1 - mixer.window)
        heads = []
        for h in range(mixer.heads):
            group = h * mixer.kv_heads // mixer.heads
            query_d = placed(head(queries[t], h), "q", t)
            scores = torch.stack(
                [
                    query_d @ placed(head(keys[s], group), "k", s) / math.sqrt(mixer.head_dim)
                    for s in range(first, t + 1)
                ]
            )
            attention = torch.exp(scores) / torch.exp(scores).sum()
            visible = torch.stack([head(values[s], group) for s in range(first, t + 1)])
            mixed_d = attention @ visible
            if mixer.head_gate:
                mixed_d = mixed_d * torch.sigmoid(weights["gate_proj.weight"][h] @ x_TD[t])
            heads.append(mixed_d)
        outputs.append(weights["out_proj.weight"] @ torch.cat(heads))
    return torch.stack(outputs)


def naive_linear_attention(mixer: LinearAttention, weights, x_TD: Tensor) -> Tensor:
    memories = torch.zeros(mixer.heads, mixer.key_dim, mixer.value_dim, dtype=torch.float64)
    outputs = []
    for x_D in x_TD:
        query_Hk, key_Hk, value_Hv, gate_Hv = (
            (weights[f"{part}_proj.weight"] @ x_D).reshape(mixer.heads, -1)
            for part in ("q", "k", "v", "gate")
        )
        logits_H = weights["decay_proj.weight"] @ x_D + weights["decay_proj.bias"]
        decay_H = torch.sigmoid(logits_H) ** (1 / 16)
        memories = torch.stack(
            [
                decay_H[h] * memories[h] + torch.outer(key_Hk[h], value_Hv[h])
                for h in range(mixer.heads)
            ]
        )
        heads = []
        for h in range(mixer.heads):
            read_v = query_Hk[h] @ memories[h] / math.sqrt(mixer.key_dim)
            gate_v = gate_Hv[h] * torch.sigmoid(gate_Hv[h])
            heads.append(rms_norm(read_v) * weights["norm.weight"] * gate_v)
        outputs.append(weights["out_proj.weight"] @ torch.cat(heads))
    return torch.stack(outputs)


def rms_norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    return x / torch.sqrt((x * x).mean() + eps)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Assert equality up to float32 rounding, relative to the largest expected value."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(actual.double() / scale, expected / scale, rtol=0, atol=1e-4)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def test_the_examples_contain_every_mixer():
    assert {type(mixer) for mixer in MIXERS.values()} == set(get_args(Mixer))


@pytest.mark.parametrize("name", MIXERS)
def test_a_block_writes_its_output_through_out_proj(name):
    # Initial values are scaled by the names of weights; see `initial_value`.
    block = random_block(MIXERS[name])
    assert isinstance(block.out_proj, nn.Linear)
    assert block.out_proj.bias is None
    with torch.no_grad():
        block.out_proj.weight.zero_()
        assert not block(random_input(3)).any()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MIXERS)
def test_outputs_and_gradients_are_those_of_the_naive_loop(name, length):
    mixer, block = MIXERS[name], random_block(MIXERS[name])
    x_BTD = random_input(length).requires_grad_()
    y_BTD = block(x_BTD)
    direction = torch.randn(y_BTD.shape, generator=torch.Generator().manual_seed(1))
    (y_BTD * direction).sum().backward()

    weights = {
        name: weight.detach().double().requires_grad_() for name, weight in block.named_parameters()
    }
    exact_x_BTD = x_BTD.detach().double().requires_grad_()
    exact_y_BTD = torch.stack([naive(mixer, weights, x_TD) for x_TD in exact_x_BTD])
    (exact_y_BTD * direction.double()).sum().backward()

    assert_close(y_BTD.detach(), exact_y_BTD.detach())
    # Compared on one scale: some gradients are zero up to rounding, e.g. those of a lone query.
    gradients = [x_BTD.grad, *(weight.grad for weight in block.parameters())]
    exact_gradients = [exact_x_BTD.grad, *(weight.grad for weight in weights.values())]
    assert_close(flat(gradients), flat(exact_gradients))


@pytest.mark.parametrize("name", MIXERS)
def test_steps_are_those_of_the_naive_loop(name):
    mixer, block = MIXERS[name], random_block(MIXERS[name])
    x_BTD = random_input(9)
    weights = {name: weight.detach().double() for name, weight in block.named_parameters()}
    expected = torch.stack([naive(mixer, weights, x_TD.double()) for x_TD in x_BTD])
    state, outputs = block.initial_state(2), []
    with torch.no_grad():
        for position in range(9):
            y_B1D, state = block.step(x_BTD[:, position : position + 1], state, position)
            outputs.append(y_B1D)
    assert_close(torch.cat(outputs, dim=1), expected)


def sees(mixer, position: int, other: int) -> bool:
    """Return whether the output at `position` may depend on the input at `other`."""
    back = position - other
    match mixer:
        case ShortConv(kernel=kernel):
            return 0 <= back < kernel
        case Attention(window=int(window)):
            return 0 <= back < window
        case _:
            return back >= 0


@pytest.mark.parametrize("name", MIXERS)
def test_a_position_depends_on_exactly_the_visible_ones(name):
    # Tested by gradients: no later position, and all positions of the window.
    mixer, block = MIXERS[name], random_block(MIXERS[name])
    x_TD = random_input(9, batch=1)[0].requires_grad_()
    y_TD = block(x_TD[None])[0]
    for position in range(9):
        (gradient_TD,) = torch.autograd.grad(y_TD[position].sum(), x_TD, retain_graph=True)
        influences = (gradient_TD != 0).any(dim=1).tolist()
        assert influences == [sees(mixer, position, other) for other in range(9)]


@pytest.mark.parametrize("name", ["attention", "half rotates", "window 3"])
def test_attention_depends_on_distances_and_not_on_absolute_positions(name):
    block = random_block(MIXERS[name])
    x_BTD = random_input(6)

    def read(start: int) -> Tensor:
        state, outputs = block.initial_state(2), []
        for index, x_B1D in enumerate(x_BTD.split(1, dim=1)):
            y_B1D, state = block.step(x_B1D, state, start + index)
            outputs.append(y_B1D)
        return torch.cat(outputs, dim=1)

    with torch.no_grad():
        torch.testing.assert_close(read(0), read(300), rtol=0, atol=2e-4)
        # Distances matter: in another order, the last tokens have different outputs.
        shuffled = x_BTD[:, [1, 0, 3, 2, 4, 5]]
        assert (block(shuffled)[:, 4:] - block(x_BTD)[:, 4:]).abs().max() > 1e-3


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
def test_the_feed_forward_follows_its_formula(activation):
    block = FeedForward(20, stack(None, width=WIDTH, embedding_width=WIDTH, activation=activation))
    x_BTD = random_input(3)
    gate, up, down = (
        getattr(block, f"{part}_proj").weight.double() for part in ("gate", "up", "down")
    )
    z = x_BTD.double() @ gate.T
    if activation == "silu":
        active = z / (1 + torch.exp(-z))
    else:
        active = z / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    assert_close(block(x_BTD).detach(), ((active * (x_BTD.double() @ up.T)) @ down.T).detach())


@pytest.mark.parametrize("name", ["kernel 3", "attention", "window 3", "linear"])
def test_autocast_keeps_the_output_and_warns_of_nothing(name):
    block, x_BTD = random_block(MIXERS[name]), random_input(9)
    exact_BTD = block(x_BTD)
    with warnings.catch_warnings(), torch.autocast("cpu", dtype=torch.bfloat16):
        warnings.simplefilter("error")
        y_BTD = block(x_BTD)
    assert y_BTD.dtype == torch.bfloat16
    # bfloat16 has 8 significant bits.
    assert (y_BTD.float() - exact_BTD).abs().max() < 0.05 * exact_BTD.abs().max()


def test_attention_stays_in_float32_under_autocast(monkeypatch):
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def spy(*tensors, **options):
        y = attend(*tensors, **options)
        seen.extend(tensor.dtype for tensor in (*tensors, y))
        return y

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        random_block(ATTENTION)(random_input(4))
    assert seen == [torch.float32] * 4


def test_sequences_of_a_batch_are_independent():
    for mixer in MIXERS.values():
        block, x_BTD = random_block(mixer), random_input(5, batch=3)
        alone = torch.cat([block(x_TD[None]) for x_TD in x_BTD])
        torch.testing.assert_close(block(x_BTD), alone, rtol=1e-4, atol=1e-5)
