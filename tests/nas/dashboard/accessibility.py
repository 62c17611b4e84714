"""Accessibility checks with axe-core."""

from typing import Any


def serious_violations(page: Any) -> list[tuple[str, list[str]]]:
    """Return serious and critical violations, each with the first elements concerned."""
    from axe_core_python.sync_playwright import Axe

    return [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in Axe().run(page)["violations"]
        if each["impact"] in ("serious", "critical")
    ]
