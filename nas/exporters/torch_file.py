"""Writes a model as one Python file that requires only torch, specialised for its architecture.

The file contains only what the layout needs. Properties that all mixers of a kind share are
constants at the top of the file; properties in which they differ are arguments. Modules and weights
are named as in `search_space.torch_model`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never

from nas.exporters.torch_file_mixers import (
    attention_class,
    linear_attention_class,
    rotary_functions,
    rotates,
    short_conv_class,
)
from nas.exporters.torch_file_values import Values, literal, values_of
from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.costs import parameter_counts

T = TypeVar("T", ShortConv, Attention, LinearAttention)


def write_torch(architecture: Architecture, path: Path, *, name: str) -> None:
    """Write the file.

    Args:
        architecture: The architecture of the model.
        path: The file.
        name: The name of the model, for the docstring of the file.
    """
    path.write_text(torch_source(architecture, name), encoding="utf-8")


def torch_source(architecture: Architecture, name: str) -> str:
    """Return the content of the file: constants, model, mixers, loss and an example."""
    kinds = _kinds(architecture)
    parts = [
        _head(architecture, name, kinds),
        _model_class(architecture, kinds),
        _layer_class(architecture),
    ]
    if kinds.conv is not None:
        parts.append(short_conv_class(kinds.conv))
    if kinds.attention is not None:
        parts += [attention_class(kinds.attention), *rotary_functions(kinds.attention)]
    if kinds.linear is not None:
        parts.append(linear_attention_class(kinds.linear))
    parts += [_feed_forward_class(architecture), _EXAMPLE]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """The values of each kind of mixer; None for a kind that the layout does not contain."""

    conv: Values | None
    attention: Values | None
    linear: Values | None

    def values(self, mixer: Mixer) -> Values:
        match mixer:
            case ShortConv():
                found = self.conv
            case Attention():
                found = self.attention
            case LinearAttention():
                found = self.linear
            case _:
                assert_never(mixer)
        assert found is not None
        return found


def _kinds(architecture: Architecture) -> _Kinds:
    def of(kind: type[T], prefix: str = "") -> Values | None:
        found = [layer.mixer for layer in architecture.layers if isinstance(layer.mixer, kind)]
        return values_of(found, prefix) if found else None

    return _Kinds(
        conv=of(ShortConv), attention=of(Attention), linear=of(LinearAttention, "LINEAR_")
    )


def _head(architecture: Architecture, name: str, kinds: _Kinds) -> str:
    constants = [
        f"VOCABULARY = {literal(architecture.vocab_size)}",
        f"WIDTH = {literal(architecture.width)}",
    ]
    if architecture.factorised:
        constants.append(f"EMBEDDING_WIDTH = {literal(architecture.embedding_width)}")
    if architecture.embedding_multiplier != 1.0:
        constants.append(f"EMBEDDING_MULTIPLIER = {architecture.embedding_multiplier!r}")
    if _feed_forward_width(architecture) is not None:
        width = literal(_feed_forward_width(architecture))
        constants.append(f"FEED_FORWARD_WIDTH = {width}")
    constants.append(f"NORM_EPS = {architecture.norm_eps!r}")
    if kinds.conv is not None:
        constants += kinds.conv.constants(("kernel",))
    if kinds.attention is not None:
        used = ["heads", "kv_heads", "head_dim"]
        used += [] if kinds.attention.everywhere("window", None) else ["window"]
        used += ["rope_base"] if rotates(kinds.attention) else []
        used += [] if kinds.attention.everywhere("rope_share", 1.0) else ["rope_share"]
        constants += kinds.attention.constants(used)
    if kinds.linear is not None:
        constants += kinds.linear.constants(("heads", "key_dim", "value_dim"))
        constants += [
            "# Tokens per chunk of linear attention; affects speed only.",
            "CHUNK = 32",
        ]
    imports = ["import math", "", "import torch", "from torch import Tensor, nn"]
    if kinds.attention is not None and rotates(kinds.attention):
        imports.insert(0, "import functools")
    # Names of studies are read from a database, and a name that ends the docstring would be run.
    quoted = "".join(letter for letter in name if letter.isprintable() and letter not in '"\\')
    return "\n".join(
        [
            f'"""The language model {quoted}: {parameter_counts(architecture).total:,} parameters, '
            "layout",
            f"`{architecture.layout}`.",
            "",
            *_LEGEND,
            '"""',
            "",
            *imports,
            "from torch.nn import functional as F",
            "",
            *constants,
        ]
    )


