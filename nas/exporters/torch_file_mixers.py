"""The mixer classes of a torch file, reduced to the features that the layout uses."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from nas.exporters.torch_file_values import Values, values_of
from search_space.architecture import (
    DECAY_TEMPERATURE,
    Attention,
    LinearAttention,
    Mixer,
    ShortConv,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerSource:
    """What a torch file contains for one kind of mixer.

    Attributes:
        values: The values of the mixers of this kind.
        definitions: The class, followed by the functions that it calls.
        constants: The lines that define its constants.
        imports: The modules of the standard library that it requires in addition to `math`.
        biases: The statements that initialise a bias called `weight`, by the end of its name.
    """

    values: Values
    definitions: Sequence[str]
    constants: Sequence[str]
    imports: Sequence[str] = ()
    biases: Mapping[str, Sequence[str]] = field(default_factory=dict)


def mixer_source(mixers: Sequence[Mixer]) -> MixerSource:
    """Return what a file contains for the mixers of one kind.

    Args:
        mixers: The mixers of one kind, at least one.
    """
    first = mixers[0]
    match first:
        case ShortConv():
            values = values_of(mixers)
            return MixerSource(
                values=values,
                definitions=[_short_conv_class(values)],
                constants=values.constants(("kernel",)),
            )
        case Attention():
            return _attention_source(values_of(mixers))
        case LinearAttention():
            values = values_of(mixers, "LINEAR_")
            return MixerSource(
                values=values,
                definitions=[_linear_attention_class(values)],
                constants=[
                    *values.constants(("heads", "key_dim", "value_dim")),
                    "# Tokens per chunk of linear attention; affects speed only.",
                    "CHUNK = 32",
                ],
                biases={
                    "decay_proj.bias": [
                        "# Half-lives from a few to a few hundred tokens, one per head.",
                        "weight.copy_(torch.linspace(-2.0, 3.5, len(weight)))",
                    ]
                },
            )
        case _:
            assert_never(first)


def _short_conv_class(values: Values) -> str:
    """Return the class of gated short convolutions."""
    return _class(
        "ShortConv",
        "Gated short convolution of LFM2: `C * conv(B * u)`, depthwise and causal.",
        values,
        kept=("kernel",),
        body=[
            "self.in_proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False)",
            "self.kernel_DW = nn.Parameter(torch.empty(WIDTH, $kernel))",
            "self.out_proj = nn.Linear(WIDTH, WIDTH, bias=False)",
        ],
        methods="""
            def forward(self, x_BTD: Tensor) -> Tensor:
                length = x_BTD.shape[1]
                gate_in_BTD, gate_out_BTD, u_BTD = self.in_proj(x_BTD).chunk(3, dim=-1)
                padded_BSD = F.pad(gate_in_BTD * u_BTD, (0, 0, $self_kernel - 1, 0))
                # Shifted products are several times faster on CPUs than a grouped conv1d.
                y_BTD = padded_BSD[:, :length] * self.kernel_DW[:, 0]
                for tap in range(1, $self_kernel):
                    shifted_BTD = padded_BSD[:, tap : tap + length]
                    y_BTD = torch.addcmul(y_BTD, shifted_BTD, self.kernel_DW[:, tap])
                return self.out_proj(gate_out_BTD * y_BTD)
        """,
    )


def _attention_source(values: Values) -> MixerSource:
    used = ["heads", "kv_heads", "head_dim"]
    used += [] if values.everywhere("window", None) else ["window"]
    used += ["rope_base"] if _rotates(values) else []
    used += [] if values.everywhere("rope_share", 1.0) else ["rope_share"]
    return MixerSource(
        values=values,
        definitions=[_attention_class(values), *_rotary_functions(values)],
        constants=values.constants(used),
        imports=["functools"] if _rotates(values) else [],
        biases={"bias": ["nn.init.zeros_(weight)"]} if values.anywhere("qkv_bias", True) else {},
    )


def _attention_class(values: Values) -> str:
    """Return the class of grouped-query attention."""
    body = [
        "self.q_proj = nn.Linear(WIDTH, $heads * $head_dim, bias={bias})",
        "self.k_proj = nn.Linear(WIDTH, $kv_heads * $head_dim, bias={bias})",
        "self.v_proj = nn.Linear(WIDTH, $kv_heads * $head_dim, bias={bias})",
    ]
    bias = "qkv_bias" if "qkv_bias" in values.arguments else str(values.anywhere("qkv_bias", True))
    body = [line.format(bias=bias) for line in body]
    norms, gates = (values.anywhere(field, True) for field in ("qk_norm", "head_gate"))
    if norms:
        norm = "nn.RMSNorm($head_dim, NORM_EPS)"
        if "qk_norm" in values.arguments:
            norm += " if qk_norm else nn.Identity()"
        body += [f"self.q_norm = {norm}", f"self.k_norm = {norm}"]
    if gates:
        gate = "nn.Linear(WIDTH, $heads, bias=False)"
        if "head_gate" in values.arguments:
            gate += " if head_gate else None"
        body.append(f"self.gate_proj = {gate}")
    body.append("self.out_proj = nn.Linear($heads * $head_dim, WIDTH, bias=False)")

    lines = [
        "def forward(self, x_BTD: Tensor) -> Tensor:",
        "    q_BTHd = self.q_proj(x_BTD).unflatten(-1, ($self_heads, $self_head_dim))",
        "    k_BTKd = self.k_proj(x_BTD).unflatten(-1, ($self_kv_heads, $self_head_dim))",
        "    v_BTKd = self.v_proj(x_BTD).unflatten(-1, ($self_kv_heads, $self_head_dim))",
    ]
    if norms:
        lines.append("    q_BTHd, k_BTKd = self.q_norm(q_BTHd), self.k_norm(k_BTKd)")
    if _rotates(values):
        how = "$self_rope_base" + ("" if _rotates_whole(values) else ", $self_rope_share")
        lines += [f"    {x} = rotate({x}, {how})" for x in ("q_BTHd", "k_BTKd")]
    if _windows_vary(values):
        lines += [
            "    seen_TS = None",
            "    if self.window is not None:",
            "        seen_TS = band(x_BTD.shape[1], self.window, x_BTD.device)",
        ]
    lines += [
        "    y_BHTd = F.scaled_dot_product_attention(",
        "        q_BTHd.transpose(1, 2),",
        "        k_BTKd.transpose(1, 2),",
        "        v_BTKd.transpose(1, 2),",
        *_visibility(values),
        "        enable_gqa=True,",
        "    )",
        "    y_BTHd = y_BHTd.transpose(1, 2)",
    ]
    gated = "y_BTHd = y_BTHd * torch.sigmoid(self.gate_proj(x_BTD)).unsqueeze(-1)"
    if "head_gate" in values.arguments:
        lines += ["    if self.gate_proj is not None:", f"        {gated}"]
    elif gates:
        lines.append(f"    {gated}")
    lines.append("    return self.out_proj(y_BTHd.flatten(2))")
    return _class(
        "Attention",
        "Grouped-query attention with rotary positions.",
        values,
        kept=("heads", "kv_heads", "head_dim", "window", "rope_base", "rope_share"),
        body=body,
        methods="\n".join(lines),
    )


def _rotary_functions(values: Values) -> list[str]:
    """Return the functions that the attention class calls: for rotation, for windows, or both."""
    functions = []
    if _rotates(values):
        whole = _rotates_whole(values)
        share, argument = ("", "") if whole else (", share: float", ", share")
        still = "" if whole else "\n    frequency_R[round(pairs * share) :] = 0.0  # no rotation"
        functions += [
            f'''
def rotate(x_BTHd: Tensor, base: float{share}) -> Tensor:
    """Rotate each pair (i, i + d/2) of a head by an angle proportional to the position."""
    table = rotary_table(x_BTHd.shape[1], x_BTHd.shape[3] // 2, base{argument})
    cos_T1R, sin_T1R = (part.to(x_BTHd) for part in table)
    left_BTHR, right_BTHR = x_BTHd.chunk(2, dim=-1)
    return torch.cat(
        [
            left_BTHR * cos_T1R - right_BTHR * sin_T1R,
            right_BTHR * cos_T1R + left_BTHR * sin_T1R,
        ],
        dim=-1,
    )
''',
            f'''
@functools.cache
def rotary_table(length: int, pairs: int, base: float{share}) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of `t * base^(-i / pairs)`; the angles are float64."""
    frequency_R = base ** (-torch.arange(pairs, dtype=torch.float64) / pairs){still}
    angle_T1R = torch.arange(length)[:, None, None] * frequency_R
    return angle_T1R.cos().float(), angle_T1R.sin().float()
