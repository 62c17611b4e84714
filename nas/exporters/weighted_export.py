"""The exports that hold weights: for transformers, for onnxruntime and for llama.cpp."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from evaluators.scores import is_trained
from nas.exporters.architecture_json import Provenance, subject_provenance, write_architecture
from nas.exporters.formats import PROXY, RANDOM, USUAL_QUANTIZATION, Exported, ExportOptions, Format
from nas.exporters.huggingface.transformers_folder import write_huggingface
from nas.exporters.onnx_folder import write_onnx_folder
from nas.exporters.output import MARK, writing_file, writing_folder
from nas.exporters.weight_sources import (
    WeightedModel,
    end_token,
    given_model,
    proxy_model,
    random_model,
)
from nas.inputs.model_argument import ResolvedModel
from search_space.huggingface.checkpoint import holds_weights
from search_space.input_errors import one_of
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.llama_cpp.gguf_file import GgufQuantization, write_gguf
from search_space.llama_cpp.gguf_tokenizer import (
    GgufTokenizer,
    InexpressibleTokenizer,
    read_tokenizer,
)
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import MODEL_FILE

T = TypeVar("T")


def export_with_weights(subject: ResolvedModel, options: ExportOptions, path: Path) -> Exported:
    """All of it or nothing; raises as `export_model`."""
    match options.file_format:
        case Format.GGUF:
            return _export_gguf(subject, options, path)
        case Format.HF:
            return _export_huggingface(subject, options, path)
        case Format.ONNX:
            return _export_onnx(subject, options, path)
        case _:
            raise AssertionError(f"{options.file_format} holds no weights")


def _export_gguf(subject: ResolvedModel, options: ExportOptions, path: Path) -> Exported:
    quantization = _one_of(options.quantization, get_args(GgufQuantization))
    # Before a proxy is trained for it, which keeps the layout.
    if (reason := unsupported_by_llama_cpp(subject.architecture)) is not None:
        raise ValueError(f"format: gguf is not possible: {reason}")
    with (
        writing_file(path, overwrite=options.overwrite) as file,
        _weighed(subject, options) as model,
    ):
        embedded = _embedded(model)
        write_gguf(
            model.architecture,
            file,
            quantization=quantization,
            context_length=options.context_length,
            weights=model.weights,
            tokenizer=embedded.tokenizer,
        )
        return Exported(
            path=path,
            reads_text=embedded.tokenizer is not None,
            weights_origin=model.weights_origin,
            remark=embedded.remark,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    """What a GGUF file has of the weights' tokenizer, and what it lacks."""

    tokenizer: GgufTokenizer | None = None
    remark: str | None = None


def _embedded(model: WeightedModel) -> _Embedded:
    if model.tokenizer is None:
        return _Embedded()
    vocab_size = model.architecture.vocab_size
    end = end_token(model.tokenizer, vocab_size)
    try:
        tokenizer = read_tokenizer(model.tokenizer, vocab_size, end)
    except InexpressibleTokenizer as reason:
        return _Embedded(remark=f"no tokenizer in it: {reason}")
    remark = tokenizer.ignored_normalizer and (
        f"its tokenizer brings text to {tokenizer.ignored_normalizer} first, llama.cpp does not"
    )
    return _Embedded(tokenizer=tokenizer, remark=remark)


def _export_huggingface(subject: ResolvedModel, options: ExportOptions, path: Path) -> Exported:
    with (
        writing_folder(path, overwrite=options.overwrite) as folder,
        _weighed(subject, options) as model,
    ):
        provenance = _provenance(subject, model)
        write_huggingface(
            model.architecture,
            model.weights,
            folder,
            name=path.name,
            context_length=options.context_length,
            tokenizer=model.tokenizer,
            provenance=_card(provenance, model),
        )
        write_architecture(model.architecture, folder / MARK, provenance)
        return Exported(path=path, weights_origin=model.weights_origin)


def _export_onnx(subject: ResolvedModel, options: ExportOptions, path: Path) -> Exported:
    quantization = _one_of(options.quantization, get_args(GraphQuantization))
    with (
        writing_folder(path, overwrite=options.overwrite) as folder,
        _weighed(subject, options) as model,
    ):
        reason = write_onnx_folder(
            model.architecture,
            model.weights,
            folder,
            quantization=quantization,
            context_length=options.context_length,
            tokenizer=model.tokenizer,
            end_token=_end(model),
        )
        write_architecture(model.architecture, folder / MARK, _provenance(subject, model))
        remark = None if reason is None else f"no genai_config.json: {reason}"
        return Exported(path=path, weights_origin=model.weights_origin, remark=remark)


def _end(model: WeightedModel) -> int | None:
    """The token that ends a text; where none is named, one that text does not hold."""
    if model.tokenizer is None:
        return None
    told = _embedded(model).tokenizer
    named = end_token(model.tokenizer, model.architecture.vocab_size)
    return told.end if named is None and told is not None else named


@contextmanager
def _weighed(subject: ResolvedModel, options: ExportOptions) -> Iterator[WeightedModel]:
    """The model to be written: the subject with weights, or its proxy."""
    architecture, folder = subject.architecture, subject.folder
    if options.weights == PROXY:
        assert subject.detail is not None
        with proxy_model(subject.detail, architecture) as model:
            yield model
    elif options.weights is None and folder is not None and holds_weights(folder):
        yield given_model(folder, architecture)
    elif options.weights is None and folder is not None and (folder / MODEL_FILE).is_file():
        raise ValueError(
            f"weights: '{folder}' holds them in {MODEL_FILE} only, out of which they are not read; "
            "--weights names a folder of transformers, or random"
        )
    elif options.weights in (None, RANDOM):
        yield random_model(architecture, options.seed)
    else:
        yield given_model(Path(options.weights), architecture)


def _provenance(subject: ResolvedModel, model: WeightedModel | None = None) -> Provenance:
    """Of what is written; the scores are those of the architecture that it was made from."""
    origin = subject.stretched_from
    if model is not None and model.architecture != subject.architecture:
        origin = subject.architecture
    return subject_provenance(subject, origin)


def _card(provenance: Provenance, model: WeightedModel) -> str:
    """The model card's paragraphs on where model and weights are from, in Markdown."""
    lines = [f"{model.weights_origin[0].upper()}{model.weights_origin[1:]}."]
    if provenance.study is not None:
        trial = f"{provenance.trial} of the study {provenance.study}, {provenance.state}"
        lines += [
            "",
            f"Made from trial {trial}; the scores are that trial's, not this model's."
            if provenance.made_from
            else f"Trial {trial}.",
        ]
    if provenance.scores:
        lines += ["", "| score | value | unit | 95 % interval |", "|---|---:|---|---|"]
        lines += [
            f"| {score.name} | {_number(score.value)} | {score.unit} | "
            + (
                ""
                if score.low is None or score.high is None
                else f"{_number(score.low)} to {_number(score.high)}"
            )
            + " |"
            for score in provenance.scores
        ]
    trained = [f"`{score.name}`" for score in provenance.scores if is_trained(score.name)]
    if trained:
        lines += [
            "",
            f"A narrow copy's after a short training, not these weights': {', '.join(trained)}.",
        ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _one_of(asked: str | None, known: tuple[T, ...]) -> T:
    """The quantization that was asked for, if the format has it."""
    for each in known:
        if each == (asked or USUAL_QUANTIZATION):
            return each
    raise ValueError(f"quantization: '{asked}' is not {one_of(known)}")
