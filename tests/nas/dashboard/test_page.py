"""The dashboard page in a real browser, with a real server and a real database."""

import csv
import functools
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studies.analysis import study_front
from studies.spec.study_spec import to_json
from studies.storage.store import Store
from tests.nas.calibrated import make_provisional
from tests.nas.dashboard.accessibility import serious_violations
from tests.studies.large_study import LargeStudy, large_spec, write_study

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_core_python.sync_playwright")

Page = playwright.Page
expect = playwright.expect
expect.set_options(timeout=60_000)

HOSTILE_NAME = """<img src=x onerror=alert(1)>'"</title><script>alert(2)</script>"""
# Adds trials to a study that a page is showing, in a separate process.
_WRITER = """
import sys
from tests.studies.large_study import LargeStudy, write_study
write_study(LargeStudy(url=sys.argv[1], trials=20, name="followed", references=(), seed=9))
"""

_STUDY_FILE = """
name = "large"
trials = 2

[[objectives]]
name = "loss"

[[objectives]]
name = "decode"

[space]
depth = [2, 3]
width = [64]
mixers = ["c", "a"]
feed_forward = [2.0]
vocab_size = [4096]
head_dim = [32]
kv_heads = [1]
"""

_SLOW_REFERENCES = """
UPDATE nas_scores SET value = 11 * value, low = NULL, high = NULL WHERE name = 'decode'
AND architecture IN (SELECT architecture FROM nas_trials WHERE kind = 'reference')
"""

Open = Callable[..., Page]
Served = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of studies: long, short, hostile, empty and with one trial."""
    folder = tmp_path_factory.mktemp("shown")
    url = f"sqlite:///{folder}/nas.db"
    write_study(LargeStudy(url=url, trials=100))
    small = functools.partial(LargeStudy, url=url, references=())
    write_study(small(trials=12, name="other", seed=5))
    write_study(small(trials=10, name="followed", seed=6))
    write_study(small(trials=30, name="hostile", hostile=True, seed=7))
    with Store.open(url) as store:
        for name in ("trials-0", "trials-1"):
            store.add_study(name, to_json(large_spec(small(trials=9, name=name))))
    write_study(small(trials=1, name="trials-1", seed=8))
    with sqlite3.connect(folder / "nas.db") as connection:
        change = "UPDATE nas_studies SET name = ? WHERE name = 'hostile'"
        connection.execute(change, (HOSTILE_NAME,))
    connection.close()
    return folder


@pytest.fixture(scope="module")
def shown(folder: Path, served_to_all: Served) -> str:
    return served_to_all(folder, "--exports", "out")


def _go(page: Page, section: str) -> None:
    """Scroll to a section, because sections far from the screen are not drawn."""
    page.get_by_role("link", name=section, exact=True).click()


def _drag(page: Page, canvas: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the mouse from one point of a canvas to another."""
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    for step in (0.25, 0.5, 0.75, 1.0):
        x, y = (a + step * (b - a) for a, b in zip(start, end, strict=True))
        page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.up()


def _downloaded(page: Page) -> list[dict[str, str]]:
    """Return the rows of the CSV file, and check that the JSON file has the same trials."""
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        lines = list(csv.DictReader(file))
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert [trial["trial"] for trial in saved["trials"]] == [line["trial"] for line in lines]
    return lines


def _selected(page: Page) -> set[str]:
    """Return the names of the selected trials, as the table shows them."""
    page.locator("#trials select").select_option("selected")
    more = page.get_by_role("button", name="Show more")
    if more.is_visible():
        more.click()
    return set(page.locator("#trials tbody th").all_inner_texts())


