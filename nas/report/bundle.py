"""Bundles the page's files into a report, so that it opens from disk without a network."""

import base64
import json
import re

from nas.dashboard.assets import assets, modules

_ENTRY = "report.js"
_LIBRARY = "vendor/echarts.min.js"
_STYLE = "style.css"
_IMPORT = re.compile(r'(\bfrom\s+)"\./([\w-]+\.js)"')


def stylesheet() -> str:
    """Return the page's style sheet, safe inside a `<style>` element."""
    return _text(_STYLE).replace("</", r"<\/")


def scripts() -> str:
    """Return the `<script>` elements of a report: the chart library and the page's modules.

    Each module is a data: URL, and an import map translates the names under which modules import
    each other: browsers do not let a page from file:// import other files.
    """
    urls = {_name(module): _data_url(text) for module, text in modules(_ENTRY).items()}
    import_map = json.dumps({"imports": urls})
    return (
        f"<script>{_inside_script(_text(_LIBRARY))}</script>\n"
        f'<script type="importmap">{import_map}</script>\n'
        f'<script type="module">import "{_name(_ENTRY)}";</script>'
    )


def _inside_script(text: str) -> str:
    """Escape what would end a `<script>` element or start a comment inside it."""
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _name(module: str) -> str:
    return f"page/{module}"


def _data_url(text: str) -> str:
    text = _IMPORT.sub(lambda found: f'{found[1]}"{_name(found[2])}"', text)
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def _text(name: str) -> str:
    return assets()[name].body.decode()
