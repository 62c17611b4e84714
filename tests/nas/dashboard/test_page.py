"""The page in a real browser, in front of a real server on a real database."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studies.storage.store import Store
from tests.studies.large_study import LargeStudy, large_spec, write_study

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_core_python.sync_playwright")

Browser = playwright.Browser
Page = playwright.Page
expect = playwright.expect

_CHROMIUM = shutil.which("chromium")
_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Goes on with a study that is being watched, in a process of its own.
_WRITER = """
import sys
from tests.studies.large_study import LargeStudy, write_study
write_study(LargeStudy(url=sys.argv[1], trials=20, seed=9))
"""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as player:
        launched = player.chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens an address; in the end the console holds no error, and no script but ours has run."""
    said: list[str] = []
    contexts = []

    def opened(url: str, *, width: int = 1440, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


@contextmanager
def dashboard(folder: Path, *arguments: str) -> Iterator[str]:
    """The command as it is run; its address."""
    command = [sys.executable, "-m", "nas.cli", "dashboard", "--no-open", "--port", "0"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in complaints


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A study of 30 trials, beside a smaller one, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("shown")
    url = f"sqlite:///{folder}/nas.db"
    write_study(LargeStudy(url=url, trials=30))
    write_study(LargeStudy(url=url, trials=12, name="other", references=(), seed=5))
    with dashboard(folder) as address:
        yield address


def test_hovering_selecting_and_comparing_stay_in_the_address(shown: str, open_page: Open) -> None:
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

    page.get_by_label("Select lfm2-350m").check()
    compared = page.locator("#compare thead th")
    expect(compared).to_have_count(2)
    expect(page.locator("#compare .unequal").first).to_be_visible()

    page.reload()
    expect(page.locator("#compare thead")).to_contain_text("lfm2-350m")


def test_the_keyboard_walks_along_the_front_and_selects(shown: str, open_page: Open) -> None:
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


def test_budgets_name_the_winner_and_its_button_exports_it(tmp_path: Path, open_page: Open) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=30))
    with Store.open_to_read(url) as store:
        complete = [trial for trial in store.trials("large") if trial.state == "complete"]
    within = [trial for trial in complete if trial.values["decode"] <= 8.0]
    best = min(within, key=lambda trial: trial.values["loss"])
    with dashboard(tmp_path, "large", "--exports", "out") as address:
        page = open_page(address)
        page.get_by_label("Most decode (ms/token), as a number").fill("8")
        page.keyboard.press("Enter")
        expect(page.locator(".winner-name")).to_have_text(f"trial {best.number}")
        expect(page.locator(".command")).to_have_text(
            f"nas export large {best.number} --format json"
        )
        assert "max.decode=8" in page.url
        page.get_by_role("button", name="Export").click()
        expect(page.locator(".export-said")).to_contain_text("Wrote")
        page.get_by_label("Most decode (ms/token), as a number").fill("0.001")
        page.keyboard.press("Enter")
        expect(page.locator(".winner")).to_contain_text("No complete trial")
    written = json.loads((tmp_path / "out" / f"large-{best.number}.json").read_text())
    assert written


def test_what_is_filtered_is_selected_and_downloaded(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    page.locator("#trials select").select_option("front")
    rows = page.locator("#trials tbody tr")
    expect(rows.first.locator("td").nth(1)).to_contain_text("on the front")
    count = rows.count()
    page.get_by_role("button", name="Select these").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == count
    assert {line["role"] for line in lines} == {"front"}
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert [trial["trial"] for trial in saved["trials"]] == [line["trial"] for line in lines]


def test_studies_stand_on_one_pair_of_axes(shown: str, open_page: Open) -> None:
    page = open_page(shown)
    page.get_by_role("link", name="Studies").click()
    expect(page.locator("#studies tbody tr")).to_have_count(2)
    page.locator("#studies").get_by_role("button", name="other").click()
    expect(page.locator("h1")).to_have_text("other")
    assert "study=other" in page.url


def test_a_running_study_is_followed_and_the_selection_stays(
    tmp_path: Path, open_page: Open
) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=10))
    with dashboard(tmp_path) as address:
        page = open_page(f"{address}#study=large&trials=3,lfm2-350m")
        expect(page.locator(".tiles")).to_contain_text("10 of 10")
        subprocess.run([sys.executable, "-c", _WRITER, url], check=True, cwd=Path.cwd())
        expect(page.locator(".tiles")).to_contain_text("30 of 10")
        page.get_by_role("link", name="Trials").click()
        expect(page.locator("#trials [role=status]")).to_contain_text("32 trials, 2 selected")
        expect(page.locator("#compare thead th")).to_have_count(2)


