"""One trained checkpoint in every supported tool: the same tokens and the same logits."""

import argparse
import ast
import inspect
import json
import keyword
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch

import hardware.quiet
from hardware.onnx_session import Session
from nas.exporters.export_model import export_model
from nas.exporters.formats import FORMATS, Exported, ExportOptions, Format
from nas.inputs.model_argument import find_model
from search_space.architecture import to_json
from search_space.huggingface.checkpoint import read_weights
from search_space.huggingface.configuration import read_huggingface
from search_space.llama_cpp.family import unsupported_by_llama_cpp
from search_space.space.space_definition import Space
from search_space.torch_model import LanguageModel
from studies.search.loop import run_study
from studies.spec.study_tables import ProxySettings
from studies.storage.store import Store
from tests.nas.conftest import Nas
from tests.nas.exporters.huggingface.exported import load
from tests.search_space.llama_cpp.test_gguf_file import llama_logits
from tests.search_space.llama_cpp.test_gguf_tokenizer import llama_ids
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, stack
from tests.search_space.test_onnx_model import torch_logits
from tests.studies.fakes import all_stages, small_spec

PROMPT = "    def add_argument(self, def"
TOKENS = 32
# The mixers of the search space: those of a transformers family, and some that need our own code.
MIXERS = {"a family": ("c", "a"), "own code": ("c", "a", "l", "-")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The exports of one trial's proxy, and the text that the proxy generates."""

    huggingface: Path
    onnx: Path
    gguf: Path | None
    model: LanguageModel
    tokenizer: tokenizers.Tokenizer
    prompt: list[int]
    written: list[int]


def export(model: str, file_format: str, trial: str | None = None, **options: object) -> Exported:
    chosen = Format(file_format)
    if model.endswith(".json") and FORMATS[chosen].has_weights:
        options = {"weights": "random"} | options
    options = ExportOptions(file_format=chosen, **{"context_length": 128} | options)
    return export_model(find_model(model, trial, storage="sqlite:///nas.db"), options)


def predictable_text() -> str:
    """Lines of source code, each followed by some of Python's keywords in alphabetical order.

    A short training learns that order by a wide margin. The most likely token is then the same on
    every processor, and in every tool that rounds weights to half precision.
    """
    generator = random.Random(0)
    text = []
    for module in (argparse, ast, inspect):
        for line in inspect.getsource(module).splitlines(keepends=True):
            start = generator.randrange(len(keyword.kwlist))
            text += [line, "    ", " ".join(keywords_from(start, generator.randrange(8, 25))), "\n"]
    return "".join(text)


def keywords_from(start: int, count: int) -> list[str]:
    return [keyword.kwlist[index % len(keyword.kwlist)] for index in range(start, start + count)]


def run_one_trial(mixers: tuple[str, ...], folder: Path) -> None:
    """Run a study with quick stages; an export trains its proxy with the settings of the study."""
    corpus = folder / "text.py"
    corpus.write_text(predictable_text())
    space = Space(
        depth=(4,),
        width=(256,),
        mixers=mixers,
        feed_forward=(2.0,),
        vocab_size=(8_192,),
        head_dim=(64,),
    )
    proxy = ProxySettings(
        corpus=str(corpus), width_share=0.25, context_length=32, token_budget=32_000, rungs=()
    )
    spec = small_spec("sqlite:///nas.db", trials=1, space=space, proxy=proxy, seed=1)
    with Store.open(spec.storage) as store:
        run_study(spec, evaluators=all_stages(), store=store)


@pytest.fixture(scope="module", params=MIXERS)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Otherwise the training would wait for measurements of other processes on this machine.
        patch.setattr(hardware.quiet, "_machine_folder", lambda: folder)
        run_one_trial(MIXERS[request.param], folder)
        trained = export("small", "hf", "0", weights="proxy").path
        onnx = export(str(trained), "onnx", quantization="fp32").path
        architecture = read_huggingface(trained)
        gguf = None
        if unsupported_by_llama_cpp(architecture) is None:
            gguf = export(str(trained), "gguf", quantization="fp16").path.absolute()
        model = LanguageModel(architecture).eval()
        model.load_state_dict(
            {
                name: torch.from_numpy(weight)
                for name, weight in read_weights(trained, architecture).items()
            }
        )
        tokenizer = tokenizers.Tokenizer.from_file(str(trained / "tokenizer.json"))
        prompt = tokenizer.encode(PROMPT).ids
        return Checkpoint(
            huggingface=trained.absolute(),
            onnx=onnx.absolute(),
            gguf=gguf,
            model=model,
            tokenizer=tokenizer,
            prompt=prompt,
            written=greedy(lambda tokens: torch_logits(model, np.array(tokens))[-1], prompt),
        )


def greedy(last_logits: Callable[[list[int]], np.ndarray], prompt: list[int]) -> list[int]:
    tokens = list(prompt)
    for _ in range(TOKENS):
        tokens.append(int(last_logits(tokens).argmax()))
    return tokens


def test_it_generates_varied_text(checkpoint: Checkpoint) -> None:
    """Otherwise the tests below would compare little."""
    written = checkpoint.written[len(checkpoint.prompt) :]
    assert len(set(written)) >= 5
    after_def = keywords_from(keyword.kwlist.index("def") + 1, TOKENS)
    assert checkpoint.tokenizer.decode(written).split() == after_def


def test_transformers_generates_the_same(checkpoint: Checkpoint) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint.huggingface)
    inputs = tokenizer(PROMPT, return_tensors="pt")
    model = load(checkpoint.huggingface)
    written = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0].tolist()
    assert written == checkpoint.written
    assert tokenizer.decode(written) == checkpoint.tokenizer.decode(checkpoint.written)


