"""Studies that start from other studies and from files, as `nas validate` and `nas run` do it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Report
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.speed.latency import LatencyEvaluator
from search_space.architecture import Architecture, architecture_hash
from studies.analysis.study_front import front
from studies.storage.store import Store
from tests.nas.conftest import Nas, run_nas
from tests.nas.tiny_study import STUDY, write_study


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database of the study `tiny`, and one of its candidates as a file."""
    folder = tmp_path_factory.mktemp("ended")
    write_study(folder)
    assert run_nas(folder, "run", "tiny.toml").returncode == 0
    shown = run_nas(folder, "show", "tiny.toml", "0", "--json")
    (folder / "mine.jsonl").write_text(json.dumps(json.loads(shown.stdout)))
    assert (
        run_nas(
            folder, "export", "tiny.toml", "1", "--format", "json", "--output", "exported.json"
        ).returncode
        == 0
    )
    return folder


@pytest.fixture
def folder(ended: Path, tmp_path: Path) -> Path:
    """A copy of that folder, in which the fixture `nas` runs."""
    return Path(shutil.copytree(ended, tmp_path, dirs_exist_ok=True))


def write_second(folder: Path, *names: str) -> None:
    text = STUDY.replace('name = "tiny"', 'name = "second"')
    text = text.replace('references = ["lfm2.5-230m"]', "")
    # The reference model that `tiny` is timed with depends on its space only.
    (folder / "second.toml").write_text(f"{text}start_from = {json.dumps(names)}\n")


def members(folder: Path, study: str) -> dict[str, tuple[float, float]]:
    """Return the loss and the decoding time of each member of a front, by its hash."""
    with Store.open_to_read(f"sqlite:///{folder}/nas.db") as store:
        found = sorted(front(store, study).members, key=lambda trial: trial.number)
        return {
            trial.model.hash: (trial.values["loss"], trial.values["decode"])
            for trial in found
            if trial.model is not None
        }


def test_what_was_evaluated_is_not_evaluated_again(
    nas: Nas, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_second(folder, "tiny", "mine.jsonl", "exported.json")
    before = (folder / "nas.db").read_bytes()
    validated = nas("validate", "second.toml")
    assert validated.returncode == 0, validated.stderr
    start = json.loads(nas("validate", "second.toml", "--json").stdout)["start"]
    assert (folder / "nas.db").read_bytes() == before
    evaluated: list[tuple[str, str]] = []

    def noted(kind: type[ProxyLoss] | type[LatencyEvaluator], name: str) -> None:
        method = getattr(kind, name)

        def note(self: Any, architecture: Architecture, report: Report) -> Any:
            evaluated.append((kind.__name__, architecture_hash(architecture)))
            return method(self, architecture, report)

        monkeypatch.setattr(kind, name, note)

    noted(ProxyLoss, "prepare")
    noted(LatencyEvaluator, "evaluate")
    ran = nas("run", "second.toml", "--trials", "6")
    assert ran.returncode == 0, ran.stderr
    for remark in start["remarks"]:
        assert remark in ran.stderr
        assert " ".join(remark.split()[:8]) in " ".join(validated.stdout.split())
    given = [each["hash"] for each in start["first_candidates"]]
    on_front = members(folder, "tiny")
    assert given[: len(on_front)] == list(on_front)
    assert len(given) == len(set(given)) <= 4
    with Store.open_to_read(f"sqlite:///{folder}/nas.db") as store:
        earlier = {
            trial.model.hash: trial for trial in store.trials("tiny") if trial.model is not None
        }
        trials = store.trials("second")[: len(given)]
        assert [trial.model.hash for trial in trials if trial.model is not None] == given
        for trial in trials:
            assert trial.model is not None
            assert trial.scores == earlier[trial.model.hash].scores
    assert {digest for _, digest in evaluated}.isdisjoint(given)
    assert {name for name, _ in evaluated} == {"ProxyLoss", "LatencyEvaluator"}
    # The front of the second study contains that of the first one, or improves it.
    for loss, decode in on_front.values():
        assert any(
            new_loss <= loss and new_decode <= decode
            for new_loss, new_decode in members(folder, "second").values()
        )


def test_a_study_with_another_database_starts_from_files(nas: Nas, folder: Path) -> None:
    write_second(folder, "mine.jsonl")
    ran = nas("run", "second.toml", "--storage", "sqlite:///other.db", "--trials", "1")
    assert ran.returncode == 0, ran.stderr
    expected = "start_from: the first candidate is from 'mine.jsonl' (already evaluated: 0)"
    assert expected in ran.stderr
    (folder / "mine.jsonl").unlink()
    again = nas("run", "second.toml", "--storage", "sqlite:///other.db", "--trials", "1")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("edge", "sampler.start_from[0]: 'edge' is not a study of this program in the database"),
        ("none.json", "sampler.start_from[0]: 'none.json' does not exist, and no copy of it is"),
        ("text.jsonl", "text.jsonl, line 1: column 1 is not valid JSON"),
        ("empty.json", "sampler.start_from[0]: empty.json: the file is empty"),
        ("second", "sampler.start_from[0]: 'second' is this study"),
    ],
)
def test_a_mistake_is_one_sentence(nas: Nas, folder: Path, name: str, sentence: str) -> None:
    write_second(folder, name)
    (folder / "text.jsonl").write_text("layouts")
    (folder / "empty.json").touch()
    for command in ("validate", "run"):
        result = nas(command, "second.toml")
        assert result.returncode == 2
        assert sentence in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr
    with Store.open_to_read(f"sqlite:///{folder}/nas.db") as store:
        assert [study.name for study in store.studies()] == ["tiny"]


def test_a_cold_start_reports_the_study_that_would_be_of_use(nas: Nas, folder: Path) -> None:
    text = STUDY.replace('name = "tiny"', 'name = "cold"')
    (folder / "cold.toml").write_text(text)
    remark = (
        "'tiny' in this database has 4 candidates with the same corpus, proxy and device; "
        'sampler.start_from = ["tiny"] would use them'
    )
    assert json.loads(nas("validate", "cold.toml", "--json").stdout)["start"]["remarks"] == [remark]
    assert remark in nas("run", "cold.toml", "--trials", "1").stderr
