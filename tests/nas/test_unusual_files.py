"""Unusual files and arguments, such as pipes and long names, end a command with one sentence."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from search_space.architecture import to_json
from search_space.huggingface.configuration import config_of
from search_space.onnx_model import write_onnx
from tests.nas.conftest import Nas
from tests.search_space.strategies import ATTENTION, CONV, stack

SMALL = stack(CONV, ATTENTION, CONV, vocab_size=128, width=64, embedding_width=64)
LONG = "x" * 3_000


def refused(nas: Nas, *arguments: str | Path) -> str:
    """Run a command that must refuse its arguments, and return the sentence."""
    done = nas(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    *progress, last = done.stderr.splitlines()
    assert last.startswith("nas: ")
    assert all(line.startswith(("reading ", "writing ")) for line in progress)
    sentence = last.removeprefix("nas: ")
    assert sentence.isprintable()
    assert 0 < len(sentence) <= 500
    return sentence


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "pipe.toml"),
        ("status", "pipe.toml"),
        ("init", "new.toml", "--from", "pipe.toml"),
        ("show", "pipe.json"),
        ("import", "pipe.json"),
        ("import", "pipes"),
        ("show", "pipes"),
        ("export", "pipe.json"),
        ("measure", "pipe.onnx"),
        ("measure", "pipe.gguf"),
        ("measure", "pipe.json"),
        ("export", "small.json", "--format", "hf", "--weights", "pipe.safetensors"),
        ("export", "weights", "--format", "hf"),
        ("validate", "task.toml"),
        ("validate", "corpus.toml"),
        ("validate", "references.toml"),
    ],
)
def test_no_command_waits_for_a_pipe(
    arguments: tuple[str, ...], nas: Nas, study: Path, tmp_path: Path
) -> None:
    for folder in ("pipes", "weights"):
        (tmp_path / folder).mkdir()
    names = "pipe.toml", "pipe.json", "pipe.onnx", "pipe.gguf", "pipe.safetensors"
    for name in (*names, "pipes/config.json", "weights/model.safetensors"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "small.json").write_text(to_json(SMALL))
    (tmp_path / "weights/config.json").write_text(json.dumps(config_of(SMALL)))
    text = study.read_text()
    for name, line in (("task", 'task = "pipe.json"'), ("corpus", 'corpus = "pipe.json"')):
        kept = "\n".join(row for row in text.splitlines() if not row.startswith("corpus"))
        (tmp_path / f"{name}.toml").write_text(kept.replace("[proxy]", f"[proxy]\n{line}"))
    renamed = text.replace('"lfm2.5-230m"', '"pipe.json"')
    (tmp_path / "references.toml").write_text(renamed)
    before = sorted(tmp_path.rglob("*"))
    assert "is a pipe, not a file" in refused(nas, *arguments)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["show", "import", "export", "measure"])
@pytest.mark.parametrize("argument", ["config.json", "."])
def test_a_configuration_that_links_to_itself_is_named(
    command: str, argument: str, nas: Nas, tmp_path: Path
) -> None:
    (tmp_path / "config.json").symlink_to("config.json")
    assert refused(nas, command, argument).endswith(
        "config.json: is a link that leads back to itself"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", LONG),
        ("show", f"{LONG}.json"),
        ("show", "x/" * 3_000),
        ("import", LONG),
        ("export", "lfm2-350m", "-o", f"{LONG}.json"),
        ("export", "lfm2-350m", "--format", "hf", "--weights", LONG),
        ("export", "lfm2-350m", "--format", "hf", "--weights", "random", "-o", LONG),
        ("measure", f"{LONG}.gguf"),
        ("measure", f"{LONG}.onnx"),
        ("measure", LONG),
        ("validate", LONG),
        ("validate", f"{LONG}.toml"),
        ("status", f"{LONG}.toml"),
        ("init", f"{LONG}.toml"),
        ("init", "--from", LONG),
        ("report", f"{LONG}.toml"),
        ("profile", "--quick", "--picture", f"{LONG}.svg"),
        ("show", "\x1b[31m\r\n"),
    ],
)
def test_a_long_or_unprintable_argument_gives_one_short_line(
    arguments: tuple[str, ...], nas: Nas
) -> None:
    refused(nas, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("pareto", "tiny", "--storage", "sqlite:///\udcff.db"),
        ("db", "check", "--storage", "sqlite:///\udcff.db"),
        ("export", "small.json", "--format", "hf", "--weights", "random", "-o", "out\udcff"),
    ],
)
def test_an_argument_that_is_not_text_is_named(
    arguments: tuple[str, ...], nas: Nas, tmp_path: Path
) -> None:
    (tmp_path / "small.json").write_text(to_json(SMALL))
    assert refused(nas, *arguments) == f"argument: {arguments[-1]!r} is not UTF-8 text"
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_a_deleted_working_folder_is_reported(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m nas.cli run quickstart'
    done = subprocess.run(
        ["/bin/sh", "-c", f"mkdir gone && cd gone && rmdir ../gone && {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "nas: working folder: it was deleted; change to another folder\n"


def test_long_paths_in_a_study_file_are_named_with_their_field(nas: Nas, study: Path) -> None:
    text = study.read_text()
    for name, end in ((f"{LONG}.json", LONG), ("a/" * 3_000 + "b.json", "b")):
        study.write_text(text.replace("lfm2.5-230m", name))
        sentence = refused(nas, "validate", study)
        assert "references[0]: " in sentence, end
        assert "does not exist" in sentence


def test_a_missing_device_reference_is_named_by_its_field(nas: Nas, study: Path) -> None:
    study.write_text(study.read_text().replace("[device]", '[device]\nreference = "lost.json"'))
    assert refused(nas, "validate", study.name) == (
        "device.reference: 'lost.json' does not exist, and no copy of it is stored with the study"
    )


@pytest.mark.parametrize("corpus", ["/proc", "/dev/zero", "/proc/self/status"])
def test_a_corpus_that_the_system_generates_is_refused(corpus: str, nas: Nas, study: Path) -> None:
    rows = [row for row in study.read_text().splitlines() if not row.startswith("corpus")]
    study.write_text("\n".join(rows).replace("[proxy]", f'[proxy]\ncorpus = "{corpus}"'))
    assert refused(nas, "validate", study).startswith(f"proxy.corpus: {corpus}")


def test_a_task_without_an_end_is_refused(nas: Nas, study: Path) -> None:
    study.write_text(study.read_text().replace("[proxy]", '[proxy]\ntask = "/dev/zero"'))
    assert refused(nas, "validate", study) == (
        "proxy.task: '/dev/zero' cannot be read (is a device or a socket, not a file)"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "lfm2-350m", "--format", "json", "--force", "-o"),
        ("export", "lfm2-350m", "--format", "torch", "--force", "-o"),
        ("export", "lfm2-350m", "--format", "gguf", "--weights", "random", "--force", "-o"),
        ("export", "lfm2-350m", "--format", "hf", "--weights", "random", "--force", "-o"),
        ("import", "config.json", "--force", "-o"),
        ("init",),
    ],
)
def test_a_pipe_is_never_replaced_by_output(
    arguments: tuple[str, ...], nas: Nas, tmp_path: Path
) -> None:
    # Only the administrator could create a device here; the program treats both alike.
    os.mkfifo(tmp_path / "device")
    (tmp_path / "config.json").write_text(json.dumps(config_of(SMALL)))
    refused(nas, *arguments, "device")
    assert (tmp_path / "device").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "device"]


def saved(folder: Path) -> Path:
    """Write the configuration of a model, as transformers does, without any weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(SMALL)))
    return folder


