"""The dashboard's web application: the page, its static files, study documents and exports."""

import asyncio
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nas.dashboard.assets import Asset, assets, page_text
from nas.dashboard.connections import REQUEST_S
from nas.dashboard.document import json_bytes
from nas.dashboard.guard import Guard
from nas.dashboard.open_studies import OpenStudies, storage_option
from nas.exporters.export_folder import ExportFolder
from search_space.input_errors import format_value, one_sentence
from search_space.strict import load_json

_MAX_REQUEST_BYTES = 10_000


def dashboard_app(studies: OpenStudies, exports: ExportFolder, *, bound_host: str) -> ASGIApp:
    """Return the dashboard as an ASGI application.

    Args:
        studies: The studies to show.
        exports: The folder that the export button writes to.
        bound_host: The host name or address that the server listens on; see `Guard`.
    """
    token = token_urlsafe()
    page = page_text(token).encode()
    endpoints = _Endpoints(studies=studies, exports=exports, page=page, assets=assets())
    routes = [
        Route("/", endpoints.index),
        Route("/static/{path:path}", endpoints.asset),
        Route("/api/studies", endpoints.study_list),
        Route("/api/study", endpoints.study),
        Route("/api/why", endpoints.why),
        Route("/api/export", endpoints.export, methods=["POST"]),
    ]
    handlers = {
        ValueError: _bad_request,
        ClientDisconnect: _closed_connection,
        HTTPException: _http_error,
        Exception: _internal_error,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(app=app, bound_host=bound_host, token=token)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoints:
    """One method per route. Starlette runs those that are not `async` in a thread pool."""

    studies: OpenStudies
    exports: ExportFolder
    page: bytes
    assets: Mapping[str, Asset]

    async def index(self, request: Request) -> Response:
        return Response(self.page, media_type="text/html; charset=utf-8")

    async def asset(self, request: Request) -> Response:
        """Return a static file. Browsers cache it and revalidate it on every load."""
        found = self.assets.get(request.path_params["path"])
        if found is None:
            raise HTTPException(404)
        headers = {"etag": found.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.body, media_type=found.media_type, headers=headers)

    def study_list(self, request: Request) -> Response:
        return JSONResponse(
            {
                "studies": [
                    {"name": place.name, "storage": storage_option(place)}
                    for place in self.studies.places()
                ],
                "exports": str(self.exports.path),
            }
        )

    def study(self, request: Request) -> Response:
        """Return the document of the study `?name=`, by default the first study.

        With `&since=REVISION`, return an update. The status is 204 if the study does not exist yet,
        or if nothing has changed since that revision.

        Raises:
            ValueError: The study existed at that revision and does not any more.
        """
        first = [place.name for place in self.studies.places()][:1]
        name = request.query_params.get("name") or "".join(first)
        since = request.query_params.get("since")
        if not first or not self.studies.exists(name):
            if since is not None:
                raise ValueError(f"study: '{name}' was deleted; this page shows its last state")
            return Response(status_code=204)
        document = self.studies.document(name, since)
        return Response(status_code=204) if document is None else _json(document)

    def why(self, request: Request) -> Response:
        return _json(json_bytes(self.studies.why(request.query_params.get("name", ""))))

    async def export(self, request: Request) -> Response:
        fields = await _json_fields(request, ("study", "trial", "format"))
        written = await run_in_threadpool(
            self.exports.export,
            self.studies.store(fields["study"]),
            fields["study"],
            fields["trial"],
            fields["format"],
        )
        return JSONResponse(
            {
                "path": str(written.path),
                "remark": written.remark,
                "next": written.next_commands,
            }
        )


def _json(text: bytes) -> Response:
    return Response(text, media_type="application/json")


async def _json_fields(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a JSON body; raise ValueError unless it has exactly these fields."""
    body = b""
    try:
        async with asyncio.timeout(REQUEST_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_REQUEST_BYTES:
                    raise ValueError(f"body: the request exceeds {_MAX_REQUEST_BYTES:,} bytes")
    except TimeoutError:
        raise ValueError(f"body: the request did not arrive within {REQUEST_S:g} s") from None
    try:
        fields = load_json(body.decode(), "body")
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise ValueError(
            f"body: the request is not a JSON object with exactly the fields {', '.join(names)}"
        )
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}: {format_value(value)} is not a string")
        if not value.isprintable():
            raise ValueError(
                f"{name}: {format_value(value)} contains a character that cannot be displayed"
            )
    return cast(dict[str, str], fields)


async def _bad_request(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": one_sentence(str(error))}, status_code=400)


async def _closed_connection(_: Request, __: Exception) -> Response:
    """Answer nobody: the connection was closed before the request had arrived."""
    return Response(status_code=400)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"address: {request.url.path[:100]!r} is not an address of the dashboard"
    return JSONResponse({"error": message}, status_code=error.status_code)


async def _internal_error(_: Request, error: Exception) -> Response:
    """Report a bug in the dashboard: briefly to the page, with a traceback on the terminal."""
    traceback.print_exception(error, file=sys.stderr)
    message = f"the dashboard failed with {type(error).__name__}; see its terminal for details"
    return JSONResponse({"error": message}, status_code=500)