''',
        ]
    if not values.everywhere("window", None):
        functions.append(
            '''
def band(length: int, window: int, device: torch.device) -> Tensor:
    """Return a mask, true where position t (row) sees s (column): t - window < s <= t."""
    seen_TS = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return seen_TS.triu(1 - window)
'''
        )
    return functions


def _linear_attention_class(values: Values) -> str:
    """Return the class of gated linear attention."""
    return _class(
        "LinearAttention",
        "Gated linear attention: `S_t = exp(g_t) S_{t-1} + k_t v_t^T`, `o_t = q_t S_t`.",
        values,
        kept=("heads", "key_dim"),
        body=[
            "self.q_proj = nn.Linear(WIDTH, $heads * $key_dim, bias=False)",
            "self.k_proj = nn.Linear(WIDTH, $heads * $key_dim, bias=False)",
            "self.v_proj = nn.Linear(WIDTH, $heads * $value_dim, bias=False)",
            "self.decay_proj = nn.Linear(WIDTH, $heads)",
            "self.gate_proj = nn.Linear(WIDTH, $heads * $value_dim, bias=False)",
            "self.norm = nn.RMSNorm($value_dim, NORM_EPS)",
            "self.out_proj = nn.Linear($heads * $value_dim, WIDTH, bias=False)",
        ],
        methods=f"""
            def forward(self, x_BTD: Tensor) -> Tensor:
                def heads_first(y_BTX: Tensor) -> Tensor:
                    return y_BTX.unflatten(-1, ($self_heads, -1)).transpose(1, 2)

                q_BHTk = heads_first(self.q_proj(x_BTD)) * $self_key_dim**-0.5
                k_BHTk, v_BHTv = heads_first(self.k_proj(x_BTD)), heads_first(self.v_proj(x_BTD))
                g_BHT1 = heads_first(F.logsigmoid(self.decay_proj(x_BTD)) / {DECAY_TEMPERATURE})
                # Tokens of a chunk read each other through scores, weighted by the decay between
                # them, and earlier chunks through the memory.
                memory_BHkv = torch.zeros_like(k_BHTk[:, :, :1].transpose(2, 3) * v_BHTv[:, :, :1])
                read_BHCv = []
                for start in range(0, x_BTD.shape[1], CHUNK):
                    chunk = slice(start, start + CHUNK)
                    q_BHCk, k_BHCk = q_BHTk[:, :, chunk], k_BHTk[:, :, chunk]
                    v_BHCv, g_BHC1 = v_BHTv[:, :, chunk], g_BHT1[:, :, chunk]
                    decay_BHC1 = g_BHC1.cumsum(2)
                    between_BHCC = decay_BHC1 - decay_BHC1.transpose(2, 3)
                    future_CC = torch.ones_like(between_BHCC[0, 0], dtype=torch.bool).triu(1)
                    share_BHCC = between_BHCC.masked_fill(future_CC, -torch.inf).exp()
                    inside_BHCv = (q_BHCk @ k_BHCk.transpose(2, 3) * share_BHCC) @ v_BHCv
                    read_BHCv.append(inside_BHCv + (q_BHCk * decay_BHC1.exp()) @ memory_BHkv)
                    whole_BH11 = decay_BHC1[:, :, -1:]
                    lasting_BHCk = k_BHCk * (whole_BH11 - decay_BHC1).exp()
                    written_BHkv = lasting_BHCk.transpose(2, 3) @ v_BHCv
                    memory_BHkv = whole_BH11.exp() * memory_BHkv + written_BHkv
                y_BTHv = self.norm(torch.cat(read_BHCv, dim=2).transpose(1, 2))
                return self.out_proj(y_BTHv.flatten(2) * F.silu(self.gate_proj(x_BTD)))
        """,
    )


def _rotates(values: Values) -> bool:
    """Return whether any attention mixer uses rotary positions."""
    return not values.everywhere("rope_share", 0.0)


def _class(
    name: str, doc: str, values: Values, *, kept: tuple[str, ...], body: list[str], methods: str
) -> str:
    lines = [
        f"class {name}(nn.Module):",
        f'    """{doc}"""',
        "",
        f"    def __init__({values.signature()}) -> None:",
        "        super().__init__()",
        *(f"        {line}" for line in [*values.kept(kept), *map(values.filled, body)]),
        "",
        textwrap.indent(values.filled(textwrap.dedent(methods).strip("\n")), "    ").rstrip(),
    ]
    return "\n".join(lines)


def _rotates_whole(values: Values) -> bool:
    return values.everywhere("rope_share", 1.0)


def _windows_vary(values: Values) -> bool:
    """Return whether some mixers have a window and others have none."""
    return values.anywhere("window", None) and not values.everywhere("window", None)


def _visibility(values: Values) -> list[str]:
    if values.everywhere("window", None):
        return ["        is_causal=True,"]
    if not values.anywhere("window", None):
        return ["        attn_mask=band(x_BTD.shape[1], $self_window, x_BTD.device),"]
    return ["        attn_mask=seen_TS,", "        is_causal=seen_TS is None,"]
