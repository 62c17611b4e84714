"""Exports in every format, from command-line arguments to what the next tool reads."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import save_file

from evaluators.evaluator import Score
from hardware.onnx_session import Session
from nas.exporters.architecture_json import Stage, provenance_of, write_architecture
from nas.exporters.export_model import export_model, next_steps
from nas.exporters.formats import FORMATS, Exported, ExportOptions, Format, format_of
from nas.inputs.model_argument import ModelFile, find_measurables, find_model
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.architecture_file import read_architecture
from search_space.costs import parameter_counts
from search_space.huggingface.checkpoint import read_weights
from search_space.llama_cpp.gguf_file import GgufQuantization
from search_space.onnx_graph import GraphQuantization
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, stack

SMALL = stack(CONV, ATTENTION, CONV, vocab_size=128, width=64, embedding_width=64)
STUDY_PROVENANCE = replace(
    provenance_of(None, made_from=None),
    study="tiny",
    trial="7",
    state="complete",
    scores=(Score(name="loss", value=1.25, unit="bits/byte"),),
    stages=(Stage(name="training", fingerprint="f", seconds=2.0),),
)
CUSTOM = stack(CONV, LINEAR, None, vocab_size=128, width=64, embedding_width=64)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, architecture in (("small", SMALL), ("custom", CUSTOM)):
        (tmp_path / f"{name}.json").write_text(to_json(architecture))
    return tmp_path


def export(model: str, file_format: str, **options: object) -> Exported:
    scale = options.pop("scale", None)
    chosen = Format(file_format)
    if model.endswith(".json") and FORMATS[chosen].has_weights:
        options = {"weights": "random"} | options
    options = ExportOptions(file_format=chosen, **{"context_length": 64} | options)
    return export_model(find_model(model, None, scale=scale), options)


def logits(folder: Path, tokens: np.ndarray) -> np.ndarray:
    session = Session(folder / "model.onnx", cores=[0])
    return np.stack([session.read(tokens[index : index + 1]) for index in range(len(tokens))])


def trained(architecture: Architecture) -> LanguageModel:
    model = LanguageModel(architecture)
    model.initialise(7)
    return model


def test_the_table_lists_the_quantisations_that_the_writers_support() -> None:
    assert FORMATS.keys() == set(Format)
    assert FORMATS[Format.ONNX].quantizations == get_args(GraphQuantization)
    assert FORMATS[Format.GGUF].quantizations == get_args(GgufQuantization)


@pytest.mark.parametrize(
    ("output", "file_format"),
    [
        (None, Format.JSON),
        ("winner", Format.JSON),
        ("winner.json", Format.JSON),
        ("out/winner.py", Format.TORCH),
        ("winner.gguf", Format.GGUF),
        ("Winner.GGUF", Format.GGUF),
        ("winner-hf", Format.HF),
        ("winner-onnx", Format.ONNX),
    ],
)
def test_the_end_of_a_path_stands_for_its_format(output: str | None, file_format: Format) -> None:
    assert format_of(None if output is None else Path(output)) is file_format


@pytest.mark.parametrize("output", ["winner.onnx", "winner.safetensors", "winner-v1.2"])
def test_a_path_that_stands_for_no_format_requires_one(nas, in_folder: Path, output: str) -> None:
    refused = nas("export", "small.json", "-o", output)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"nas: output: '{output}' ends in none of .json (json), .py (torch), -hf (hf), -onnx "
        "(onnx), .gguf (gguf), so its format is not known; specify --format\n"
    )
    assert not (in_folder / output).exists()


def test_the_command_writes_the_format_of_the_output(nas, in_folder: Path) -> None:
    random = ("--weights", "random")
    written = nas("export", "small.json", "-o", "small.gguf", "--context", "64", *random)
    assert written.returncode == 0
    assert (in_folder / "small.gguf").read_bytes()[:4] == b"GGUF"
    asked = ("--format", "onnx", "--context", "64", "--quantization", "fp32", *random)
    written = nas("export", "small.json", "-o", "small.onnx", *asked)
    assert "next: nas measure small.onnx" in written.stderr
    (found,) = find_measurables(["small.onnx"], None)
    assert found.source == ModelFile(
        path=in_folder / "small.onnx" / "model.onnx", model_format="onnx", context_length=64
    )


def test_the_default_name_depends_on_the_format(in_folder: Path) -> None:
    names = [str(export("small.json", name, overwrite=True).path) for name in Format]
    assert names == ["small.json", "small.py", "small-hf", "small-onnx", "small-int4.gguf"]
    assert all((in_folder / name).exists() for name in names)
    assert [(in_folder / name).is_dir() for name in names] == [
        definition.is_folder for definition in FORMATS.values()
    ]


@pytest.mark.parametrize("architecture", ["small", "custom"])
def test_a_trained_folder_is_exported_to_onnx_with_its_logits(
    architecture: str, in_folder: Path
) -> None:
    model = trained(read_architecture(in_folder / f"{architecture}.json"))
    save_file(model.state_dict(), in_folder / "trained.safetensors")
    export(f"{architecture}.json", "hf", weights="trained.safetensors", output=Path("trained"))
    export("trained", "onnx", quantization="fp32", output=Path("deployed"))

    tokens = np.arange(12) * 5
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)[None])[0].numpy()
    assert np.abs(logits(in_folder / "deployed", tokens) - expected).max() < 1e-4 * expected.std()
    for folder in ("trained", "deployed"):
        assert read_architecture(in_folder / folder / "architecture.json") == model.architecture


def test_random_weights_are_the_initial_weights_of_the_model(in_folder: Path) -> None:
    export("small.json", "hf", seed=7)
    found = read_weights(in_folder / "small-hf", SMALL)
    for name, weight in trained(SMALL).named_parameters():
        assert np.array_equal(found[name], weight.detach().numpy()), name


def test_a_readme_states_where_the_weights_come_from(in_folder: Path) -> None:
    folder = export("small.json", "onnx", seed=7).path
    assert "\nRandom weights (seed 7), untrained.\n" in (folder / "README.md").read_text()
    save_file(trained(SMALL).state_dict(), in_folder / "trained.safetensors")
    for name in ("small.json", "custom.json"):  # onnxruntime-genai does not support the latter
        weights = {"weights": "trained.safetensors"} if name == "small.json" else {}
        folder = export(name, "onnx", output=Path(f"{name}-trained"), **weights).path
        readme = (folder / "README.md").read_text()
        assert ("\nWeights from trained.safetensors.\n" in readme) == bool(weights)
        assert ("Random weights" in readme) != bool(weights)


def test_formats_agree_on_random_weights(in_folder: Path) -> None:
    export("small.json", "hf", seed=3)
    export("small.json", "onnx", seed=3, quantization="fp32", output=Path("direct"))
    export("small-hf", "onnx", quantization="fp32", output=Path("converted"))
    assert np.array_equal(
        *(logits(in_folder / each, np.arange(4)) for each in ("direct", "converted"))
    )


def test_a_scaled_model_records_the_architecture_that_it_was_made_from(in_folder: Path) -> None:
    exported = export("small.json", "json", scale="2M")
    document = json.loads(exported.path.read_text())
    assert str(exported.path) == "small-2m.json"
    assert (
        document["provenance"]["made_from"]
        == json.loads(export("small.json", "json", output=Path("same.json")).path.read_text())[
            "hash"
        ]
    )
    found = parameter_counts(read_architecture(exported.path)).total
    assert found == pytest.approx(2_000_000, rel=0.02)


@pytest.mark.parametrize(
    ("model", "file_format", "options", "sentence"),
    [
        ("small.json", "json", {}, "output: 'small.json' already exists; --force"),
        ("small.json", "json", {"weights": "random"}, "weights: 'random' does not apply to --form"),
        ("small.json", "torch", {"quantization": "int4"}, "quantization: 'int4' does not apply to"),
        ("small.json", "hf", {"quantization": "int4"}, "quantization: 'int4' does not apply to --"),
        ("small.json", "onnx", {"quantization": "fp16"}, "'fp16' is not one of fp32, int8, int4"),
        ("small.json", "gguf", {"quantization": "fp32"}, "'fp32' is not one of fp16, int8, int4"),
        ("small.json", "onnx", {"weights": "proxy"}, "weights: 'proxy' requires a trial of a stu"),
        ("small.json", "onnx", {"weights": "lost"}, "weights: 'lost' is not random, proxy, a fold"),
        ("small.json", "onnx", {"weights": "model.bin"}, "weights: 'model.bin' is a pickle"),
        ("small.json", "onnx", {"weights": "wrong.safetensors"}, "embedding.weight: its shape"),
        ("small.json", "onnx", {"weights": "text.safetensors"}, "is not a safetensors file"),
        ("custom.json", "gguf", {}, "format: gguf is not possible: llama.cpp does"),
        ("small.json", "hf", {"output": Path("no/such/place")}, "no such file or directory"),
        ("small.json", "json", {"scale": "huge"}, "scale: 'huge' is not a number of parameters"),
        ("small.json", "json", {"output": Path("config.json")}, "do not read 'config.json' as an"),
        ("small.json", "json", {"output": Path("small.toml")}, "do not read 'small.toml' as an "),
        ("small.json", "json", {"output": Path("lfm2-350m")}, "do not read 'lfm2-350m' as an ar"),
    ],
)
def test_an_error_is_one_sentence_and_writes_nothing(
    model: str, file_format: str, options: dict, sentence: str, in_folder: Path
) -> None:
    (in_folder / "model.bin").touch()
    (in_folder / "text.safetensors").write_text("no tensors")
    wrong = {name: weight[:1] for name, weight in trained(SMALL).state_dict().items()}
    save_file({name: weight.clone() for name, weight in wrong.items()}, "wrong.safetensors")
    before = sorted(in_folder.iterdir())
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        export(model, file_format, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(in_folder.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weights: weights.pop("final_norm.weight"), "final_norm.weight is missing"),
        (
            lambda weights: weights.update({"surplus": torch.zeros(1)}),
            "surplus is not a weight of a hybrid_lm model with this configuration",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, sentence: str, in_folder: Path) -> None:
    weights = dict(trained(SMALL).state_dict())
    change(weights)
    save_file(weights, in_folder / "weights.safetensors")
    with pytest.raises(ValueError, match=sentence):
        export("small.json", "onnx", weights="weights.safetensors")


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("file_format", ["onnx", "gguf", "hf"])
def test_weights_of_a_diverged_training_are_refused(
    number: float, file_format: str, in_folder: Path
) -> None:
    weights = {name: each.double() for name, each in trained(SMALL).state_dict().items()}
    weights["final_norm.weight"][3] = number
    save_file(weights, in_folder / "weights.safetensors")
    with pytest.raises(ValueError, match=r"final_norm\.weight contains a value that is not finite"):
        export("small.json", file_format, weights="weights.safetensors")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "adapter_model.safetensors"])
def test_weights_that_cannot_be_read_are_not_replaced_by_random_ones(
    file: str, in_folder: Path
) -> None:
    folder = export("small.json", "hf").path
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(ValueError, match=r"is a pickle|model\.safetensors is missing"):
        export("small-hf", "gguf")
    export("small-hf", "gguf", weights="random")


def test_an_onnx_folder_is_not_treated_as_a_model_without_weights(in_folder: Path) -> None:
    export("small.json", "onnx")
    with pytest.raises(ValueError, match=r"'small-onnx' contains weights only in model\.onnx"):
        export("small-onnx", "gguf")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("small-hf", {"output": Path("small-hf")}),
        ("small-hf", {"output": Path("link")}),
        ("small.json", {"output": Path("small-hf"), "weights": "small-hf"}),
        ("small.json", {"output": Path("small-hf"), "weights": "small-hf/model.safetensors"}),
    ],
)
def test_an_export_never_replaces_the_weights_that_it_reads(
    model: str, options: dict, in_folder: Path
) -> None:
    export("small.json", "hf")
    (in_folder / "link").symlink_to("small-hf")
    with pytest.raises(
        ValueError, match=r"output: '.*' contains the model that is read, and is not"
    ):
        export(model, "onnx", overwrite=True, **options)
    assert (in_folder / "small-hf" / "model.safetensors").is_file()


@pytest.mark.parametrize("file_format", ["hf", "onnx"])
def test_an_export_can_be_replaced_with_all_files_that_it_can_contain(
    file_format: str, in_folder: Path
) -> None:
    source = export("custom.json", "hf", output=Path("source")).path
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(source / "tokenizer.json"))
    for name in ("chat_template.jinja", "special_tokens_map.json", "tokenizer_config.json"):
        (source / name).write_text("{}")
    for overwrite in (False, True):
        folder = export("source", file_format, overwrite=overwrite, output=Path("model")).path
    assert (folder / "tokenizer.json").is_file()
    assert (folder / "chat_template.jinja").is_file() == (file_format == "hf")


@pytest.mark.parametrize("end", [-1, 128, 1 << 40])
def test_an_end_token_that_the_model_does_not_have_is_named(end: int, in_folder: Path) -> None:
    folder = export("small.json", "hf").path
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(folder / "tokenizer.json"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    for file_format in ("gguf", "onnx"):
        with pytest.raises(ValueError, match=f"eos_token_id: {end} is not one of the model's 128"):
            export(str(folder), file_format)


def test_a_tokenizer_that_cannot_be_read_is_one_sentence(in_folder: Path) -> None:
    folder = export("small.json", "hf").path
    (folder / "tokenizer.json").write_text("[" * 100_000)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    for file_format in ("gguf", "onnx"):
        with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
            export(str(folder), file_format)


def test_a_tokenizer_that_llama_cpp_does_not_support_is_omitted_with_a_remark(
    in_folder: Path,
) -> None:
    folder = export("small.json", "hf").path
    words = {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0"} | words))
    exported = export(str(folder), "gguf")
    assert exported.remark is not None
    assert exported.remark.startswith(
        "the file contains no tokenizer: llama.cpp does not support tokenizers of the type Word"
    )
    assert len(next_steps(exported, Format.GGUF)) == 1


@pytest.mark.parametrize("name", ["small", "custom"])
def test_an_export_that_llama_cpp_refuses_is_not_suggested(name: str, in_folder: Path) -> None:
    commands = next_steps(export(f"{name}.json", "hf"), Format.HF)
    assert (f"nas export {name}-hf --format gguf" in commands) == (name == "small")
    if name == "custom":
        with pytest.raises(ValueError, match="format: gguf is not possible"):
            export("custom-hf", "gguf")


def test_the_command_reports_what_it_wrote_and_next_steps(nas, tmp_path: Path) -> None:
    result: subprocess.CompletedProcess[str] = nas(
        "export", "lfm2-350m", "--scale", "700M", "-o", "big.json"
    )
    assert result.returncode == 0, result.stderr
    assert "wrote big.json" in result.stderr
    assert "nas measure big.json" in result.stderr
    shown = json.loads(nas("show", "lfm2-350m", "--scale", "700M", "--json").stdout)
    assert shown["hash"] == json.loads((tmp_path / "big.json").read_text())["hash"]


@pytest.fixture
def winner(in_folder: Path) -> dict[str, Any]:
    """Return the provenance of `winner.json`, an export of a trial."""
    write_architecture(SMALL, in_folder / "winner.json", STUDY_PROVENANCE)
    return written(in_folder / "winner.json")


def written(file: Path) -> dict[str, Any]:
    """Return the provenance in a file, except for the time of writing."""
    provenance: dict[str, Any] = json.loads(file.read_text())["provenance"]
    del provenance["written_at"]
    return provenance


def test_exporting_an_export_keeps_its_provenance(winner: dict[str, Any], in_folder: Path) -> None:
    export("winner.json", "json", output=Path("again.json"))
    assert written(in_folder / "again.json") == winner
    export("again.json", "hf", output=Path("folder"))
    assert written(in_folder / "folder" / "architecture.json") == winner
    card = (in_folder / "folder" / "README.md").read_text()
    assert "Trial 7 of the study tiny, complete." in card
    assert "| loss | 1.25 | bits/byte |" in card
    export("folder", "onnx", output=Path("deployed"))
    assert written(in_folder / "deployed" / "architecture.json") == winner


def test_a_scaled_winner_records_the_architecture_that_was_scored(
    winner: dict[str, Any], in_folder: Path
) -> None:
    scaled = winner | {"made_from": architecture_hash(SMALL)}
    export("winner.json", "json", scale="2M", output=Path("larger.json"))
    assert written(in_folder / "larger.json") == scaled
    export("larger.json", "json", scale="3M", output=Path("largest.json"))
    assert written(in_folder / "largest.json") == scaled


def test_a_folder_changed_since_its_export_loses_the_provenance_of_the_trial(
    winner: dict[str, Any], in_folder: Path
) -> None:
    export("winner.json", "hf", output=Path("folder"))
    write_architecture(CUSTOM, in_folder / "folder" / "architecture.json", STUDY_PROVENANCE)
    found = export("folder", "json", output=Path("changed.json"))
    assert read_architecture(found.path) == SMALL  # config.json takes precedence
    assert written(in_folder / "changed.json")["study"] is None
