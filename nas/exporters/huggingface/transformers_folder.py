"""Writes folders for transformers: configuration, weights, code, tokenizer and model card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save_file

from nas.exporters.huggingface.card import model_card
from search_space.architecture import Architecture
from search_space.huggingface.checkpoint import WEIGHTS_FILE
from search_space.huggingface.configuration import CONFIG_FILE, CUSTOM, NO_TOKENS, config_of
from search_space.huggingface.weights import Weights, to_huggingface
from search_space.tokenizer_file import read_companion

CODE_FILES = ("configuration_hybrid_lm.py", "modeling_hybrid_lm.py")


def write_huggingface(
    architecture: Architecture,
    weights: Weights,
    folder: Path,
    *,
    name: str,
    context_length: int,
    tokenizer: Path | None,
    provenance: str,
) -> None:
    """Write a folder that `AutoModelForCausalLM` loads.

    Args:
        architecture: The architecture of the model.
        weights: The weights by their names in the torch model; each is accessed once and written
            in float32.
        folder: The folder to write into, which must exist.
        name: The name of the model in the model card.
        context_length: The maximum context length, in tokens.
        tokenizer: A file of the library `tokenizers`, if there is one. Files on special tokens that
            transformers wrote next to it are copied, too.
        provenance: The paragraphs of the model card on where model and weights come from, in
            Markdown.

    Raises:
        OSError: A file cannot be written.
    """
    config = config_of(architecture)
    config |= {"dtype": "float32", "max_position_embeddings": context_length}
    _write_json(folder / CONFIG_FILE, config)
    _write_json(folder / "generation_config.json", NO_TOKENS)
    needs_code = config["model_type"] == CUSTOM
    if needs_code:
        for file in CODE_FILES:
            shutil.copyfile(Path(__file__).with_name(file), folder / file)
    if tokenizer is not None:
        _copy_tokenizer(tokenizer, folder, context_length)
    card = model_card(
        architecture, name, provenance, needs_code=needs_code, reads_text=tokenizer is not None
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    try:
        # transformers requires this metadata, which names the library that the tensors are for.
        save_file(to_huggingface(architecture, weights), folder / WEIGHTS_FILE, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    # safetensors makes the file readable by its owner only, regardless of the umask.
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)


def _copy_tokenizer(tokenizer: Path, folder: Path, context_length: int) -> None:
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length},
    )
    for name in _TOKENIZER_COMPANIONS:
        text = read_companion(tokenizer, name)
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8", newline="")


_TOKENIZER_COMPANIONS = (
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
