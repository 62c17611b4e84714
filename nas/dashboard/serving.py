"""Runs the dashboard's server on a port until Ctrl-C."""

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

from nas.dashboard.connections import TimeLimitedProtocol
from nas.dashboard.open_studies import OpenStudies
from nas.dashboard.server import dashboard_app
from nas.exporters.export_folder import ExportFolder

_SHUTDOWN_TIMEOUT_S = 2  # for responses that are in progress at Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A socket that listens for connections.

    Attributes:
        socket: The bound socket.
        host: The host name or address that the user asked for.
        url: The URL to open in a browser.
    """

    socket: socket.socket
    host: str
    url: str


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[Listening]:
    """Listen on a port for the duration of the context.

    Args:
        host: A host name or address of this machine.
        port: The port; 0 takes any free port.

    Yields:
        The listening socket and its URL.

    Raises:
        ValueError: The port is in use or not permitted, or the host is not this machine.
    """
    with contextlib.closing(_bound(host, port)) as bound:
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
        shown = f"[{shown}]" if ":" in shown else shown
        yield Listening(socket=bound, host=host, url=f"http://{shown}:{bound.getsockname()[1]}/")


def serve(listening: Listening, studies: OpenStudies, exports: ExportFolder) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        listening: The socket to serve on.
        studies: The studies to show.
        exports: The folder that the export button writes to.
    """
    app = dashboard_app(studies, exports, bound_host=listening.host)
    config = uvicorn.Config(
        app,
        http=TimeLimitedProtocol,
        log_level="critical",  # the application reports its own errors
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S,
    )
    # Reading a long study takes a second or two, about as long as a browser takes to open.
    threading.Thread(target=studies.read_ahead, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening.socket])


def open_browser(url: str) -> None:
    """Open a browser if there is a graphical screen; a text browser would block the terminal."""
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
    # Without this, a port that an earlier dashboard has just released counts as in use.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        raise ValueError(_bind_error(error, host, port)) from None
    return bound


def _bind_error(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port: {port} is in use by another program; choose another one with --port"
        case errno.EACCES:
            return f"port: {port} is not permitted for this user; choose one from 1024 to 65535"
        case _:
            return f"host: '{host}' is not an address of this machine"
