"""Tests of the analysis of choices, with a study whose loss falls with the number of parameters."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from nas.findings import choice_analysis
from nas.findings.choice_analysis import analyse_choices
from studies.analysis.choice_importance import Importances
from studies.analysis.followed_study import FollowedStudy
from studies.records import Trial
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.conftest import sqlite_url
from tests.studies.large_study import LargeStudy, write_study

__all__ = ["sqlite_url"]


@pytest.fixture
def followed(sqlite_url: str) -> Iterator[FollowedStudy]:
    write_study(LargeStudy(url=sqlite_url, trials=80))
    with Store.open_to_read(sqlite_url) as store:
        found = FollowedStudy(store, "large")
        found.catch_up()
        yield found


def _provisional(trial: Trial, factor: float) -> Trial:
    """Return a trial with a provisional decoding time, multiplied by a factor."""
    scores = tuple(
        replace(score, value=factor * score.value, provisional=True)
        if score.name == "decode"
        else score
        for score in trial.scores
    )
    return replace(trial, scores=scores)


@pytest.mark.parametrize("objectives", [("loss", "decode"), ("loss", "memory")])
def test_provisional_times_do_not_matter(
    followed: FollowedStudy, objectives: tuple[str, ...]
) -> None:
    named = tuple(Objective(name=name) for name in objectives)
    followed.spec = followed.spec.model_copy(update={"objectives": named})
    before = analyse_choices(followed)
    complete = [
        trial
        for trial in followed.trials.values()
        if trial.kind == "candidate" and trial.state == "complete" and trial.duplicate_of is None
    ]
    changed = complete[:5]
    found = []
    for factor in (1.0, 50.0):
        followed.trials |= {trial.id: _provisional(trial, factor) for trial in changed}
        found.append(analyse_choices(followed))
    one, other = found
    assert one.effects is not None
    assert one.effects.more_attention is not None
    assert one == other
    is_objective = "decode" in objectives
    assert one.trials == before.trials - (len(changed) if is_objective else 0)
    assert any("provisional" in finding for finding in one.findings) == is_objective


def test_importances_do_not_contradict_the_model(
    followed: FollowedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Importances(explained=0.0, weights=())
    monkeypatch.setattr(choice_analysis, "importances", lambda *_: nothing)
    findings = analyse_choices(followed).findings
    assert not any("oss cannot be predicted" in finding for finding in findings)
    assert any("ecode cannot be predicted" in finding for finding in findings)


def test_the_model_replaces_the_sentences_that_do_not_consider_other_choices(
    followed: FollowedStudy,
) -> None:
    found = analyse_choices(followed)
    assert found.effects is not None
    text = " ".join(found.findings)
    assert "one more attention layer" in text.lower()
    assert "in the best fifth of the layouts" not in text
    times = tuple(Objective(name=name) for name in ("decode", "memory"))
    followed.spec = followed.spec.model_copy(update={"objectives": times})
    untrained = analyse_choices(followed)
    assert untrained.effects is None
    assert "n the best fifth of the layouts" in " ".join(untrained.findings)
