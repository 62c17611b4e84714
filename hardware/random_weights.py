"""Weights that a model file declares but does not contain, drawn from a seed.

The description next to the model file, `model.json`, has the seed and the place of each tensor. It
needs only Python and numpy.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK_ELEMENTS = 1 << 22


def data_file(model: Path) -> Path:
    """Return the path of the file with a model's weights."""
    return model.with_name(f"{model.name}.data")


def write_random_weights(model: Path) -> None:
    """Write the data file that a model declares, with weights drawn from its seed.

    Every tensor has its own bytes: if tensors shared them, the weights could fit a cache and the
    model would look too fast. Tensors that are declared over the same bytes are written once.
    """
    description = json.loads(model.with_name("model.json").read_text())
    generator = np.random.Generator(np.random.SFC64(description["seed"]))
    with data_file(model).open("wb") as file:
        for weight in description["weights"]:
            if weight["offset"] < file.tell():
                continue
            file.seek(weight["offset"])
            elements = int(np.prod(weight["shape"]))
            for start in range(0, elements, _CHUNK_ELEMENTS):
                count = min(_CHUNK_ELEMENTS, elements - start)
                file.write(_draw(weight, count, generator).data)
        file.truncate(description["data_bytes"])


def _draw(weight: dict[str, Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
    if weight["dtype"] == "uint8":
        words = generator.integers(1 << 64, size=-(-count // 8), dtype=np.uint64)
        return words.view(np.uint8)[:count]
    draw = generator.random(count, dtype=np.float32)
    return draw * np.float32(weight["high"] - weight["low"]) + np.float32(weight["low"])
