"""Tests of the document of a study, and of the updates that follow it."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from nas.dashboard.document import StudyDocuments, json_bytes
from nas.dashboard.form import Document
from studies.analysis.expected_losses import read_expected_losses
from studies.records import Trial
from studies.spec.study_spec import to_json
from studies.storage.store import Store
from tests.nas.calibrated import AT, DECODE, make_provisional
from tests.studies.large_study import HOSTILE, LargeStudy, large_spec, write_study


def merged(whole: Document, update: Document) -> dict[str, Any]:
    """Merge an update into a document, as the form describes and as the page does."""
    result: dict[str, Any] = deepcopy({**update})
    trials, changes = deepcopy({**whole["trials"]}), update["trials"]
    offset = len(whole["architectures"]["hash"])
    result["architectures"] = {
        name: values + update["architectures"][name]
        for name, values in whole["architectures"].items()
    }
    rows = {trial: row for row, trial in enumerate(trials["id"])}
    old, new = _rows(trials), _rows(changes)
    for row in new:
        row["architecture"] += offset
        if row["id"] in rows:
            old[rows[row["id"]]] = row
        else:
            old.append(row)
    result["trials"] = old
    losses = {**_losses(whole), **_losses(update)}
    result["curves"] = losses
    return result


def _rows(trials: Any) -> list[dict[str, Any]]:
    """Return one dictionary per trial, without the scores that the trial lacks."""
    columns = {name: values for name, values in trials.items() if name != "scores"}
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    for name, column in trials["scores"].items():
        for row, value in enumerate(column["value"]):
            if value is not None:
                rows[row][name] = (
                    value,
                    *(each and each[row] for each in (column["low"], column["high"])),
                )
    return rows


def _losses(document: Any) -> dict[int, list[tuple[int, float]]]:
    return {
        trial: list(zip(group["tokens"], losses, strict=False))
        for group in document["curves"]
        for trial, losses in zip(group["trial"], group["loss"], strict=True)
    }


def _plain(document: Any) -> dict[str, Any]:
    """Put hashes into the rows of a document, so that the order of architectures is irrelevant."""
    result = {**document}
    if isinstance(result["trials"], dict):
        result["trials"], result["curves"] = _rows(result["trials"]), _losses(result)
    hashes = result["architectures"]["hash"]
    result["trials"] = {
        row["id"]: row | {"architecture": hashes[row["architecture"]]} for row in result["trials"]
    }
    for name in ("architectures", "since", "revision"):
        del result[name]
    return result


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def test_a_document_and_its_updates_add_up_to_a_new_document(any_url: str) -> None:
    url = any_url
    write_study(LargeStudy(url=url, trials=40, running=True))
    with Store.open_to_read(url) as store:
        page, other = StudyDocuments(store, "large"), StudyDocuments(store, "large")
        whole = page.document()
        write_study(LargeStudy(url=url, trials=20))
        with Store.open(url) as writer:
            running = next(each for each in writer.trials("large") if each.state == "running")
            writer.interrupt(running)
        update = page.document(whole["revision"])
        expected = other.document()
    assert update["since"] == whole["revision"] != update["revision"]
    assert len(update["trials"]["id"]) < 25
    assert _plain(merged(whole, update)) == _plain(expected)


def test_a_trial_that_is_measured_again_after_its_end_is_sent_again(any_url: str) -> None:
    write_study(LargeStudy(url=any_url, trials=40))
    with Store.open(any_url) as store:
        page = StudyDocuments(store, "large")
        whole = page.document()
        trial = _member(store, whole)
        make_provisional(store, trial)
        update = page.document(whole["revision"])
        expected = StudyDocuments(store, "large").document()
    assert update["trials"]["id"] == [trial.id]
    decode = update["trials"]["scores"]["decode"]
    assert decode["value"] == pytest.approx([trial.values["decode"]])
    assert decode["provisional"] == [True]
    assert decode["half_width"] == pytest.approx([0.3])
    assert update["provisional_front"] == [trial.id]
    assert _plain(merged(whole, update)) == _plain(expected)


def test_intervals_of_ratios_are_those_of_the_times_in_an_earlier_release(url: str) -> None:
    write_study(LargeStudy(url=url, trials=10))
    with Store.open_to_read(url) as store:
        document = StudyDocuments(store, "large").document()
    scores = document["trials"]["scores"]
    assert scores["decode"]["provisional"] is None
    assert scores["parameters"]["half_width"] is None
    widths = {round(width, 3) for width in scores["decode"]["half_width"] or [] if width}
    assert widths <= {0.008, 0.015, 0.04}
    assert widths
    assert document["calibrations"] == []
    assert document["provisional_front"] == []


def test_the_time_of_the_reference_model_and_unsure_limits_are_in_the_document(url: str) -> None:
    write_study(LargeStudy(url=url, trials=40))
    with Store.open(url) as store:
        trial = _member(store, StudyDocuments(store, "large").document())
        make_provisional(store, trial)
        spec = large_spec(LargeStudy(url=url, trials=40))
        limit = 1.01 * trial.values["decode"]
        objectives = tuple(
            each.model_copy(update={"max": limit if each.name == "decode" else each.max})
            for each in spec.objectives
        )
        store.update_spec("large", to_json(spec.model_copy(update={"objectives": objectives})))
        documents = StudyDocuments(store, "large")
        document, why = documents.document(), documents.why()
        known = store.calibration(DECODE)
    assert known is not None
    (calibration,) = document["calibrations"]
    assert calibration["workload"] == "tg64@1024"
    assert (calibration["ms"], calibration["timings"]) == (10.0, 1)
    assert calibration["low"] == pytest.approx(known.interval.low, rel=1e-6)
    assert calibration["high"] == pytest.approx(known.interval.high, rel=1e-6)
    assert calibration["latest_at"] == AT
    unsure = dict(zip(document["trials"]["id"], document["trials"]["unsure_limits"], strict=True))
    assert unsure[trial.id] == ["decode"]
    complete = [
        row
        for row in _rows(document["trials"])
        if row["state"] == "complete" and row["kind"] == "candidate"
    ]
    intervals = {row["id"]: row["decode"][1:] for row in complete}
    assert {key for key, names in unsure.items() if names} == {
        key for key, (low, high) in intervals.items() if low <= limit < high
    }
    # Choices are analysed without the provisional time. 40 trials have no duplicate.
    assert why["trials"] == len(complete) - 1
    assert "1 candidate with provisional times is left out" in " ".join(
        [*why["findings"], why["note"] or ""]
    )


def _member(store: Store, document: Document) -> Trial:
    """Return a member of the front that is not the best in any objective."""
    by_id = {trial.id: trial for trial in store.trials("large")}
    return by_id[document["front"][len(document["front"]) // 2]]


def test_an_update_without_changes_is_empty_and_keeps_the_revision(url: str) -> None:
    write_study(LargeStudy(url=url, trials=30))
    with Store.open_to_read(url) as store:
        documents = StudyDocuments(store, "large")
        whole = documents.document()
        update = documents.document(whole["revision"])
    assert update["revision"] == whole["revision"]
    assert update["trials"]["id"] == []
    assert update["architectures"]["hash"] == []
    assert update["front"] == whole["front"]


def test_an_answer_contains_only_what_the_page_lacks(any_url: str) -> None:
    """A complete document may lack the latest trials if an update then adds them."""
    write_study(LargeStudy(url=any_url, trials=40))
    with Store.open_to_read(any_url) as store:
        documents = StudyDocuments(store, "large")
        first = json.loads(_answer(documents))
        assert documents.answer(first["revision"]) is None
        write_study(LargeStudy(url=any_url, trials=20, seed=1))
        old = json.loads(_answer(documents))
        update = json.loads(_answer(documents, old["revision"]))
        assert _plain(merged(old, update)) == _plain(StudyDocuments(store, "large").document())
        assert documents.answer(update["revision"]) is None
        write_study(LargeStudy(url=any_url, trials=100, seed=2))
        whole = json.loads(_answer(documents))
        assert len(whole["trials"]["id"]) == 162


def _answer(documents: StudyDocuments, since: str | None = None) -> bytes:
    answer = documents.answer(since)
    assert answer is not None
    return answer


@pytest.mark.parametrize("since", ["", "1", "nonsense", "0123abcd.1", "\x00.²"])
def test_an_unknown_revision_is_answered_with_a_complete_document(url: str, since: str) -> None:
    write_study(LargeStudy(url=url, trials=3))
    with Store.open_to_read(url) as store:
        document = StudyDocuments(store, "large").document(since)
    assert document["since"] is None
    assert len(document["trials"]["id"]) == 5


def test_a_restarted_study_is_answered_with_a_complete_document(any_url: str) -> None:
    url = any_url
    write_study(LargeStudy(url=url, trials=3))
    with Store.open(url) as store:
        documents = StudyDocuments(store, "large")
        before = documents.document()
        store.delete_study("large")
        write_study(LargeStudy(url=url, trials=2, references=()))
        after = documents.document(before["revision"])
    assert after["since"] is None
    assert len(after["trials"]["id"]) == 2


def test_a_study_without_trials_has_a_document(url: str) -> None:
    write_study(LargeStudy(url=url, trials=0, references=()))
    with Store.open_to_read(url) as store:
        documents = StudyDocuments(store, "large")
        document, why = documents.document(), documents.why()
    assert document["trials"]["id"] == []
    assert (document["front"], document["knee"], document["reference_point"]) == ([], None, [])
    assert document["findings"] == ["No candidate has ended yet."]
    assert document["limitations"]
    assert why["note"] is not None
    assert "at least 20 complete candidates; there are 0" in why["note"]
    assert json.loads(json_bytes(document)) == document


def test_every_trial_has_its_facts(url: str) -> None:
    write_study(LargeStudy(url=url, trials=60, running=True))
    with Store.open_to_read(url) as store:
        document = StudyDocuments(store, "large").document()
        stored = {trial.id: trial for trial in store.trials_since("large", 0, [])}
    rows = {row["id"]: row for row in _rows(document["trials"])}
    undrawn = {key for key, trial in stored.items() if trial.model is None}
    assert rows.keys() == stored.keys() - undrawn
    assert len(undrawn) == 1
    for key, row in rows.items():
        trial = stored[key]
        assert (row["name"], row["state"]) == (str(trial.name), trial.state)
        assert {name: row[name][0] for name in trial.values} == pytest.approx(trial.values)
        if "parameters" in trial.values:
            assert row["parameters"][0] == trial.values["parameters"]
        assert (row["trained"] is None) == (not trial.curve)
        if trial.state == "stopped":
            assert row["trained"] == 0.5
            assert row["estimated_loss"] is not None
    assert {each["trial"] for each in document["running"]} == {
        None,
        *(key for key, row in rows.items() if row["state"] == "running"),
    }
    assert document["axes"][0]["objective"]
    assert [axis["max"] for axis in document["axes"] if axis["name"] == "memory"] == [500.0]
    spent = sum(stage["seconds"] for stage in document["stages"])
    assert spent == pytest.approx(sum(row["seconds"] for row in rows.values()), rel=1e-4)


def test_why_lists_the_importance_of_the_choices(url: str) -> None:
    write_study(LargeStudy(url=url, trials=100))
    with Store.open_to_read(url) as store:
        documents = StudyDocuments(store, "large")
        why = documents.why()
        assert why == documents.why()
    assert [each["objective"] for each in why["importances"]] == ["loss", "decode", "prefill"]
    decode = why["importances"][1]["choices"]
    assert sum(each["share"] for each in decode) == pytest.approx(1, abs=1e-5)
    assert {decode[0]["choice"], decode[1]["choice"]} == {"width", "depth"}
    assert why["placement"] is not None
    assert why["attention"]
    assert why["findings"]


def test_why_lists_the_effects_of_the_choices(url: str) -> None:
    """The loss of this study falls with the parameters, and thus with the width."""
    write_study(LargeStudy(url=url, trials=100))
    with Store.open_to_read(url) as store:
        why = StudyDocuments(store, "large").why()
    effects = why["effects"]
    assert effects is not None
    assert (effects["objective"], effects["unit"]) == ("loss", "bits/byte")
    assert effects["candidates"] == why["trials"]
    assert effects["correlation"] > 0.7
    found = {effect["choice"]: effect for effect in effects["effects"]}
    width = found["width"]
    assert width["distinguishable"]
    comparison = width["comparisons"][width["summary"]]
    assert comparison["low"] < comparison["difference"] < comparison["high"] < 0
    assert not found["window"]["distinguishable"]
    assert any(comparison["change"].split(" -> ")[1] in finding for finding in why["findings"])


def test_the_database_url_is_left_out_and_texts_are_not_changed(url: str) -> None:
    write_study(LargeStudy(url=url, trials=30, hostile=True))
    with Store.open_to_read(url) as store:
        document = StudyDocuments(store, "large").document()
    assert url not in json_bytes(document).decode()
    assert "storage" not in document["spec"]
    assert HOSTILE in document["trials"]["reason"]
    assert document["environments"][0]["cpu"] == HOSTILE


def test_why_lists_the_expected_loss_of_each_complete_candidate(url: str) -> None:
    write_study(LargeStudy(url=url, trials=60))
    with Store.open_to_read(url) as store:
        why = StudyDocuments(store, "large").why()
        model = read_expected_losses(store, "large")
        by_id = {trial.id: trial for trial in store.trials("large")}
    assert model is not None
    losses = why["expected_losses"]
    assert losses is not None
    assert f"{model.candidates - 1} other complete candidates" in losses["explanation"]
    digests = [trial.model.hash for key in losses["trial"] if (trial := by_id[key]).model]
    assert set(digests) == model.losses.keys()
    for row, digest in enumerate(digests):
        loss = model.losses[digest]
        assert losses["expected"][row] == pytest.approx(loss.expected, rel=1e-4)
        assert losses["half_width"][row] == pytest.approx(2 * loss.sd, rel=1e-4)
        assert losses["unexpected"][row] == loss.is_unexpected
        assert losses["text"][row].startswith(f"{loss.expected:.3f} ±")
    assert json.loads(json_bytes(why)) == why


def test_a_small_study_has_no_expected_losses(url: str) -> None:
    write_study(LargeStudy(url=url, trials=20))
    with Store.open_to_read(url) as store:
        assert StudyDocuments(store, "large").why()["expected_losses"] is None
