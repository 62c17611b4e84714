"""The commands: output that scripts rely on, and error messages."""

import inspect
import json
import sys
import tomllib
from pathlib import Path

import pytest

from nas.cli import main
from nas.commands.measure import measure
from nas.commands.profile import profile
from search_space.architecture import architecture_hash, to_json
from search_space.preset_models import PRESETS

TINY = """{"vocab_size": 256, "width": 64, "embedding_width": 64, "layers": [
    {"mixer": {"kind": "short_conv", "kernel": 3}, "feed_forward_width": 96},
    {"mixer": {"kind": "attention", "heads": 2, "kv_heads": 1, "head_dim": 32},
     "feed_forward_width": 96},
    {"mixer": null, "feed_forward_width": 96}]}"""
# int4 cannot store the embedding of this width.
NARROW = TINY.replace('"embedding_width": 64', '"embedding_width": 40')
QUICK = ("--workload", "tg8@32", "--precision", "0.5", "--seconds", "0.1")


def test_presets_json_is_the_audit_of_every_preset(nas_process) -> None:
    audit = json.loads(nas_process("presets", "--json").stdout)
    assert {entry["name"] for entry in audit} == set(PRESETS)
    gemma = next(entry for entry in audit if entry["name"] == "gemma-3-270m")
    assert gemma == {
        "name": "gemma-3-270m",
        "published": True,
        "layout": "sssssasssssasssssa",
        "parameters": 268_098_176,
        "embedding_parameters": 167_772_160,
        "embedding_share": pytest.approx(0.626, abs=5e-4),
    }


def test_presets_table_is_sorted_by_the_fraction_spent_on_embeddings(nas) -> None:
    shown = nas("presets").stdout
    assert shown.index("gemma-3-270m") < shown.index("lfm2-350m ") < shown.index("lfm2-2.6b")
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_show_json_contains_the_architecture(nas_process, tmp_path: Path) -> None:
    document = json.loads(nas_process("show", "lfm2-350m", "--json").stdout)
    assert document["hash"] == architecture_hash(PRESETS["lfm2-350m"])
    assert document["layout"] == "ccaccaccacacacac"
    assert document["architecture"] == json.loads(to_json(PRESETS["lfm2-350m"]))
    parts = document["parameters"]
    total = parts.pop("total")
    assert total == 354_483_968 == sum(parts.values())
    assert set(parts) == {"embedding", "mixers", "feed_forward", "norms"}