_LEGEND = (
    "Shape suffixes: B batch, T time, D width, V vocabulary, H query heads, K key/value heads,",
    "d head size (k of keys, v of values), F feed-forward width, S visible positions,",
    "R rotary pairs, C tokens of a chunk, N all tokens of a batch, X any size.",
)


def _model_class(architecture: Architecture, kinds: _Kinds) -> str:
    narrow = "EMBEDDING_WIDTH" if architecture.factorised else "WIDTH"
    init = [f"self.embedding = nn.Embedding(VOCABULARY, {narrow})"]
    embed = ["x_BTD = self.embedding(tokens_BT)"]
    score = ["x_BTD = self.final_norm(x_BTD)"]
    if architecture.factorised:
        init.append("self.embedding_up = nn.Linear(EMBEDDING_WIDTH, WIDTH, bias=False)")
        embed = ["x_BTD = self.embedding_up(self.embedding(tokens_BT))"]
    if architecture.embedding_multiplier != 1.0:
        embed[0] += " * EMBEDDING_MULTIPLIER"
    init += ["self.layers = nn.ModuleList(", "    ["]
    init += [f"        {_layer_call(layer, architecture, kinds)}," for layer in architecture.layers]
    init += ["    ]", ")", "self.final_norm = nn.RMSNorm(WIDTH, NORM_EPS)"]
    if architecture.factorised:
        init.append("self.head_down = nn.Linear(WIDTH, EMBEDDING_WIDTH, bias=False)")
        score = ["x_BTD = self.head_down(self.final_norm(x_BTD))"]
    if architecture.tied_head:
        score.append("return F.linear(x_BTD, self.embedding.weight)  # the head is the embedding")
    else:
        init.append(f"self.head = nn.Linear({narrow}, VOCABULARY, bias=False)")
        score.append("return self.head(x_BTD)")
    return "\n".join(
        [
            "class LanguageModel(nn.Module):",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *_indented(init),
            "        self.initialise()",
            "",
            "    def forward(self, tokens_BT: Tensor) -> Tensor:",
            '        """Return the logits of the next token at every position, (B, T, V)."""',
            *_indented(embed),
            "        for layer in self.layers:",
            "            x_BTD = layer(x_BTD)",
            *_indented(score),
            "",
            "    def loss(self, tokens_BT: Tensor) -> Tensor:",
            '        """Return the mean loss of all tokens but the first, in nats per token."""',
            "        logits_BTV = self(tokens_BT[:, :-1])",
            "        targets_N = tokens_BT[:, 1:].flatten()",
            "        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_N)",
            "",
            "    @torch.no_grad()",
            "    def initialise(self) -> None:",
            '        """Draw matrices with variance 1 / inputs; residual ones as in GPT-2."""',
            "        for name, weight in self.named_parameters():",
            "            if weight.ndim > 1:",
            '                writes = name.endswith(("out_proj.weight", "down_proj.weight"))',
            "                depth = 2 * len(self.layers) if writes else 1",
            "                nn.init.normal_(weight, std=1 / math.sqrt(depth * weight.shape[-1]))",
            *_indented(_bias_starts(kinds), 12),
        ]
    )


def _bias_starts(kinds: _Kinds) -> list[str]:
    lines = []
    if kinds.linear is not None:
        lines += [
            'elif name.endswith("decay_proj.bias"):',
            "    # Half-lives from a few to a few hundred tokens, one per head.",
            "    weight.copy_(torch.linspace(-2.0, 3.5, len(weight)))",
        ]
    if kinds.attention is not None and kinds.attention.anywhere("qkv_bias", True):
        lines += ['elif name.endswith("bias"):', "    nn.init.zeros_(weight)"]
    return lines


