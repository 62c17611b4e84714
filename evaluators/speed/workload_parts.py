"""A model's work for one workload and its memory, as sums of parts for a linear cost model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from evaluators.scores import definition_of
from hardware.measurement import Workload
from search_space.architecture import MIXERS, Architecture, layout_letter
from search_space.costs import layer_costs, state_grows, weight_bytes
from search_space.quantization import Quantization, matrix_bytes

Parts: TypeAlias = Mapping[str, float]
"""The amount of each part, by name. The units differ: bytes, FLOPs and counts."""

_MIXER_LETTERS = tuple(letter for letter in MIXERS if letter != layout_letter(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How a model is deployed; the fields are those of LatencySettings."""

    quantization: Quantization
    prompt_length: int
    context_depth: int


def parts_of(score: str, architecture: Architecture, deployment: Deployment) -> Parts:
    """Return the parts that an additive score is a weighted sum of.

    All architectures have the same parts, in the same order.

    Args:
        score: The name of a score for which `is_additive` holds.
        architecture: The model.
        deployment: Its quantisation and its workloads.
    """
    definition = definition_of(score)
    assert definition is not None, score
    assert definition.is_additive, score
    prompt = Workload(phase="prefill", tokens=deployment.prompt_length)
    depth = deployment.context_depth if definition.depth is None else definition.depth
    match definition.phase:
        case None:
            longest = max(prompt.tokens, deployment.context_depth)
            return _memory_parts(architecture, deployment.quantization, longest)
        case "prefill":
            return _time_parts(architecture, deployment.quantization, prompt)
        case "decode":
            workload = Workload(phase="decode", tokens=1, depth=depth)
            return _time_parts(architecture, deployment.quantization, workload)
        case _:
            assert_never(definition.phase)


def _time_parts(
    architecture: Architecture, quantization: Quantization, workload: Workload
) -> Parts:
    """Return the parts of decoding one token or reading one prompt.

    The parts are the bytes of the layers' matrices, of the vocabulary's matrices and of the caches
    that attention reads; for each mixer its layers and its FLOPs between tokens; the number of
    layers; and a constant. A prompt uses a matrix once per token, so bytes represent FLOPs there.

    Matrices are not distinguished by what they project, because forty measurements predict worse
    with more parts.
    """
    tokens = workload.tokens if workload.phase == "prefill" else 1
    parts = {"matrices": 0.0, "caches": 0.0}
    parts |= {f"{letter} {what}": 0.0 for letter in _MIXER_LETTERS for what in ("layers", "mixing")}
    for layer in architecture.layers:
        costs = layer_costs(layer, architecture, quantization, depth=workload.depth, tokens=tokens)
        parts["matrices"] += costs.mixer_bytes + costs.feed_forward_bytes
        if layer.mixer is not None:
            letter = layout_letter(layer.mixer)
            if MIXERS[letter].is_softmax_attention:
                parts["caches"] += costs.state_bytes
            parts[f"{letter} layers"] += 1
            parts[f"{letter} mixing"] += costs.mixing_flops
    vocabulary = _vocabulary_bytes(architecture, quantization)
    return parts | {"vocabulary": vocabulary, "layers": len(architecture.layers), "once": 1.0}


def _memory_parts(architecture: Architecture, quantization: Quantization, tokens: int) -> Parts:
    """Return the parts of the peak memory: weights, states and the activations of a prompt.

    A runtime may copy some of the weights, so the vocabulary and the layers are separate parts.
    Caches that grow are a part of their own, so that their length does not matter.
    """
    layers = architecture.layers
    states = dict.fromkeys((True, False), 0.0)
    for layer in layers:
        costs = layer_costs(layer, architecture, quantization, depth=0, tokens=tokens)
        states[state_grows(layer.mixer)] += costs.state_bytes
    vocabulary = _vocabulary_bytes(architecture, quantization)
    return {
        "vocabulary": vocabulary,
        "layers": weight_bytes(architecture, quantization) - vocabulary,
        "growing states": states[True],
        "other states": states[False],
        "hidden channels": max(layer.feed_forward_width for layer in layers),
        "channels": architecture.width,
        "logits": architecture.vocab_size,
        "once": 1.0,
    }


def _vocabulary_bytes(architecture: Architecture, quantization: Quantization) -> float:
    """Return the bytes of the output table, and of the projections of a factorised embedding."""
    narrow = architecture.embedding_width
    table = matrix_bytes(architecture.vocab_size, narrow, quantization)
    if not architecture.factorised:
        return table
    width = architecture.width
    return table + sum(
        matrix_bytes(rows, columns, quantization)
        for rows, columns in ((width, narrow), (narrow, width))
    )
