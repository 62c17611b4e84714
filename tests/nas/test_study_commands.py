"""A complete study from the command line, with real training and simulated latencies."""

import json
import os
import platform
import re
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from filelock import FileLock
from tokenizers import Tokenizer

from evaluators.text.corpus import Corpus, CorpusName, read_corpus
from hardware.progress import Say
from nas.commands.run import run
from studies.records import ConfirmationKey
from studies.spec.study_file import read_spec
from studies.storage.store import Store
from tests.nas.tiny_study import STUDY, start_nas, write_study

# Tests that only look at candidates omit the reference model, whose training is half of a run.
REFERENCES = 'references = ["lfm2.5-230m"]\n'


@pytest.fixture(scope="session")
def finished_folder(nas_in, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that has ended, shared by all workers of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "finished", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            folder.mkdir()
            write_study(folder)
            result = nas_in(folder, "run", "tiny.toml")
            assert result.returncode == 0, result.stderr
            (folder / "run.log").write_text(result.stderr)
            done.touch()
    return folder


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path) -> Path:
    """The study file of a copy of a study that has ended."""
    shutil.copytree(finished_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "tiny.toml"


def test_a_study_runs_and_every_command_shows_it(
    nas_process, finished: Path, tmp_path: Path
) -> None:
    status = json.loads(nas_process("status", "tiny.toml", "--json").stdout)
    assert (status["study"], status["requested"]) == ("tiny", 4)
    counted = {
        state: status["trials"][state]
        for state in ("complete", "infeasible", "stopped", "failed", "running")
    }
    assert sum(counted.values()) == 4
    assert counted["complete"] >= 1

    front = json.loads(nas_process("pareto", "tiny.toml", "--json").stdout)
    assert [axis["name"] for axis in front["objectives"]] == ["loss", "decode"]
    assert [axis["unit"] for axis in front["objectives"]] == ["bits/byte", "ms/token"]
    (reference,) = front["reference_models"]
    assert reference["trial"] == "lfm2.5-230m"
    assert reference["parameters"] == 229_693_184
    assert front["hypervolume"] >= 0
    losses = [member["values"]["loss"] for member in front["front"]]
    decodes = [member["values"]["decode"] for member in front["front"]]
    assert losses == sorted(losses)
    assert decodes == sorted(decodes, reverse=True)

    winner = front["front"][0]
    shown = json.loads(nas_process("show", "tiny.toml", str(winner["trial"]), "--json").stdout)
    assert shown["hash"] == winner["hash"]
    assert shown["state"] == "complete"
    assert shown["curve"][-1]["loss"] == winner["values"]["loss"]
    assert all(measurement["samples_ns"] for measurement in shown["measurements"])

    assert (
        nas_process("export", "tiny.toml", str(winner["trial"]), "-o", "winner.json").returncode
        == 0
    )
    exported = json.loads(nas_process("show", "winner.json", "--json").stdout)
    assert exported["hash"] == winner["hash"]
    refused = nas_process("export", "tiny.toml", str(winner["trial"]), "-o", "winner.json")
    assert refused.returncode == 2
    assert "already exists" in refused.stderr


def test_without_a_terminal_every_stage_is_a_line(finished: Path) -> None:
    lines = finished.with_name("run.log").read_text().splitlines()
    assert lines[:2] == ["tiny  reading the corpus", "tiny: 0 of 4 trials are done"]
    assert re.fullmatch(r"candidates are trained on 1,280 tokens each(, \d+ at a time)?", lines[2])
    stages = [
        "reference lfm2.5-230m  costs; 0 of 4 trials done",
        "reference lfm2.5-230m  latency; 0 of 4 trials done",
        "reference lfm2.5-230m  time per byte of text; 0 of 4 trials done",
        "reference lfm2.5-230m  training; 0 of 4 trials done",
    ]
    assert [line for line in lines if line in stages] == stages
    # A candidate begins while the reference model is in training.
    assert any(
        re.fullmatch(
            r"trial 0  costs; reference lfm2.5-230m training \d+ %; 0 of 4 trials done", line
        )
        for line in lines
    )


def test_a_winners_proxy_is_exported_as_its_study_trained_it(nas, finished: Path) -> None:
    winner = json.loads(nas("pareto", "tiny.toml", "--json").stdout)["front"][0]
    trial = str(winner["trial"])
    result = nas(
        *("export", "tiny", trial, "--weights", "proxy", "--format", "hf", "-o", "proxy"),
        *("--context", "64"),
    )
    assert result.returncode == 0, result.stderr
    assert f"{winner['values']['loss']:.3f} bits per byte" in result.stderr
    lines = result.stderr.splitlines()
    assert lines[0] == "training the proxy"
    assert "writing proxy" in lines
    folder = finished.with_name("proxy")
    card = (folder / "README.md").read_text()
    assert "the full-size model has not been trained" in card
    assert f"Made from trial {trial} of the study tiny" in card
    assert "the scores are that trial's, not this model's" in card
    document = json.loads((folder / "architecture.json").read_text())
    assert document["provenance"]["made_from"] == winner["hash"] != document["hash"]
    scores = {score["name"]: score["value"] for score in document["provenance"]["scores"]}
    assert scores["loss"] == winner["values"]["loss"]
    assert len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode("def f():").ids) > 1

    again = nas("export", "tiny", trial, "--weights", "proxy", "--format", "hf", "-o", "proxy")
    assert again.returncode == 2
    assert "output: 'proxy' already exists" in again.stderr


