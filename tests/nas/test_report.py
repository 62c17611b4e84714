"""`nas report`: one file with the findings of a study, in which hostile text stays text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from studies.analysis import study_front
from studies.storage.store import Store
from tests.nas.calibrated import make_provisional
from tests.studies.large_study import HOSTILE, LargeStudy, write_study


class _Reader(HTMLParser):
    """Collects elements with their attributes, and all texts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture
def study(tmp_path: Path) -> LargeStudy:
    """A study in the database that `nas` uses by default."""
    return LargeStudy(url=f"sqlite:///{tmp_path}/nas.db", trials=30)


@pytest.mark.parametrize("hostile", [False, True])
def test_a_page_is_complete_and_loads_nothing(nas, study, tmp_path, hostile) -> None:
    write_study(LargeStudy(url=study.url, trials=30, hostile=hostile, running=True))
    done = nas("report", "large", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    page = _read(tmp_path / "report.html")
    for tag, attributes in page.elements:
        assert not attributes.keys() & {"src", "onerror", "onclick"}, (tag, attributes)
        assert tag not in ("img", "link", "iframe", "a", "base")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = re.findall(r'<script type="application/json" id="study-\w+">(.*?)</script>', text)
    document, why = map(json.loads, data)
    assert (document["study"], why["study"]) == ("large", "large")
    assert (HOSTILE in document["trials"]["reason"]) == hostile
    shown = " ".join(page.texts)
    for sentence in (*document["findings"], *document["limitations"]):
        assert sentence in shown
    assert (HOSTILE in page.texts) == hostile
    assert sum(tag == "script" for tag, _ in page.elements) == 5
    assert "proxy.token_budget" in page.texts


@pytest.mark.parametrize("file_format", ["html", "md"])
def test_control_characters_in_the_database_do_not_reach_a_report(
    nas, study, tmp_path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    controls = "\x1b[2J\x9b31m\x7f\u202egnp.exe\u2069"
    monkeypatch.setattr("tests.studies.large_study.HOSTILE", controls)
    write_study(LargeStudy(url=study.url, trials=30, hostile=True))
    assert nas("report", "large", "--format", file_format).returncode == 0
    text = (tmp_path / f"large.{file_format}").read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\x9b\x7f\u202e\u2069")
    # JSON would keep them as escapes, which a script turns into characters again.
    assert not re.search(r"\\u00(1b|7f|9b)", text)
    assert "gnp.exe" in text


def test_every_module_of_the_page_is_in_the_import_map(nas_process, study, tmp_path) -> None:
    write_study(study)
    assert nas_process("report", "large").returncode == 0
    text = (tmp_path / "large.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="importmap">(.*?)</script>', text)
    imports = json.loads(found)["imports"]
    (entry,) = re.findall(r'<script type="module">import "(.*?)";</script>', text)
    assert entry in imports
    assert all(url.startswith("data:text/javascript;base64,") for url in imports.values())


@pytest.mark.parametrize("hostile", [False, True])
def test_markdown_is_text_with_well_formed_tables(nas, study, tmp_path, hostile) -> None:
    write_study(LargeStudy(url=study.url, trials=30, hostile=hostile))
    done = nas("report", "large", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"wrote large\.md, [1-9]\d* kB\n", done.stdout)
    text = (tmp_path / "large.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)[<`]", text)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(bars)) == 1
    assert "## Limitations" in text
    assert "(knee)" in tables[0]
    assert "lfm2-350m" in tables[0]


def test_provisional_times_and_the_reference_models_time_are_explained(
    nas, study, tmp_path
) -> None:
    write_study(study)
    with Store.open(study.url) as store:
        member = study_front.front(store, "large").members[1]
        make_provisional(store, member)
    assert nas("report", "large", "--format", "md").returncode == 0
    assert nas("report", "large").returncode == 0
    text = (tmp_path / "large.md").read_text(encoding="utf-8").replace("\\", "")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {member.number} ")]
    value = member.values["decode"]
    found = re.search(r"~(\S+) \((\S+) to (\S+)\)", row)
    assert found is not None
    shown, low, high = map(float, found.groups())
    assert shown == pytest.approx(value, rel=1e-3)
    # The interval of the ratio alone is ±30 % on a log scale.
    assert low < 0.745 * value
    assert high > 1.345 * value
    assert "\n~ provisional: too uncertain to decide anything; `nas run` measures it again" in text
    assert "members is on the front only provisionally." in text
    assert "## Time of the reference model" in text
    assert "| tg64@1024 | 10.00 " in text
    page = (tmp_path / "large.html").read_text(encoding="utf-8")
    picture = page[page.index("<svg viewBox") : page.index("</svg>")]
    assert picture.count('fill="none" stroke-width') == 1
    assert ">provisional</text>" in picture
    assert "<p>~ provisional: too uncertain" in page


def test_a_study_without_a_trial_has_a_report(nas, study, tmp_path) -> None:
    write_study(LargeStudy(url=study.url, trials=0, references=()))
    for name, file_format in (("empty.html", "html"), ("empty.md", "md")):
        assert nas("report", "large", "-o", name, "--format", file_format).returncode == 0
        assert "No candidate has ended yet." in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("r.md", "# large"), ("r.MD", "# large"), ("r.html", "<!doctype"), ("r", "<!doctype")],
)
def test_the_suffix_of_the_output_stands_for_the_format(
    nas, study, tmp_path, name: str, beginning: str
) -> None:
    write_study(LargeStudy(url=study.url, trials=0, references=()))
    assert nas("report", "large", "-o", name).returncode == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)


def test_a_suffix_of_no_format_requires_one(nas, study, tmp_path) -> None:
    write_study(LargeStudy(url=study.url, trials=0, references=()))
    refused = nas("report", "large", "-o", "r.pdf")
    assert refused.returncode == 2
    assert refused.stderr == (
        "nas: output: 'r.pdf' ends in neither .html nor .md, so its format is not known; specify "
        "--format\n"
    )
    assert not (tmp_path / "r.pdf").exists()
    assert nas("report", "large", "-o", "r.pdf", "--format", "md").returncode == 0


def test_an_existing_file_is_overwritten_only_with_force(nas, study, tmp_path) -> None:
    write_study(LargeStudy(url=study.url, trials=1))
    (tmp_path / "large.html").write_text("mine")
    refused = nas("report", "large")
    assert refused.returncode == 2
    assert refused.stderr == "nas: output: 'large.html' already exists; --force overwrites it\n"
    assert (tmp_path / "large.html").read_text() == "mine"
    assert nas("report", "large", "--force").returncode == 0
    assert (tmp_path / "large.html").read_text() != "mine"


def test_an_unknown_study_leaves_no_file(nas, study, tmp_path) -> None:
    write_study(LargeStudy(url=study.url, trials=0))
    refused = nas("report", "thiers")
    assert refused.returncode == 2
    assert "study: 'thiers' is not in this database, which holds large" in refused.stderr
    assert sorted(path.name for path in tmp_path.glob("*thiers*")) == []
