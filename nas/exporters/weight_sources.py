"""The weights that an export writes: drawn at random, trained again as the study did, or given."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tokenizers
from numpy.typing import NDArray

from evaluators.evaluator import EvaluationFailed
from nas.assembly import loss_evaluator
from nas.views.terminal import notices
from search_space.architecture import Architecture
from search_space.huggingface.checkpoint import PICKLES, read_weights, read_weights_file
from search_space.strict import parse_json, read_text
from search_space.torch_model import InitialWeights, weights_of
from studies.analysis.summaries import TrialDetail

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedModel:
    """An architecture with its weights, by the torch model's names.

    tokenizer: a file of the library `tokenizers`; None where the weights come without one.
    story: where the weights are from, as a clause.
    """

    architecture: Architecture
    weights: Weights
    tokenizer: Path | None
    weights_origin: str


def random_model(architecture: Architecture, seed: int) -> WeightedModel:
    return WeightedModel(
        architecture=architecture,
        weights=InitialWeights(architecture, seed),
        tokenizer=None,
        weights_origin=f"weights at random (seed {seed}), untrained",
    )


@contextmanager
def proxy_model(detail: TrialDetail, architecture: Architecture) -> Iterator[WeightedModel]:
    """The narrow copy of a trial's architecture, trained as its study trains; progress is shown.

    ValueError where the training fails. The tokenizer is there until the context ends.
    """
    loss = loss_evaluator(detail.spec)
    with notices().status("training the proxy") as status, tempfile.TemporaryDirectory() as folder:
        try:
            trained = loss.train(
                architecture, lambda progress: status.update(f"{progress.done:.0%} {progress.text}")
            )
        except EvaluationFailed as failure:
            raise ValueError(f"weights: the proxy's training failed: {failure}") from failure
        status.stop()
        tokenizer = Path(folder) / _TOKENIZER_FILE
        trained.tokenizer.bpe.save(str(tokenizer))
        yield WeightedModel(
            architecture=trained.model.architecture,
            weights=weights_of(trained.model),
            tokenizer=tokenizer,
            weights_origin=f"the narrow copy that the study trains in place of the model, with the "
            f"study's tokenizer: {trained.curve[-1].loss:.3f} bits a byte after "
            f"{trained.curve[-1].tokens:,} tokens; the full-size model has not been trained",
        )


def given_model(path: Path, architecture: Architecture) -> WeightedModel:
    """From a folder that transformers saved, or a safetensors file with the torch model's names.

    ValueError, one sentence, for whatever does not fit.
    """
    if path.is_dir():
        weights: Weights = read_weights(path, architecture)
        tokenizer = path / _TOKENIZER_FILE
        return WeightedModel(
            architecture=architecture,
            weights=weights,
            tokenizer=tokenizer if tokenizer.is_file() else None,
            weights_origin=f"weights from {path}",
        )
    if path.suffix in PICKLES:
        raise ValueError(
            f"weights: '{path}' is a pickle, which may run any program when it is read; "
            "convert it where you trust it: safetensors.torch.save_file(torch.load(FILE), NEW_FILE)"
        )
    if path.suffix != ".safetensors" or not path.is_file():
        raise ValueError(
            f"weights: '{path}' is not random, proxy, a folder that transformers saved, "
            "or a .safetensors file"
        )
    return WeightedModel(
        architecture=architecture,
        weights=read_weights_file(path, architecture),
        tokenizer=None,
        weights_origin=f"weights from {path}",
    )


def end_token(tokenizer: Path, vocab_size: int) -> int | None:
    """The id that ends a text, where a file that transformers wrote beside it names one.

    ValueError for an id that the model does not have.
    """
    found = _named_end(tokenizer)
    if found is not None and not 0 <= found < vocab_size:
        raise ValueError(
            f"{tokenizer.parent}: eos_token_id: {found} is not one of the model's "
            f"{vocab_size:,} tokens"
        )
    return found


def _named_end(tokenizer: Path) -> int | None:
    found = _beside(tokenizer, "generation_config.json").get("eos_token_id")
    first = found[0] if isinstance(found, list) and found else found
    if isinstance(first, int):
        return first
    named = _beside(tokenizer, "tokenizer_config.json").get("eos_token")
    spelling = named.get("content") if isinstance(named, dict) else named
    return _id(spelling, tokenizer) if isinstance(spelling, str) else None


def _id(spelling: str, tokenizer: Path) -> int | None:
    try:
        found: int | None = tokenizers.Tokenizer.from_file(str(tokenizer)).token_to_id(spelling)
    except Exception as error:  # the library raises no other
        raise ValueError(f"{tokenizer}: is no tokenizer: {error}") from None
    return found


def _beside(tokenizer: Path, name: str) -> Mapping[str, object]:
    """What a file in the tokenizer's folder says; nothing where there is none."""
    path = tokenizer.with_name(name)
    return parse_json(dict[str, object], read_text(path), str(path)) if path.is_file() else {}