@pytest.mark.parametrize("file_format", ["hf", "onnx", "gguf"])
def test_weights_are_random_only_if_asked_for(file_format: str, nas: Nas, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    sentence = refused(nas, "export", folder, "--format", file_format, "-o", "out")
    assert sentence == (
        "weights: model has none; set --weights to random, a folder saved by transformers or a "
        ".safetensors file"
    )
    # Its shards were not downloaded.
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    sentence = refused(nas, "export", folder, "--format", file_format, "-o", "out")
    assert sentence.endswith("model-00001-of-00002.safetensors: no such file or directory")
    assert not (tmp_path / "out").exists()
    asked = ("--weights", "random", "--context", "64")
    assert nas("export", folder, "--format", file_format, "-o", "out", *asked).returncode == 0


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("tokenizer.json", "garbage", "tokenizer.json is not a tokenizer file: "),
        ("tokenizer_config.json", "garbage", "tokenizer_config.json: line 1, column 1 is not val"),
        ("special_tokens_map.json", "[1]", "special_tokens_map.json: [1] is not a table of named"),
    ],
)
def test_a_damaged_tokenizer_is_not_copied_into_an_export(
    file: str, content: str, sentence: str, nas: Nas, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models

    from search_space.huggingface.weights import to_huggingface
    from search_space.torch_model import InitialWeights

    folder = saved(tmp_path / "model")
    tensors = to_huggingface(SMALL, InitialWeights(SMALL, 0))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    Tokenizer(models.BPE()).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1' + 30 * "0" + "}")
    assert nas("export", folder, "--format", "hf", "-o", "whole").returncode == 0
    (folder / file).write_text(content)
    assert sentence in refused(nas, "export", folder, "--format", "hf", "-o", "out")
    assert not (tmp_path / "out").exists()


def test_an_infinity_in_a_field_that_nothing_reads_is_ignored(nas: Nas, tmp_path: Path) -> None:
    text = json.dumps(config_of(SMALL) | {"time_step_limit": [0.0, float("inf")]})
    (tmp_path / "config.json").write_text(text)
    assert nas("import", "config.json", "-o", "small.json").returncode == 0
    (tmp_path / "config.json").write_text(text.replace('"lfm2"', '"mamba2"'))
    assert "model_type: 'mamba2' is not one of llama, " in refused(nas, "import", "config.json")
    broken = config_of(SMALL) | {"norm_eps": float("inf")}
    (tmp_path / "config.json").write_text(json.dumps(broken))
    assert "norm_eps: inf is not a finite number" in refused(nas, "import", "config.json")


def nested(folder: Path) -> None:
    (folder / "model.json").write_text("[" * 100_000)


def without_a_number(folder: Path) -> None:
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(described | {"context_length": "x"}))


