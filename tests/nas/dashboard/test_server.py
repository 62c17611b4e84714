"""Tests of the dashboard's server, with requests from its own page and from other pages."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa

from nas.dashboard.guard import answers_to
from nas.dashboard.open_studies import OpenStudies
from nas.dashboard.server import dashboard_app
from nas.exporters.export_folder import ExportFolder
from nas.inputs.study_argument import StudyLocation
from studies.storage.store import Store
from tests.studies.large_study import LargeStudy, large_spec, write_study

HERE = "http://127.0.0.1:8080"


class Browser:
    """Sends the requests that the application's own page sends."""

    def __init__(self, studies: OpenStudies, exports: Path) -> None:
        app = dashboard_app(studies, ExportFolder(path=exports), bound_host="127.0.0.1")
        self._app = app
        self._transport = httpx.ASGITransport(app=app)
        self.token = ""

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=HERE) as client:
                return await client.request(method, path, **more)

        return anyio.run(ask)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self("GET", path, **more)

    def disconnect(self) -> None:
        """Close the connection in the middle of a request to export a trial."""
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> dict[str, object]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: object) -> None:
            """Discard the answer, as the server does."""

        headers = {"host": "127.0.0.1:8080", "origin": HERE, "x-nas-token": self._token()}
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/export",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        anyio.run(self._app, scope, receive, send)

    def export(self, body: object, **headers: str) -> httpx.Response:
        sent = {"origin": HERE, "x-nas-token": self._token()} | headers
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self("POST", "/api/export", content=content, headers=sent)

    def _token(self) -> str:
        page = self.get("/").text
        return page.split('name="nas-token" content="')[1].split('"')[0]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def browser(url: str, tmp_path: Path) -> Browser:
    write_study(LargeStudy(url=url, trials=12, references=("lfm2.5-230m",)))
    with OpenStudies([], url) as studies:
        yield Browser(studies, tmp_path / "exports")


def test_a_database_that_was_replaced_is_read_again(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    first = browser.get("/api/study", params={"name": "large"}).json()
    for trials in (5, 7):  # the number of the first file may be given to the next but one
        other = f"sqlite:///{tmp_path}/other.db"
        write_study(LargeStudy(url=other, trials=trials, references=()))
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"study.db{suffix}").unlink(missing_ok=True)
        (tmp_path / "other.db").replace(tmp_path / "study.db")
        known = {"name": "large", "since": first["revision"]}
        replaced = browser.get("/api/study", params=known).json()
        assert replaced["since"] is None
        assert len(replaced["trials"]["id"]) == trials
    (tmp_path / "study.db").unlink()
    deleted = browser.get("/api/study", params={"name": "large"})
    assert deleted.status_code == 400
    assert "does not exist" in deleted.text


def test_the_page_its_files_and_the_documents_are_served(browser: Browser, url: str) -> None:
    page = browser.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert browser.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    named = re.findall(r'<link rel="modulepreload" href="(.*?)" />', page.text)
    assert len(named) > 10
    assert all(browser.get(f"/{name}").status_code == 200 for name in named)
    library = browser.get("/static/vendor/echarts.min.js")
    cached = {"if-none-match": library.headers["etag"]}
    assert browser.get("/static/vendor/echarts.min.js", headers=cached).status_code == 304

    listed = browser.get("/api/studies").json()["studies"]
    assert listed == [{"name": "large", "storage": url}]
    document = browser.get("/api/study", params={"name": "large"}).json()
    assert len(document["trials"]["id"]) == 13
    assert browser.get("/api/study").json() == document
    unchanged = {"name": "large", "since": document["revision"]}
    assert browser.get("/api/study", params=unchanged).status_code == 204

    write_study(LargeStudy(url=url, trials=3, seed=1))
    update = browser.get("/api/study", params=unchanged).json()
    assert update["since"] == document["revision"]
    assert len(update["trials"]["id"]) == 3
    assert browser.get("/api/why", params={"name": "large"}).json()["study"] == "large"


def test_a_page_learns_that_its_study_was_deleted(tmp_path: Path, url: str) -> None:
    write_study(LargeStudy(url=url, trials=2, references=()))
    with OpenStudies([StudyLocation(name="large", storage=url)], url) as studies:
        browser = Browser(studies, tmp_path / "exports")
        shown = browser.get("/api/study", params={"name": "large"}).json()["revision"]
        (tmp_path / "study.db").unlink()
        first = browser.get("/api/study", params={"name": "large"})
        update = browser.get("/api/study", params={"name": "large", "since": shown})
    assert first.status_code == 204
    assert update.status_code == 400
    assert update.json()["error"] == "study: 'large' was deleted; this page shows its last state"


