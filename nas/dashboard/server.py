"""The dashboard as a web application: one page, its files, documents of studies, and exports."""

import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_urlsafe

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nas.dashboard.assets import Asset, assets, page_text
from nas.dashboard.document import json_bytes
from nas.dashboard.exports import ExportFolder
from nas.dashboard.guard import Guard
from nas.dashboard.open_studies import OpenStudies, storage_option

_MOST_REQUEST_BYTES = 10_000


def dashboard_app(studies: OpenStudies, exports: ExportFolder, *, bound_host: str) -> ASGIApp:
    """bound_host: what the server listens on; see `Guard`."""
    token = token_urlsafe()
    page = page_text(token).encode()
    answers = _Answers(studies=studies, exports=exports, page=page, assets=assets())
    routes = [
        Route("/", answers.index),
        Route("/static/{path:path}", answers.asset),
        Route("/api/studies", answers.study_list),
        Route("/api/study", answers.study),
        Route("/api/why", answers.why),
        Route("/api/export", answers.export, methods=["POST"]),
    ]
    mistakes = {ValueError: _mistake, HTTPException: _no_such_page, Exception: _failure}
    app = Starlette(routes=routes, exception_handlers=mistakes)
    return Guard(app=app, bound_host=bound_host, token=token)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """One method an address. Those that read the database run in a thread of their own."""

    studies: OpenStudies
    exports: ExportFolder
    page: bytes
    assets: Mapping[str, Asset]

    async def index(self, request: Request) -> Response:
        return Response(self.page, media_type="text/html; charset=utf-8")

    async def asset(self, request: Request) -> Response:
        """Browsers keep a file, and ask each time whether it is still the same."""
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
        """The document of `?name=`, else of the first study; 204 where there is none yet.

        With `&since=`, a revision, what has changed; 204 for nothing.
        """
        first = [place.name for place in self.studies.places()][:1]
        name = request.query_params.get("name") or "".join(first)
        if not first or not self.studies.is_begun(name):
            return Response(status_code=204)
        document = self.studies.document(name, request.query_params.get("since"))
        return Response(status_code=204) if document is None else _json(document)

    def why(self, request: Request) -> Response:
        return _json(json_bytes(self.studies.why(request.query_params.get("name", ""))))

    async def export(self, request: Request) -> Response:
        wished = await _json_fields(request, ("study", "trial", "format"))
        written = await run_in_threadpool(
            self.exports.export,
            self.studies.store(wished["study"]),
            wished["study"],
            wished["trial"],
            wished["format"],
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
    """The request's body, which is these fields and nothing else; ValueError if it is not."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_REQUEST_BYTES:
            raise ValueError(f"body: it is not within {_MOST_REQUEST_BYTES:,} bytes")
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise ValueError(f"body: it is not a JSON object of {', '.join(names)}")
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}: {value!r} is not a text")
    return fields


async def _mistake(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"address: {request.url.path[:100]!r} is not one of the dashboard's"
    return JSONResponse({"error": sentence}, status_code=error.status_code)


async def _failure(_: Request, error: Exception) -> Response:
    """What only we can break; the page says so, and the terminal has the rest."""
    traceback.print_exception(error, file=sys.stderr)
    sentence = f"the dashboard failed with {type(error).__name__}; its terminal says more"
    return JSONResponse({"error": sentence}, status_code=500)
