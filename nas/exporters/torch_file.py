"""Writes a model as one Python file that requires only torch, specialised for its architecture.

The file contains only what the layout needs. Properties that all mixers of a kind share are
constants at the top of the file; properties in which they differ are arguments. Modules and weights
are named as in `search_space.torch_model`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, assert_never, get_args

from nas.exporters.torch_file_mixers import MixerSource, mixer_source
from nas.exporters.torch_file_values import literal
from search_space.architecture import Architecture, Layer, Mixer
from search_space.costs import parameter_counts

_Kinds: TypeAlias = Mapping[type[Mixer], MixerSource]
"""What the file contains for each kind of mixer in the layout, in the order of `Mixer`."""


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
        *(definition for kind in kinds.values() for definition in kind.definitions),
        _feed_forward_class(architecture),
        _EXAMPLE,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _kinds(architecture: Architecture) -> _Kinds:
    mixers = [layer.mixer for layer in architecture.layers if layer.mixer is not None]
    by_kind = {
        kind: [mixer for mixer in mixers if isinstance(mixer, kind)] for kind in get_args(Mixer)
    }
    return {kind: mixer_source(found) for kind, found in by_kind.items() if found}


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
    constants += [line for kind in kinds.values() for line in kind.constants]
    imports = ["math", *(module for kind in kinds.values() for module in kind.imports)]
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
            *(f"import {module}" for module in sorted(set(imports))),
            "",
            "import torch",
            "from torch import Tensor, nn",
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
    biases = {end: lines for kind in kinds.values() for end, lines in kind.biases.items()}
    lines = []
    # Longer ends of names come first, because a shorter one may match the same names.
    for end in sorted(biases, key=len, reverse=True):
        lines += [f'elif name.endswith("{end}"):', *_indented(biases[end], 4)]
    return lines


def _layer_call(layer: Layer, architecture: Architecture, kinds: _Kinds) -> str:
    given = []
    if layer.mixer is not None:
        given.append(kinds[type(layer.mixer)].values.call(layer.mixer))
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
