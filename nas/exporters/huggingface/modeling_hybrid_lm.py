"""A hybrid language model that mixes short convolutions, attention and linear attention.

Training, prefill and decoding use the same code: a mixer reads T new tokens together with the state
that earlier tokens left, and returns the outputs and the new state. A state is a tuple of tensors
and is empty before the first token.

Shape suffixes: B batch, T new tokens, S all tokens up to now (for a state, those it contains),
D width, E embedding width, V vocabulary, H query heads, K key/value heads, d head size (k of keys,
v of values), F feed-forward width, W kernel width, R rotary pairs, N chunks, C tokens of a chunk,
X any size.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_hybrid_lm import HybridLMConfig

State = tuple[Tensor, ...]

# Tokens per chunk of linear attention; affects speed only.
CHUNK = 32
# Divides the log-decay of gated linear attention (arXiv 2312.06635, section 4.4).
DECAY_TEMPERATURE = 16.0


class HybridLMCache:
    """The states of all layers, passed between calls as `past_key_values`.

    Attributes:
        states: The state of each layer.
        length: The number of tokens that have been read.
    """

    is_compileable = False

    def __init__(self, layers: int) -> None:
        self.states: list[State] = [()] * layers
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of tokens that have been read."""
        return self.length

    def reorder_cache(self, beams: Tensor) -> None:
        """Select sequences of the batch, as beam search requires."""
        self.states = [
            tuple(tensor.index_select(0, beams.to(tensor.device)) for tensor in state)
            for state in self.states
        ]


