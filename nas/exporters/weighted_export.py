"""Exports models with weights, for transformers, onnxruntime and llama.cpp."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never, get_args

from evaluators.evaluator import Progress, Report
from evaluators.scores import is_trained
from nas.exporters.architecture_json import Provenance, model_provenance, write_architecture
from nas.exporters.formats import (
    DEFAULT_QUANTIZATION,
    PROXY,
    RANDOM,
    Exported,
    ExportOptions,
    Format,
)
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
from nas.findings.wording import sentence
from nas.inputs.model_argument import ResolvedModel
from search_space.huggingface.checkpoint import holds_weights
from search_space.input_files import exists
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.llama_cpp.gguf_file import GgufQuantization, write_gguf
from search_space.llama_cpp.gguf_tokenizer import (
    GgufTokenizer,
    UnsupportedTokenizer,
    read_tokenizer,
)
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import MODEL_FILE

T = TypeVar("T")


def export_with_weights(
    model: ResolvedModel, options: ExportOptions, path: Path, report: Report
) -> Exported:
    """Export a model completely or not at all.

    Args:
        model: The model.
        options: The options, which `export_model` has checked; a format with weights.
        path: The file or folder to write.
        report: Receives the progress.

    Raises:
        ValueError: See `export_model`.
    """
    match options.file_format:
        case Format.GGUF:
            return _export_gguf(model, options, path, report)
        case Format.HF:
            return _export_huggingface(model, options, path, report)
        case Format.ONNX:
            return _export_onnx(model, options, path, report)
        case Format.JSON | Format.TORCH:
            raise AssertionError(f"{options.file_format} contains no weights")
        case _:
            assert_never(options.file_format)


def _export_gguf(
    model: ResolvedModel, options: ExportOptions, path: Path, report: Report
) -> Exported:
    # Checked before a proxy is trained; a proxy has the same layout.
    if (reason := unsupported_by_llama_cpp(model.architecture)) is not None:
        raise ValueError(f"format: gguf is not possible: {reason}")
    with (
        writing_file(path, overwrite=options.overwrite) as file,
        _weighted(model, options, report) as weighted,
    ):
        embedded = _embedded_tokenizer(weighted)
        _report_writing(report, path)
        write_gguf(
            weighted.architecture,
            file,
            quantization=_quantization(options, get_args(GgufQuantization)),
            context_length=options.context_length,
            weights=weighted.weights,
            tokenizer=embedded.tokenizer,
        )
        return Exported(
            path=path,
            reads_text=embedded.tokenizer is not None,
            weights_origin=weighted.weights_origin,
            remark=embedded.remark,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _EmbeddedTokenizer:
    """The tokenizer for a GGUF file, and a remark if it is missing or differs from the original."""

    tokenizer: GgufTokenizer | None = None
    remark: str | None = None


def _embedded_tokenizer(weighted: WeightedModel) -> _EmbeddedTokenizer:
    if weighted.tokenizer is None:
        return _EmbeddedTokenizer()
    vocab_size = weighted.architecture.vocab_size
    end = end_token(weighted.tokenizer, vocab_size)
    try:
        tokenizer = read_tokenizer(weighted.tokenizer, vocab_size, end)
    except UnsupportedTokenizer as reason:
        return _EmbeddedTokenizer(remark=f"the file contains no tokenizer: {reason}")
    remark = tokenizer.ignored_normalizer and (
        f"the tokenizer normalises text to Unicode {tokenizer.ignored_normalizer}, but llama.cpp "
        "does not"
    )
    return _EmbeddedTokenizer(tokenizer=tokenizer, remark=remark)


def _export_huggingface(
    model: ResolvedModel, options: ExportOptions, path: Path, report: Report
) -> Exported:
    with (
        writing_folder(path, overwrite=options.overwrite) as folder,
        _weighted(model, options, report) as weighted,
    ):
        provenance = _provenance(model, weighted)
        _report_writing(report, path)
        write_huggingface(
            weighted.architecture,
            weighted.weights,
            folder,
            name=path.name,
            context_length=options.context_length,
            tokenizer=weighted.tokenizer,
            provenance=_card(provenance, weighted),
        )
        write_architecture(weighted.architecture, folder / MARK, provenance)
        return Exported(
            path=path,
            fits_llama_cpp=unsupported_by_llama_cpp(weighted.architecture) is None,
            weights_origin=weighted.weights_origin,
        )


def _export_onnx(
    model: ResolvedModel, options: ExportOptions, path: Path, report: Report
) -> Exported:
    with (
        writing_folder(path, overwrite=options.overwrite) as folder,
        _weighted(model, options, report) as weighted,
    ):
        _report_writing(report, path)
        reason = write_onnx_folder(
            weighted.architecture,
            weighted.weights,
            folder,
            quantization=_quantization(options, get_args(GraphQuantization)),
            context_length=options.context_length,
            tokenizer=weighted.tokenizer,
            end_token=_end_token(weighted),
            weights_origin=weighted.weights_origin,
        )
        write_architecture(weighted.architecture, folder / MARK, _provenance(model, weighted))
        remark = None if reason is None else f"genai_config.json was not written: {reason}"
        return Exported(path=path, weights_origin=weighted.weights_origin, remark=remark)


def _end_token(weighted: WeightedModel) -> int | None:
    """Return the end-of-text token; if none is named, one that text never contains."""
    if weighted.tokenizer is None:
        return None
    named = end_token(weighted.tokenizer, weighted.architecture.vocab_size)
    if named is not None:
        return named
    embedded = _embedded_tokenizer(weighted).tokenizer
    return None if embedded is None else embedded.end_token


@contextmanager
def _weighted(
    model: ResolvedModel, options: ExportOptions, report: Report
) -> Iterator[WeightedModel]:
    """Provide what is written: the model with weights, or its proxy."""
    architecture, folder = model.architecture, model.folder
    if options.weights == PROXY:
        assert model.detail is not None
        with proxy_model(model.detail, architecture, report) as proxy:
            yield proxy
    elif options.weights is None and folder is not None and holds_weights(folder):
        report(Progress(done=0.0, text="reading the weights"))
        yield given_model(folder, architecture)
    elif options.weights is None and folder is not None and exists(folder / MODEL_FILE):
        raise ValueError(
            f"weights: '{folder}' contains weights only in {MODEL_FILE}, from which they cannot be "
            "read; set --weights to a folder saved by transformers, or to random"
        )
    elif options.weights is None:
        has_proxy = model.detail is not None and model.scaled_from is None
        raise ValueError(
            f"weights: {model.name} has none; set --weights to random, "
            f"{'proxy, ' if has_proxy else ''}a folder saved by transformers or a .safetensors file"
        )
    elif options.weights == RANDOM:
        yield random_model(architecture, options.seed)
    else:
        report(Progress(done=0.0, text="reading the weights"))
        yield given_model(Path(options.weights), architecture)


def _report_writing(report: Report, path: Path) -> None:
    report(Progress(done=0.0, text=f"writing {path}"))


def _provenance(model: ResolvedModel, weighted: WeightedModel) -> Provenance:
    """Return the provenance of what is written: the model, or a proxy made from it."""
    is_proxy = weighted.architecture != model.architecture
    return model_provenance(model, model.architecture if is_proxy else model.scaled_from)


def _card(provenance: Provenance, weighted: WeightedModel) -> str:
    """Return the model card's paragraphs on where model and weights come from, in Markdown."""
    lines = [sentence(weighted.weights_origin)]
    if provenance.study is not None:
        trial = f"{provenance.trial} of the study {provenance.study}, {provenance.state}"
        lines += [
            "",
            f"Made from trial {trial}; the scores are that trial's, not this model's."
            if provenance.made_from
            else f"Trial {trial}.",
        ]
    if provenance.scores:
        lines += ["", "| score | value | unit | 95 % confidence interval |", "|---|---:|---|---|"]
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
            f"These scores belong to a narrow proxy after a short training, not to these weights: "
            f"{', '.join(trained)}.",
        ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _quantization(options: ExportOptions, supported: tuple[T, ...]) -> T:
    """Return the quantisation as a member of the format's type."""
    name = options.quantization or DEFAULT_QUANTIZATION
    return next(quantization for quantization in supported if quantization == name)