def test_show_prints_every_fact_of_a_file_in_80_columns(nas, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(TINY)
    shown = nas("show", "tiny.json", "--context", "100").stdout
    for fact in (
        "ca-",
        "kernel 3",
        "2 heads of 32",
        "vocabulary 256",
        "int4",
        "context of 100 tokens",
    ):
        assert fact in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_show_uses_the_singular_for_a_single_head(nas, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(TINY.replace('"heads": 2', '"heads": 1'))
    assert "1 head of 32, 1 KV head," in nas("show", "tiny.json").stdout


def test_measure_json_contains_every_sample_and_the_results(
    nas, short_windows: None, tmp_path: Path
) -> None:
    (tmp_path / "tiny.json").write_text(TINY)
    (tmp_path / "wide.json").write_text(TINY.replace('"width": 64', '"width": 128'))
    result = nas("measure", "tiny.json", "wide.json", *QUICK, "--workload", "pp16", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["reference"], document["failures"]) == ("tiny", [])
    assert document["waited_s"] >= 0
    results = document["results"]
    assert [(each["model"], each["workload"]) for each in results] == [
        ("tiny", "tg8@32"),
        ("wide", "tg8@32"),
        ("tiny", "pp16"),
        ("wide", "pp16"),
    ]
    for each in results:
        assert each["quantization"] == "int4"
        assert each["p50_low_ms"] <= each["p50_ms"] <= each["p50_high_ms"]
        tokens = 16 if each["workload"] == "pp16" else 1
        assert each["tokens_per_second"] == pytest.approx(tokens * 1e3 / each["p50_ms"])
        assert isinstance(each["provisional"], bool)
        measurement = each["measurements"][0]
        assert measurement["runtime"] == "onnxruntime"
        assert measurement["peak_memory_bytes"] > measurement["loaded_memory_bytes"] // 2
        assert measurement["environment_before"]["host"]
        assert measurement["environment_after"]["host"]
        assert 0 <= measurement["disturbance"]["waited_s"] <= document["waited_s"]
        assert 0 <= measurement["waiting_share"] < 1
        assert 0 <= measurement["disturbed_share"] <= 1
    for reference, model in (results[:2], results[2:]):
        # On a busy machine, provisional results are measured up to two more times.
        runs = zip(model["measurements"], reference["measurements"], strict=True)
        for paired, alone in runs:
            assert paired["reference"] == alone
            assert len(paired["windows_ns"]) == len(alone["windows_ns"]) >= 3
        assert len(model["measurements"]) <= 3
        assert reference["ratio"] is None
        assert model["ratio"]["low"] <= model["ratio"]["value"] <= model["ratio"]["high"]
        assert model["p50_ms"] == pytest.approx(model["ratio"]["value"] * reference["p50_ms"])


def test_measure_shows_results_and_failures(nas, nas_process, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(TINY)
    (tmp_path / "narrow.json").write_text(NARROW)
    result = nas_process("measure", "tiny.json", "narrow.json", *QUICK, "--quantization", "int4")
    assert result.returncode == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith("nas: narrow: build error: embedding_width: 40 is not a multiple of 32")
    for word in ("tiny", "tg8@32", "tokens/s", "±", "peak MB", "int4 weights", "onnxruntime"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    nothing = nas("measure", "narrow.json", *QUICK)
    assert (nothing.returncode, nothing.stdout) == (1, "")


@pytest.mark.parametrize("option", ["longest_wait", "if_occupied"])
def test_the_commands_that_measure_declare_the_same_options(option: str) -> None:
    declared = [inspect.signature(command).parameters[option] for command in (measure, profile)]
    assert declared[0].annotation is declared[1].annotation
    assert declared[0].default == declared[1].default


@pytest.mark.parametrize("command", [["measure", "lfm2-350m"], ["profile", "--quick"]])
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--if-occupied", "sing"], "if_occupied: 'sing' is not 'measure' or 'stop'"),
        (["--longest-wait", "-1"], "longest_wait: -1.0 is not a number of at least 0"),
    ],
)
def test_how_to_wait_for_other_measurements_is_checked(
    nas, command: list[str], option: list[str], sentence: str
) -> None:
    refused = nas(*command, *option)
    assert (refused.returncode, refused.stderr) == (2, f"nas: {sentence}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show"], "model is missing; see nas show --help"),
        (["run", "quickstart", "--trails", "4"], "--trails is not an option of nas run; did you "),
        (
            ["report", "tiny", "-x"],
            "-x is not an option of nas report; expected one of --output, -o, ",
        ),
        (["--verison"], "--verison is not an option of nas; did you mean --version?"),
        (["measure", "lfm2-350m", "--threads"], "option '--threads' requires an argument; see nas"),
        (["runn", "quickstart"], "no such command 'runn'; did you mean 'run'?"),
        (["run", "quickstart", "4"], "got unexpected extra argument(s) (4); see nas run --help"),
        (["report", "tiny", "--format", "pdf"], "format: 'pdf' is not one of 'html', 'md'"),
        (["run", "quickstart", "--trials", "0"], "trials: 0 is not at least 1"),
        (["run", "quickstart", "--trials", "x"], "trials: 'x' is not a whole number"),
    ],
)
def test_an_invalid_option_is_reported_as_one_sentence(
    arguments: list[str], sentence: str, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("sys.argv", ["nas", *arguments])
    # `python -m pytest` is a package too, and would be shown as the name of the program.
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"nas: {sentence}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_version_is_that_of_the_project(nas) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    shown = nas("--version")
    assert (shown.returncode, shown.stdout) == (0, f"nas {project['version']}\n")


def test_without_arguments_the_help_is_shown(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["nas"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "lfm9"], "model: 'lfm9' is neither a preset"),
        (["show", "missing.json"], "missing.json: no such file"),
        (["measure", "lfm2-350m", "--workload", "pp0"], "workload: 'pp0' is not ppN"),
        (["measure", "lfm2-350m", "--quantization", "int3"], "quantization: 'int3' is not one of"),
        (["measure", "lfm2-350m", "--runtime", "tflite"], "runtime: 'tflite' is not one of"),
        (["measure", "lfm2-350m", "--precision", "2"], "precision: 2.0 is not between 0 and 1"),
        (["measure", "lfm2-350m", "--seconds", "0"], "seconds: 0.0 is not a positive number"),
        (["measure", "lfm2-350m", "--against", "lfm9"], "model: 'lfm9' is neither a preset"),
        (["measure", "lfm2-350m", "--threads", "999"], "threads: 999 is not between 1 and"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(nas, arguments, sentence) -> None:
    result = nas(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("nas: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
