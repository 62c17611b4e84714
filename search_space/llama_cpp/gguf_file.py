"""Writes the language model as a GGUF file, if llama.cpp supports its architecture.

Tensors have llama.cpp's names; each one also records its name in the torch model.

Shape suffixes: D width, W kernel width.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.quants import quant_shape_to_byte_shape, quantize
from numpy.typing import NDArray

from search_space.architecture import Architecture, Attention, Layer, ShortConv
from search_space.llama_cpp.family import (
    LlamaCppFamily,
    attention_of,
    family_of,
    supported_mixer,
    unsupported_by_llama_cpp,
)
from search_space.llama_cpp.gguf_tokenizer import GgufTokenizer, add_tokenizer

GgufQuantization: TypeAlias = Literal["fp16", "int8", "int4"]

_MATRIX_TYPES: Mapping[GgufQuantization, GGMLQuantizationType] = {
    "fp16": GGMLQuantizationType.F16,
    "int8": GGMLQuantizationType.Q8_0,
    "int4": GGMLQuantizationType.Q4_0,
}
_FILE_TYPES: Mapping[GgufQuantization, LlamaFileType] = {
    "fp16": LlamaFileType.MOSTLY_F16,
    "int8": LlamaFileType.MOSTLY_Q8_0,
    "int4": LlamaFileType.MOSTLY_Q4_0,
}
# The largest absolute value that each type of matrix can store: a number, or the scale of a block,
# is in half precision. The largest number of a block has code 127 or 8.
_LARGEST_HALF = 65_504.0
_LARGEST = {
    GGMLQuantizationType.F16: _LARGEST_HALF,
    GGMLQuantizationType.Q8_0: 127 * _LARGEST_HALF,
    GGMLQuantizationType.Q4_0: 8 * _LARGEST_HALF,
}
_BLOCK_FORMAT_VERSION = 2
# llama.cpp does not support a kernel of 1, because its convolution stores the last W - 1 inputs.
_MIN_KERNEL = 2


def write_gguf(
    architecture: Architecture,
    path: Path,
    *,
    quantization: GgufQuantization,
    context_length: int,
    seed: int = 0,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    tokenizer: GgufTokenizer | None = None,
) -> Path:
    """Write a model as a GGUF file.

    Matrices, including the embedding, are F16, Q8_0 or Q4_0, as with `llama-quantize --pure`.
    Matrices whose rows are not a multiple of the block size are F16. Norms, biases and convolution
    kernels are F32.

    Args:
        architecture: The architecture of the model.
        path: The path of the file.
        quantization: The quantisation of matrices: fp16 (F16), int8 (Q8_0) or int4 (Q4_0).
        context_length: The maximum context length, in tokens.
        seed: The seed of random weights.
        weights: The weights by their names in the torch model; None draws them at random.
        tokenizer: The tokenizer; without one, the file is usable by llama-bench and by programs
            that pass token ids.

    Returns:
        The path of the file.

    Raises:
        ValueError: llama.cpp does not support the architecture, or a weight is too large for the
            type of its matrix.
    """
    reason = unsupported_by_llama_cpp(architecture)
    if reason is not None:
        raise ValueError(f"architecture: {reason}")
    family = family_of(architecture)
    tensors = list(_tensors(architecture, family))
    types = [_type(tensor, quantization) for tensor in tensors]
    generator = np.random.Generator(np.random.SFC64(seed))
    with contextlib.closing(GGUFWriter(path, family)) as writer:
        _describe(writer, architecture, family, context_length)
        if tokenizer is None:
            writer.add_tokenizer_model("no_vocab")
        else:
            add_tokenizer(writer, tokenizer)
        writer.add_file_type(_FILE_TYPES[quantization])
        writer.add_quantization_version(_BLOCK_FORMAT_VERSION)
        for tensor, kind in zip(tensors, types, strict=True):
            shape = quant_shape_to_byte_shape(tensor.shape, kind)
            writer.add_tensor_info(
                tensor.name, shape, np.dtype(np.uint8), math.prod(shape), raw_dtype=kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(tensors, types, strict=True):  # one in memory at a time
            if weights is None:
                writer.write_tensor_data(_draw(tensor, kind, generator))
            else:
                given = _given(tensor, weights)
                _check_range(tensor, given, kind)
                writer.write_tensor_data(quantize(given, kind))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """A tensor of the file.

    Attributes:
        name: The name in llama.cpp.
        source: The name in the torch model.
        shape: The shape in the file.
        kind: What the tensor is used for, which determines its data type.
        paired_heads: The number of heads whose rotary pairs must be moved next to each other; None
            if rows keep their order.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    kind: Literal["matrix", "kernel", "norm", "bias"] = "matrix"
    paired_heads: int | None = None