def test_pareto_and_show_fit_80_columns_without_colour(nas, finished: Path) -> None:
    shown = nas("pareto", "tiny.toml").stdout
    assert "\x1b" not in shown
    assert "@ reference model" in shown
    for line in (shown + nas("show", "tiny", "lfm2.5-230m").stdout).splitlines():
        assert len(line) <= 80


def test_why_needs_more_candidates_than_a_tiny_study_has(nas, finished: Path) -> None:
    shown = nas("pareto", "tiny.toml", "--why").stdout
    assert "Which choices matter" in shown
    document = json.loads(nas("pareto", "tiny.toml", "--why", "--json").stdout)
    note = document["why"]["note"]
    assert "at least 20 complete candidates" in note
    assert " ".join(shown.split()).endswith(note)
    assert "why" not in json.loads(nas("pareto", "tiny.toml", "--json").stdout)


def test_max_picks_the_best_within_a_limit(nas, finished: Path) -> None:
    front = json.loads(nas("pareto", "tiny.toml", "--json").stdout)["front"]
    slowest = max(member["values"]["decode"] for member in front)
    limit = f"decode={slowest}"
    best = json.loads(nas("pareto", "tiny.toml", "--max", limit, "--json").stdout)["best"]
    assert best["values"]["loss"] == min(member["values"]["loss"] for member in front)
    assert json.loads(nas("pareto", "tiny", "--max", "decode=0", "--json").stdout)["best"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["show", "tiny", "99"],
            "trial: '99' is neither a candidate number nor a reference model of 'tiny', which has "
            "0 to 3 and lfm2.5-230m\n",
        ),
        (
            ["show", "tiny.toml"],
            "trial is missing: 'tiny.toml' is a study; specify a trial, such as tiny.toml 0",
        ),
        (["export", "tiny", "lfm2-2.6b"], "trial: 'lfm2-2.6b' is neither a candidate number"),
        (["pareto", "tiny", "--max", "speed=1"], "max: 'speed' is not one of decode, decode_mem"),
        (["status", "tinny"], "study: 'tinny' is not in this database, which holds tiny"),
    ],
)
def test_what_a_study_does_not_hold_is_one_sentence(nas, finished, arguments, sentence) -> None:
    result = nas(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"nas: {sentence}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_study_that_finds_nothing_within_its_limit_says_so(nas, study: Path) -> None:
    limited = STUDY.replace('name = "decode"', 'name = "decode"\nmax = 1e-6')
    study.write_text(limited.replace(REFERENCES, ""))
    shown = " ".join(nas("run", "tiny.toml").stdout.split())
    assert "no candidate is complete" in shown
    assert "4 candidates are infeasible" in shown or "3 candidates are infeasible" in shown
    assert "is above the limit of" in shown


def test_finished_trials_count_when_more_are_requested(nas, finished: Path) -> None:
    def ended() -> int:
        counts = json.loads(nas("status", "tiny", "--json").stdout)["trials"]
        return sum(counts[state] for state in ("complete", "infeasible", "stopped", "failed"))

    before = _candidates(finished.with_name("nas.db"))
    assert nas("run", "tiny.toml").returncode == 0
    assert ended() == 4
    assert nas("run", "tiny.toml", "--trials", "6").returncode == 0
    assert ended() == 6
    assert _candidates(finished.with_name("nas.db"))[:4] == before


def test_the_same_file_finds_the_same_candidates_elsewhere(nas, finished: Path) -> None:
    # With several trainings at a time, proposals depend on which one ends first.
    finished.write_text(STUDY.replace("[proxy]", "[proxy]\nparallel = 1"))
    found = []
    for storage in ("sqlite:///here.db", "sqlite:///elsewhere.db"):
        assert nas("run", "tiny.toml", "--storage", storage).returncode == 0
        result = nas("pareto", "tiny.toml", "--storage", storage, "--json")
        found.append(json.loads(result.stdout))
    assert found[0] == found[1]


def test_a_changed_study_is_refused_with_the_difference(nas, finished: Path) -> None:
    finished.write_text(STUDY.replace("token_budget = 1280", "token_budget = 1600"))
    result = nas("run", "tiny.toml")
    assert result.returncode == 2
    assert "proxy.token_budget: 1280 in the study, 1600 in the file" in result.stderr
    for option, trials in (("--restart", 2), ("--anew", 1)):  # --anew is the former name
        assert nas("run", "tiny.toml", option, "--trials", str(trials)).returncode == 0
        assert len(_candidates(finished.with_name("nas.db"))) == trials


def test_a_corpus_that_has_changed_is_refused_until_it_is_restored(nas, finished: Path) -> None:
    text = finished.with_name("text.txt")
    original = text.read_text()
    text.write_text(original.replace("things", "apples"))
    before = _candidates(finished.with_name("nas.db"))
    run, validated = nas("run", "tiny.toml", "--trials", "6"), nas("validate", "tiny.toml")
    assert run.returncode == validated.returncode == 2
    assert run.stderr.splitlines()[-1] == validated.stderr.splitlines()[-1]
    # Four candidates and the reference model.
    assert "the text of 'text.txt' differs from that with which 5 trials" in run.stderr
    assert "Traceback" not in run.stderr
    assert _candidates(finished.with_name("nas.db")) == before
    text.write_text(original)
    resumed = nas("run", "tiny.toml", "--trials", "5")
    assert resumed.returncode == 0
    assert "may not be comparable" not in resumed.stderr
    assert _candidates(finished.with_name("nas.db"))[:4] == before
    text.write_text(original.replace("things", "apples"))
    finished.write_text(STUDY.replace(REFERENCES, ""))
    assert nas("run", "tiny.toml", "--restart", "--trials", "1").returncode == 0
    finished.write_text(STUDY.replace(REFERENCES, "").replace('"tiny"', '"apples"'))
    assert nas("run", "tiny.toml", "--trials", "1").returncode == 0


def test_more_trainings_than_this_machine_supports_are_reported(nas, finished: Path) -> None:
    finished.write_text(STUDY.replace("[proxy]", "[proxy]\nparallel = 999"))
    run = nas("run", "tiny.toml")
    assert run.returncode == 0
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("proxy.parallel: ")]
    assert line.startswith("proxy.parallel: 999 trainings with 1 thread each compete for the ")


