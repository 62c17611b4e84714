"""What a study would start from: as lines of text for people, and as a document for scripts."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from nas.views.terminal import layout_strip
from search_space.architecture import architecture_hash
from search_space.costs import parameter_counts
from search_space.input_errors import one_sentence
from studies.search.warm_start import WarmStart
from studies.spec.start_files import first_candidates

_MOST_SHOWN = 10


def start_document(start: WarmStart | None) -> dict[str, Any] | None:
    """Return what `nas validate --json` prints about the start of a study; None if unknown."""
    if start is None:
        return None
    return {
        "remarks": list(start.remarks),
        "first_candidates": [
            {
                "from": name,
                "layout": each.layout,
                "parameters": parameter_counts(each).total,
                "hash": architecture_hash(each),
            }
            for name, group in first_candidates(start.spec).items()
            for each in group
        ],
        "informing": [
            {"study": each.trial.study, "trial": each.trial.number} for each in start.informing
        ],
    }


def start_lines(start: WarmStart | None) -> Iterator[Text]:
    """Yield the remarks about the start of a study, and the layouts of its first candidates."""
    if start is None or not start.remarks:
        return
    for remark in start.remarks:
        yield Text(remark)
    for name, group in first_candidates(start.spec).items():
        source = one_sentence(name)  # shows a line feed as an escape
        for each in group[:_MOST_SHOWN]:
            size = f"  {parameter_counts(each).total / 1e6:,.1f} million parameters, from {source}"
            yield Text.assemble("  ", layout_strip(each.layout), size)
        if len(group) > _MOST_SHOWN:
            yield Text(f"  {len(group) - _MOST_SHOWN} more from {source}")
    yield Text()