def _describe(
    writer: GGUFWriter, architecture: Architecture, family: LlamaCppFamily, context_length: int
) -> None:
    mixers = [layer.mixer for layer in architecture.layers]
    attention = attention_of(architecture)
    full = [mixer for mixer in attention if mixer.window is None]
    sliding = [mixer for mixer in attention if mixer.window is not None]
    writer.add_context_length(context_length)
    writer.add_block_count(len(mixers))
    writer.add_vocab_size(architecture.vocab_size)
    writer.add_embedding_length(architecture.width)
    writer.add_feed_forward_length(architecture.layers[0].feed_forward_width)
    writer.add_layer_norm_rms_eps(architecture.norm_eps)
    writer.add_head_count(attention[0].heads)
    writer.add_head_count_kv(
        [mixer.kv_heads if isinstance(mixer, Attention) else 0 for mixer in mixers]
    )
    writer.add_key_length(attention[0].head_dim)
    writer.add_value_length(attention[0].head_dim)
    writer.add_rope_freq_base((full or sliding)[0].rope_base)
    if sliding and sliding[0].window is not None:
        writer.add_sliding_window(sliding[0].window)
    if family == "lfm2":
        writer.add_shortconv_l_cache(_kernel(architecture))
    if family == "gemma3" and sliding:
        writer.add_sliding_window_pattern([mixer.window is not None for mixer in attention])
        writer.add_rope_freq_base_swa(sliding[0].rope_base)


def _tensors(architecture: Architecture, family: LlamaCppFamily) -> Iterator[_Tensor]:
    """Yield all tensors, in the order of the file."""
    table = (architecture.vocab_size, architecture.width)
    final_norm = "token_embd_norm" if family == "lfm2" else "output_norm"
    yield _Tensor(name="token_embd.weight", source="embedding.weight", shape=table)
    yield _norm(final_norm, "final_norm", architecture.width)
    if not architecture.tied_head:
        yield _Tensor(name="output.weight", source="head.weight", shape=table)
    for index, layer in enumerate(architecture.layers):
        yield from _layer(f"blk.{index}", f"layers.{index}", layer, architecture, family)


def _layer(
    block: str, source: str, layer: Layer, architecture: Architecture, family: LlamaCppFamily
) -> Iterator[_Tensor]:
    width, hidden = architecture.width, layer.feed_forward_width
    yield _norm(f"{block}.attn_norm", f"{source}.mixer_norm", width)
    match supported_mixer(layer.mixer):
        case ShortConv():
            yield from _convolution(
                f"{block}.shortconv", f"{source}.mixer", width, _kernel(architecture)
            )
        case Attention() as mixer:
            yield from _attention(block, f"{source}.mixer", mixer, width, family)
        case _ as never:
            assert_never(never)
    yield _norm(f"{block}.ffn_norm", f"{source}.feed_forward_norm", width)
    for part, shape in (
        ("gate", (hidden, width)),
        ("up", (hidden, width)),
        ("down", (width, hidden)),
    ):
        yield _matrix(f"{block}.ffn_{part}", f"{source}.feed_forward.{part}_proj", shape)
    if architecture.sandwich_norm:
        yield _norm(f"{block}.post_attention_norm", f"{source}.mixer_post_norm", width)
        yield _norm(f"{block}.post_ffw_norm", f"{source}.feed_forward_post_norm", width)


def _convolution(block: str, source: str, width: int, kernel: int) -> Iterator[_Tensor]:
    yield _matrix(f"{block}.in_proj", f"{source}.in_proj", (3 * width, width))
    yield _Tensor(
        name=f"{block}.conv.weight",
        source=f"{source}.kernel_DW",
        shape=(width, kernel),
        kind="kernel",
    )
    yield _matrix(f"{block}.out_proj", f"{source}.out_proj", (width, width))


