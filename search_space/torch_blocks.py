"""The blocks of the torch model, for whole sequences and for one token at a time.

`forward` reads a whole sequence. `step` reads one token and the state that the previous step
returned; `initial_state` is the state before the first token. A state is a tuple of tensors.
`onnx_blocks.py` contains the same blocks, with the same names in the same order.

Shape suffixes: B batch, T time, D width, H query heads, K key/value heads, d head size (k of keys,
v of values), F feed-forward width, W kernel width, R rotary pairs, S visible positions, N chunks,
C tokens of a chunk, X any size.
"""

from typing import TypeAlias, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from search_space.architecture import (
    DECAY_TEMPERATURE,
    Activation,
    Architecture,
    Attention,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.rotary import rotary_table

State: TypeAlias = tuple[Tensor, ...]

# Tokens per chunk of linear attention; 16 and 32 were the fastest on a CPU.
_CHUNK = 32


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Normalise in the dtype of the weights, also under autocast."""
        x_BTD = x_BTD.to(self.weight.dtype)  # autocast passes bf16
        return F.rms_norm(x_BTD, (x_BTD.shape[-1],), self.weight, self.eps)


class ShortConvBlock(nn.Module):
    """Gated short convolution of LFM2 (arXiv 2511.23404).

    x -> in_proj -> gate_in, gate_out, u
    gate_in * u -> causal depthwise convolution -> * gate_out -> out_proj
    """

    def __init__(self, mixer: ShortConv, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.in_proj = nn.Linear(width, 3 * width, bias=False)
        self.kernel_DW = nn.Parameter(torch.empty(width, mixer.kernel))
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Mix a whole sequence."""
        gate_in_BTD, gate_out_BTD, u_BTD = self.in_proj(x_BTD).chunk(3, dim=-1)
        taps = self.kernel_DW.shape[1]
        padded_BSD = F.pad(gate_in_BTD * u_BTD, (0, 0, taps - 1, 0))
        return self.out_proj(gate_out_BTD * self._convolve(padded_BSD))

    def initial_state(self, batch: int) -> State:
        """Return W - 1 zero inputs of the convolution, (B, W - 1, D)."""
        width, taps = self.kernel_DW.shape
        return (self.kernel_DW.new_zeros(batch, taps - 1, width),)

    def step(self, x_B1D: Tensor, state: State, position: int) -> tuple[Tensor, State]:
        """Mix one token; the new state holds the last W - 1 inputs of the convolution."""
        gate_in_B1D, gate_out_B1D, u_B1D = self.in_proj(x_B1D).chunk(3, dim=-1)
        seen_BSD = torch.cat([state[0], gate_in_B1D * u_B1D], dim=1)
        return self.out_proj(gate_out_B1D * self._convolve(seen_BSD)), (seen_BSD[:, 1:],)

    def _convolve(self, padded_BSD: Tensor) -> Tensor:
        # Shifted multiply-adds are several times faster on CPUs than a grouped conv1d.
        taps_WD = self.kernel_DW.t().to(padded_BSD.dtype)
        taps = taps_WD.shape[0]
        length = padded_BSD.shape[1] - taps + 1
        y_BTD = padded_BSD[:, :length] * taps_WD[0]
        for tap in range(1, taps):
            y_BTD = torch.addcmul(y_BTD, padded_BSD[:, tap : tap + length], taps_WD[tap])
        return y_BTD


class AttentionBlock(nn.Module):
    """Grouped-query softmax attention with rotary positions (arXiv 2305.13245, 2104.09864).

    x -> q_proj -> q_norm -> rotate -.
    x -> k_proj -> k_norm -> rotate --> softmax attention -> (* sigmoid(gate_proj x)) -> out_proj
    x -> v_proj ---------------------'
    """

    cos_TR: Tensor
    sin_TR: Tensor

    def __init__(self, mixer: Attention, architecture: Architecture) -> None:
        super().__init__()
        width, eps = architecture.width, architecture.norm_eps
        self.mixer = mixer
        heads_width, kv_width = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
        self.q_proj = nn.Linear(width, heads_width, bias=mixer.qkv_bias)
        self.k_proj = nn.Linear(width, kv_width, bias=mixer.qkv_bias)
        self.v_proj = nn.Linear(width, kv_width, bias=mixer.qkv_bias)
        self.q_norm = RMSNorm(mixer.head_dim, eps) if mixer.qk_norm else None
        self.k_norm = RMSNorm(mixer.head_dim, eps) if mixer.qk_norm else None
        self.gate_proj = nn.Linear(width, mixer.heads, bias=False) if mixer.head_gate else None
        self.out_proj = nn.Linear(heads_width, width, bias=False)
        self.register_buffer("cos_TR", torch.empty(0, mixer.head_dim // 2), persistent=False)
        self.register_buffer("sin_TR", torch.empty(0, mixer.head_dim // 2), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Mix a whole sequence."""
        length = x_BTD.shape[1]
        q_BHTd, k_BKTd, v_BKTd = self._project(x_BTD, start=0)
        window = self.mixer.window
        if window is None or window >= length:
            y_BHTd = _attend(q_BHTd, k_BKTd, v_BKTd, is_causal=True)
        else:
            y_BHTd = _attend(q_BHTd, k_BKTd, v_BKTd, visible_TS=_band(length, window, x_BTD))
        return self._finish(x_BTD, y_BHTd)

    def initial_state(self, batch: int) -> State:
        """Return empty keys and values, (B, K, 0, d) each."""
        empty = self.q_proj.weight.new_empty(batch, self.mixer.kv_heads, 0, self.mixer.head_dim)
        return (empty, empty)

    def step(self, x_B1D: Tensor, state: State, position: int) -> tuple[Tensor, State]:
        """Mix the token at `position`; the new state holds the keys and values up to it."""
        q_BHTd, k_BKTd, v_BKTd = self._project(x_B1D, start=position)
        keep = -(self.mixer.window or position + 1)
        k_BKSd = torch.cat([state[0], k_BKTd], dim=2)[:, :, keep:]
        v_BKSd = torch.cat([state[1], v_BKTd], dim=2)[:, :, keep:]
        return self._finish(x_B1D, _attend(q_BHTd, k_BKSd, v_BKSd)), (k_BKSd, v_BKSd)

    def _project(self, x_BTD: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        q_BTHd = self.q_proj(x_BTD).unflatten(-1, (self.mixer.heads, -1))
        k_BTKd = self.k_proj(x_BTD).unflatten(-1, (self.mixer.kv_heads, -1))
        v_BTKd = self.v_proj(x_BTD).unflatten(-1, (self.mixer.kv_heads, -1))
        # Also under autocast: bf16 is too coarse for rotary angles.
        q_BTHd, k_BTKd, v_BTKd = q_BTHd.float(), k_BTKd.float(), v_BTKd.float()
        if self.q_norm is not None and self.k_norm is not None:
            q_BTHd, k_BTKd = self.q_norm(q_BTHd), self.k_norm(k_BTKd)
        q_BTHd, k_BTKd = self._rotate(q_BTHd, start), self._rotate(k_BTKd, start)
        return q_BTHd.transpose(1, 2), k_BTKd.transpose(1, 2), v_BTKd.transpose(1, 2)

    def _rotate(self, x_BTHd: Tensor, start: int) -> Tensor:
        end = start + x_BTHd.shape[1]
        if self.cos_TR.shape[0] < end:
            table = rotary_table(self.mixer, 2 * end)
            self.cos_TR = torch.from_numpy(table.cos_TR).to(x_BTHd.device)
            self.sin_TR = torch.from_numpy(table.sin_TR).to(x_BTHd.device)
        cos_T1R, sin_T1R = self.cos_TR[start:end, None], self.sin_TR[start:end, None]
        left_BTHR, right_BTHR = x_BTHd.chunk(2, dim=-1)
        return torch.cat(
            [
                left_BTHR * cos_T1R - right_BTHR * sin_T1R,
                right_BTHR * cos_T1R + left_BTHR * sin_T1R,
            ],
            dim=-1,
        )

    def _finish(self, x_BTD: Tensor, y_BHTd: Tensor) -> Tensor:
        y_BTHd = y_BHTd.transpose(1, 2)
        if self.gate_proj is not None:
            y_BTHd = y_BTHd * torch.sigmoid(self.gate_proj(x_BTD)).unsqueeze(-1)
        return self.out_proj(y_BTHd.flatten(2))


class LinearAttentionBlock(nn.Module):
    """Gated linear attention with one decay per head (arXiv 2312.06635).

    x -> q_proj, k_proj, v_proj, decay_proj -> S_t = exp(g_t) S_t-1 + k_t v_t^T ; o_t = q_t S_t
    o -> norm per head -> * silu(gate_proj x) -> out_proj
    """

    def __init__(self, mixer: LinearAttention, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.mixer = mixer
        self.q_proj = nn.Linear(width, mixer.heads * mixer.key_dim, bias=False)
        self.k_proj = nn.Linear(width, mixer.heads * mixer.key_dim, bias=False)
        self.v_proj = nn.Linear(width, mixer.heads * mixer.value_dim, bias=False)
        self.decay_proj = nn.Linear(width, mixer.heads, bias=True)
        self.gate_proj = nn.Linear(width, mixer.heads * mixer.value_dim, bias=False)
        self.norm = RMSNorm(mixer.value_dim, architecture.norm_eps)
        self.out_proj = nn.Linear(mixer.heads * mixer.value_dim, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Mix a whole sequence, in chunks."""
        # The chunked form (arXiv 2312.06635, section 4). Tokens of a chunk read each other through
        # scores q k^T, weighted by the decay from s to t, and earlier chunks through the memory.
        # A single chunk of 256 tokens takes five times as long.
        q_BHTk, k_BHTk, v_BHTv, log_decay_BHT = self._project(x_BTD)
        length = x_BTD.shape[1]
        pad = -length % _CHUNK
        q_BHNCk = _chunks(F.pad(q_BHTk, (0, 0, 0, pad)))
        k_BHNCk = _chunks(F.pad(k_BHTk, (0, 0, 0, pad)))
        v_BHNCv = _chunks(F.pad(v_BHTv, (0, 0, 0, pad)))
        log_decay_BHNC = _chunks(F.pad(log_decay_BHT, (0, pad))[..., None])[..., 0].cumsum(-1)
        future_CC = torch.ones(_CHUNK, _CHUNK, dtype=torch.bool, device=x_BTD.device).triu(1)
        between_BHNCC = log_decay_BHNC.unsqueeze(-1) - log_decay_BHNC.unsqueeze(-2)
        decay_BHNCC = between_BHNCC.masked_fill(future_CC, -torch.inf).exp()
        scores_BHNCC = (q_BHNCk @ k_BHNCk.transpose(-1, -2)) * decay_BHNCC
        y_BHNCv = scores_BHNCC.to(v_BHNCv.dtype) @ v_BHNCv
        whole_BHN1 = log_decay_BHNC[..., -1:]
        to_end_BHNC1 = (whole_BHN1 - log_decay_BHNC).exp().unsqueeze(-1)
        written_BHNkv = (k_BHNCk * to_end_BHNC1).transpose(-1, -2) @ v_BHNCv.float()
        memory_BHNkv = _memories(written_BHNkv, whole_BHN1.exp())
        read_BHNCv = (q_BHNCk * log_decay_BHNC.exp().unsqueeze(-1)) @ memory_BHNkv
        y_BHTv = (y_BHNCv + read_BHNCv).flatten(2, 3)[:, :, :length]
        return self._finish(x_BTD, y_BHTv)

    def initial_state(self, batch: int) -> State:
        """Return a zero memory, (B, H, k, v)."""
        mixer = self.mixer
        return (self.q_proj.weight.new_zeros(batch, mixer.heads, mixer.key_dim, mixer.value_dim),)

    def step(self, x_B1D: Tensor, state: State, position: int) -> tuple[Tensor, State]:
        """Mix one token; the new state is the updated memory."""
        q_BHTk, k_BHTk, v_BHTv, log_decay_BHT = self._project(x_B1D)
        memory_BHkv = log_decay_BHT.exp().unsqueeze(-1) * state[0]
        memory_BHkv = memory_BHkv + k_BHTk.transpose(-1, -2) @ v_BHTv
        return self._finish(x_B1D, q_BHTk @ memory_BHkv), (memory_BHkv,)

    def _project(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        def heads_first(y_BTX: Tensor) -> Tensor:
            return y_BTX.unflatten(-1, (self.mixer.heads, -1)).transpose(1, 2)

        q_BHTk = heads_first(self.q_proj(x_BTD)) * self.mixer.key_dim**-0.5
        k_BHTk, v_BHTv = heads_first(self.k_proj(x_BTD)), heads_first(self.v_proj(x_BTD))
        log_decay_BTH = F.logsigmoid(self.decay_proj(x_BTD).float()) / DECAY_TEMPERATURE
        return q_BHTk, k_BHTk, v_BHTv, log_decay_BTH.transpose(1, 2)

    def _finish(self, x_BTD: Tensor, y_BHTv: Tensor) -> Tensor:
        y_BTHv = self.norm(y_BHTv.transpose(1, 2))
        return self.out_proj(y_BTHv.flatten(2) * F.silu(self.gate_proj(x_BTD)))


class FeedForward(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202).

    x -> gate_proj -> activation -. * -> down_proj
    x -> up_proj -----------------'
    """

    def __init__(self, feed_forward_width: int, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.activation: Activation = architecture.activation
        self.gate_proj = nn.Linear(width, feed_forward_width, bias=False)
        self.up_proj = nn.Linear(width, feed_forward_width, bias=False)
        self.down_proj = nn.Linear(feed_forward_width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform every position on its own."""
        return self.down_proj(
            _activate(self.gate_proj(x_BTD), self.activation) * self.up_proj(x_BTD)
        )


MixerBlock: TypeAlias = ShortConvBlock | AttentionBlock | LinearAttentionBlock


def mixer_block(mixer: Mixer, architecture: Architecture) -> MixerBlock:
    """Return the block of a mixer, with uninitialised weights."""
    match mixer:
        case ShortConv():
            return ShortConvBlock(mixer, architecture)
        case Attention():
            return AttentionBlock(mixer, architecture)
        case LinearAttention():
            return LinearAttentionBlock(mixer, architecture)
        case _:
            assert_never(mixer)


def _chunks(x_BHTd: Tensor) -> Tensor:
    return x_BHTd.unflatten(2, (-1, _CHUNK))


def _memories(written_BHNkv: Tensor, kept_BHN1: Tensor) -> Tensor:
    """Return the memory at the start of each chunk: all earlier writes, decayed since then."""
    memory_BHkv = torch.zeros_like(written_BHNkv[:, :, 0])
    memories = []
    for chunk in range(written_BHNkv.shape[2]):
        memories.append(memory_BHkv)
        kept_BH11 = kept_BHN1[:, :, chunk].unsqueeze(-1)
        memory_BHkv = kept_BH11 * memory_BHkv + written_BHNkv[:, :, chunk]
    return torch.stack(memories, dim=2)


def _activate(x_BTF: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "silu":
            return F.silu(x_BTF)
        case "gelu_tanh":
            return F.gelu(x_BTF, approximate="tanh")
        case _:
            assert_never(activation)


def _attend(
    q_BHTd: Tensor,
    k_BKSd: Tensor,
    v_BKSd: Tensor,
    *,
    visible_TS: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    # CPUs stay in float32 under autocast: for up to a few hundred tokens, the backward pass is
    # slower in bf16.
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            q_BHTd, k_BKSd, v_BKSd, attn_mask=visible_TS, is_causal=is_causal, enable_gqa=True
        )


def _band(length: int, window: int, like: Tensor) -> Tensor:
    """Return the mask that is true where position t (row) sees s (column): t - window < s <= t."""
    visible_TS = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return visible_TS.triu(1 - window)
