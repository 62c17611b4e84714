"""Tests that slow clients cannot hold the dashboard's connections."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from nas.dashboard import connections
from nas.dashboard.connections import TimeLimitedProtocol
from nas.dashboard.open_studies import OpenStudies
from nas.dashboard.server import dashboard_app
from nas.exporters.export_folder import ExportFolder
from tests.studies.large_study import LargeStudy, write_study

_LONGEST_S = 60.0


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a dashboard that is patient for a fraction of a second."""
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    monkeypatch.setattr("nas.dashboard.server.REQUEST_S", 0.3)
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    url = f"sqlite:///{tmp_path}/study.db"
    write_study(LargeStudy(url=url, trials=3))
    with OpenStudies([], url) as studies, socket.create_server(("127.0.0.1", 0)) as bound:
        app = dashboard_app(studies, ExportFolder(path=tmp_path), bound_host="127.0.0.1")
        config = uvicorn.Config(app, http=TimeLimitedProtocol, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()


def _is_closed(client: socket.socket) -> bool:
    """Return whether the server closes the connection, which may take it some time."""
    client.settimeout(_LONGEST_S)
    with contextlib.suppress(ConnectionError):
        while client.recv(65_536):
            pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET / HT",
        b"POST /api/export HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a second head", "half a body"],
)
def test_an_incomplete_request_is_not_waited_for(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent)
        assert _is_closed(client)


def test_a_head_that_arrives_byte_by_byte_is_not_waited_for(port: int) -> None:
    def drip(client: socket.socket) -> None:
        for _ in range(int(_LONGEST_S / 0.05)):
            client.sendall(b"G")
            time.sleep(0.05)

    with socket.create_connection(("127.0.0.1", port)) as client, pytest.raises(ConnectionError):
        drip(client)


def test_others_are_served_while_slow_clients_hold_connections(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET /")
        deadline = time.monotonic() + _LONGEST_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}/api/studies")
                break
            assert time.monotonic() < deadline
    assert answer.json()["studies"][0]["name"] == "large"