def _attention(
    block: str, source: str, mixer: Attention, width: int, family: LlamaCppFamily
) -> Iterator[_Tensor]:
    for letter, heads in (("q", mixer.heads), ("k", mixer.kv_heads), ("v", mixer.kv_heads)):
        # The `llama` family rotates neighbouring elements, the others elements half a head apart.
        paired_heads = heads if family == "llama" and letter != "v" else None
        rows = heads * mixer.head_dim
        yield _Tensor(
            name=f"{block}.attn_{letter}.weight",
            source=f"{source}.{letter}_proj.weight",
            shape=(rows, width),
            paired_heads=paired_heads,
        )
        if mixer.qkv_bias:
            yield _Tensor(
                name=f"{block}.attn_{letter}.bias",
                source=f"{source}.{letter}_proj.bias",
                shape=(rows,),
                kind="bias",
                paired_heads=paired_heads,
            )
    if mixer.qk_norm:
        yield _norm(f"{block}.attn_q_norm", f"{source}.q_norm", mixer.head_dim)
        yield _norm(f"{block}.attn_k_norm", f"{source}.k_norm", mixer.head_dim)
    yield _matrix(
        f"{block}.attn_output", f"{source}.out_proj", (width, mixer.heads * mixer.head_dim)
    )


def _matrix(name: str, source: str, shape: tuple[int, int]) -> _Tensor:
    return _Tensor(name=f"{name}.weight", source=f"{source}.weight", shape=shape)


def _norm(name: str, source: str, width: int) -> _Tensor:
    return _Tensor(name=f"{name}.weight", source=f"{source}.weight", shape=(width,), kind="norm")


def _kernel(architecture: Architecture) -> int:
    """Return the one kernel width of the file; shorter kernels are padded with leading zeros."""
    kernels = [
        layer.mixer.kernel for layer in architecture.layers if isinstance(layer.mixer, ShortConv)
    ]
    return max([_MIN_KERNEL, *kernels])


def _type(tensor: _Tensor, quantization: GgufQuantization) -> GGMLQuantizationType:
    if tensor.kind != "matrix":
        return GGMLQuantizationType.F32
    matrix_type = _MATRIX_TYPES[quantization]
    block_size, _ = GGML_QUANT_SIZES[matrix_type]
    return GGMLQuantizationType.F16 if tensor.shape[-1] % block_size else matrix_type


def _given(tensor: _Tensor, weights: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    weight = weights[tensor.source]
    if tensor.kind == "kernel":
        return np.pad(weight, ((0, 0), (tensor.shape[1] - weight.shape[1], 0)))
    if tensor.paired_heads is not None:
        halves = weight.reshape(tensor.paired_heads, 2, -1, *weight.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)
    return weight


def _check_range(tensor: _Tensor, given: NDArray[np.float32], kind: GGMLQuantizationType) -> None:
    """Refuse weights that would become infinities or NaN in the file."""
    largest = float(np.abs(given).max())
    if largest > _LARGEST.get(kind, math.inf):
        raise ValueError(
            f"weights: {tensor.source} contains a number of magnitude {largest:g}; a matrix of "
            f"type {kind.name} stores at most {_LARGEST[kind]:g}"
        )


def _draw(
    tensor: _Tensor, kind: GGMLQuantizationType, generator: np.random.Generator
) -> NDArray[np.generic]:
    """Draw norms close to 1, other tensors around 0 with a variance of about 1 / columns."""
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        draw = generator.random(tensor.shape, dtype=np.float32)
        draw -= np.float32(0.5)
        if tensor.kind == "norm":
            return 1 + draw / 5
        draw *= np.float32((12 / tensor.shape[-1]) ** 0.5)
        return quantize(draw, kind)
    # A block is a half-precision scale followed by codes; every byte is one valid code or two.
    shape = quant_shape_to_byte_shape(tensor.shape, kind)
    _, block_bytes = GGML_QUANT_SIZES[kind]
    words = generator.integers(1 << 64, size=-(-math.prod(shape) // 8), dtype=np.uint64)
    blocks = words.view(np.uint8)[: math.prod(shape)].reshape(-1, block_bytes)
    codes = 256 if kind == GGMLQuantizationType.Q8_0 else 16
    scale = np.array([(12 / tensor.shape[-1]) ** 0.5 / codes], dtype=np.float16)
    blocks[:, :2] = scale.view(np.uint8)
    return blocks.reshape(shape)
