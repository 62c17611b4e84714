"""The folder that transformers loads: configuration, weights, code, tokenizer, model card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save_file

from nas.exporters.huggingface.card import model_card
from search_space.architecture import Architecture
from search_space.huggingface.checkpoint import WEIGHTS_FILE
from search_space.huggingface.configuration import CONFIG_FILE
from search_space.huggingface.configuration import CUSTOM, NO_TOKENS, config_of
from search_space.huggingface.weights import Weights, to_huggingface

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
    """Writes what AutoModelForCausalLM loads into `folder`, which must exist.

    weights: by the torch model's names; each is asked for once, and written in float32.
    tokenizer: a file of the library `tokenizers`, None where there is none. Where transformers
        has written it, what it says of its special tokens comes along.
    name, provenance: what the model card says of the model, the latter in Markdown.
    """
    config = config_of(architecture)
    config |= {"dtype": "float32", "max_position_embeddings": context_length}
    _write_json(folder / CONFIG_FILE, config)
    _write_json(folder / "generation_config.json", NO_TOKENS)
    travels = config["model_type"] == CUSTOM
    if travels:
        for file in CODE_FILES:
            shutil.copyfile(Path(__file__).with_name(file), folder / file)
    if tokenizer is not None:
        _copy_tokenizer(tokenizer, folder, context_length)
    reads_text = tokenizer is not None
    card = model_card(architecture, name, provenance, needs_code=travels, reads_text=reads_text)
    (folder / "README.md").write_text(card, encoding="utf-8")
    try:
        # transformers wants to be told for which library the tensors are.
        save_file(to_huggingface(architecture, weights), folder / WEIGHTS_FILE, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    # Written so that only its owner reads it, whatever the umask.
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)


def _copy_tokenizer(tokenizer: Path, folder: Path, context_length: int) -> None:
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length},
    )
    for name in _BESIDE_TOKENIZER:
        if (beside := tokenizer.with_name(name)).is_file():
            shutil.copyfile(beside, folder / name)


_BESIDE_TOKENIZER = (
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
