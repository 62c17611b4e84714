"""Exports models and loads them with transformers, as a user does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.exporters.huggingface.transformers_folder import write_huggingface
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel, weights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    ours: LanguageModel
    theirs: Any


def export(architecture: Architecture, folder: Path) -> Exported:
    """Return our model and the model that transformers loads from its export."""
    ours = lively_model(architecture)
    write_huggingface(
        architecture,
        weights_of(ours),
        folder,
        name="winner",
        context_length=128,
        tokenizer=None,
        provenance="From a test.",
    )
    return Exported(ours=ours, theirs=load(folder))


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()


def lively_model(architecture: Architecture) -> LanguageModel:
    """Return a model with initial weights, except that norms and biases are not constant."""
    model = LanguageModel(architecture).eval()
    model.initialise(seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return model
