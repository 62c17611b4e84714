"""Small ONNX models, as the tests of what runs them need them."""

import json
from pathlib import Path
from typing import Any

from hardware.random_weights import write_random_weights
from search_space.architecture import Architecture
from search_space.onnx_model import write_onnx
from search_space.quantization import Quantization
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

EVERY_MIXER = stack(CONV, ATTENTION, LINEAR, WINDOW)


def write(
    folder: Path,
    architecture: Architecture = EVERY_MIXER,
    quantization: Quantization = "int4",
    seed: int = 0,
) -> Path:
    """Write a model for 64 tokens, without weights."""
    folder.mkdir(exist_ok=True)
    return write_onnx(architecture, folder, quantization=quantization, context_length=64, seed=seed)


def drawn(folder: Path, **options: Any) -> Path:
    """Write a model with weights that are drawn from its seed."""
    model = write(folder, **options)
    write_random_weights(model)
    return model


def description_of(model: Path) -> Any:
    return json.loads(model.with_name("model.json").read_text())
