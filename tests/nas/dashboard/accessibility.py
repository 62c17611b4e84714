"""Accessibility checks with axe-core."""

from typing import Any


def serious_violations(page: Any) -> list[tuple[str, list[str]]]:
    """Return serious and critical violations, each with the first elements concerned."""
    from axe_core_python.sync_playwright import Axe

    # All rules are checked. Without this option, listing what they accept takes most of the time.
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
