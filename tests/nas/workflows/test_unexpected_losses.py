"""`nas confirm` and `nas show` on a study in which one loss does not follow from its layout."""

import itertools
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from hardware.progress import ignore_text
from nas.workflows.front_confirmation import (
    ConfirmationEvent,
    ConfirmationOptions,
    ConfirmationPlan,
    confirm_front,
)
from studies.analysis import study_front
from studies.confirmation.candidate_selection import candidates_to_confirm
from studies.search.loop import run_study
from studies.spec.study_file import read_spec
from studies.storage.store import Store
from tests.nas.tiny_study import STUDY, write_study
from tests.studies.analysis.layout_losses import noisy_losses
from tests.studies.fakes import all_stages

# How much worse the loss becomes than that of the next faster member of the front, in bits/byte.
_SHIFT = 0.2
_STUDY = (
    STUDY.replace('references = ["lfm2.5-230m"]\n', "")
    .replace("vocab_size = [4096, 16384]", "vocab_size = [256]")
    .replace("token_budget = 1280", "token_budget = 1000\nrungs = []")
    .replace("startup_trials = 2", 'kind = "random"')
)


def _study(folder: Path, trials: int) -> tuple[str, int]:
    """Store a study, and return its database and the candidate whose loss was shifted.

    All losses follow from the layouts. That of one member of the front is then raised, so that it
    is dominated by a faster candidate.
    """
    write_study(folder, _STUDY)
    url = f"sqlite:///{folder}/nas.db"
    spec = read_spec(folder / "tiny.toml").model_copy(update={"storage": url, "trials": trials})
    with Store.open(url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        hashes = {
            trial.model.hash: trial.number
            for trial in store.trials("tiny")
            if trial.model is not None and trial.duplicate_of is None
        }
        losses = noisy_losses({each: store.architecture(each) for each in hashes}, 0.002)
        _store_losses(folder, losses)
        members = [point for point in study_front.front(store, "tiny").members if point.model]
    by_speed = sorted(members, key=lambda trial: trial.values["decode"])
    gaps = {
        slow.model.hash: fast.values["loss"] - slow.values["loss"]
        for fast, slow in itertools.pairwise(by_speed)
        if slow.model is not None
    }
    shifted = max(gaps, key=gaps.__getitem__)
    _store_losses(folder, {shifted: losses[shifted] + gaps[shifted] + _SHIFT})
    return url, hashes[shifted]


def _store_losses(folder: Path, losses: Mapping[str, float]) -> None:
    with closing(sqlite3.connect(folder / "nas.db")) as database, database:
        database.executemany(
            "UPDATE nas_scores SET value = ?, low = NULL, high = NULL "
            "WHERE name = 'loss' AND architecture = ?",
            [(loss, digest) for digest, loss in losses.items()],
        )


def test_a_candidate_with_an_unexpected_loss_is_confirmed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url, shifted = _study(tmp_path, trials=50)

    class Planned(Exception):
        pass

    plans: list[ConfirmationPlan] = []

    def stop(event: ConfirmationEvent) -> None:
        assert isinstance(event, ConfirmationPlan)
        plans.append(event)
        raise Planned

    with Store.open(url) as store:
        front = study_front.front(store, "tiny")
        size = len(front.members) + 1
        assert shifted not in candidates_to_confirm(front, size)
        options = ConfirmationOptions(candidates=size, budget=2.0, seeds=2)
        with pytest.raises(Planned):
            confirm_front(
                "tiny", store, options, listener=stop, say=ignore_text, notify=ignore_text
            )
        (selected,) = store.trials("tiny", numbers=[shifted])
    (plan,) = plans
    assert plan.first == (shifted,)
    assert plan.runners_up == 1
    assert selected.id in {key.trial for key in plan.seconds_left}


def test_a_trial_is_shown_with_its_expected_loss(nas, tmp_path: Path) -> None:
    _, shifted = _study(tmp_path, trials=50)
    result = nas("show", "tiny.toml", f"{shifted}")
    assert result.returncode == 0, result.stderr
    assert "is unexpectedly high" in " ".join(result.stdout.split())
    document = json.loads(nas("show", "tiny.toml", f"{shifted}", "--json").stdout)
    (loss,) = (each["value"] for each in document["scores"] if each["name"] == "loss")
    assert document["expected_loss"]["unexpected"]
    assert document["expected_loss"]["value"] < loss - _SHIFT / 2
    scaled = nas("show", "tiny.toml", f"{shifted}", "--scale", "2M")
    assert "expected loss" not in scaled.stdout


def test_a_small_study_has_no_expected_losses(nas, tmp_path: Path) -> None:
    _study(tmp_path, trials=12)
    document = json.loads(nas("show", "tiny.toml", "3", "--json").stdout)
    assert document["state"] == "complete"
    assert document["expected_loss"] is None