def cut_off(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:2_000])


@pytest.mark.parametrize("damage", [nested, without_a_number, cut_off])
def test_a_damaged_onnx_folder_is_not_measured(
    damage: Callable[[Path], None], nas: Nas, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_onnx(SMALL, folder, quantization="int4", context_length=64)
    damage(folder)
    refused(nas, "measure", folder)


def with_an_unknown_operator(graph: onnx.GraphProto) -> None:
    graph.node[3].op_type = "Unknown"


def without_attributes(graph: onnx.GraphProto) -> None:
    del next(node for node in graph.node if node.attribute).attribute[:]


def that_fails_when_it_runs(graph: onnx.GraphProto) -> None:
    """Let the graph read row 1,000,000 of a table of one row."""
    table, row = (
        onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        for name, value in (("a table", [0]), ("a row", 1_000_000))
    )
    graph.initializer.extend([table, row])
    broken = onnx.helper.make_node("Gather", ["a table", "a row"], ["a cell"])
    # The result must be used, or the runtime would leave the node out.
    used = onnx.helper.make_node("Add", ["tokens", "a cell"], ["shifted tokens"])
    for node in graph.node:
        node.input[:] = ["shifted tokens" if name == "tokens" else name for name in node.input]
    graph.node.insert(0, broken)
    graph.node.insert(1, used)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (with_an_unknown_operator, "No Op registered for Unknown"),
        (without_attributes, "shape do not match"),
        (that_fails_when_it_runs, "idx=1000000 must be within"),
    ],
)
def test_an_onnx_file_that_only_the_runtime_refuses_is_an_error_of_the_user(
    damage: Callable[[onnx.GraphProto], None], reason: str, nas: Nas, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = write_onnx(SMALL, folder, quantization="int4", context_length=64)
    model = onnx.load(path, load_external_data=False)
    damage(model.graph)
    onnx.save(model, path)
    done = nas("measure", folder, "--workload", "tg8", "--seconds", "0.1")
    assert (done.returncode, done.stdout) == (2, "")
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("nas: model: this file cannot be measured: ")
    assert reason in sentence
    assert len(sentence) <= 505
    assert "Traceback" not in done.stderr


def test_a_study_file_is_written_completely_or_not_at_all(
    nas: Nas, tmp_path: Path, full_disk: None
) -> None:
    assert refused(nas, "init") == "path: 'study.toml' cannot be written: file too large"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk() -> object:
    """Let every file end after 1 KB; to a program, that is a disk which fills up."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    yield None
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)
