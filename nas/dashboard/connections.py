"""HTTP connections that are closed if the other side is slow, so that nobody can hold them all.

Anybody who can reach the port can open connections. Those that send a request byte by byte, or do
not read the response, would otherwise occupy the server until no other request gets through.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds for the head of a request to arrive, and for a client to read what was sent to it.
REQUEST_S = 10.0
READING_S = 30.0
# Browsers open up to six connections each.
MOST_CONNECTIONS = 200


class TimeLimitedProtocol(H11Protocol):
    """uvicorn's protocol with a limit of connections, and of the time that each may wait."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._request_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request, or close the connection if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._request_timer = self._close_after(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request that has begun, or stop waiting if it is complete."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting_for_request()
        elif self._request_timer is None and (before is None or before.response_complete):
            self._request_timer = self._close_after(REQUEST_S)

    def pause_writing(self) -> None:
        """Give the client time to read what was sent to it; see `asyncio.Protocol`."""
        super().pause_writing()
        self._reading_timer = self._close_after(READING_S)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read; see `asyncio.Protocol`."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting; see `asyncio.Protocol`."""
        self._stop_waiting_for_request()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def _close_after(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting_for_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
