"""The results of a confirmation reach the page and the report as soon as they exist."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evaluators.evaluator import CurvePoint, Evaluation, Score
from nas.dashboard.document import StudyDocuments
from nas.dashboard.form import Document
from nas.report.markdown import report_markdown
from nas.report.page import report_html
from nas.report.tables import Table, tables
from studies.analysis import study_front
from studies.confirmation.candidate_selection import candidates_to_confirm
from studies.confirmation.confirmation_results import read_confirmation
from studies.records import ConfirmationKey, Trial
from studies.storage.store import Store
from tests.nas.calibrated import DECODE, calibrated, calibration
from tests.studies.large_study import LargeStudy, write_study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/study.db"
    write_study(LargeStudy(url=url, trials=40))
    with Store.open(url) as store:
        yield store


def repeat(store: Store, trial: Trial, seed: int, tokens: int, loss: float | None) -> None:
    """Store another training of the trial; a training without a loss has diverged."""
    assert trial.model is not None
    again = ConfirmationKey(
        trial=trial.id,
        stage="training",
        fingerprint=f"again {seed} {tokens}",
        seed=seed,
        token_budget=tokens,
    )
    assert store.claim_confirmation(again)
    if loss is None:
        store.end_confirmation(again, seconds=1.0, failure="diverged", reason="<b>loss</b> nan")
        return
    evaluation = Evaluation(
        scores=(Score(name="loss", value=loss, unit="bits/byte"),),
        seconds=1.0,
        curve=(CurvePoint(tokens=tokens, loss=loss),),
    )
    store.save_evaluation(again.fingerprint, store.architecture(trial.model.hash), evaluation)
    store.end_confirmation(again, seconds=1.0)


def confirm(store: Store) -> list[Trial]:
    """Confirm the front and a runner-up, whose long training diverges."""
    front = study_front.front(store, "large")
    numbers = candidates_to_confirm(front, len(front.members) + 1)
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
    assert any(
        "No member of the front has been confirmed" in each for each in before["limitations"]
    )
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
    assert first["long_loss"] == pytest.approx(first["short_loss"] / 2)
    assert not any("been confirmed by longer training" in each for each in update["limitations"])
    assert documents.document(update["revision"])["revision"] == update["revision"]


def test_a_report_has_its_table_and_its_sentences(store: Store) -> None:
    trials = confirm(store)
    documents = StudyDocuments(store, "large")
    document, why = documents.document(), documents.why()
    text = report_markdown(document, why, datetime.now(UTC))
    assert "## Confirmation of the losses" in text
    assert "## Confirmation: losses with more seeds and tokens" in text
    assert f"| {trials[-1].number} (dominated) |" in text
    page = report_html(document, why, datetime.now(UTC))
    assert "Seed noise of training on" in page
    assert "<b>loss</b>" not in page
    assert "&lt;b&gt;loss&lt;/b&gt; nan" in page


def test_what_was_not_remeasured_has_no_column(store: Store) -> None:
    trials = confirm(store)
    timed = (Score(name="decode", value=7.125, unit="ms/token"),)
    again = ConfirmationKey(trial=trials[0].id, stage="latency", fingerprint="again")
    assert store.claim_confirmation(again)
    assert trials[0].model is not None
    architecture = store.architecture(trials[0].model.hash)
    store.save_evaluation("again", architecture, Evaluation(scores=timed, seconds=1.0))
    store.end_confirmation(again, seconds=1.0)
    document = StudyDocuments(store, "large").document()
    objectives = [axis["name"] for axis in document["axes"] if axis["objective"]]
    assert set(objectives) > {"loss", "decode"}
    confirmation = document["confirmation"]
    assert confirmation is not None
    assert confirmation["remeasured"] == ["decode"]
    values = {tuple(each["remeasured_values"]) for each in confirmation["candidates"]}
    assert values == {(7.125,), (None,)}
    table = confirmation_table(document)
    remeasured = [title for title in table.columns if "remeasured" in title]
    assert remeasured == ["decode, remeasured, ms/token"]


@pytest.mark.parametrize("provisional", [False, True])
def test_a_remeasured_time_that_is_provisional_is_marked(store: Store, provisional: bool) -> None:
    trial, *_ = confirm(store)
    assert trial.model is not None
    half_width = 0.3 if provisional else 0.01
    decode = calibrated(
        Score(name="decode", value=7.125, unit="ms/token"),
        half_width=half_width,
        provisional=provisional,
    )
    again = ConfirmationKey(trial=trial.id, stage="latency", fingerprint="again")
    assert store.claim_confirmation(again)
    architecture = store.architecture(trial.model.hash)
    store.add_timings({DECODE: calibration().timings[0]})
    store.save_evaluation("again", architecture, Evaluation(scores=(decode,), seconds=1.0))
    store.end_confirmation(again, seconds=1.0)
    documents = StudyDocuments(store, "large")
    document = documents.document()
    confirmation = document["confirmation"]
    assert confirmation is not None
    (found,) = [each for each in confirmation["candidates"] if each["trial"] == trial.id]
    assert found["provisional"] == (["decode"] if provisional else [])
    assert not any(each["provisional"] for each in confirmation["candidates"] if each != found)
    table = confirmation_table(document)
    column = table.columns.index("decode, remeasured, ms/token")
    cells = [row[column] for row in table.rows if row[column]]
    assert cells == ["~7.125" if provisional else "7.125"]
    explained = "~: the confidence interval is wider than the requested ±5 %"
    assert table.notes == ((explained,) if provisional else ())
    text = report_markdown(document, documents.why(), datetime.now(UTC)).replace("\\", "")
    assert (explained in text) == provisional


def test_before_the_first_long_training_there_is_no_column_of_it(store: Store) -> None:
    front = study_front.front(store, "large")
    repeat(store, front.members[0], 2, front.spec.proxy.token_budget, 1.25)
    assert confirmation_table(StudyDocuments(store, "large").document()).columns == (
        "trial",
        "layout",
        f"loss, {front.spec.proxy.token_budget:,} tokens",
        f"loss, seed 2, {front.spec.proxy.token_budget:,} tokens",
    )


def test_inherited_losses_are_named_as_such(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm(store)
    found = read_confirmation(store, study_front.front(store, "large"))
    assert found is not None
    shared = replace(found, inherited=True)
    monkeypatch.setattr("nas.dashboard.document.read_confirmation", lambda *_: shared)
    documents = StudyDocuments(store, "large")
    document, why = documents.document(), documents.why()
    assert "loss, inherited from the shared network" in confirmation_table(document).columns
    now = datetime.now(UTC)
    for text in (report_markdown(document, why, now), report_html(document, why, now)):
        assert "loss, inherited from the shared network" in text


def confirmation_table(document: Document) -> Table:
    (table,) = [each for each in tables(document) if each.title.startswith("Confirmation")]
    assert all(any(row[place] for row in table.rows) for place in range(len(table.columns)))
    return table
