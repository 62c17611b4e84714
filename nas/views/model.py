"""One model with its layout, its parameters and its memory, as text and as a JSON document."""

import json
from dataclasses import asdict
from typing import Any, assert_never

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nas.findings.wording import counted, megabytes, percent
from nas.inputs.model_argument import ResolvedModel
from nas.views.audit import audit_among_published
from nas.views.terminal import bar, layout_legend, layout_strip, output, table
from search_space.architecture import (
    Architecture,
    Attention,
    LinearAttention,
    Mixer,
    ShortConv,
    architecture_hash,
    to_json,
)
from search_space.costs import ParameterCounts, parameter_counts, state_bytes, weight_bytes
from search_space.quantization import QUANTIZATIONS

_QUANTISATION = "quantisation"


def model_document(architecture: Architecture, context: int) -> dict[str, Any]:
    """Return the document that `nas show --json` prints.

    Args:
        architecture: The model.
        context: The context length for which the size of the caches is given, in tokens.
    """
    counts = parameter_counts(architecture)
    return {
        "architecture": json.loads(to_json(architecture)),
        "hash": architecture_hash(architecture),
        "layout": architecture.layout,
        "parameters": {"total": counts.total, **asdict(counts)},
        "embedding_share": counts.embedding_share,
        "context": context,
        "state_bytes": state_bytes(architecture, context),
        "weight_bytes": {name: weight_bytes(architecture, name) for name in QUANTIZATIONS},
    }


def print_model(model: ResolvedModel, context: int) -> None:
    """Print the layout, the parameters and the memory of a model, and the models nearest in size.

    Args:
        model: The model.
        context: The context length for which the size of the caches is given, in tokens.
    """
    architecture = model.architecture
    counts = parameter_counts(architecture)
    title = Text.assemble(
        (model.name, "bold"),
        f"  {counts.total:,} parameters, hash {architecture_hash(architecture)}",
    )
    output().print(
        Group(
            title,
            Text(),
            layout_strip(architecture.layout),
            layout_legend(architecture.layout),
            Text(),
            _shape(architecture),
            _split(counts),
            _memory(architecture, context),
            Text(f"state: caches at a context of {context:,} tokens, in fp32", style="dim"),
            Text(),
            audit_among_published(model.name, architecture),
        )
    )


def _shape(architecture: Architecture) -> Text:
    feed_forward = _values({layer.feed_forward_width for layer in architecture.layers})
    lines = [
        f"width {architecture.width:,}, {len(architecture.layers)} layers, "
        f"feed-forward width {feed_forward}",
        f"vocabulary {architecture.vocab_size:,}, embedding width {architecture.embedding_width:,}"
        + (" (factorised)" if architecture.factorised else "")
        + (", tied head" if architecture.tied_head else ", separate head"),
    ]
    mixers = {layer.mixer: None for layer in architecture.layers if layer.mixer is not None}
    lines += [_describe(mixer) for mixer in mixers]
    return Text("\n".join(lines))


def _describe(mixer: Mixer) -> str:
    match mixer:
        case ShortConv(kernel=kernel):
            return f"short convolution: kernel {kernel}"
        case Attention():
            span = f"window {mixer.window:,}" if mixer.window else "full"
            rotated = (
                f" on {percent(mixer.rope_share)} of each head" if mixer.rope_share < 1 else ""
            )
            extras = [
                *(["QK-norm"] if mixer.qk_norm else []),
                *(["a gate per head"] if mixer.head_gate else []),
                *(["bias"] if mixer.qkv_bias else []),
                f"RoPE base {mixer.rope_base:,.0f}{rotated}",
            ]
            heads = counted(mixer.heads, "head", "heads")
            kv_heads = counted(mixer.kv_heads, "KV head", "KV heads")
            return (
                f"attention ({span}): {heads} of {mixer.head_dim}, {kv_heads}, {', '.join(extras)}"
            )
        case LinearAttention():
            heads = counted(mixer.heads, "head", "heads")
            return (
                f"gated linear attention: {heads}, keys of {mixer.key_dim} and values of "
                f"{mixer.value_dim} channels"
            )
        case _:
            assert_never(mixer)


def _split(counts: ParameterCounts) -> Table:
    split = table("part", "parameters", "share", "", left=("part", ""))
    for part, count in asdict(counts).items():
        share = count / counts.total
        split.add_row(part.replace("_", "-"), f"{count:,}", f"{100 * share:.1f} %", bar(share))
    return split


def _memory(architecture: Architecture, context: int) -> Table:
    memory = table(_QUANTISATION, "weights MB", "state MB", "total MB", left=(_QUANTISATION,))
    state = state_bytes(architecture, context)
    for quantization in QUANTIZATIONS:
        weights = weight_bytes(architecture, quantization)
        memory.add_row(
            quantization, megabytes(weights), megabytes(state), megabytes(weights + state)
        )
    return memory


def _values(numbers: set[int]) -> str:
    return " to ".join(f"{value:,}" for value in sorted({min(numbers), max(numbers)}))
