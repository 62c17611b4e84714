"""A report in a real browser, opened from disk without a network."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nas.dashboard.document import StudyDocuments
from nas.dashboard.form import Document
from nas.report.page import report_html
from studies.storage.store import Store
from tests.nas.dashboard.accessibility import serious_violations
from tests.studies.large_study import LargeStudy, write_study

pytest.importorskip("axe_core_python.sync_playwright")
expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a report."""
    folder = tmp_path_factory.mktemp("report")
    url = f"sqlite:///{folder}/nas.db"
    write_study(LargeStudy(url=url, trials=100, hostile=True))
    with Store.open_to_read(url) as store:
        documents = StudyDocuments(store, "large")
        text = report_html(documents.document(), documents.why(), datetime.now(UTC))
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def test_the_charts_are_drawn_without_a_network(report: str, open_page: Callable[..., Any]) -> None:
    page = open_page(report, offline=True)
    page.locator("#front canvas").first.wait_for()
    page.get_by_label("Maximum decode (ms/token), as a number").fill("8")
    page.keyboard.press("Enter")
    expect(page.locator(".command")).to_contain_text("nas export large")
    assert page.get_by_role("button", name="Export", exact=True).count() == 0
    page.get_by_role("link", name="Which choices matter", exact=True).click()
    expect(page.locator("#why")).to_contain_text("Importance for decode")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert page.locator("img").count() == 0
    loaded = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(report: str, open_page: Callable[..., Any], width: int) -> None:
    page = open_page(f"{report}#study=large&trials=0-3", width=width, offline=True)
    page.set_viewport_size({"width": width, "height": 16_000})  # so that every section is drawn
    page.locator("#reliability canvas").first.wait_for()
    expect(page.locator('[role=img][aria-label=""]:visible')).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def open_report(
    tmp_path: Path, open_page: Callable[..., Any]
) -> Callable[[Callable[[Document], None]], Any]:
    """Open the report of a study of ten trials, whose document is changed first."""

    def opened(change: Callable[[Document], None]) -> Any:
        url = f"sqlite:///{tmp_path}/nas.db"
        write_study(LargeStudy(url=url, trials=10))
        with Store.open_to_read(url) as store:
            documents = StudyDocuments(store, "large")
            document, why = documents.document(), documents.why()
        change(document)
        path = tmp_path / "report.html"
        path.write_text(report_html(document, why, datetime.now(UTC)), encoding="utf-8")
        page = open_page(path.as_uri(), offline=True)
        page.set_viewport_size({"width": 1440, "height": 16_000})  # so that every section is drawn
        return page

    return opened


def _confirm(document: Document) -> None:
    """Add a confirmation of two candidates; the remeasured time of the second is provisional."""
    document["confirmation"] = {
        "short_tokens": 400_000,
        "inherited": True,
        "long_tokens": None,
        "seeds": [2],
        "remeasured": ["decode"],
        "candidates": [
            {
                "trial": document["front"][place],
                "on_front": True,
                "short_loss": 1.25,
                "seed_losses": [1.5],
                "long_loss": None,
                "remeasured_values": [7.125],
                "provisional": ["decode"] if place == 1 else [],
                "probability": None,
            }
            for place in (0, 1)
        ],
        "notes": ["~: the interval is too wide"],
        "findings": [],
    }


def test_a_confirmation_has_only_columns_with_values(open_report: Callable[..., Any]) -> None:
    page = open_report(_confirm)
    table = page.get_by_label("Confirmation")
    expect(table.locator("th")).to_have_text(
        [
            "trial",
            "layout",
            "decode (ms/token), remeasured",
            "loss, inherited from the shared network",
            "loss, seed 2, 400,000 tokens",
        ]
    )
    expect(table.locator("td").nth(2)).to_have_text("7.125")
    expect(table.locator("td").nth(4)).to_have_text("1.5")
    expect(table.locator("td").nth(7)).to_have_text("~7.125")
    expect(page.locator("#reliability")).to_contain_text("~: the interval is too wide")


def test_a_confirmation_is_suggested_unless_the_study_has_no_loss(
    open_report: Callable[..., Any],
) -> None:
    page = open_report(lambda document: None)
    expect(page.locator("#reliability code")).to_have_text("nas confirm large")

    def without_loss(document: Document) -> None:
        for axis in document["axes"]:
            axis["objective"] = axis["name"] in ("decode", "memory")

    page = open_report(without_loss)
    expect(page.locator("#reliability")).to_contain_text("cannot be confirmed by longer training")
    expect(page.locator("#reliability code")).to_have_count(0)


def test_more_trials_than_a_lowered_number_are_not_a_fraction_of_it(
    open_report: Callable[..., Any],
) -> None:
    page = open_report(lambda document: document["counts"].update(total=2))
    expect(page.locator(".tiles li").first).to_contain_text("2 requested")
    expect(page.locator(".tiles")).not_to_contain_text(" of 2")
