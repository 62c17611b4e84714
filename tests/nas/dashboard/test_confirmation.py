"""What longer trainings say reaches the page and the report, whenever it comes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evaluators.evaluator import CurvePoint, Evaluation, Score
from nas.dashboard.document import StudyDocuments
from nas.report.markdown import report_markdown
from nas.report.page import report_html
from studies import analysis
from studies.confirmed import contenders
from studies.records import Repeat, Trial
from studies.storage.store import Store
from tests.studies.large_study import LargeStudy, write_study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/study.db"
    write_study(LargeStudy(url=url, trials=40))
    with Store.open(url) as store:
        yield store


def repeat(store: Store, trial: Trial, seed: int, tokens: int, loss: float | None) -> None:
    """A training of the trial; one without a loss diverged."""
    assert trial.model is not None
    again = Repeat(
        trial=trial.id,
        stage="training",
        fingerprint=f"again {seed} {tokens}",
        seed=seed,
        token_budget=tokens,
    )
    assert store.claim_repeat(again)
    if loss is None:
        store.end_repeat(again, seconds=1.0, failure="diverged", reason="<b>loss</b> nan")
        return
    evaluation = Evaluation(
        scores=(Score(name="loss", value=loss, unit="bits/byte"),),
        seconds=1.0,
        curve=(CurvePoint(tokens=tokens, loss=loss),),
    )
    store.remember(again.fingerprint, store.architecture(trial.model.hash), evaluation)
    store.end_repeat(again, seconds=1.0)


def confirm(store: Store) -> list[Trial]:
    """The front and a runner-up, whose long training diverges."""
    front = analysis.front(store, "large")
    numbers = contenders(front, len(front.members) + 1)
    trials = [store.trials("large", numbers=[number])[0] for number in numbers]
    budget = front.spec.proxy.token_budget
    for place, trial in enumerate(trials):
        loss = trial.values["loss"]
        repeat(store, trial, 2, budget, loss + 0.01)
        repeat(store, trial, 3, budget, loss + 0.02 + 0.001 * place)
        repeat(store, trial, 1, 4 * budget, None if place == len(trials) - 1 else loss / 2)
    return trials


def test_it_comes_with_an_update_once_it_is_there(store: Store) -> None:
    documents = StudyDocuments(store, "large")
    before = documents.document()
    assert before["confirmation"] is None
    assert any("Nothing on the front has been trained" in each for each in before["unproven"])
    trials = confirm(store)
    update = documents.document(before["revision"])
    assert before["revision"] == update["since"] != update["revision"]
    assert update["trials"]["id"] == []
    confirmation = update["confirmation"]
    assert confirmation is not None
    assert confirmation["seeds"] == [2, 3]
    assert [each["trial"] for each in confirmation["candidates"]][-1] == trials[-1].id
    first = confirmation["candidates"][0]
    assert first["on_front"]
    assert first["probability"] is not None
    assert first["probability"] > 0.9
    assert first["long"] == pytest.approx(first["short"] / 2)
    assert not any("has been trained for longer" in each for each in update["unproven"])
    assert documents.document(update["revision"])["revision"] == update["revision"]


def test_a_report_has_its_table_and_its_sentences(store: Store) -> None:
    trials = confirm(store)
    documents = StudyDocuments(store, "large")
    document, why = documents.document(), documents.why()
    text = report_markdown(document, why, datetime.now(UTC))
    assert "## How far to trust the losses" in text
    assert "## Trained again, and for longer" in text
    assert f"| {trials[-1].number} (behind) |" in text
    page = report_html(document, why, datetime.now(UTC))
    assert "Seed noise:" in page
    assert "<b>loss</b>" not in page
    assert "&lt;b&gt;loss&lt;/b&gt; nan" in page