@pytest.mark.parametrize("trials", [0, 1])
def test_little_is_said_plainly(tmp_path: Path, open_page: Open, trials: int) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    with Store.open(url) as store:
        spec = large_spec(LargeStudy(url=url, trials=9))
        store.add_study("large", spec.model_dump_json())
    if trials:
        write_study(LargeStudy(url=url, trials=trials))
    with dashboard(tmp_path) as address:
        page = open_page(address, width=390)
        expect(page.locator(".tiles")).to_contain_text(f"{trials} of 9")
        if not trials:
            expect(page.locator(".empty")).to_contain_text("There is nothing yet")
            expect(page.locator(".winner")).to_contain_text("No trial is complete yet")


def test_a_study_that_is_begun_later_appears(tmp_path: Path, open_page: Open) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=1, name="first", references=()))
    with dashboard(tmp_path, "large") as address:
        page = open_page(address)
        expect(page.locator(".empty")).to_contain_text("large has not been begun")
        write_study(LargeStudy(url=url, trials=2, references=(), seed=4))
        expect(page.locator(".tiles")).to_contain_text("2 of 2")


def test_what_a_hostile_study_says_is_only_text(tmp_path: Path, open_page: Open) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    name = """<img src=x onerror=alert(1)>'"</title><script>alert(2)</script>"""
    write_study(LargeStudy(url=url, trials=30, hostile=True))
    with sqlite3.connect(tmp_path / "nas.db") as connection:
        connection.execute("UPDATE nas_studies SET name = ?", (name,))
    with dashboard(tmp_path) as address:
        page = open_page(address)
        expect(page.locator("h1")).to_have_text(name)
        page.get_by_role("link", name="Trust").click()
        expect(page.locator("#trust table")).to_contain_text("<script>alert")
        assert page.locator("img").count() == 0
        assert page.locator("main script").count() == 0
        expect(page.locator(".command")).to_contain_text("""'<img src=x onerror=alert(1)>'\\''""")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(shown: str, open_page: Open, scheme: str, width: int) -> None:
    page = open_page(f"{shown}#study=large&trials=0-3", scheme=scheme, width=width)
    page.locator("#front canvas").first.wait_for()
    page.set_viewport_size({"width": width, "height": 13_000})  # so that everything is drawn
    page.locator("#trust canvas").first.wait_for()
    found = axe.Axe().run(page)
    grave = [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert grave == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_five_thousand_trials_are_drawn_and_followed(tmp_path: Path, open_page: Open) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    write_study(LargeStudy(url=url, trials=5_000))
    with dashboard(tmp_path) as address:
        page = open_page(address)
        expect(page.locator(".tiles")).to_contain_text("5,000 of 5,000", timeout=30_000)
        write_study(LargeStudy(url=url, trials=100, seed=2))
        expect(page.locator(".tiles")).to_contain_text("5,100 of 5,000", timeout=30_000)


def test_a_port_in_use_is_one_sentence(shown: str, tmp_path: Path) -> None:
    port = shown.rsplit(":", 1)[1].strip("/")
    write_study(LargeStudy(url=f"sqlite:///{tmp_path}/nas.db", trials=1, references=()))
    result = subprocess.run(
        [sys.executable, "-m", "nas.cli", "dashboard", "--no-open", "--port", port],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert (
        result.stderr
        == f"nas: port: {port} is in use by another program; --port names another one\n"
    )
