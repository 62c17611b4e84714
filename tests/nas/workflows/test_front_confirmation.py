"""`nas confirm` from the command line, with real training and simulated latencies."""

import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from evaluators.text.documents import read_documents
from hardware.progress import Say, ignore_text
from nas.commands.confirm import confirm
from nas.workflows.front_confirmation import (
    ConfirmationEvent,
    ConfirmationOptions,
    ConfirmationPlan,
    confirm_front,
)
from studies.search.loop import run_study
from studies.spec.study_file import read_spec
from studies.spec.study_spec import from_json, to_json
from studies.storage.store import Store
from tests.nas.tiny_study import STUDY, start_nas, write_study
from tests.studies.fakes import all_stages

# Trials are scored by formulas and drawn at random; only the confirmation trains models.
_STUDY = (
    STUDY.replace('references = ["lfm2.5-230m"]\n', "")
    .replace("vocab_size = [4096, 16384]", "vocab_size = [256]")
    .replace("token_budget = 1280", "token_budget = 1000\nrungs = []")
    .replace("startup_trials = 2", 'kind = "random"')
)


@pytest.fixture
def study(tmp_path: Path) -> str:
    """The name of the study file."""
    return write_study(tmp_path, _STUDY).name


def _run(folder: Path, trials: int) -> str:
    """Score this many trials of the study by formulas, and return the URL of the database."""
    url = f"sqlite:///{folder}/nas.db"
    spec = read_spec(folder / "tiny.toml").model_copy(update={"storage": url, "trials": trials})
    with Store.open(url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
    return url


def _trainings(folder: Path) -> list[tuple[object, ...]]:
    """Return the retraining runs that have ended, with the time of each."""
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
    assert "3 timings and 9 training runs are left" in errors
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors
    kept = _trainings(tmp_path)
    assert 1 <= len(kept) < 9

    done = nas(*asked, "--json")
    assert done.returncode == 0, done.stderr
    assert f"{9 - len(kept)} training runs are left" in done.stderr
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
        # The study's seed is 1; the long training run has seed 2, and the short ones 3 and 4.
        assert each["fresh_losses"].keys() == {"3", "4"}
        assert set(each["again"]) == {"decode"}
        assert 0 <= each["front_probability"] <= 1

    monkeypatch.setenv("COLUMNS", "80")
    read: list[str] = []

    def counted(name: str, say: Say, most_streamed: int) -> list[str]:
        read.append(name)
        return read_documents(name, say)

    monkeypatch.setattr("evaluators.text.corpus.read_documents", counted)
    url = f"sqlite:///{tmp_path}/nas.db"
    confirm(study, candidates=3, budget=2.0, storage=url)
    assert read == ["text.txt"]  # a large corpus takes minutes
    shown = capsys.readouterr()
    assert "all 12 timings and training runs are done" in shown.err
    assert (
        "latency: 3 of 3 candidates were evaluated on a different device, corpus or release; "
        "compare their new scores with the study's by rank only\n"
        "training: 3 of 3 candidates"
    ) in shown.err
    assert len(_trainings(tmp_path)) == 9
    *table, suggestion = shown.out.splitlines()
    assert all(len(line) <= 80 for line in table)
    assert suggestion == f"next: nas pareto {study} --storage {url}"  # on one line, to copy it
    assert "Seed noise" in shown.out

    probabilities = json.loads(nas("pareto", "tiny", "--json").stdout)["front_probabilities"]
    assert probabilities.keys() >= {str(each["trial"]) for each in candidates if each["on_front"]}
    assert nas("report", "tiny", "--format", "md").returncode == 0
    report = (tmp_path / "tiny.md").read_text()
    assert "## Confirmation of the losses" in report
    assert "## Confirmation: losses with more seeds and tokens" in report


def test_retrainings_at_the_same_time_are_expected_to_take_less_time(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Planned(Exception):
        pass

    plans: list[ConfirmationPlan] = []

    def stop(event: ConfirmationEvent) -> None:
        assert isinstance(event, ConfirmationPlan)
        plans.append(event)
        raise Planned

    url = _run(tmp_path, trials=5)
    options = ConfirmationOptions(candidates=3, budget=2.0, seeds=2)
    with Store.open(url) as store:
        spec = from_json(store.study("tiny").spec)
        for parallel in (1, 3):
            proxy = spec.proxy.model_copy(update={"parallel": parallel})
            store.update_spec("tiny", to_json(spec.model_copy(update={"proxy": proxy})))
            with pytest.raises(Planned):
                confirm_front(
                    "tiny", store, options, listener=stop, say=ignore_text, notify=ignore_text
                )
    alone, several = (plan.seconds_left for plan in plans)
    assert alone.keys() == several.keys()
    for key in alone:
        assert alone[key] > 0
        factor = 1 if key.token_budget is None else 3
        assert alone[key] == pytest.approx(factor * several[key])


def test_a_text_that_is_read_too_often_is_remarked_when_retraining_begins(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluators.quality.proxy_loss.MOST_PASSES", 0.0)

    class Remarked(Exception):
        pass

    def stop(remark: str) -> None:
        if "of the corpus" in remark:
            raise Remarked(remark)

    options = ConfirmationOptions(candidates=3, budget=2.0, seeds=2)
    with (
        Store.open(_run(tmp_path, trials=5)) as store,
        pytest.raises(Remarked, match=r"^trial \d: each training of 1,000 tokens reads the "),
    ):
        confirm_front("tiny", store, options, listener=lambda _: None, say=ignore_text, notify=stop)
    assert _trainings(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--budget", "1"),
            "budget: 1 is not between 1.1 and 1,000 times the token budget of the study",
        ),
        (("--budget", "nan"), "budget: nan is not between 1.1 and 1,000"),
    ],
)
def test_a_mistake_is_one_sentence(nas, study: str, arguments, sentence: str) -> None:
    result = nas("confirm", study, *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_confirmed_is_reported_with_the_reason(study: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        confirm("tiny", storage=f"sqlite:///{tmp_path}/none.db")
    url = _run(tmp_path, trials=2)
    with Store.open(url) as store:
        trial = store.claim("tiny", total=100)
        assert trial is not None
        with pytest.raises(ValueError, match=f"'tiny' is being run by process {os.getpid()} "):
            confirm("tiny", storage=url)
        store.interrupt(trial)
    with pytest.raises(
        ValueError, match=r"^study: 'tiny' has \d complete candidates, but ranking "
    ):
        confirm("tiny", storage=url)