def test_onnxruntime_generates_the_same(checkpoint: Checkpoint) -> None:
    session = Session(checkpoint.onnx / "model.onnx", cores=[0])
    fresh = iter([np.array(checkpoint.prompt)])

    def last_logits(tokens: list[int]) -> np.ndarray:
        return session.read(next(fresh, np.array(tokens[-1:])))

    assert greedy(last_logits, checkpoint.prompt) == checkpoint.written


def test_onnxruntime_genai_generates_the_same(checkpoint: Checkpoint) -> None:
    import onnxruntime_genai as genai

    config = json.loads((checkpoint.onnx / "genai_config.json").read_text())
    [end] = config["model"]["eos_token_id"]
    assert checkpoint.tokenizer.id_to_token(end) == "ÿ"  # byte 255, which no text contains
    model = genai.Model(str(checkpoint.onnx))
    tokenizer = genai.Tokenizer(model)
    prompt = tokenizer.encode(PROMPT)
    settings = genai.GeneratorParams(model)
    settings.set_search_options(max_length=len(prompt) + TOKENS)
    generator = genai.Generator(model, settings)
    generator.append_tokens(prompt)
    while not generator.is_done():
        generator.generate_next_token()
    written = [int(token) for token in generator.get_sequence(0)]
    assert written == checkpoint.written
    assert tokenizer.decode(written) == checkpoint.tokenizer.decode(checkpoint.written)


def test_llama_cpp_generates_the_same(checkpoint: Checkpoint) -> None:
    if checkpoint.gguf is None:
        pytest.skip("llama.cpp does not support these layers")
    ids = llama_ids(checkpoint.gguf, [PROMPT])
    assert ids == [checkpoint.prompt]
    # If each token is the most likely one after those before it, llama.cpp generates it, too.
    tokens, start = np.array(checkpoint.written[:-1]), len(checkpoint.prompt)
    logits = llama_logits(checkpoint.gguf, tokens, start)
    assert logits[start - 1 :].argmax(-1).tolist() == checkpoint.written[start:]


@pytest.mark.slow
@pytest.mark.parametrize("mixers", [(CONV, ATTENTION, CONV), (CONV, LINEAR, None)])
def test_a_model_trained_in_transformers_is_deployed_with_its_logits(
    mixers: tuple[Any, ...], nas: Nas, tmp_path: Path
) -> None:
    """Export, train in transformers, and export the trained folder, as a user does."""
    from transformers import Trainer, TrainingArguments

    architecture = stack(*mixers, vocab_size=128, width=64, embedding_width=64)
    (tmp_path / "winner.json").write_text(to_json(architecture))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        export("winner.json", "hf")
    model = load(tmp_path / "winner-hf").train()
    tokens = torch.randint(128, (1, 24), generator=torch.Generator().manual_seed(0))[0]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "runs"),
        max_steps=6,
        learning_rate=1e-2,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    data = [{"input_ids": tokens, "labels": tokens}] * 48
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train()
    trainer.save_model(str(tmp_path / "trained"))
    with torch.no_grad():
        wanted = model.eval()(tokens[None]).logits[0].numpy()

    deploy = ("export", "winner.json", "--weights", "trained", "--quantization")
    assert nas(*deploy, "fp32", "--format", "onnx", "-o", "onnx").returncode == 0
    session = Session(tmp_path / "onnx" / "model.onnx", cores=[0])
    logits = np.stack([session.read(token[None]) for token in tokens.numpy()])
    assert np.abs(logits - wanted).max() <= 1e-4 * wanted.std()
    if unsupported_by_llama_cpp(architecture) is None:
        assert nas(*deploy, "fp16", "--format", "gguf", "-o", "model.gguf").returncode == 0
        logits = llama_logits(tmp_path / "model.gguf", tokens.numpy(), len(tokens))
        # Weights and what is multiplied with them are rounded to half precision.
        assert np.abs(logits - wanted).max() <= 2e-2 * wanted.std()
