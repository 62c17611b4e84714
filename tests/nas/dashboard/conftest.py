"""A real Chromium, and the dashboard as the command that a person runs."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.studies.conftest import postgresql_server, postgresql_url, sqlite_url

__all__ = ["postgresql_server", "postgresql_url", "sqlite_url"]

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


# Its loop of events would stand in the way of other modules' own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as player:
        launched = player.chromium.launch(executable_path=_CHROMIUM, args=_QUIET)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address; in the end the console holds no error, and no script but ours has run."""
    said: list[str] = []
    contexts = []

    def opened(url: str, *, width: int = 1440, scheme: str = "light", offline: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 1000},
            color_scheme=scheme,
            accept_downloads=True,
            offline=offline,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module")
def served_to_all() -> Iterator[Callable[..., str]]:
    """`served` for tests that change nothing that others look at."""
    with ExitStack() as stack:
        yield lambda folder, *arguments: stack.enter_context(_dashboard(folder, *arguments))


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Starts the command in a folder, and returns its address; named before `open_page`."""
    with ExitStack() as stack:
        yield lambda folder, *arguments: stack.enter_context(_dashboard(folder, *arguments))


@contextmanager
def _dashboard(folder: Path, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "nas.cli", "dashboard", "--no-open", "--port", "0"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Traceback" not in complaints
