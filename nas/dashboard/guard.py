"""Access control of the dashboard: allowed hosts, security headers and the write token."""

import hmac
import ipaddress
import json
import re
import socket
from dataclasses import dataclass, field
from secrets import token_urlsafe

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-nas-token"  # noqa: S105 - the name of the header, not a secret

# The policy allows what the page needs and nothing else: if a text from a database were ever
# interpreted as markup, it could not run or load anything.
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
    """ASGI middleware that refuses requests from other sites.

    Another site can point its own domain name at this machine (DNS rebinding). The dashboard
    therefore answers only to host names that no one else can own: the names of this machine, and IP
    addresses. A request that writes something must be a POST from the dashboard's own page, with
    the token that the page contains.

    Attributes:
        app: The application to protect.
        bound_host: The host name or address that the server listens on.
        token: The token that a request must carry to write something.
    """

    app: ASGIApp
    bound_host: str
    token: str = field(default_factory=token_urlsafe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on and add the security headers to the response."""
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
            return f"host: {host[:100]!r} is not a host name of this dashboard"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return f"method: {method!r} is not GET or POST"
        if headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return "origin: the request was not sent by the dashboard's own page"
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            return "token: missing or from an earlier run of the dashboard; reload the page"
        return None


def answers_to(host: str, bound_host: str) -> bool:
    """Return whether a Host header is valid for a server that listens on `bound_host`.

    Args:
        host: The value of the Host header, with or without a port.
        bound_host: The host name or address that the server listens on.
    """
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


async def _refuse(message: str, send: Send) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
