"""Writes folders for onnxruntime and onnxruntime-genai: graphs, weights and tokenizer."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.exporters.genai import unsupported_by_genai, write_genai
from nas.findings.wording import sentence
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
    weights_origin: str,
) -> str | None:
    """Write a model for onnxruntime and, if possible, for onnxruntime-genai.

    Args:
        architecture: The architecture of the model.
        weights: The weights by their names in the torch model.
        folder: The folder to write into, which must exist.
        quantization: The quantisation of matrices.
        context_length: The maximum context length, in tokens.
        tokenizer: A file of the library `tokenizers`, if there is one; only onnxruntime-genai
            reads it.
        end_token: The id of the token at which generation stops, if there is one.
        weights_origin: Where the weights come from, as a clause for the README.

    Returns:
        Why the files of onnxruntime-genai are not written, as a clause; None if they are.

    Raises:
        ValueError: onnxruntime does not support a size of the architecture.
    """
    model = write_onnx(
        architecture,
        folder,
        quantization=quantization,
        context_length=context_length,
        weights=weights,
    )
    reason = unsupported_by_genai(architecture)
    readme = _README.format(origin=sentence(weights_origin))
    readme += "" if reason is not None else _GENAI_README
    (folder / "README.md").write_text(readme, encoding="utf-8")
    if reason is not None:
        return reason
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
`model.onnx` is a graph for onnxruntime. Its inputs are `tokens` (1, T), the past states, and
`total_length`, which is the number of tokens read by the end of the run. Its outputs are the
`logits` of the last token and the present states. `model.json` lists the states. A size of 0 stands
for the maximum number of tokens that a cache holds. If a state is `in_place`, its past and its
present value must be bound to one buffer of that size.

{origin}
"""

_GENAI_README = """
`genai.onnx` is the same model for onnxruntime-genai, and uses the same data file:

```python
import onnxruntime_genai as genai

model = genai.Model(".")
settings = genai.GeneratorParams(model)
settings.set_search_options(max_length=64)
generator = genai.Generator(model, settings)
tokenizer = genai.Tokenizer(model)  # if the folder contains a tokenizer.json
generator.append_tokens(tokenizer.encode("def "))
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```
"""
