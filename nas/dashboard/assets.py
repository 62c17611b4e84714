"""The files of the page, as the server hands them out."""

import hashlib
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is served; `tag` changes with its content."""

    body: bytes
    media_type: str
    tag: str


def assets() -> Mapping[str, Asset]:
    """Every file that may be asked for, by its path below the page's folder."""
    return dict(_assets(_folder(), ""))


def page_text() -> str:
    """The page before anything is drawn; `{{token}}` stands where its token goes."""
    return (_folder() / "index.html").read_text(encoding="utf-8")


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