@dataclass
class HybridLMInputs:
    """What all layers share in one forward pass.

    Attributes:
        positions_BT: The position of each new token in its text.
        present_BS: False for padding, among all tokens up to now; None if there is no padding.
        tokens: The number of new tokens.
        past: The number of earlier tokens.
        masks: The attention masks computed so far, by window.
        rotations: The cosines and sines computed so far, by head size, base and rotating fraction.
    """

    positions_BT: Tensor
    present_BS: Tensor | None
    tokens: int
    past: int
    masks: dict[int | None, Tensor] = field(default_factory=dict)
    rotations: dict[tuple[int, float, float], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def without_padding(self, x_BTD: Tensor) -> Tensor:
        """Return the input with zeros for padding, so that padding does not affect states."""
        if self.present_BS is None:
            return x_BTD
        return x_BTD * self.present_BS[:, -self.tokens :, None].to(x_BTD.dtype)

    def mask(self, window: int | None) -> Tensor:
        """Return the attention mask, (T, S) or with padding (B, 1, T, S).

        It is true where a token sees another one: not a later one, not outside its window, and not
        padding.
        """
        if window not in self.masks:
            device, total = self.positions_BT.device, self.past + self.tokens
            s_S = torch.arange(total, device=device)
            t_T1 = s_S[self.past :, None]
            visible_TS = s_S <= t_T1
            if window is not None:
                visible_TS &= s_S > t_T1 - window
            if self.present_BS is not None:
                # Padding sees itself, because a softmax over an empty row is undefined.
                visible_TS = visible_TS & self.present_BS[:, None, None, :].bool()
                visible_TS |= s_S == t_T1
            self.masks[window] = visible_TS
        return self.masks[window]

    def cos_and_sin(self, mixer: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines of rotary positions (arXiv 2104.09864), (B, 1, T, R) each.

        Pairs beyond `rope_share` have an angle of zero.
        """
        key = (mixer["head_dim"], mixer["rope_base"], mixer["rope_share"])
        if key not in self.rotations:
            pairs = mixer["head_dim"] // 2
            exponents_R = torch.arange(pairs, device=self.positions_BT.device).float() / pairs
            frequency_R = mixer["rope_base"] ** -exponents_R
            frequency_R[round(pairs * mixer["rope_share"]) :] = 0.0
            angle_BTR = self.positions_BT[..., None].float() * frequency_R
            self.rotations[key] = (angle_BTR.cos()[:, None], angle_BTR.sin()[:, None])
        return self.rotations[key]


class HybridLMRMSNorm(nn.Module):
    """Root-mean-square norm over the last axis (arXiv 1910.07467), computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        y = F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps)
        return y.to(x.dtype)


class HybridLMResidualLinear(nn.Linear):
    """A projection without bias that writes to the residual stream."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)


class HybridLMDecayLinear(nn.Linear):
    """A projection to one decay per head, before the logistic function."""

    def __init__(self, in_features: int, heads: int) -> None:
        super().__init__(in_features, heads, bias=True)


class HybridLMShortConv(nn.Module):
    """Gated short convolution of LFM2 (arXiv 2511.23404).

    x -> in_proj -> gate_in, gate_out, u
    gate_in * u -> causal depthwise convolution -> * gate_out -> out_proj

    The mixer's key is `kernel`, the length of the kernel in tokens.
    The state holds the last W - 1 inputs of the convolution, (B, D, W - 1).
    """

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.in_proj = nn.Linear(width, 3 * width, bias=False)
        self.kernel_DW = nn.Parameter(torch.empty(width, mixer["kernel"]))
        self.out_proj = HybridLMResidualLinear(width, width)

    def forward(self, x_BTD: Tensor, state: State, inputs: HybridLMInputs) -> tuple[Tensor, State]:
        """Return the outputs, (B, T, D), and the new state."""
        x_BTD = inputs.without_padding(x_BTD)
        history = self.kernel_DW.shape[1] - 1
        gate_in_BTD, gate_out_BTD, u_BTD = self.in_proj(x_BTD).chunk(3, dim=-1)
        u_BDT = (gate_in_BTD * u_BTD).transpose(1, 2)
        u_BDS = torch.cat([*state, u_BDT], dim=2) if state else F.pad(u_BDT, (history, 0))
        y_BDT = F.conv1d(u_BDS, self.kernel_DW[:, None].to(u_BDT.dtype), groups=u_BDT.shape[1])
        new_state = (u_BDS[:, :, u_BDS.shape[2] - history :],)
        return self.out_proj(gate_out_BTD * y_BDT.transpose(1, 2)), new_state


class HybridLMAttention(nn.Module):
    """Grouped-query softmax attention with rotary positions (arXiv 2305.13245, 2104.09864).

    x -> q_proj -> q_norm -> rotate -.
    x -> k_proj -> k_norm -> rotate --> softmax attention -> (* sigmoid(gate_proj x)) -> out_proj
    x -> v_proj ---------------------'

    The mixer's keys are `heads`, `kv_heads`, `head_dim`, `window` (the number of visible tokens;
    None for all), `qk_norm`, `head_gate`, `qkv_bias`, `rope_base` and `rope_share` (the fraction of
    each head that rotates).
    The state holds the keys and values that the next token can see, (B, K, S, d) each.
    """

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width, heads, head_dim = config.hidden_size, mixer["heads"], mixer["head_dim"]
        kv_width, bias = mixer["kv_heads"] * head_dim, mixer["qkv_bias"]

        def norm() -> nn.Module:
            return HybridLMRMSNorm(head_dim, config.norm_eps) if mixer["qk_norm"] else nn.Identity()

        self.mixer = mixer
        self.q_proj = nn.Linear(width, heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(width, kv_width, bias=bias)
        self.v_proj = nn.Linear(width, kv_width, bias=bias)
        self.q_norm = norm()
        self.k_norm = norm()
        self.gate_proj = nn.Linear(width, heads, bias=False) if mixer["head_gate"] else None
        self.out_proj = HybridLMResidualLinear(heads * head_dim, width)

    def forward(self, x_BTD: Tensor, state: State, inputs: HybridLMInputs) -> tuple[Tensor, State]:
        """Return the outputs, (B, T, D), and the new state."""
        by_head = (-1, self.mixer["head_dim"])
        q_BHTd = self.q_norm(self.q_proj(x_BTD).unflatten(-1, by_head)).transpose(1, 2)
        k_BKTd = self.k_norm(self.k_proj(x_BTD).unflatten(-1, by_head)).transpose(1, 2)
        v_BKTd = self.v_proj(x_BTD).unflatten(-1, by_head).transpose(1, 2)
        q_BHTd, k_BKTd = self._rotate(q_BHTd, inputs), self._rotate(k_BKTd, inputs)
        k_BKSd = torch.cat([state[0], k_BKTd], dim=2) if state else k_BKTd
        v_BKSd = torch.cat([state[1], v_BKTd], dim=2) if state else v_BKTd
        y_BTHd = self._attend(q_BHTd, k_BKSd, v_BKSd, inputs).transpose(1, 2)
        if self.gate_proj is not None:
            y_BTHd = y_BTHd * torch.sigmoid(self.gate_proj(x_BTD)).unsqueeze(-1)
        length, window = k_BKSd.shape[2], self.mixer["window"]
        # The next token sees itself and the last `window - 1` tokens.
        first = 0 if window is None else max(0, length - window + 1)
        return self.out_proj(y_BTHd.flatten(2)), (k_BKSd[:, :, first:], v_BKSd[:, :, first:])

    def _rotate(self, x_BHTd: Tensor, inputs: HybridLMInputs) -> Tensor:
        cos_B1TR, sin_B1TR = inputs.cos_and_sin(self.mixer)
        left_BHTR, right_BHTR = x_BHTd.float().chunk(2, dim=-1)
        rotated_BHTd = torch.cat(
            [
                left_BHTR * cos_B1TR - right_BHTR * sin_B1TR,
                right_BHTR * cos_B1TR + left_BHTR * sin_B1TR,
            ],
            dim=-1,
        )
        return rotated_BHTd.to(x_BHTd.dtype)

    def _attend(
        self, q_BHTd: Tensor, k_BKSd: Tensor, v_BKSd: Tensor, inputs: HybridLMInputs
    ) -> Tensor:
        window, length = self.mixer["window"], k_BKSd.shape[2]
        window_spans_all = window is None or inputs.past + inputs.tokens <= window
        is_first, is_single = inputs.past == 0, inputs.tokens == 1
        if inputs.present_BS is None and (is_single or (is_first and window_spans_all)):
            # A single token sees the whole state; a first pass needs only torch's causal mask.
            mask_TS, is_causal = None, not is_single
        else:
            mask_TS, is_causal = inputs.mask(window)[..., -length:], False
        return F.scaled_dot_product_attention(
            q_BHTd, k_BKSd, v_BKSd, attn_mask=mask_TS, is_causal=is_causal, enable_gqa=True
        )


class HybridLMLinearAttention(nn.Module):
    """Gated linear attention with one decay per head (arXiv 2312.06635).

    x -> q_proj, k_proj, v_proj, decay_proj -> S_t = exp(g_t) S_t-1 + k_t v_t^T ; o_t = q_t S_t
    o -> norm per head -> * silu(gate_proj x) -> out_proj

    The mixer's keys are `heads`, `key_dim` and `value_dim`.
    The state holds the memory S_t, (B, H, k, v), in float32.
    """

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, mixer["heads"]
        self.mixer = mixer
        self.q_proj = nn.Linear(width, heads * mixer["key_dim"], bias=False)
        self.k_proj = nn.Linear(width, heads * mixer["key_dim"], bias=False)
        self.v_proj = nn.Linear(width, heads * mixer["value_dim"], bias=False)
        self.decay_proj = HybridLMDecayLinear(width, heads)
        self.gate_proj = nn.Linear(width, heads * mixer["value_dim"], bias=False)
        self.norm = HybridLMRMSNorm(mixer["value_dim"], config.norm_eps)
        self.out_proj = HybridLMResidualLinear(heads * mixer["value_dim"], width)

    def forward(self, x_BTD: Tensor, state: State, inputs: HybridLMInputs) -> tuple[Tensor, State]:
        """Return the outputs, (B, T, D), and the new state."""
        # The chunked form (arXiv 2312.06635, section 4). Tokens of a chunk read each other through
        # scores, weighted by the decay between them, and earlier chunks through the memory. It is
        # computed in float32, because the memory accumulates over all tokens.
        x_BTD = inputs.without_padding(x_BTD)
        chunk = min(CHUNK, inputs.tokens)
        pad = -inputs.tokens % chunk
        q_BHNCk, k_BHNCk, v_BHNCv = (
            self._chunks(projection(x_BTD), chunk, pad)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q_BHNCk = q_BHNCk * self.mixer["key_dim"] ** -0.5
        log_decay_BTH = F.logsigmoid(self.decay_proj(x_BTD).float()) / DECAY_TEMPERATURE
        log_decay_BHNC = self._chunks(log_decay_BTH, chunk, pad)[..., 0].cumsum(-1)

        future_CC = torch.ones(chunk, chunk, dtype=torch.bool, device=x_BTD.device).triu(1)
        between_BHNCC = log_decay_BHNC.unsqueeze(-1) - log_decay_BHNC.unsqueeze(-2)
        decay_BHNCC = between_BHNCC.masked_fill(future_CC, -torch.inf).exp()
        y_BHNCv = ((q_BHNCk @ k_BHNCk.transpose(-1, -2)) * decay_BHNCC) @ v_BHNCv

        whole_BHN1 = log_decay_BHNC[..., -1:]
        to_end_BHNC1 = (whole_BHN1 - log_decay_BHNC).exp().unsqueeze(-1)
        written_BHNkv = (k_BHNCk * to_end_BHNC1).transpose(-1, -2) @ v_BHNCv
        memory_BHkv = state[0] if state else torch.zeros_like(written_BHNkv[:, :, 0])
        memories = []
        for index in range(written_BHNkv.shape[2]):
            memories.append(memory_BHkv)
            kept_BH11 = whole_BHN1[:, :, index].exp().unsqueeze(-1)
            memory_BHkv = kept_BH11 * memory_BHkv + written_BHNkv[:, :, index]
        memory_BHNkv = torch.stack(memories, dim=2)
        y_BHNCv = y_BHNCv + (q_BHNCk * log_decay_BHNC.exp().unsqueeze(-1)) @ memory_BHNkv

        y_BTHv = y_BHNCv.flatten(2, 3)[:, :, : inputs.tokens].transpose(1, 2)
        y_BTX = self.norm(y_BTHv).flatten(2).to(x_BTD.dtype) * F.silu(self.gate_proj(x_BTD))
        return self.out_proj(y_BTX), (memory_BHkv,)

    def _chunks(self, y_BTX: Tensor, chunk: int, pad: int) -> Tensor:
        """Split into heads and chunks, in float32: (B, H, N, C, X / H)."""
        y_BHTd = y_BTX.float().unflatten(-1, (self.mixer["heads"], -1)).transpose(1, 2)
        return F.pad(y_BHTd, (0, 0, 0, pad)).unflatten(2, (-1, chunk))


class HybridLMFeedForward(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202).

    x -> gate_proj -> activation -. * -> down_proj
    x -> up_proj -----------------'
    """

    def __init__(self, feed_forward_width: int, config: HybridLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.approximate_gelu = {"silu": False, "gelu_tanh": True}[config.activation]
        self.gate_proj = nn.Linear(width, feed_forward_width, bias=False)
        self.up_proj = nn.Linear(width, feed_forward_width, bias=False)
        self.down_proj = HybridLMResidualLinear(feed_forward_width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform every position on its own."""
        gate_BTF = self.gate_proj(x_BTD)
        active_BTF = (
            F.gelu(gate_BTF, approximate="tanh") if self.approximate_gelu else F.silu(gate_BTF)
        )
        return self.down_proj(active_BTF * self.up_proj(x_BTD))


# The class of each mixer, by its `kind` in the configuration.
MIXERS: dict[str, type[nn.Module]] = {
    "short_conv": HybridLMShortConv,
    "attention": HybridLMAttention,
    "linear_attention": HybridLMLinearAttention,
}


class HybridLMLayer(nn.Module):
    """A layer: a mixer and a feed-forward layer, each added to the residual stream.

    x -> mixer_norm -> mixer -> (mixer_post_norm) -> + -> feed_forward_norm -> feed_forward
    '----------------------------------------------'  '--- -> (feed_forward_post_norm) -> + ->
    """

    def __init__(self, layer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()

        def norm(exists: bool) -> nn.Module:
            if not exists:
                return nn.Identity()
            return HybridLMRMSNorm(config.hidden_size, config.norm_eps)

        mixer, sandwich = layer["mixer"], config.sandwich_norm
        self.mixer_norm = norm(mixer is not None)
        self.mixer = None if mixer is None else MIXERS[mixer["kind"]](mixer, config)
        self.mixer_post_norm = norm(mixer is not None and sandwich)
        self.feed_forward_norm = norm(True)
        self.feed_forward = HybridLMFeedForward(layer["feed_forward_width"], config)
        self.feed_forward_post_norm = norm(sandwich)

    def forward(self, x_BTD: Tensor, state: State, inputs: HybridLMInputs) -> tuple[Tensor, State]:
        """Return the outputs, (B, T, D), and the new state of the mixer."""
        if self.mixer is not None:
            y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state, inputs)
            x_BTD = x_BTD + self.mixer_post_norm(y_BTD)
        y_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
        return x_BTD + self.feed_forward_post_norm(y_BTD), state


class HybridLMForCausalLM(PreTrainedModel, GenerationMixin):
    """A hybrid language model with a head that predicts the next token.

    tokens -> embedding (-> embedding_up) -> layers -> final_norm (-> head_down) -> head -> logits
    """

    config_class = HybridLMConfig
    _no_split_modules = ["HybridLMLayer"]  # noqa: RUF012 - as transformers declares it
    _supports_sdpa = True
    _input_embed_layer = "embedding"
    _tied_weights_keys = {"head.weight": "embedding.weight"}  # noqa: RUF012 - as above

    def __init__(self, config: HybridLMConfig) -> None:
        super().__init__(config)
        width, narrow = config.hidden_size, config.embedding_width
        factorised = narrow < width
        self.embedding = nn.Embedding(config.vocab_size, narrow)
        self.embedding_up = nn.Linear(narrow, width, bias=False) if factorised else nn.Identity()
        self.layers = nn.ModuleList(HybridLMLayer(layer, config) for layer in config.layers)
        self.final_norm = HybridLMRMSNorm(width, config.norm_eps)
        self.head_down = nn.Linear(width, narrow, bias=False) if factorised else nn.Identity()
        self.head: nn.Module = nn.Linear(narrow, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.head

    def set_output_embeddings(self, head: nn.Module) -> None:
        """Replace the head."""
        self.head = head

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: HybridLMCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Predict the next token at every position.

        Args:
            input_ids: The new tokens, (B, T).
            attention_mask: Zero for padding, among the tokens of the cache and the new ones,
                (B, S).
            position_ids: The positions of the new tokens, (B, T). By default, positions are counted
                from the start of the sequence, including padding.
            past_key_values: The cache that an earlier call returned; updated in place.
            inputs_embeds: The embeddings of the new tokens, (B, T, E), instead of `input_ids`.
            labels: The tokens themselves, (B, T), or -100 where no loss is computed.
            use_cache: Whether to return a cache. By default, the configuration decides, and there
                is none in training.
            logits_to_keep: The number of last positions to return logits for; 0 returns all.
            **kwargs: Further arguments of the loss function.

        Returns:
            The loss, if `labels` are given, the logits and the cache.

        Raises:
            ValueError: Both or neither of `input_ids` and `inputs_embeds` are given, or
                `attention_mask` has the wrong shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("specify exactly one of input_ids and inputs_embeds")
        x_BTE = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        cache = past_key_values or HybridLMCache(len(self.layers))
        inputs = _inputs(x_BTE, attention_mask, position_ids, cache.length)
        x_BTD = self.embedding_up(x_BTE) * self.config.embedding_multiplier
        states = []
        for layer, state in zip(self.layers, cache.states, strict=True):
            x_BTD, state = layer(x_BTD, state, inputs)
            states.append(state)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache:
            cache.states, cache.length = states, cache.length + inputs.tokens
        y_BTE = self.head_down(self.final_norm(x_BTD[:, -logits_to_keep:]))
        logits_BTV = self.head(y_BTE)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits_BTV, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits_BTV,
            # Generation uses this cache like one of transformers' own.
            past_key_values=cache if use_cache else None,  # type: ignore[arg-type]
        )

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # the caches of transformers count tokens in attention layers

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise matrices with a variance of 1 / inputs.

        Matrices that write to the residual stream are also divided by sqrt(2 * depth), as in GPT-2.
        """
        # transformers passes only modules that have parameters of their own, so that the classes of
        # linear layers decide, not the modules that contain them.
        if isinstance(module, HybridLMRMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, HybridLMShortConv):
            init.normal_(module.kernel_DW, std=module.kernel_DW.shape[-1] ** -0.5)
        elif isinstance(module, nn.Linear | nn.Embedding):
            deviation = module.weight.shape[-1] ** -0.5
            if isinstance(module, HybridLMResidualLinear):
                deviation /= math.sqrt(2 * len(self.layers))
            init.normal_(module.weight, std=deviation)
            if isinstance(module, HybridLMDecayLinear):
                # Half-lives from a few to a few hundred tokens, one per head.
                init.copy_(module.bias, torch.linspace(-2.0, 3.5, module.out_features))
            elif isinstance(module, nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)


def _inputs(
    x_BTE: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None, past: int
) -> HybridLMInputs:
    tokens = x_BTE.shape[1]
    expected_shape = (x_BTE.shape[0], past + tokens)
    if attention_mask is not None and attention_mask.shape != expected_shape:
        raise ValueError(
            f"attention_mask: the shape {tuple(attention_mask.shape)} is not {expected_shape}, the "
            "batch size and the number of all tokens"
        )
    has_padding = attention_mask is not None and not bool(attention_mask.all())
    if position_ids is None:
        position_ids = torch.arange(past, past + tokens, device=x_BTE.device)[None]
    return HybridLMInputs(
        positions_BT=position_ids,
        present_BS=attention_mask if has_padding else None,
        tokens=tokens,
        past=past,
    )
