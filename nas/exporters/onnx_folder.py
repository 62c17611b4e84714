"""The folder that onnxruntime and onnxruntime-genai load: graphs, weights, tokenizer."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.exporters.genai import unsupported_by_genai, write_genai
from search_space.architecture import Architecture
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import write_onnx


def write_onnx_folder(
    architecture: Architecture,
    weights: Mapping[str, NDArray[np.float32]],
    folder: Path,
    *,
    quantization: GraphQuantization,
    context_length: int,
    tokenizer: Path | None,
    end_token: int | None,
) -> str | None:
    """Writes the model that `nas measure` times, and what onnxruntime-genai wants beside it.

    tokenizer: a file of the library `tokenizers`, which only genai reads. Returns why genai's part
    is left out, None where it is there. Raises ValueError for sizes that onnxruntime does not take.
    """
    model = write_onnx(
        architecture,
        folder,
        quantization=quantization,
        context_length=context_length,
        weights=weights,
    )
    reason = unsupported_by_genai(architecture)
    if reason is not None:
        (folder / "README.md").write_text(_README)
        return reason
    (folder / "README.md").write_text(_README + _GENAI_README)
    write_genai(architecture, model, context_length=context_length, end_token=end_token)
    if tokenizer is not None:
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context_length,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return None


_README = """\
`model.onnx` is a graph for onnxruntime: it takes `tokens` (1, T), `total_length`, which counts the
tokens seen when the run ends, and the past states, and gives the last token's `logits` and the
present states. `model.json` lists the states; an extent of 0 is the most tokens that a cache holds.
Where it says `in_place`, past and present are to be bound to one buffer of that size.
"""

_GENAI_README = """
`genai.onnx` is the same model over the same data file for onnxruntime-genai:

```python
import onnxruntime_genai as genai

model = genai.Model(".")
settings = genai.GeneratorParams(model)
settings.set_search_options(max_length=64)
generator = genai.Generator(model, settings)
tokenizer = genai.Tokenizer(model)  # where the folder has a tokenizer.json
generator.append_tokens(tokenizer.encode("def "))
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```
"""
