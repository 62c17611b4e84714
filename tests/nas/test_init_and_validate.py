"""`nas init` and `nas validate`, and the errors for mistakes in a study file."""

import fcntl
import json
from pathlib import Path

import pytest

import hardware.quiet
from nas.workflows.study_plan import plan_study
from studies.spec.reference_models import with_reference
from studies.spec.study_file import read_spec
from studies.spec.study_spec import to_json
from studies.storage.store import Store
from tests.nas.tiny_study import STUDY


def test_planning_reports_what_it_is_doing(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every step takes a long time if the corpus is large or the machine is busy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said: list[str] = []
    plan_study(read_spec("tiny.toml"), [], said.append)
    assert said[0] == "reading the corpus"
    texts = [text for text in said if not text.startswith("reading the corpus")]
    assert texts[0] == "timing the smallest of the drawn models"
    assert texts[1].startswith("timing the smallest of the drawn models: ")
    others = [text for text in texts if not text.startswith("timing ")]
    assert others[0].startswith("training a tokenizer of ")
    assert others[-1].startswith(("training the median model for a few steps", "encoding the text"))
    assert "training the median model for a few steps" in others


def test_planning_reports_what_the_training_waits_for(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware.quiet, "_machine_folder", lambda: tmp_path)
    said: list[str] = []
    with (tmp_path / "nas-measuring.lock").open("w") as measuring:

        def say(text: str) -> None:
            """Measure as another process would: from the first step until training has paused."""
            said.append(text)
            if text == "training the median model for a few steps" and said.count(text) == 1:
                fcntl.flock(measuring, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif text.startswith("paused"):
                fcntl.flock(measuring, fcntl.LOCK_UN)

        plan = plan_study(read_spec("tiny.toml"), [], say)
    (paused,) = [text for text in said if text.startswith("paused")]
    assert paused.startswith("paused during a measurement on this machine")
    assert plan.times.training_seconds is not None
    assert plan.times.training_seconds > 0


def test_validate_shows_the_plan(nas, nas_process, study: Path) -> None:
    study.write_text(STUDY.replace("[proxy]", "[proxy]\nparallel = 999"))
    plan = json.loads(nas_process("validate", "tiny.toml", "--json").stdout)
    assert plan["architectures"] > 1000
    assert plan["parameters"]["least"] < plan["parameters"]["most"]
    assert plan["seconds"] > 0
    assert [model["size"] for model in plan["models"]] == ["smallest", "median", "largest"]
    assert not (study.parent / "nas.db").exists()
    shown = nas("validate", "tiny.toml")
    assert "the study file is valid" in shown.stdout
    assert plan["parallel"] == 999
    beginning = "proxy.parallel: 999 trainings with 1 thread each compete for the "
    assert plan["remark_on_parallel"].startswith(beginning)
    assert beginning in " ".join(shown.stdout.split())
    assert shown.stderr.splitlines()[:2] == [
        "reading the corpus",
        "timing the smallest of the drawn models",
    ]
    assert "training the median model for a few steps" in shown.stderr.splitlines()


def test_validate_reports_changed_settings_as_run_does(nas, study: Path) -> None:
    spec = read_spec(study)
    with Store.open(f"sqlite:///{study.parent}/nas.db") as store:
        store.add_study("tiny", to_json(with_reference(spec)))
    study.write_text(STUDY.replace("token_budget = 1280", "token_budget = 1920"))
    validated, run = nas("validate", "tiny.toml"), nas("run", "tiny.toml")
    assert validated.returncode == run.returncode == 2
    assert "proxy.token_budget: 1280 in the study, 1920 in the file" in validated.stderr
    assert validated.stderr == run.stderr.splitlines(keepends=True)[-1]
    assert validated.stdout == ""


def test_validate_times_a_study_of_many_rungs(nas, study: Path) -> None:
    rungs = ", ".join(f"0.{tenth}" for tenth in range(1, 10))
    study.write_text(STUDY.replace("[device]", f"rungs = [{rungs}]\n\n[device]"))
    assert json.loads(nas("validate", "tiny.toml", "--json").stdout)["training_seconds"] > 0


@pytest.mark.parametrize("name", ["Étude.toml", "2nd try.toml", "_.toml"])
def test_init_writes_a_valid_name(nas, tmp_path: Path, name: str) -> None:
    assert nas("init", name).returncode == 0
    assert read_spec(tmp_path / name).name != "quickstart"


def test_init_from_a_file_writes_another_study(nas, study: Path, tmp_path: Path) -> None:
    assert nas("init", "second.toml", "--from", "tiny.toml").returncode == 0
    text = (tmp_path / "second.toml").read_text()
    assert text == STUDY.replace('name = "tiny"', 'name = "second"')


def test_init_writes_a_valid_file_and_never_overwrites_one(
    nas, nas_process, tmp_path: Path
) -> None:
    assert nas_process("init", "My Study.toml").returncode == 0
    text = (tmp_path / "My Study.toml").read_text()
    assert 'name = "my-study"' in text
    assert nas("init", "My Study.toml").returncode == 2
    assert (tmp_path / "My Study.toml").read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("trials = 4", 'trials = "4"', "trials: '4' is not a whole number"),
        ("trials = 4", "trails = 4", "did you mean trials?"),
        ("trials = 4", "trials = 0", "trials: 0 is not"),
        ('corpus = "text.txt"', 'corpus = "none.txt"', "none.txt"),
        ('runner = "fake"', 'runner = "phone"', "device.runner: 'phone' is not"),
        (
            '"lfm2.5-230m"',
            '"lfm2.5-230"',
            "'lfm2.5-230' is neither a preset nor a file; did you mean lfm2.5-230m?",
        ),
        ("width = [64, 128]", "width = [64, 100]", "width: 100 is not a multiple of 32"),
        ('mixers = ["c", "a", "s", "l", "-"]', 'mixers = ["x"]', "space.mixers[0]: 'x'"),
        ("trials = 4", 'trials = 4\nstorage = "sqlite:////no/folder/nas.db"', "storage: "),
        ("[space]", "[space]\nrules = {parameters = [1, 2]}", "is out of reach"),
        ("trials = 4", "trials = = 4", "is not valid TOML"),
    ],
)
def test_a_mistake_in_the_study_file_is_one_sentence(nas, study, old, new, sentence) -> None:
    assert old in STUDY
    study.write_text(STUDY.replace(old, new))
    result = nas("run", "tiny.toml")
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("nas: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
