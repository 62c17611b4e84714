"""Listens on a port and answers there until Ctrl-C."""

import contextlib
import errno
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from nas.dashboard.exports import ExportFolder
from nas.dashboard.open_studies import OpenStudies
from nas.dashboard.server import dashboard_app

_GOODBYE_SECONDS = 2  # for answers that are under way at Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """An open socket, the host that was asked for, and where a browser finds it."""

    socket: socket.socket
    host: str
    url: str


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[Listening]:
    """ValueError for a port in use and a host that is not this machine's."""
    with contextlib.closing(_bound(host, port)) as bound:
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
        shown = f"[{shown}]" if ":" in shown else shown
        yield Listening(socket=bound, host=host, url=f"http://{shown}:{bound.getsockname()[1]}/")


def serve(listening: Listening, studies: OpenStudies, exports: ExportFolder) -> None:
    """Returns after Ctrl-C."""
    app = dashboard_app(studies, exports, bound_host=listening.host)
    config = uvicorn.Config(
        app,
        log_level="critical",  # what fails is told by the application itself
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    # A long study takes a second or two to read, which a browser takes to open.
    threading.Thread(target=studies.read_ahead, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening.socket])


def open_browser(url: str) -> None:
    """Where there is a screen; a browser that runs in this terminal would only be in the way."""
    if sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        webbrowser.open(url)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ValueError(f"host: '{host}' is not an address of this machine") from None
    bound = socket.socket(family, kind)
    # A port that an earlier dashboard has just left is free.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        raise ValueError(_why(error, host, port)) from None
    return bound


def _why(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port: {port} is in use by another program; --port names another one"
        case errno.EACCES:
            return f"port: {port} is not open to this user; those from 1024 on are"
        case _:
            return f"host: '{host}' is not an address of this machine"