def test_another_release_of_torch_is_reported(
    nas, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.__version__", "99.0")
    run = nas("run", "tiny.toml")
    assert run.returncode == 0
    # Four candidates and the reference model.
    (line,) = [line for line in run.stderr.splitlines() if "may not be comparable" in line]
    assert line.startswith("training: 5 of 5 trials were evaluated on a different device")


def test_ctrl_c_says_how_to_resume_and_loses_nothing(nas, study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace(REFERENCES, ""))
    process = start_nas(tmp_path, "run", "tiny.toml")
    _wait_for_trials(tmp_path / "nas.db", 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "run the same command again to resume; interrupted training runs restart" in errors
    assert "Traceback" not in errors
    kept = _candidates(tmp_path / "nas.db")
    assert nas("run", "tiny.toml").returncode == 0
    # Two are trained at a time, and either may end first.
    assert set(kept) <= set(_candidates(tmp_path / "nas.db"))
    assert len(_candidates(tmp_path / "nas.db")) == 4


def test_kill_loses_at_most_the_trial_in_flight(nas, study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace(REFERENCES, ""))
    for wanted in (1, 2):
        process = start_nas(tmp_path, "run", "tiny.toml")
        _wait_for_trials(tmp_path / "nas.db", wanted)
        process.kill()
        process.communicate()
        assert len(_candidates(tmp_path / "nas.db")) >= wanted
    assert nas("run", "tiny.toml").returncode == 0
    assert len(_candidates(tmp_path / "nas.db")) == 4
    with sqlite3.connect(tmp_path / "nas.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_of_two_processes_the_second_says_that_they_share_the_trials(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.parent)
    spec = read_spec("tiny.toml")
    where = f"process {os.getpid()} on {platform.node()}"
    with Store.open(spec.storage) as store:
        trial = store.claim("tiny", total=100)  # as the first one does
        assert trial is not None
        with pytest.raises(ValueError, match=f"^study: 'tiny' is being run by {where}; restart "):
            run("tiny.toml", restart=True)
        run("tiny.toml", trials=6)
        assert (
            f"tiny: {where} is also running this study; the processes share its trials, and no "
            "trial is run twice\n"
        ) in capsys.readouterr().err
        ended = [each[0] for each in _candidates(finished.with_name("nas.db"))]
        assert ended == [0, 1, 2, 3, 5]
        store.interrupt(trial)


def test_what_is_being_confirmed_is_not_restarted(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    spec = read_spec("tiny.toml")
    with Store.open(spec.storage) as store:
        before = store.trials("tiny")
        assert store.claim_confirmation(
            ConfirmationKey(trial=before[0].id, stage="training", fingerprint="again")
        )
        where = f"process {os.getpid()} on {platform.node()}"
        with pytest.raises(ValueError, match=f"^study: 'tiny' is being confirmed by {where}; "):
            run("tiny.toml", restart=True)
        assert store.trials("tiny") == before


def test_a_study_that_another_process_starts_meanwhile_is_not_discarded(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first check may be minutes old once the corpus has been read."""
    monkeypatch.chdir(finished.parent)
    spec = read_spec("tiny.toml")
    with Store.open(spec.storage) as store:

        def reading(name: CorpusName, say: Say, token_budget: int) -> Corpus:
            assert store.claim("tiny", total=100) is not None
            return read_corpus(name, say, token_budget)

        monkeypatch.setattr("nas.assembly.read_corpus", reading)
        with pytest.raises(ValueError, match=r"^study: 'tiny' is being run by process "):
            run("tiny.toml", restart=True)
        assert len(store.trials("tiny")) == 5


@pytest.mark.parametrize(
    "content", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 900]
)
def test_a_foreign_or_damaged_database_is_refused_and_kept(
    nas, study: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "nas.db").write_bytes(content)
    for arguments in (["run", "tiny.toml"], ["status", "tiny.toml"], ["pareto", "tiny.toml"]):
        result = nas(*arguments)
        assert result.returncode == 2
        assert result.stderr.startswith("nas: storage: ")
    assert (tmp_path / "nas.db").read_bytes() == content


def test_a_storage_that_is_no_url_is_one_sentence(nas, study: Path) -> None:
    for verb in ("run", "status"):
        result = nas(verb, "tiny.toml", "--storage", "foo")
        assert result.returncode == 2
        assert result.stderr.count("\n") == 1
        # The study file is not at fault.
        assert result.stderr.startswith("nas: storage: ")


def test_reading_commands_make_no_database(nas, study: Path, tmp_path: Path) -> None:
    result = nas("status", "tiny.toml")
    assert result.returncode == 2
    assert result.stderr == (
        f"nas: storage: 'sqlite:///nas.db' does not exist in '{tmp_path}'; `nas run FILE` creates "
        "it\n"
    )
    assert not (tmp_path / "nas.db").exists()


def _wait_for_trials(path: Path, wanted: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.exists() and len(_candidates(path)) >= wanted:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {wanted} trials within five minutes")


def _candidates(path: Path) -> list[tuple[object, ...]]:
    """Number, state and architecture of every candidate that has ended."""
    with sqlite3.connect(path, timeout=30) as database:
        try:
            return database.execute(
                "SELECT number, state, architecture FROM nas_trials "
                "WHERE kind = 'candidate' AND ended_at IS NOT NULL ORDER BY number"
            ).fetchall()
        except sqlite3.OperationalError:
            return []
