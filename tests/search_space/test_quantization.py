import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from search_space.quantization import (
    BLOCK,
    QUANTIZATIONS,
    bits_of,
    matrix_bytes,
    quantize,
    vector_bytes,
)
from tests.search_space.dequantization import dequantize

BITS = st.sampled_from([4, 8])
# The scales of subnormal numbers are rounded coarsely, and weights are never that small.
ELEMENTS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False).map(
    lambda value: value if abs(value) > 1e-30 else 0.0
)


@st.composite
def matrices(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 3 * BLOCK)))
    return draw(arrays.arrays(np.float32, shape, elements=ELEMENTS))


def blocks_of(matrix_NK) -> np.ndarray:
    rows, columns = matrix_NK.shape
    padded = np.pad(matrix_NK, ((0, 0), (0, -columns % BLOCK)))
    return padded.reshape(rows, -1, BLOCK).astype(np.float64)


@given(matrix=matrices(), bits=BITS)
def test_elements_in_the_range_of_the_codes_are_off_by_at_most_half_a_step(matrix, bits):
    quantized = quantize(matrix, bits)
    exact, coded = blocks_of(matrix), blocks_of(dequantize(quantized))
    scales = quantized.scales.astype(np.float64)[..., None]
    # Codes reach one step less far on one side, where the largest element is off by a whole step.
    ends = -(2 ** (bits - 1)) * scales, (2 ** (bits - 1) - 1) * scales
    reachable = np.clip(exact, np.minimum(*ends), np.maximum(*ends))
    assert (np.abs(reachable - coded) <= 0.5 * np.abs(scales) * (1 + 1e-5)).all()
    assert (np.abs(exact - reachable) <= np.abs(scales) * (1 + 1e-5)).all()


@given(matrix=matrices(), bits=BITS)
def test_the_element_of_largest_magnitude_in_a_block_is_exact(matrix, bits):
    exact, coded = blocks_of(matrix), blocks_of(dequantize(quantize(matrix, bits)))
    largest = np.abs(exact).argmax(-1)[..., None]
    np.testing.assert_array_equal(
        np.take_along_axis(exact, largest, -1), np.take_along_axis(coded, largest, -1)
    )


@given(matrix=matrices(), bits=BITS)
def test_quantising_twice_changes_nothing(matrix, bits):
    once = dequantize(quantize(matrix, bits))
    np.testing.assert_array_equal(dequantize(quantize(once, bits)), once)


@given(matrix=matrices(), bits=BITS)
def test_a_matrix_has_the_counted_number_of_bytes(matrix, bits):
    quantized = quantize(matrix, bits)
    counted = matrix_bytes(*matrix.shape, "int4" if bits == 4 else "int8")
    assert quantized.blocks.nbytes + quantized.scales.nbytes == counted
    assert quantized.blocks.shape == (*quantized.scales.shape, BLOCK * bits // 8)
    assert dequantize(quantized).shape == matrix.shape


@pytest.mark.parametrize("bits", [4, 8])
def test_padding_changes_no_codes_and_stays_zero(bits):
    generator = np.random.default_rng(0)
    full = generator.standard_normal((3, BLOCK)).astype(np.float32)
    full[:, 20:] = 0.0
    short, padded = quantize(full[:, :20], bits), quantize(full, bits)
    np.testing.assert_array_equal(short.blocks, padded.blocks)
    np.testing.assert_array_equal(short.scales, padded.scales)
    assert (dequantize(padded)[:, 20:] == 0).all()


def test_a_block_of_zeros_stays_zero():
    assert (dequantize(quantize(np.zeros((2, 40), dtype=np.float32), 4)) == 0).all()


def test_codes_are_packed_as_onnxruntime_reads_them():
    # The largest magnitude is -8, so a step is 1 and codes are the values plus 8, low half first.
    row = np.zeros((1, BLOCK), dtype=np.float32)
    row[0, :4] = [-8, 7, 1, -2]
    quantized = quantize(row, 4)
    assert quantized.scales.item() == 1.0
    assert quantized.blocks[0, 0, :3].tolist() == [0xF0, 0x69, 0x88]
    eight_bits = quantize(16 * row, 8)
    assert eight_bits.scales.item() == 1.0
    assert eight_bits.blocks[0, 0, :5].tolist() == [0, 240, 144, 96, 128]


def test_bytes_equal_those_computed_by_hand():
    assert [bits_of(quantization) for quantization in QUANTIZATIONS] == [32, 16, 8, 4]
    assert matrix_bytes(10, 64, "fp32") == 2560
    assert matrix_bytes(10, 64, "fp16") == 1280
    assert matrix_bytes(10, 64, "int8") == 10 * 2 * (32 + 4)
    assert matrix_bytes(10, 65, "int4") == 10 * 3 * (16 + 4)
    assert [vector_bytes(10, quantization) for quantization in QUANTIZATIONS] == [40, 20, 40, 40]
