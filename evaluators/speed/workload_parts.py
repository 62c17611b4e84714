"""What a model does for a token or a prompt, and what it holds in memory, in parts that add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from evaluators.scores import definition_of
from hardware.measurement import Workload
from search_space.architecture import MIXERS, Architecture, Attention, layout_letter
from search_space.costs import layer_costs, weight_bytes
from search_space.quantization import Quantization, matrix_bytes

Parts: TypeAlias = Mapping[str, float]

_MIXER_LETTERS = tuple(letter for letter in MIXERS if letter != layout_letter(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What scores of latency and memory are scores of; the fields are those of LatencySettings."""

    quantization: Quantization
    prompt_length: int
    context_depth: int


def parts_of(score: str, architecture: Architecture, deployment: Deployment) -> Parts:
    """Return the parts that an additive score is a sum over; see `ScoreDefinition.is_additive`."""
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
    """Of one token that is written, or one prompt that is read; all architectures have all parts.

    Bytes of the layers' matrices, of the vocabulary's, and of the caches that attention reads; for
    each mixer's letter, its FLOPs between tokens and its layers; all layers; and what there is
    once. In a prompt a matrix is used as often as there are tokens, so its bytes stand for FLOPs.

    Matrices are not told apart by what they project: forty measurements told less so.
    """
    tokens = workload.tokens if workload.phase == "prefill" else 1
    parts = {"matrices": 0.0, "caches": 0.0}
    parts |= {f"{letter} {what}": 0.0 for letter in _MIXER_LETTERS for what in ("layers", "mixing")}
    for layer in architecture.layers:
        costs = layer_costs(layer, architecture, quantization, depth=workload.depth, tokens=tokens)
        parts["matrices"] += costs.mixer_bytes + costs.feed_forward_bytes
        if isinstance(layer.mixer, Attention):
            parts["caches"] += costs.state_bytes
        if layer.mixer is not None:
            letter = layout_letter(layer.mixer)
            parts[f"{letter} layers"] += 1
            parts[f"{letter} mixing"] += costs.mixing_flops
    vocabulary = _vocabulary_bytes(architecture, quantization)
    return parts | {"vocabulary": vocabulary, "layers": len(architecture.layers), "once": 1.0}


def _memory_parts(architecture: Architecture, quantization: Quantization, tokens: int) -> Parts:
    """Weights, of which a runtime may copy some, states, and activations of a prompt of `tokens`.

    Caches that grow stand for themselves, so that it is of no account for how many tokens.
    """
    layers = architecture.layers
    states = dict.fromkeys((True, False), 0.0)
    for layer in layers:
        costs = layer_costs(layer, architecture, quantization, depth=0, tokens=tokens)
        grows = isinstance(layer.mixer, Attention) and layer.mixer.window is None
        states[grows] += costs.state_bytes
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
    """Of the table that scores, and of the projections beside a narrow one."""
    narrow = architecture.embedding_width
    table = matrix_bytes(architecture.vocab_size, narrow, quantization)
    if not architecture.factorised:
        return table
    width = architecture.width
    return table + sum(
        matrix_bytes(rows, columns, quantization)
        for rows, columns in ((width, narrow), (narrow, width))
    )
