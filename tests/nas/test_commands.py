"""Every verb as a process: what scripts lean on, and what a mistake looks like."""

import json
from pathlib import Path

import pytest

from search_space.architecture import architecture_hash, to_json
from search_space.presets import PRESETS

TINY = """{"vocab_size": 256, "width": 64, "embedding_width": 64, "layers": [
    {"mixer": {"kind": "short_conv", "kernel": 3}, "feed_forward_width": 96},
    {"mixer": {"kind": "attention", "heads": 2, "kv_heads": 1, "head_dim": 32},
     "feed_forward_width": 96},
    {"mixer": null, "feed_forward_width": 96}]}"""


def test_presets_json_is_the_audit_of_every_preset(nas) -> None:
    audit = json.loads(nas("presets", "--json").stdout)
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


def test_presets_table_puts_who_wastes_most_first(nas) -> None:
    shown = nas("presets").stdout
    assert shown.index("gemma-3-270m") < shown.index("lfm2-350m ") < shown.index("lfm2-2.6b")
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_show_json_says_what_the_architecture_is(nas, tmp_path: Path) -> None:
    document = json.loads(nas("show", "lfm2-350m", "--json").stdout)
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


def test_measure_json_has_every_sample_and_what_follows_from_them(nas, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(TINY)
    workloads = ("--workload", "pp16", "--workload", "tg8@32")
    rows = json.loads(nas("measure", "tiny.json", *workloads, "--json").stdout)
    assert [(row["model"], row["workload"]) for row in rows] == [
        ("tiny", "pp16"),
        ("tiny", "tg8@32"),
    ]
    for row in rows:
        assert row["quantization"] == "int4"
        assert row["runtime"] == "onnxruntime"
        assert row["threads"] == 1
        assert len(row["samples_ns"]) >= 3
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert min(row["samples_ns"]) <= row["p50_ms"] * 1e6 <= max(row["samples_ns"])
        tokens = 16 if row["workload"] == "pp16" else 1
        assert row["tokens_per_second"] == pytest.approx(tokens * 1e3 / row["p50_ms"])
        assert row["peak_memory_bytes"] > 10e6


def test_measure_table_names_the_machine_and_the_spread(nas, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(TINY)
    shown = nas("measure", "tiny.json", "--workload", "tg8", "--quantization", "int8").stdout
    for word in ("tiny", "tg8", "tokens/s", "±", "peak MB", "int8 weights", "onnxruntime"):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "lfm9"], "model: 'lfm9' is neither a preset"),
        (["show", "missing.json"], "missing.json: no such file"),
        (["measure", "lfm2-350m", "--workload", "pp0"], "workload: 'pp0' is not ppN"),
        (["measure", "lfm2-350m", "--quantization", "int3"], "quantization: 'int3' is not one of"),
        (["measure", "lfm2-350m", "--threads", "999"], "threads: 999 is not between 1 and"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(nas, arguments, sentence) -> None:
    result = nas(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("nas: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_width_that_int4_cannot_store_is_said_before_anything_is_measured(
    nas, tmp_path: Path
) -> None:
    (tmp_path / "narrow.json").write_text(
        TINY.replace('"embedding_width": 64', '"embedding_width": 40')
    )
    result = nas("measure", "narrow.json")
    assert result.returncode == 2
    assert "embedding_width: 40 is not a multiple of 32" in result.stderr
