"""The files of the page: as the server hands them out, and in one piece for a report."""

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
_LIBRARY = "vendor/echarts.min.js"
# What the entry for a report imports, directly or not, goes into one script.
_REPORT_ENTRY = "draw.js"
# The modules import each other in this one form, by name and never under another name.
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is served; `tag` changes with its content."""

    body: bytes
    media_type: str
    tag: str


def assets() -> Mapping[str, Asset]:
    """Every file that may be asked for, by its path below the page's folder: there are no others."""
    return dict(_assets(_folder(), ""))


def page_text() -> str:
    """The page before anything is drawn; `{{token}}` stands where its token goes."""
    return _text("index.html")


def stylesheet() -> str:
    return _text("style.css")


def charts_library() -> str:
    """A classic script that defines `echarts`."""
    return _script_safe(_text(_LIBRARY))


def report_script() -> str:
    """The page's modules as one module without imports, which defines `drawStudy`; see draw.js.

    Each module follows those that it imports. They share one scope then, so that a name at the top
    of a module must be the only one of its kind.
    """
    ordered: dict[str, str] = {}
    _add_module(_REPORT_ENTRY, ordered)
    return _script_safe("\n".join(ordered.values()))


def _add_module(name: str, ordered: dict[str, str]) -> None:
    if name in ordered:
        return
    text = _text(name)
    for needed in _IMPORT.findall(text):
        _add_module(needed, ordered)
    ordered[name] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)


def _script_safe(script: str) -> str:
    """Inside <script> nothing may read as its end, nor as the beginning of a comment."""
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")


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


def _text(name: str) -> str:
    return _folder().joinpath(*name.split("/")).read_text(encoding="utf-8")
