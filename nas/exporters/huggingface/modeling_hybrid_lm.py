"""A hybrid language model: any mixture of short convolutions, attention and linear attention.

B batch, T new tokens, S tokens seen, D width, E embedding width, V vocabulary, H query heads,
K key/value heads, d head size (k of keys, v of values), F feed-forward, W kernel width, R rotary
pairs, N chunks of C tokens.

A mixer reads T tokens behind those that its state stands for, and gives their outputs and its new
state: a tuple of tensors, empty before the first token. So training, prefill and decode are one.
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

CHUNK = 32
# Divides the log-decay of gated linear attention (arXiv 2312.06635, section 4.4).
DECAY_TEMPERATURE = 16.0


class HybridLMCache:
    """What every layer keeps of the tokens that were read, for `past_key_values`."""

    is_compileable = False

    def __init__(self, layers: int) -> None:
        self.states: list[State] = [()] * layers
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def reorder_cache(self, beams: Tensor) -> None:
        self.states = [
            tuple(tensor.index_select(0, beams.to(tensor.device)) for tensor in state)
            for state in self.states
        ]


@dataclass
class Reading:
    """What all layers share while T tokens are read.

    positions_BT: where each token stands in its text.
    present_BS: false for padding, of S tokens before and now; None where there is none.
    """

    positions_BT: Tensor
    present_BS: Tensor | None
    tokens: int
    past: int
    masks: dict[int | None, Tensor] = field(default_factory=dict)
    turns: dict[tuple[int, float, float], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def without_padding(self, x_BTD: Tensor) -> Tensor:
        """Zero where there is padding, of which then no state keeps a trace."""
        if self.present_BS is None:
            return x_BTD
        return x_BTD * self.present_BS[:, -self.tokens :, None].to(x_BTD.dtype)

    def mask(self, window: int | None) -> Tensor:
        """True where a token sees another: one before it, in its window, and no padding."""
        if window not in self.masks:
            device, seen = self.positions_BT.device, self.past + self.tokens
            s_S = torch.arange(seen, device=device)
            t_T1 = s_S[self.past :, None]
            visible_TS = s_S <= t_T1
            if window is not None:
                visible_TS &= s_S > t_T1 - window
            if self.present_BS is not None:
                # Padding sees itself: a row that sees nothing has no softmax.
                visible_TS = visible_TS & self.present_BS[:, None, None, :].bool()
                visible_TS |= s_S == t_T1
            self.masks[window] = visible_TS
        return self.masks[window]

    def cos_and_sin(self, mixer: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """(B, 1, T, R) each; the pairs behind `rope_share` have an angle of zero."""
        key = (mixer["head_dim"], mixer["rope_base"], mixer["rope_share"])
        if key not in self.turns:
            pairs = mixer["head_dim"] // 2
            exponents_R = torch.arange(pairs, device=self.positions_BT.device).float() / pairs
            frequency_R = mixer["rope_base"] ** -exponents_R
            frequency_R[round(pairs * mixer["rope_share"]) :] = 0.0
            angle_BTR = self.positions_BT[..., None].float() * frequency_R
            self.turns[key] = (angle_BTR.cos()[:, None], angle_BTR.sin()[:, None])
        return self.turns[key]


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps)
        return y.to(x.dtype)


class ShortConv(nn.Module):
    """x -> in_proj -> B, C, u ;  B*u -> causal depthwise convolution -> *C -> out_proj"""

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.in_proj = nn.Linear(width, 3 * width, bias=False)
        self.kernel_DW = nn.Parameter(torch.empty(width, mixer["kernel"]))
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, state: State, reading: Reading) -> tuple[Tensor, State]:
        x_BTD = reading.without_padding(x_BTD)
        before = self.kernel_DW.shape[1] - 1
        gate_in_BTD, gate_out_BTD, u_BTD = self.in_proj(x_BTD).chunk(3, dim=-1)
        u_BDT = (gate_in_BTD * u_BTD).transpose(1, 2)
        seen_BDS = torch.cat([*state, u_BDT], dim=2) if state else F.pad(u_BDT, (before, 0))
        y_BDT = F.conv1d(seen_BDS, self.kernel_DW[:, None].to(u_BDT.dtype), groups=u_BDT.shape[1])
        kept = (seen_BDS[:, :, seen_BDS.shape[2] - before :],)
        return self.out_proj(gate_out_BTD * y_BDT.transpose(1, 2)), kept


class Attention(nn.Module):
    """
    x -> q_proj -> q_norm -> rotate -.
    x -> k_proj -> k_norm -> rotate --> softmax attention -> (* sigmoid(gate_proj x)) -> out_proj
    x -> v_proj ---------------------'
    """

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width, heads, head_dim = config.hidden_size, mixer["heads"], mixer["head_dim"]
        kv_width, bias = mixer["kv_heads"] * head_dim, mixer["qkv_bias"]
        self.mixer = mixer
        self.q_proj = nn.Linear(width, heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(width, kv_width, bias=bias)
        self.v_proj = nn.Linear(width, kv_width, bias=bias)
        self.q_norm = RMSNorm(head_dim, config.norm_eps) if mixer["qk_norm"] else nn.Identity()
        self.k_norm = RMSNorm(head_dim, config.norm_eps) if mixer["qk_norm"] else nn.Identity()
        self.gate_proj = nn.Linear(width, heads, bias=False) if mixer["head_gate"] else None
        self.out_proj = nn.Linear(heads * head_dim, width, bias=False)

    def forward(self, x_BTD: Tensor, state: State, reading: Reading) -> tuple[Tensor, State]:
        heads_d = (-1, self.mixer["head_dim"])
        q_BHTd = self.q_norm(self.q_proj(x_BTD).unflatten(-1, heads_d)).transpose(1, 2)
        k_BKTd = self.k_norm(self.k_proj(x_BTD).unflatten(-1, heads_d)).transpose(1, 2)
        v_BKTd = self.v_proj(x_BTD).unflatten(-1, heads_d).transpose(1, 2)
        q_BHTd, k_BKTd = self._rotate(q_BHTd, reading), self._rotate(k_BKTd, reading)
        k_BKSd = torch.cat([state[0], k_BKTd], dim=2) if state else k_BKTd
        v_BKSd = torch.cat([state[1], v_BKTd], dim=2) if state else v_BKTd
        y_BHTd = self._attend(q_BHTd, k_BKSd, v_BKSd, reading)
        y_BTHd = y_BHTd.transpose(1, 2)
        if self.gate_proj is not None:
            y_BTHd = y_BTHd * torch.sigmoid(self.gate_proj(x_BTD)).unsqueeze(-1)
        seen, window = k_BKSd.shape[2], self.mixer["window"]
        # The next token sees itself and the last `window - 1` before it.
        first = 0 if window is None else max(0, seen - window + 1)
        return self.out_proj(y_BTHd.flatten(2)), (k_BKSd[:, :, first:], v_BKSd[:, :, first:])

    def _rotate(self, x_BHTd: Tensor, reading: Reading) -> Tensor:
        cos_B1TR, sin_B1TR = reading.cos_and_sin(self.mixer)
        left_BHTR, right_BHTR = x_BHTd.float().chunk(2, dim=-1)
        turned_BHTd = torch.cat(
            [
                left_BHTR * cos_B1TR - right_BHTR * sin_B1TR,
                right_BHTR * cos_B1TR + left_BHTR * sin_B1TR,
            ],
            dim=-1,
        )
        return turned_BHTd.to(x_BHTd.dtype)

    def _attend(self, q_BHTd: Tensor, k_BKSd: Tensor, v_BKSd: Tensor, reading: Reading) -> Tensor:
        window, seen = self.mixer["window"], k_BKSd.shape[2]
        in_sight = window is None or reading.past + reading.tokens <= window
        fresh, single = reading.past == 0, reading.tokens == 1
        if reading.present_BS is None and (single or (fresh and in_sight)):
            # One token sees all that is kept; the first ones see each other as torch masks them.
            mask_TS, causal = None, not single
        else:
            mask_TS, causal = reading.mask(window)[..., -seen:], False
        return F.scaled_dot_product_attention(
            q_BHTd, k_BKSd, v_BKSd, attn_mask=mask_TS, is_causal=causal, enable_gqa=True
        )


class LinearAttention(nn.Module):
    """
    x -> q_proj, k_proj, v_proj, decay_proj -> S_t = exp(g_t) S_t-1 + k_t v_t^T ; o_t = q_t S_t
    o -> norm per head -> * silu(gate_proj x) -> out_proj
    """

    def __init__(self, mixer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, mixer["heads"]
        self.mixer = mixer
        self.q_proj = nn.Linear(width, heads * mixer["key_dim"], bias=False)
        self.k_proj = nn.Linear(width, heads * mixer["key_dim"], bias=False)
        self.v_proj = nn.Linear(width, heads * mixer["value_dim"], bias=False)
        self.decay_proj = nn.Linear(width, heads, bias=True)
        self.gate_proj = nn.Linear(width, heads * mixer["value_dim"], bias=False)
        self.norm = RMSNorm(mixer["value_dim"], config.norm_eps)
        self.out_proj = nn.Linear(heads * mixer["value_dim"], width, bias=False)

    def forward(self, x_BTD: Tensor, state: State, reading: Reading) -> tuple[Tensor, State]:
        # In chunks (arXiv 2312.06635, section 4): inside one, scores weighted by the decay from
        # one token to the other; from before it, what the memory holds. In float32, since memories
        # add up over all tokens.
        x_BTD = reading.without_padding(x_BTD)
        chunk = min(CHUNK, reading.tokens)
        pad = -reading.tokens % chunk
        q_BHNCk, k_BHNCk, v_BHNCv = (
            self._chunks(projection(x_BTD), chunk, pad)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        log_decay_BTH = F.logsigmoid(self.decay_proj(x_BTD).float()) / DECAY_TEMPERATURE
        sums_BHNC = self._chunks(log_decay_BTH, chunk, pad)[..., 0].cumsum(-1)
        between_BHNCC = sums_BHNC.unsqueeze(-1) - sums_BHNC.unsqueeze(-2)
        future_CC = torch.ones(chunk, chunk, dtype=torch.bool, device=x_BTD.device).triu(1)
        decay_BHNCC = between_BHNCC.masked_fill(future_CC, -torch.inf).exp()
        q_BHNCk = q_BHNCk * self.mixer["key_dim"] ** -0.5
        y_BHNCv = ((q_BHNCk @ k_BHNCk.transpose(-1, -2)) * decay_BHNCC) @ v_BHNCv
        whole_BHN1 = sums_BHNC[..., -1:]
        to_end_BHNC1 = (whole_BHN1 - sums_BHNC).exp().unsqueeze(-1)
        written_BHNkv = (k_BHNCk * to_end_BHNC1).transpose(-1, -2) @ v_BHNCv
        memory_BHkv = state[0] if state else torch.zeros_like(written_BHNkv[:, :, 0])
        found = []
        for index in range(written_BHNkv.shape[2]):
            found.append(memory_BHkv)
            kept_BH11 = whole_BHN1[:, :, index].exp().unsqueeze(-1)
            memory_BHkv = kept_BH11 * memory_BHkv + written_BHNkv[:, :, index]
        from_before_BHNCk = q_BHNCk * sums_BHNC.exp().unsqueeze(-1)
        y_BHNCv = y_BHNCv + from_before_BHNCk @ torch.stack(found, dim=2)
        y_BTHv = y_BHNCv.flatten(2, 3)[:, :, : reading.tokens].transpose(1, 2)
        y_BTD = self.norm(y_BTHv).flatten(2).to(x_BTD.dtype) * F.silu(self.gate_proj(x_BTD))
        return self.out_proj(y_BTD), (memory_BHkv,)

    def _chunks(self, y_BTX: Tensor, chunk: int, pad: int) -> Tensor:
        y_BHTd = y_BTX.float().unflatten(-1, (self.mixer["heads"], -1)).transpose(1, 2)
        return F.pad(y_BHTd, (0, 0, 0, pad)).unflatten(2, (-1, chunk))


class FeedForward(nn.Module):
    """down_proj(activation(gate_proj x) * up_proj x)"""

    def __init__(self, hidden: int, config: HybridLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.approximate_gelu = {"silu": False, "gelu_tanh": True}[config.activation]
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF = self.gate_proj(x_BTD)
        gate_BTF = (
            F.gelu(gate_BTF, approximate="tanh") if self.approximate_gelu else F.silu(gate_BTF)
        )
        return self.down_proj(gate_BTF * self.up_proj(x_BTD))


MIXERS: dict[str, type[nn.Module]] = {
    "short_conv": ShortConv,
    "attention": Attention,
    "linear_attention": LinearAttention,
}


class HybridLMLayer(nn.Module):
    """
    x -> mixer_norm -> mixer -> (mixer_post_norm) -> + -> feed_forward_norm -> feed_forward
    '----------------------------------------------'  '--- -> (feed_forward_post_norm) -> + ->
    """

    def __init__(self, layer: dict[str, Any], config: HybridLMConfig) -> None:
        super().__init__()

        def norm(wanted: bool) -> nn.Module:
            return RMSNorm(config.hidden_size, config.norm_eps) if wanted else nn.Identity()

        mixer, sandwich = layer["mixer"], config.sandwich_norm
        self.mixer_norm = norm(mixer is not None)
        self.mixer = None if mixer is None else MIXERS[mixer["kind"]](mixer, config)
        self.mixer_post_norm = norm(mixer is not None and sandwich)
        self.feed_forward_norm = norm(True)
        self.feed_forward = FeedForward(layer["feed_forward_width"], config)
        self.feed_forward_post_norm = norm(sandwich)

    def forward(self, x_BTD: Tensor, state: State, reading: Reading) -> tuple[Tensor, State]:
        if self.mixer is not None:
            y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state, reading)
            x_BTD = x_BTD + self.mixer_post_norm(y_BTD)
        y_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
        return x_BTD + self.feed_forward_post_norm(y_BTD), state


class HybridLMForCausalLM(PreTrainedModel, GenerationMixin):
    """
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
        self.final_norm = RMSNorm(width, config.norm_eps)
        self.head_down = nn.Linear(width, narrow, bias=False) if factorised else nn.Identity()
        self.head: nn.Module = nn.Linear(narrow, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def set_output_embeddings(self, head: nn.Module) -> None:
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
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the next token at each position, or at the last `logits_to_keep`.

        attention_mask: (B, S), zero for padding, of the tokens before and now.
        labels: (B, T), the tokens themselves; -100 where there is nothing to learn.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give one of input_ids and inputs_embeds")
        x_BTE = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        cache = past_key_values or HybridLMCache(len(self.layers))
        reading = _reading(x_BTE, attention_mask, position_ids, cache.length)
        x_BTD = self.embedding_up(x_BTE) * self.config.embedding_multiplier
        states = []
        for layer, state in zip(self.layers, cache.states, strict=True):
            x_BTD, state = layer(x_BTD, state, reading)
            states.append(state)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache:
            cache.states, cache.length = states, cache.length + reading.tokens
        y_BTE = self.head_down(self.final_norm(x_BTD[:, -logits_to_keep:]))
        logits_BTV = self.head(y_BTE)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits_BTV, labels=labels, vocab_size=self.config.vocab_size, **others
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits_BTV,
            past_key_values=cache if use_cache else None,  # type: ignore[arg-type] # like its own
        )

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # transformers' own caches count tokens in attention layers

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Variance of 1 / inputs; what writes to the residual stream less, by the depth."""
        writers = math.sqrt(2 * max(1, len(self.layers)))
        if isinstance(module, RMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, nn.Linear | nn.Embedding):
            init.normal_(module.weight, std=module.weight.shape[-1] ** -0.5)
            if isinstance(module, nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, ShortConv):
            init.normal_(module.kernel_DW, std=module.kernel_DW.shape[-1] ** -0.5)
            init.normal_(module.out_proj.weight, std=module.out_proj.in_features**-0.5 / writers)
        elif isinstance(module, Attention):
            init.normal_(module.out_proj.weight, std=module.out_proj.in_features**-0.5 / writers)
        elif isinstance(module, LinearAttention):
            init.normal_(module.out_proj.weight, std=module.out_proj.in_features**-0.5 / writers)
            # Half-lives from a few to some hundreds of tokens, one for each head.
            spread_H = torch.linspace(-2.0, 3.5, module.mixer["heads"])
            init.copy_(module.decay_proj.bias, spread_H)
        elif isinstance(module, FeedForward):
            init.normal_(module.down_proj.weight, std=module.down_proj.in_features**-0.5 / writers)


def _reading(
    x_BTE: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None, past: int
) -> Reading:
    tokens = x_BTE.shape[1]
    if attention_mask is not None and attention_mask.shape != (x_BTE.shape[0], past + tokens):
        raise ValueError(
            f"attention_mask: {tuple(attention_mask.shape)} is not the batch by all tokens, "
            f"{(x_BTE.shape[0], past + tokens)}"
        )
    has_padding = attention_mask is not None and not bool(attention_mask.all())
    if position_ids is None:
        position_ids = torch.arange(past, past + tokens, device=x_BTE.device)[None]
    return Reading(
        positions_BT=position_ids,
        present_BS=attention_mask if has_padding else None,
        tokens=tokens,
        past=past,
    )