def test_selection_and_comparison_are_kept_in_the_address(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    canvas = page.locator("#front canvas").first
    canvas.wait_for()
    spot = page.evaluate(
        """() => {
          const chart = echarts.getInstanceByDom(document.querySelector("#front .canvas"));
          const front = chart.getOption().series[4].data;
          return {name: front[0][2], at: chart.convertToPixel({seriesIndex: 4}, front[0])};
        }"""
    )
    x, y = spot["at"]
    canvas.hover(position={"x": x, "y": y})
    card = page.locator("#front .hover")
    expect(card).to_contain_text(f"trial {spot['name']} on the front")
    assert card.locator(".layer").count() >= 1
    expect(card).to_contain_text("embedding share")

    canvas.click(position={"x": x, "y": y})
    expect(page.locator("#compare thead")).to_contain_text(f"trial {spot['name']}")
    assert f"trials={spot['name']}" in page.url

    _go(page, "Trials")
    page.locator("#trials select").select_option("reference")
    page.get_by_label("Select lfm2-350m").check()
    _go(page, "Side by side")
    expect(page.locator("#compare thead th")).to_have_count(2)
    expect(page.locator("#compare .unequal").first).to_be_visible()

    page.reload()
    _go(page, "Side by side")
    expect(page.locator("#compare thead")).to_contain_text("lfm2-350m")


def test_compared_trials_have_their_expected_losses(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Side by side")
    page.get_by_role("button", name="trials of the front").click()
    line = page.locator("#compare tbody tr", has_text="expected loss")
    expect(line.locator("td").first).to_contain_text("±")
    expect(page.locator("#compare")).to_contain_text("They change no score")
    page.locator("#front .canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#front .hover")).to_contain_text("expected loss")


def test_the_keyboard_moves_along_the_front_and_selects(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    page.locator("#front canvas").first.wait_for()
    page.locator("#front .canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#front .hover")).to_be_visible()
    expect(page.locator("#front [aria-live]")).to_contain_text("on the front")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#compare thead th")).to_have_count(2)


def test_budgets_select_the_winner_and_the_button_exports_it(
    shown: str, folder: Path, open_page: Open
) -> None:
    with Store.open_to_read(f"sqlite:///{folder}/nas.db") as store:
        complete = [trial for trial in store.trials("large") if trial.state == "complete"]
    within = [trial for trial in complete if trial.values["decode"] <= 8.0]
    best = min(within, key=lambda trial: trial.values["loss"])
    page = open_page(shown)
    page.get_by_label("Maximum decode (ms/token), as a number").fill("8")
    page.keyboard.press("Enter")
    expect(page.locator(".winner-name")).to_have_text(f"trial {best.number}")
    expect(page.locator(".command")).to_have_text(f"nas export large {best.number} --format json")
    assert "max.decode=8" in page.url
    page.get_by_role("button", name="Export").click()
    expect(page.locator(".export-status")).to_contain_text("Wrote")
    page.get_by_label("Maximum decode (ms/token), as a number").fill("0.001")
    page.keyboard.press("Enter")
    expect(page.locator(".winner")).to_contain_text("No complete trial")
    assert json.loads((folder / "out" / f"large-{best.number}.json").read_text())


def test_filtered_trials_are_selected_and_downloaded(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Trials")
    page.locator("#trials select").select_option("front")
    rows = page.locator("#trials tbody tr")
    expect(rows.first.locator("td").nth(1)).to_contain_text("on the front")
    count = rows.count()
    page.get_by_role("button", name="Select matching").click()
    lines = _downloaded(page)
    assert len(lines) == count
    assert {line["role"] for line in lines} == {"front"}


def test_an_area_of_the_front_is_selected_in_every_view(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    canvas = page.locator("#front canvas").first
    canvas.wait_for()
    page.get_by_role("button", name="Select an area").click()
    around = page.evaluate(
        """() => {
          const chart = echarts.getInstanceByDom(document.querySelector("#front .canvas"));
          return [[6, 1.95], [9, 1.7]].map((at) => chart.convertToPixel({seriesIndex: 4}, at));
        }"""
    )
    _drag(page, canvas, *around)
    expect(page.get_by_role("button", name="Select an area")).to_have_attribute(
        "aria-pressed", "false"
    )
    assert "trials=" in page.url
    _go(page, "Trials")
    table = _selected(page)
    lines = _downloaded(page)
    assert len(lines) > 3
    assert {line["trial"] for line in lines} == table
    for line in lines:
        assert 5.9 < float(line["decode"]) < 9.1
        assert line["role"] == "stopped" or 1.69 < float(line["loss"]) < 1.96
    page.reload()
    _go(page, "Trials")
    assert _selected(page) == table


def test_a_range_of_a_parallel_axis_is_selected_in_every_view(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Parallel coordinates")
    canvas = page.locator("#parallel canvas").first
    canvas.wait_for()
    canvas.scroll_into_view_if_needed()
    x, top, bottom = page.evaluate(
        """() => {
          const chart = echarts.getInstanceByDom(document.querySelector("#parallel .canvas"));
          const parallel = chart.getModel().getComponent("parallel").coordinateSystem;
          const at = (loss) => parallel.dataToPoint(loss, "dim6");
          return [at(1.75)[0], at(1.9)[1], at(1.75)[1]];
        }"""
    )
    _drag(page, canvas, (x, top), (x, bottom))
    _go(page, "Trials")
    expect(page.locator("#trials [role=status]")).to_contain_text("selected")
    assert "trials=" in page.url
    table = _selected(page)
    lines = _downloaded(page)
    assert {line["trial"] for line in lines} == table
    assert len(lines) > 3
    assert all(1.74 < float(line["loss"]) < 1.91 for line in lines)


def test_importances_are_drawn_when_they_are_on_the_screen(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Which choices matter")
    why = page.locator("#why")
    expect(why).to_contain_text("Importance for decode")
    expect(why).to_contain_text("Effect on loss")
    expect(why.locator(".effects tr", has_text="width").locator(".dot")).to_be_visible()
    expect(why.locator(".heat tbody tr").nth(1).locator("td")).to_have_count(10)
    expect(why.locator("canvas").first).to_be_visible()
    label = why.locator(".canvas").get_attribute("aria-label")
    assert label is not None
    assert "attention layers: " in label


def test_studies_are_compared_in_one_chart(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Studies")
    expect(page.locator("#studies tbody tr")).to_have_count(6)
    expect(page.locator("#studies tbody")).to_contain_text("no: different corpus")
    page.locator("#studies").get_by_role("button", name="other").click()
    expect(page.locator("h1")).to_have_text("other")
    assert "study=other" in page.url


def test_a_running_study_is_updated_and_the_selection_stays(
    shown: str, folder: Path, open_page: Open
) -> None:
    page = open_page(f"{shown}#study=followed&trials=3,5")
    expect(page.locator(".tiles")).to_contain_text("10 of 10")
    writer = [sys.executable, "-c", _WRITER, f"sqlite:///{folder}/nas.db"]
    subprocess.run(writer, check=True, cwd=Path.cwd())
    expect(page.locator(".tiles li").first).to_contain_text("30candidates ended")
    expect(page.locator(".tiles li").first).to_contain_text("10 requested")
    _go(page, "Trials")
    expect(page.locator("#trials [role=status]")).to_contain_text("30 trials, 2 selected")
    _go(page, "Side by side")
    expect(page.locator("#compare thead th")).to_have_count(2)


def test_a_trial_that_is_measured_again_is_drawn_hollow(
    tmp_path: Path, served: Served, open_page: Open
) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=12, seed=4))
    page = open_page(served(tmp_path))
    page.locator("#front canvas").first.wait_for()
    with Store.open(url) as store:
        members = study_front.front(store, "large").members
        number = members[1].number
        make_provisional(store, members[1])
    expect(page.locator("#front .mark.provisional")).to_be_visible()
    hollow = page.evaluate(
        """() => echarts.getInstanceByDom(document.querySelector("#front .canvas"))
          .getOption().series.at(-1).data.map((point) => point.value[2])"""
    )
    assert hollow == [str(number)]
    expect(page.locator("#front .caption").first).to_contain_text("~ provisional: too uncertain")
    expect(page.locator(".tiles")).to_contain_text("1 only provisionally")
    expect(page.locator(".calibration")).to_contain_text("at tg64@1024: 10 ±")
    expect(page.locator(".calibration")).to_contain_text("from 1 timing, the latest on")
    _go(page, "Trials")
    name = page.get_by_role("rowheader", name=str(number), exact=True)
    row = page.locator("#trials tbody tr").filter(has=name)
    expect(row).to_contain_text("provisionally on the front")
    expect(row).to_contain_text(re.compile(r"~[\d.]+ \([\d.]+ to [\d.]+\)"))
    (line,) = [each for each in _downloaded(page) if each["trial"] == str(number)]
    assert line["provisional"] == "decode"


def test_intervals_are_written_by_half_their_width_or_by_their_ends(
    shown: str, open_page: Open
) -> None:
    page = open_page(shown)
    texts = page.evaluate(
        """async () => {
          const {scoreText} = await import("/static/format.js");
          const score = (value, low, high, provisional = false) =>
            scoreText({value, low, high, provisional});
          return [score(10, 9.9, 10.1), score(0.571, 0.48, 1.33, true), score(2000, 1900, 2100),
            score(3, null, null), score(4, null, null, true)];
        }"""
    )
    assert texts == ["10 ±0.10", "~0.571 (0.48 to 1.33)", "2,000 ±100", "3", "~4"]


@pytest.mark.parametrize("trials", [0, 1])
def test_empty_states_are_explained(shown: str, open_page: Open, trials: int) -> None:
    page = open_page(f"{shown}#study=trials-{trials}", width=390)
    expect(page.locator(".tiles")).to_contain_text(f"{trials} of 9")
    if not trials:
        expect(page.locator(".empty")).to_contain_text("No candidate has ended yet")
        _go(page, "Within a budget")
        expect(page.locator(".winner")).to_contain_text("No trial is complete yet")


def test_a_confirmation_is_suggested_with_the_database_of_the_study(
    tmp_path: Path, served: Served, open_page: Open
) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    write_study(LargeStudy(url=url, trials=12, seed=4))
    page = open_page(served(tmp_path, "--storage", url))
    page.set_viewport_size({"width": 1440, "height": 16_000})  # so that every section is drawn
    expect(page.locator("#reliability code")).to_have_text(f"nas confirm large --storage {url}")


def test_a_study_that_is_started_later_appears(
    tmp_path: Path, served: Served, open_page: Open
) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    later = LargeStudy(url=url, trials=2, references=(), seed=4)
    (tmp_path / "later.toml").write_text(_STUDY_FILE)
    page = open_page(served(tmp_path, "later.toml"))
    expect(page.locator(".empty")).to_contain_text("large has not been started yet")
    # The name of the study is no argument of `nas run`.
    expect(page.locator("#charts")).to_contain_text("run nas run with its study file")
    write_study(later)
    expect(page.locator(".tiles")).to_contain_text("2 of 2")


def test_axes_of_scores_fit_the_drawn_values(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    page.locator("#front canvas").first.wait_for()
    linear, log, spans = page.evaluate(
        """async () => {
          const {scoreAxis, spansDecades} = await import("/static/chart.js");
          const axes = [false, true].map((log) => scoreAxis("decode", [0.665, 0.9, 14.35], log));
          return [...axes, [[2, 20], [2, 20.1], [0, 1]].map(spansDecades)];
        }"""
    )
    assert spans == [False, True, False]
    assert linear["min"] == 0
    assert 0.5 < log["min"] < 0.665
    assert 14.35 < log["max"] < 18
    assert log["axisLabel"]["customValues"] == [1, 2, 5, 10]


def test_a_slow_reference_model_does_not_squeeze_the_candidates(
    tmp_path: Path, served: Served, open_page: Open
) -> None:
    write_study(LargeStudy(url=f"sqlite:///{tmp_path}/nas.db", trials=12))
    with sqlite3.connect(tmp_path / "nas.db") as connection:
        connection.execute(_SLOW_REFERENCES)
    connection.close()
    address = served(tmp_path)
    page = open_page(address)
    page.locator("#front canvas").first.wait_for()
    kind = """() => echarts.getInstanceByDom(document.querySelector("#front .canvas"))
      .getOption().xAxis[0].type"""
    assert page.evaluate(kind) == "log"
    page.get_by_label("log x").uncheck()
    page.wait_for_function(f"({kind})() === 'value'")
    assert "log=none" in page.url
    page.reload()
    page.locator("#front canvas").first.wait_for()
    assert page.evaluate(kind) == "value"


def test_texts_of_a_hostile_study_are_shown_as_text(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    _go(page, "Studies")
    page.locator("#studies tbody").get_by_role("button", name="<img").click()
    expect(page.locator("h1")).to_have_text(HOSTILE_NAME)
    _go(page, "Within a budget")
    expect(page.locator(".command")).to_contain_text("""'<img src=x onerror=alert(1)>'\\''""")
    _go(page, "Reliability")
    expect(page.locator("#reliability table")).to_contain_text("<script>alert")
    assert page.locator("img").count() == 0
    assert page.locator("main script").count() == 0


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(shown: str, open_page: Open, width: int) -> None:
    page = open_page(f"{shown}#study=large&trials=0-3", width=width)
    page.set_viewport_size({"width": width, "height": 13_000})  # so that every section is drawn
    page.locator("#reliability canvas").first.wait_for()
    expect(page.locator("#why .heat")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)  # until the page has changed its colours
        assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_five_thousand_trials_are_drawn_and_updated(
    tmp_path: Path, served: Served, open_page: Open
) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=5_000))
    page = open_page(served(tmp_path))
    expect(page.locator(".tiles")).to_contain_text("5,000 of 5,000", timeout=60_000)
    write_study(LargeStudy(url=url, trials=100, seed=2))
    expect(page.locator(".tiles")).to_contain_text("5,100 of 5,000", timeout=60_000)
