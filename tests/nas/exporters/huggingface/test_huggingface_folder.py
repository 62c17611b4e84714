"""Folders for transformers: their content, training with `Trainer`, and reading them back."""

import json
import math
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from nas.exporters.huggingface.transformers_folder import write_huggingface
from search_space.architecture import Architecture, architecture_hash
from search_space.costs import parameter_counts
from search_space.huggingface.checkpoint import read_weights
from search_space.huggingface.configuration import CUSTOM, read_huggingface
from search_space.torch_model import InitialWeights, LanguageModel
from tests.nas.exporters.huggingface.exported import export, load
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, stack

EVERY = CORNERS["every mixer"]
QWEN = stack(ATTENTION, ATTENTION)


def write(architecture: Architecture, folder: Path, tokenizer: Path | None = None) -> None:
    write_huggingface(
        architecture,
        InitialWeights(architecture, seed=1),
        folder,
        name="winner",
        context_length=128,
        tokenizer=tokenizer,
        provenance="Trial 7 of a study.",
    )


def test_a_family_of_transformers_needs_no_code(tmp_path: Path) -> None:
    write(QWEN, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "README.md",
    }
    assert "trust_remote_code" not in (tmp_path / "README.md").read_text()


def test_the_weights_file_has_the_permissions_of_the_other_files(tmp_path: Path) -> None:
    write(QWEN, tmp_path)
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1


def test_the_card_describes_the_model(tmp_path: Path) -> None:
    write(EVERY, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    for fact in (
        "# winner",
        f"`{EVERY.layout}`",
        f"{parameter_counts(EVERY).total:,}",
        architecture_hash(EVERY),
        "Trial 7 of a study.",
        "trust_remote_code=True",
    ):
        assert fact in card


def test_weights_are_float32_and_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    write(EVERY, tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
        assert "head.weight" not in file.keys()  # noqa: SIM118 - it is not a mapping
        assert {file.get_tensor(name).dtype for name in file.keys()} == {np.dtype(np.float32)}  # noqa: SIM118


def test_the_tokenizer_is_exported(tmp_path: Path) -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer

    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    text = "a layer and another layer, ü"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        [text], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    )
    (tmp_path / "bpe.json").write_text(bpe.to_str())
    folder = tmp_path / "winner"
    folder.mkdir()
    write(EVERY, folder, tokenizer=tmp_path / "bpe.json")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.model_max_length == 128
    assert loaded(text)["input_ids"] == bpe.encode(text).ids
    assert loaded.decode(loaded(text)["input_ids"]) == text

    loaded.add_special_tokens({"eos_token": "<end>"})
    loaded.save_pretrained(tmp_path / "trained")
    again = tmp_path / "again"
    again.mkdir()
    write(EVERY, again, tokenizer=tmp_path / "trained" / "tokenizer.json")
    assert AutoTokenizer.from_pretrained(again).eos_token == "<end>"


@pytest.mark.parametrize("architecture", [EVERY, QWEN], ids=["own code", "a family"])
def test_trainer_trains_it_and_the_weights_are_read_back(
    architecture: Architecture, tmp_path: Path
) -> None:
    from transformers import Trainer, TrainingArguments

    written, trained = tmp_path / "written", tmp_path / "trained"
    written.mkdir()
    model = export(architecture, written).theirs
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(architecture.vocab_size, (1, 40), generator=generator)[0]
    before = loss_of(model, tokens)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "runs"),
            max_steps=8,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=[{"input_ids": tokens, "labels": tokens}] * 16,
    )
    trainer.train()
    trainer.save_model(str(trained))
    assert loss_of(model, tokens) < before / 2

    assert read_huggingface(trained) == architecture
    ours = LanguageModel(architecture).eval()
    weights = read_weights(trained, architecture)
    ours.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    with torch.no_grad():
        expected = load(trained)(tokens[None]).logits
        assert (ours(tokens[None]) - expected).abs().max() <= 1e-4 * expected.std()


@torch.no_grad()
def loss_of(model: Any, tokens: torch.Tensor) -> float:
    return float(model.eval()(tokens[None], labels=tokens[None]).loss)


@torch.no_grad()
def test_a_model_made_from_its_configuration_has_a_plausible_initial_loss(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    write(EVERY, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True).eval()
    loss = loss_of(model, torch.arange(40) % EVERY.vocab_size)
    assert 0.5 * np.log(EVERY.vocab_size) < loss < 2 * np.log(EVERY.vocab_size)


@pytest.mark.parametrize(
    "architecture",
    [
        replace(EVERY, width=128, embedding_width=96, tied_head=False, sandwich_norm=True),
        stack(CONV, replace(ATTENTION, qkv_bias=True, head_gate=True), None, width=128),
    ],
    ids=["every mixer", "biases and gates"],
)
def test_a_model_made_from_its_configuration_starts_as_ours(
    architecture: Architecture, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    write(architecture, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    assert config.model_type == CUSTOM
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    found = {name: weight.detach() for name, weight in theirs.named_parameters()}
    ours = LanguageModel(architecture)
    ours.initialise(seed=1)
    expected = {name: weight.detach() for name, weight in ours.named_parameters()}
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        if weight.ndim == 1:  # norms and biases are not random
            assert torch.equal(found[name], weight), name
        else:
            # The ratio of two standard deviations of n normal samples deviates by 1 / sqrt(n).
            tolerance = 5 / math.sqrt(weight.numel())
            assert tolerance < 0.4, name
            deviation = float(weight.std())
            assert float(found[name].std()) == pytest.approx(deviation, rel=tolerance), name
            assert abs(float(found[name].mean())) < tolerance * deviation, name


def test_a_full_disk_raises_an_os_error(tmp_path: Path) -> None:
    """All other files raise the same error, so that errors are handled in one place."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    wide = stack(CONV, vocab_size=30_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(wide, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_the_configuration_contains_no_paths_of_this_machine(tmp_path: Path) -> None:
    write(EVERY, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["max_position_embeddings"] == 128
    assert config["dtype"] == "float32"
    assert str(tmp_path) not in json.dumps(config)
