"""What axe-core finds wrong with a page that matters."""

from typing import Any


def grave_findings(page: Any) -> list[tuple[str, list[str]]]:
    """Serious and critical findings, each with the first elements that it is about."""
    from axe_core_python.sync_playwright import Axe

    return [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in Axe().run(page)["violations"]
        if each["impact"] in ("serious", "critical")
    ]
