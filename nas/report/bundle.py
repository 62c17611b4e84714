"""The page's files in one piece, so that a report opens from a disk and asks no network."""

import base64
import json
import re

from nas.dashboard.assets import assets, modules

_ENTRY = "report.js"
_LIBRARY = "vendor/echarts.min.js"
_STYLE = "style.css"
_IMPORT = re.compile(r'(\bfrom\s+)"\./([\w-]+\.js)"')


def stylesheet() -> str:
    return _text(_STYLE).replace("</", r"<\/")


def scripts() -> str:
    """The charts' library, and the modules of the page from the entry of a report on.

    Modules import each other by names that an import map leads to data: URLs: what comes from
    file:// may import nothing beside it.
    """
    urls = {_name(module): _data_url(text) for module, text in modules(_ENTRY).items()}
    import_map = json.dumps({"imports": urls})
    return (
        f"<script>{_inside_script(_text(_LIBRARY))}</script>\n"
        f'<script type="importmap">{import_map}</script>\n'
        f'<script type="module">import "{_name(_ENTRY)}";</script>'
    )


def _inside_script(text: str) -> str:
    """Inside <script> nothing may read as its end, nor as the beginning of a comment."""
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _name(module: str) -> str:
    return f"page/{module}"


def _data_url(text: str) -> str:
    text = _IMPORT.sub(lambda found: f'{found[1]}"{_name(found[2])}"', text)
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def _text(name: str) -> str:
    return assets()[name].body.decode()
