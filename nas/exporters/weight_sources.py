"""The weights of an export: random, from a retrained proxy, or read from a file."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluators.evaluator import EvaluationFailed, Progress, Report
from nas.assembly import loss_evaluator
from search_space.architecture import Architecture
from search_space.huggingface.checkpoint import PICKLES, read_weights, read_weights_file
from search_space.input_files import exists, is_folder
from search_space.strict import load_table
from search_space.tokenizer_file import load_tokenizer, read_companion
from search_space.torch_model import InitialWeights, weights_of
from studies.analysis.trial_detail import TrialDetail

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedModel:
    """An architecture with weights.

    Attributes:
        architecture: The architecture.
        weights: The weights by their names in the torch model.
        tokenizer: A file of the library `tokenizers`; None if the weights come without one.
        weights_origin: Where the weights come from, as a clause.
    """

    architecture: Architecture
    weights: Weights
    tokenizer: Path | None
    weights_origin: str


def random_model(architecture: Architecture, seed: int) -> WeightedModel:
    """Return an architecture with random weights, which are drawn when they are accessed."""
    return WeightedModel(
        architecture=architecture,
        weights=InitialWeights(architecture, seed),
        tokenizer=None,
        weights_origin=f"random weights (seed {seed}), untrained",
    )


@contextmanager
def proxy_model(
    detail: TrialDetail, architecture: Architecture, report: Report
) -> Iterator[WeightedModel]:
    """Train the proxy of a trial as its study does.

    Args:
        detail: The trial.
        architecture: The architecture of the trial.
        report: Receives the progress of the training.

    Yields:
        The trained proxy. The file of its tokenizer exists until the context ends.

    Raises:
        ValueError: The training fails.
    """
    loss = loss_evaluator(detail.spec)

    def report_training(progress: Progress) -> None:
        report(replace(progress, text=f"training the proxy: {progress.text}"))

    with tempfile.TemporaryDirectory() as folder:
        report(Progress(done=0.0, text="training the proxy"))
        try:
            trained = loss.train(architecture, report_training)
        except EvaluationFailed as failure:
            raise ValueError(f"weights: the training of the proxy failed: {failure}") from failure
        tokenizer = Path(folder) / _TOKENIZER_FILE
        trained.tokenizer.bpe.save(str(tokenizer))
        yield WeightedModel(
            architecture=trained.model.architecture,
            weights=weights_of(trained.model),
            tokenizer=tokenizer,
            weights_origin="the narrow proxy that the study trains instead of the model, with the "
            f"study's tokenizer: {trained.curve[-1].loss:.3f} bits per byte after "
            f"{trained.curve[-1].tokens:,} tokens; the full-size model has not been trained",
        )


def given_model(path: Path, architecture: Architecture) -> WeightedModel:
    """Read the weights of a model.

    Args:
        path: A folder saved by transformers, or a safetensors file whose tensors are named as in
            the torch model.
        architecture: The architecture that the weights are for.

    Raises:
        ValueError: The weights or the tokenizer cannot be read, or the weights do not fit the
            architecture.
    """
    if is_folder(path):
        tokenizer = path / _TOKENIZER_FILE if exists(path / _TOKENIZER_FILE) else None
        if tokenizer is not None:
            load_tokenizer(tokenizer)  # it is copied into the export
        weights: Weights = read_weights(path, architecture)
        return WeightedModel(
            architecture=architecture,
            weights=weights,
            tokenizer=tokenizer,
            weights_origin=f"weights from {path}",
        )
    if path.suffix in PICKLES:
        raise ValueError(
            f"weights: '{path}' is a pickle file, which can run arbitrary code when it is loaded; "
            "if you trust it, convert it with safetensors.torch.save_file(torch.load(FILE), "
            "NEW_FILE)"
        )
    if path.suffix != ".safetensors" or not exists(path):
        raise ValueError(
            f"weights: '{path}' is not random, proxy, a folder saved by transformers, or a "
            ".safetensors file"
        )
    return WeightedModel(
        architecture=architecture,
        weights=read_weights_file(path, architecture),
        tokenizer=None,
        weights_origin=f"weights from {path}",
    )


def end_token(tokenizer: Path, vocab_size: int) -> int | None:
    """Return the id of the end-of-text token that a file next to the tokenizer names, if any.

    Args:
        tokenizer: The file of the tokenizer, in a folder saved by transformers.
        vocab_size: The number of tokens of the model.

    Raises:
        ValueError: The model has no such token.
    """
    found = _named_end_token(tokenizer)
    if found is not None and not 0 <= found < vocab_size:
        raise ValueError(
            f"{tokenizer.parent}: eos_token_id: {found} is not one of the model's "
            f"{vocab_size:,} tokens"
        )
    return found


def _named_end_token(tokenizer: Path) -> int | None:
    found = _companion_table(tokenizer, "generation_config.json").get("eos_token_id")
    first = found[0] if isinstance(found, list) and found else found
    if isinstance(first, int):
        return first
    named = _companion_table(tokenizer, "tokenizer_config.json").get("eos_token")
    spelling = named.get("content") if isinstance(named, dict) else named
    return _token_id(spelling, tokenizer) if isinstance(spelling, str) else None


def _token_id(spelling: str, tokenizer: Path) -> int | None:
    found: int | None = load_tokenizer(tokenizer).token_to_id(spelling)
    return found


def _companion_table(tokenizer: Path, name: str) -> Mapping[str, object]:
    """Return the content of a JSON file in the tokenizer's folder; empty if there is none."""
    text = read_companion(tokenizer, name)
    return {} if text is None else load_table(text, str(tokenizer.with_name(name)))
