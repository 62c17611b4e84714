"""The page's files in one piece, so that a report opens from a disk and asks no network."""

import base64
import json
import re
from collections.abc import Mapping

from nas.dashboard.assets import Asset, assets

_ENTRY = "report.js"
_LIBRARY = "vendor/echarts.min.js"
_STYLE = "style.css"
_IMPORT = re.compile(r'(\bfrom\s+)"\./([\w-]+\.js)"')


def stylesheet() -> str:
    return _text(assets()[_STYLE]).replace("</", r"<\/")


def scripts() -> str:
    """The charts' library, and the modules of the page from the entry of a report on.

    Modules import each other by names that an import map leads to data: URLs: what comes from
    file:// may import nothing beside it.
    """
    files = assets()
    modules: dict[str, str] = {}
    _add(_ENTRY, files, modules)
    urls = {_name(module): _data_url(text) for module, text in modules.items()}
    import_map = json.dumps({"imports": urls})
    return (
        f"<script>{script_text(_text(files[_LIBRARY]))}</script>\n"
        f'<script type="importmap">{import_map}</script>\n'
        f'<script type="module">import "{_name(_ENTRY)}";</script>'
    )


def script_text(text: str) -> str:
    """Inside <script> nothing may read as its end, nor as the beginning of a comment."""
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _add(module: str, files: Mapping[str, Asset], modules: dict[str, str]) -> None:
    """A module and all that it imports, directly or not."""
    if module in modules:
        return
    text = _text(files[module])
    modules[module] = _IMPORT.sub(lambda found: f'{found[1]}"{_name(found[2])}"', text)
    for needed in _IMPORT.findall(text):
        _add(needed[1], files, modules)


def _name(module: str) -> str:
    return f"page/{module}"


def _data_url(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def _text(asset: Asset) -> str:
    return asset.body.decode()
