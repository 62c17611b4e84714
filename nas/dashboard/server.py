"""The dashboard as a web application: one page, its files, documents of studies, and exports."""

import json
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nas.dashboard.assets import Asset, assets, page_text
from nas.dashboard.exports import ExportFolder
from nas.dashboard.guard import Guard
from nas.dashboard.open_studies import OpenStudies
from nas.study_place import DEFAULT_STORAGE
from studies.storage.store import hidden_password

_MOST_REQUEST_BYTES = 10_000


def dashboard_app(studies: OpenStudies, exports: ExportFolder, *, bound_host: str) -> ASGIApp:
    """bound_host: what the server listens on; see `Guard`."""
    pages = _Pages(studies=studies, exports=exports)
    guard = Guard(app=pages.routes(), bound_host=bound_host)
    pages.token = guard.token
    return guard
