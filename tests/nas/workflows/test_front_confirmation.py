"""`nas confirm` as a person runs it: real trainings on a small text, times from a formula."""

import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from evaluators.text.documents import read_documents
from nas.workflows.front_confirmation import ConfirmationOptions, confirm_and_show
from studies.search.loop import run_study
from studies.spec.study_file import read_spec
from studies.storage.store import Store
from tests.nas.tiny_study import STUDY, start_nas, write_study
from tests.studies.fakes import all_stages

# Drawn at random, as formulas score it: it is its confirmation that trains.
_STUDY = (
    STUDY.replace('references = ["lfm2.5-230m"]\n', "")
    .replace("vocab_size = [4096, 16384]", "vocab_size = [256]")
    .replace("token_budget = 1280", "token_budget = 1000\nrungs = []")
    .replace("startup_trials = 2", 'kind = "random"')
)


@pytest.fixture
def study(tmp_path: Path) -> str:
    """Its file."""
    return write_study(tmp_path, _STUDY).name


def _run(folder: Path, trials: int) -> str:
    """Scores so many trials of the study by formulas; the URL of its database."""
    url = f"sqlite:///{folder}/nas.db"
    spec = read_spec(folder / "tiny.toml").model_copy(update={"storage": url, "trials": trials})
    with Store.open(url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
    return url


def _trainings(folder: Path) -> list[tuple[object, ...]]:
    """Those that have ended, with the moment of each."""
    with sqlite3.connect(folder / "nas.db", timeout=30) as database:
        return database.execute(
            "SELECT trial, fingerprint, ended_at FROM nas_repeats "
            "WHERE token_budget IS NOT NULL AND ended_at IS NOT NULL ORDER BY ended_at"
        ).fetchall()


def test_a_front_is_confirmed_stopped_resumed_and_shown(
    nas,
    study: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    _run(tmp_path, trials=5)
    asked = ("confirm", study, "--candidates", "3", "--budget", "2")
    with start_nas(tmp_path, *asked) as process:
        deadline = time.monotonic() + 300
        while not _trainings(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "3 timings and 9 trainings are left" in errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    kept = _trainings(tmp_path)
    assert 1 <= len(kept) < 9

    done = nas(*asked, "--json")
    assert done.returncode == 0, done.stderr
    assert f"{9 - len(kept)} trainings are left" in done.stderr
    found = json.loads(done.stdout)
    assert _trainings(tmp_path)[: len(kept)] == kept
    assert len(_trainings(tmp_path)) == 9
    assert [found["short_tokens"], found["long_tokens"]] == [1000, 2000]
    assert found["seed_noise"]["low"] < found["seed_noise"]["sd"] < found["seed_noise"]["high"]
    candidates = found["candidates"]
    assert len(candidates) == 3
    longs = [each["long_loss"] for each in candidates]
    assert longs == sorted(longs)
    for each in candidates:
        # The study's own seed is 1: the long training has 2, the short ones those that follow.
        assert each["fresh_losses"].keys() == {"3", "4"}
        assert set(each["again"]) == {"decode"}
        assert 0 <= each["front_probability"] <= 1

    monkeypatch.setenv("COLUMNS", "80")
    read: list[str] = []

    def counted(name: str) -> list[str]:
        read.append(name)
        return read_documents(name)

    monkeypatch.setattr("evaluators.text.corpus.read_documents", counted)
    options = ConfirmationOptions(candidates=3, budget=2.0, seeds=2)
    confirm_and_show("tiny", f"sqlite:///{tmp_path}/nas.db", options, study, as_json=False)
    assert read == ["text.txt"]  # a large corpus takes minutes
    again = capsys.readouterr()
    assert "all 12 of these are done" in again.err
    assert (
        "latency: 3 of 3 candidates had theirs on another device, corpus or release; with those, "
        "repeats compare by their order alone\n"
        "training: 3 of 3 candidates"
    ) in again.err
    assert len(_trainings(tmp_path)) == 9
    assert all(len(line) <= 80 for line in again.out.splitlines())
    assert "Seed noise" in again.out

    probabilities = json.loads(nas("pareto", "tiny", "--json").stdout)["front_probabilities"]
    assert probabilities.keys() >= {str(each["trial"]) for each in candidates if each["on_front"]}
    assert nas("report", "tiny", "--format", "md").returncode == 0
    report = (tmp_path / "tiny.md").read_text()
    assert "## How far to trust the losses" in report
    assert "## Trained again, and for longer" in report


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--budget", "1"), "budget: 1 is not between 1.1 and 1,000 token budgets of the study"),
        (("--budget", "nan"), "budget: nan is not between 1.1 and 1,000"),
    ],
)
def test_a_mistake_is_one_sentence(nas, study: str, arguments, sentence: str) -> None:
    result = nas("confirm", study, *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_confirmed_says_why(study: str, tmp_path: Path) -> None:
    options = ConfirmationOptions(candidates=None, budget=4.0, seeds=2)
    with pytest.raises(ValueError, match="does not exist"):
        confirm_and_show("tiny", f"sqlite:///{tmp_path}/none.db", options, study, as_json=False)
    url = _run(tmp_path, trials=2)
    with Store.open(url) as store:
        trial = store.claim("tiny", total=100)
        assert trial is not None
        with pytest.raises(ValueError, match=f"'tiny' is being run by process {os.getpid()} "):
            confirm_and_show("tiny", url, options, study, as_json=False)
        store.interrupt(trial)
    with pytest.raises(ValueError, match=r"^study: 'tiny' has \d complete candidates, and ranks "):
        confirm_and_show("tiny", url, options, study, as_json=False)
