"""Fixtures: a real Chromium, and the dashboard started as a command."""

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
_CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Not per session: its event loop would conflict with those of other test modules.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as player:
        launched = player.chromium.launch(executable_path=_CHROMIUM, args=_CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address; afterwards, check that there were no console errors and no dialogs."""
    complaints: list[str] = []
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
        page.on(
            "console", lambda line: complaints.append(line.text) if line.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def served_to_all() -> Iterator[Callable[..., str]]:
    """Like `served`, shared by the tests of a module that do not interfere with each other."""
    with ExitStack() as stack:
        yield lambda folder, *arguments: stack.enter_context(_dashboard(folder, *arguments))


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Start the command in a folder and return its URL; list it before `open_page`."""
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
