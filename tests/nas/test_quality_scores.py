"""A complete study with the scores recall_error and task; latencies are simulated."""

import json
from pathlib import Path

import pytest

from evaluators.text.corpus import read_corpus
from nas.assembly import evaluators_of
from studies.spec.study_file import read_spec
from studies.storage.store import Store

STUDY = """
name = "asked"
trials = 3
seed = 1

[target]
context_depth = 64
prompt_length = 16

[[objectives]]
name = "task"

[[objectives]]
name = "recall_error"

[[objectives]]
name = "decode"

[[constraints]]
name = "loss"
max = 9.0

[space]
depth = [2]
width = [64]
mixers = ["c", "a", "s", "l", "-"]
feed_forward = [1.0]
vocab_size = [4096]
head_dim = [32]
kv_heads = [1]
window = [16]

[proxy]
corpus = "text.txt"
task = "task.jsonl"
task_share = 0.5
context_length = 16
batch_size = 2
token_budget = 1280

[recall]
pairs = 2
vocabulary = 8
length = 8
token_budget = 4096

[device]
runner = "fake"

[sampler]
startup_trials = 2
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sentences = (f"Sentence {n} tells of {n * n} things and {n % 7} more.\n" for n in range(2000))
    (tmp_path / "text.txt").write_text("".join(sentences))
    examples = ({"prompt": f"{n} + 1 = ", "completion": f"{n + 1}\n"} for n in range(200))
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, examples)))
    path = tmp_path / "asked.toml"
    path.write_text(STUDY)
    return path


def test_both_scores_are_shown_wherever_scores_are(nas, study: Path, tmp_path: Path) -> None:
    plan = json.loads(nas("validate", study, "--json").stdout)
    assert plan["recall_seconds"] > 0
    ran = nas("run", study)
    assert ran.returncode == 0, ran.stderr
    front = json.loads(nas("pareto", study, "--json").stdout)
    assert front["objectives"] == [
        {"name": "task", "unit": "bits/byte"},
        {"name": "recall_error", "unit": "wrong"},
        {"name": "decode", "unit": "ms/token"},
    ]
    member = front["front"][0]
    assert 0 < member["values"]["task"] < 9
    shown = json.loads(nas("show", study, str(member["trial"]), "--json").stdout)
    scores = {score["name"]: score for score in shown["scores"]}
    recall = scores["recall_error"]
    assert 0 <= recall["low"] <= recall["value"] <= recall["high"] <= 1
    assert shown["curve"][-1]["loss"] == scores["loss"]["value"] != scores["task"]["value"]
    assert nas("report", study, "-o", "report.md").returncode == 0
    assert "recall\\_error, wrong" in (tmp_path / "report.md").read_text()


def test_recall_is_trained_only_on_request_and_before_the_loss(study: Path, tmp_path: Path) -> None:
    """At a rung of the loss, all other objectives must be known."""
    asked = read_spec(study)
    others = tuple(each for each in asked.objectives if each.name != "recall_error")
    corpus = read_corpus(asked.proxy.corpus)
    for spec, stages in (
        (asked, ["costs", "latency", "text", "recall", "training"]),
        (asked.model_copy(update={"objectives": others}), ["costs", "latency", "text", "training"]),
    ):
        with (
            Store.open(f"sqlite:///{tmp_path / 'stages.db'}") as store,
            evaluators_of(spec, store, corpus) as evaluators,
        ):
            assert [each.stage for each in evaluators] == stages


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ('task = "task.jsonl"\n', ""),
            "objectives[0].name: 'task' is not possible without proxy.task",
        ),
        (('task = "task.jsonl"', 'task = "absent.jsonl"'), "proxy.task: 'absent.jsonl' cannot be"),
        (("vocabulary = 8", "vocabulary = 3"), "recall.vocabulary: 3 is not between 4 and"),
        (("vocabulary = 8", "vocabulary = 8.5"), "recall.vocabulary: 8.5 is not a whole number"),
        (("task_share = 0.5", "task_share = 1.5"), "proxy.task_share: 1.5 is not"),
    ],
)
def test_an_error_is_one_sentence(nas, study: Path, change, sentence) -> None:
    study.write_text(study.read_text().replace(*change))
    refused = nas("validate", study)
    assert refused.returncode == 2
    assert sentence in " ".join(refused.stderr.split())


def test_a_malformed_line_is_named(nas, study: Path, tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text(path.read_text() + '\n{"prompt": "a"}\n')
    refused = nas("validate", study)
    assert refused.returncode == 2
    assert "proxy.task: line 201 of 'task.jsonl' is not an object" in refused.stderr