def _layer_call(layer: Layer, architecture: Architecture, kinds: _Kinds) -> str:
    given = []
    if layer.mixer is not None:
        given.append(kinds.values(layer.mixer).call(layer.mixer))
    elif _has_mixers(architecture):
        given.append("None")
    if _feed_forward_width(architecture) is None:
        given.append(f"feed_forward_width={literal(layer.feed_forward_width)}")
    return f"Layer({', '.join(given)})"


def _layer_class(architecture: Architecture) -> str:
    mixers = [layer.mixer for layer in architecture.layers]
    sandwich, optional = architecture.sandwich_norm, None in mixers
    arguments = ["self"]
    init: list[str] = []
    forward: list[str] = []
    norm = "nn.RMSNorm(WIDTH, NORM_EPS)"
    if _has_mixers(architecture):
        arguments.append(f"mixer: nn.Module{' | None' if optional else ''}")
        made = [f"self.mixer_norm = {norm}"]
        made += [f"self.mixer_post_norm = {norm}"] if sandwich else []
        mixed = "self.mixer(self.mixer_norm(x_BTD))"
        mixed = f"self.mixer_post_norm({mixed})" if sandwich else mixed
        add = [f"x_BTD = x_BTD + {mixed}"]
        init.append("self.mixer = mixer")
        init += _if("mixer is not None", made) if optional else made
        forward += _if("self.mixer is not None", add) if optional else add
    width = ""
    if _feed_forward_width(architecture) is None:
        arguments.append("feed_forward_width: int")
        width = "feed_forward_width"
    init += [f"self.feed_forward_norm = {norm}", f"self.feed_forward = FeedForward({width})"]
    init += [f"self.feed_forward_post_norm = {norm}"] if sandwich else []
    fed = "self.feed_forward(self.feed_forward_norm(x_BTD))"
    fed = f"self.feed_forward_post_norm({fed})" if sandwich else fed
    return "\n".join(
        [
            "class Layer(nn.Module):",
            f"    def __init__({', '.join(arguments)}) -> None:",
            "        super().__init__()",
            *_indented(init),
            "",
            "    def forward(self, x_BTD: Tensor) -> Tensor:",
            *_indented([*forward, f"return x_BTD + {fed}"]),
        ]
    )


def _feed_forward_class(architecture: Architecture) -> str:
    varies = _feed_forward_width(architecture) is None
    width = "feed_forward_width" if varies else "FEED_FORWARD_WIDTH"
    match architecture.activation:
        case "silu":
            active = "F.silu(gate_BTF)"
        case "gelu_tanh":
            active = 'F.gelu(gate_BTF, approximate="tanh")'
        case _:
            assert_never(architecture.activation)
    return f"""
class FeedForward(nn.Module):
    def __init__(self{", feed_forward_width: int" if varies else ""}) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, {width}, bias=False)
        self.up_proj = nn.Linear(WIDTH, {width}, bias=False)
        self.down_proj = nn.Linear({width}, WIDTH, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate_proj(x_BTD), self.up_proj(x_BTD)
        return self.down_proj({active} * up_BTF)
"""


# A few training steps, as an example and to show that the loss falls.
_EXAMPLE = """
if __name__ == "__main__":
    torch.manual_seed(0)
    model = LanguageModel()
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens_BT = torch.randint(VOCABULARY, (2, 64))
    for step in range(3):
        loss = model.loss(tokens_BT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: {loss.item():.3f} nats per token")
"""


def _feed_forward_width(architecture: Architecture) -> int | None:
    """Return the feed-forward width of all layers; None if they differ."""
    widths = {layer.feed_forward_width for layer in architecture.layers}
    return widths.pop() if len(widths) == 1 else None


def _has_mixers(architecture: Architecture) -> bool:
    return any(layer.mixer is not None for layer in architecture.layers)


def _if(condition: str, lines: Sequence[str]) -> list[str]:
    return [f"if {condition}:", *(f"    {line}" for line in lines)]


def _indented(lines: Sequence[str], by: int = 8) -> list[str]:
    return [" " * by + line for line in lines]
