"""The static files of the dashboard page."""

import hashlib
import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMPORT = re.compile(r'\bfrom\s+"\./([\w-]+\.js)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file to serve.

    Attributes:
        body: The content of the file.
        media_type: The value of the Content-Type header.
        tag: The value of the ETag header, a hash of the content.
    """

    body: bytes
    media_type: str
    tag: str


def assets() -> Mapping[str, Asset]:
    """Return every file that may be requested, by its path below the static folder."""
    return dict(_assets(_folder(), ""))


def page_text(token: str) -> str:
    """Return the HTML of the page.

    The page lists all of its modules, so that the browser loads them in parallel.

    Args:
        token: The token that the page sends with a request that writes something.
    """
    text = (_folder() / "index.html").read_text(encoding="utf-8")
    links = [f'<link rel="modulepreload" href="static/{name}" />' for name in modules("page.js")]
    return text.replace("{{token}}", token).replace("{{modules}}", "\n    ".join(links))


def modules(entry: str) -> Mapping[str, str]:
    """Return the text of a module and of everything it imports, directly or indirectly.

    Args:
        entry: The file name of the module, such as "page.js".

    Returns:
        The text of each module, by its file name.
    """
    found: dict[str, str] = {}
    pending = [entry]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = (_folder() / name).read_text(encoding="utf-8")
            pending += _IMPORT.findall(found[name])
    return found


def _assets(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _assets(entry, f"{prefix}{entry.name}/")
            continue
        media_type = _MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None and entry.name != "index.html":
            body = entry.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found.append((prefix + entry.name, Asset(body=body, media_type=media_type, tag=tag)))
    return found


def _folder() -> Traversable:
    return importlib.resources.files("nas.dashboard") / "static"