@pytest.mark.parametrize(
    ("host", "bound", "answered"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:9", "127.0.0.1", True),
        ("[::1]:8080", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("evil.example:8080", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("localhost.evil.example", "0.0.0.0", False),
        ("192.168.1.7:8080", "127.0.0.1", False),
        ("192.168.1.7:8080", "0.0.0.0", True),
        ("board.lan:8080", "board.lan", True),
        ("", "127.0.0.1", False),
        ("127.0.0.1:8080@evil.example", "127.0.0.1", False),
    ],
)
def test_only_requests_to_a_name_of_this_machine_are_answered(
    host: str, bound: str, answered: bool
) -> None:
    assert answers_to(host, bound) == answered


def test_a_rebound_host_name_is_refused(browser: Browser) -> None:
    for path in ("/", "/api/studies", "/static/page.js"):
        refused = browser.get(path, headers={"host": "evil.example:8080"})
        assert refused.status_code == 403
        assert "large" not in refused.text
        assert "nas-token" not in refused.text


def test_an_export_requires_the_token_and_the_origin_of_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    options = {"study": "large", "trial": "0", "format": "json"}
    for headers in (
        {"x-nas-token": "guessed"},
        {"x-nas-token": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ):
        assert browser.export(options, **headers).status_code == 403
    assert browser("PUT", "/api/export", content="{}").status_code == 403
    assert not (tmp_path / "exports").exists()

    answer = browser.export(options)
    assert answer.status_code == 200, answer.text
    written = Path(answer.json()["path"])
    assert written == tmp_path / "exports" / "large-0.json"
    assert json.loads(written.read_text())
    error = browser.export(options).json()["error"]
    assert error.endswith("large-0.json' already exists; move it to export the trial again")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"study": "../large"}, "study: "),
        ({"trial": "../../etc/passwd"}, "trial: "),
        ({"trial": "99"}, "trial: "),
        ({"format": "exe"}, "format: "),
        ({"trial": 7}, "trial: "),
        ({"more": "x"}, "body: "),
    ],
)
def test_an_invalid_export_is_refused_with_one_sentence(
    browser: Browser, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    options = {"study": "large", "trial": "0", "format": "json"} | change
    refused = browser.export(options)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith(sentence)
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 4_000,
        '{"study": ' + '{"a": ' * 1_000,
        '{"study": "large", "study": "large", "trial": "0", "format": "json"}',
        '{"study": "\\ud800", "trial": "0", "format": "json"}',
        '{"study": "large", "trial": "\\u0000", "format": "json"}',
        '{"study": "large", "trial": "\\ud800", "format": "json"}',
        '{"study": "large", "trial": "' + "9" * 5_000 + '", "format": "json"}',
        '{"study": "large", "trial": "0", "format": ' + "9" * 5_000 + "}",
        b"\xff\xfe",
    ],
)
def test_a_hostile_body_with_a_valid_token_is_refused_with_one_sentence(
    browser: Browser, body: str | bytes
) -> None:
    refused = browser.export(body)
    assert refused.status_code == 400
    assert len(refused.json()["error"]) <= 500
    assert "\n" not in refused.json()["error"]
    assert "codec" not in refused.json()["error"]


def test_a_connection_that_closes_within_a_request_is_no_fault_of_the_dashboard(
    browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    browser.disconnect()
    assert capfd.readouterr().err == ""


def test_a_study_whose_name_leaves_the_folder_is_not_exported(url: str, tmp_path: Path) -> None:
    write_study(LargeStudy(url=url, trials=1))
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE nas_studies SET name = '../../large'")
    with OpenStudies([], url) as studies:
        browser = Browser(studies, tmp_path / "folder" / "exports")
        refused = browser.export({"study": "../../large", "trial": "0", "format": "json"})
    assert refused.status_code == 400
    assert "cannot be used as a file name" in refused.json()["error"]
    assert list(tmp_path.glob("**/*.json")) == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/static/index.html",
        "/static/vendor",
        "/nothing",
    ],
)
def test_only_the_files_of_the_page_are_served(browser: Browser, path: str) -> None:
    refused = browser.get(path)
    assert refused.status_code == 404
    assert refused.json()["error"].startswith("address: ")


def test_no_answer_is_readable_by_other_pages(browser: Browser) -> None:
    for path in ("/", "/static/page.js", "/api/studies", "/nothing"):
        headers = browser.get(path, headers={"origin": "http://evil.example"}).headers
        assert "access-control-allow-origin" not in headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_database_is_opened_read_only_and_not_blocked_by_a_writer(url: str) -> None:
    write_study(LargeStudy(url=url, trials=3))
    with (
        OpenStudies([StudyLocation(name="large", storage=url)], url) as studies,
        Store.open(url) as writer,
    ):
        with writer._database.write() as connection:  # in the middle of a study's transaction
            connection.execute(sa.text("UPDATE nas_trials SET reason = 'now'"))
            document = studies.document("large", None)
            assert document is not None
            assert len(json.loads(document)["trials"]["id"]) == 5
        with (
            studies.store("large")._database.engine.connect() as connection,
            pytest.raises(sa.exc.OperationalError, match="readonly"),
        ):
            connection.execute(sa.text("DELETE FROM nas_trials"))


def test_a_study_that_has_not_started_is_shown_once_it_starts(url: str, tmp_path: Path) -> None:
    write_study(LargeStudy(url=url, trials=1))
    with OpenStudies([StudyLocation(name="later", storage=url)], url) as studies:
        browser = Browser(studies, tmp_path / "exports")
        assert browser.get("/api/study", params={"name": "later"}).status_code == 204
        write_study(LargeStudy(url=url, trials=1, name="later", references=(), seed=3))
        assert browser.get("/api/study", params={"name": "later"}).json()["study"] == "later"
        other = browser.get("/api/study", params={"name": "large"})
        assert other.status_code == 400
        assert "not shown by this dashboard" in other.json()["error"]


def test_the_document_of_a_study_without_trials_is_served(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        spec = large_spec(LargeStudy(url=url, trials=5))
        store.add_study("large", spec.model_dump_json())
    with OpenStudies([], url) as studies:
        document = Browser(studies, tmp_path).get("/api/study", params={"name": "large"}).json()
    assert document["trials"]["id"] == []
    assert document["counts"]["total"] == 5


def test_passwords_are_removed_from_the_storage_option() -> None:
    from nas.dashboard.open_studies import storage_option

    place = StudyLocation(name="a", storage="postgresql://me:s3cret@board/nas")
    assert storage_option(place) == "postgresql://me@board/nas"
