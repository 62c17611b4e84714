"""Who may ask the dashboard for what: hosts it answers to, headers it sends, its token."""

import hmac
import ipaddress
import json
import re
import socket
from dataclasses import dataclass, field
from secrets import token_urlsafe

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-nas-token"  # noqa: S105 - its name, not its value

# Everything that a page of ours does; a string from a database that became markup could do nothing.
_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Stands before the application.

    A page elsewhere can make its own name lead to this machine (DNS rebinding), so only names are
    answered that no stranger can hold: those of this machine, and addresses. What changes something
    is a POST with the token that our page carries, sent by our page.
    """

    app: ASGIApp
    bound_host: str
    token: str = field(default_factory=token_urlsafe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send_guarded)
        else:
            await _refuse(refusal, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not answers_to(host, self.bound_host):
            return f"host: {host[:100]!r} is not a name that this dashboard answers to"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return f"method: {method!r} is not GET or POST"
        if headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return "origin: a request that changes something comes from the dashboard's own page"
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            return "token: it is missing or of an earlier run of the dashboard; reload the page"
        return None


def answers_to(host: str, bound_host: str) -> bool:
    """Whether a Host header, whatever its port, means a server that is bound to `bound_host`."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:[0-9]+)?", host)
    if found is None:
        return False
    name = found[1].strip("[]").lower()
    if name == "localhost" or name == bound_host.lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return not _is_loopback(bound_host) and name == socket.gethostname().lower()
    return address.is_loopback or not _is_loopback(bound_host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _refuse(sentence: str, send: Send) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
