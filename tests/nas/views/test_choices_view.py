"""Tests of the terminal's view of which choices matter."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from nas.findings.choice_analysis import ChoiceAnalysis
from nas.views.choices_view import choices_document, choices_view
from tests.nas.findings.test_choice_findings import EFFECTS
from tests.nas.views.conftest import Render

FOUND = ChoiceAnalysis(
    trials=147,
    note=None,
    axes=(),
    effects=EFFECTS,
    findings=("Loss falls by 0.095 (0.086 to 0.104) bits/byte.", "A second finding."),
)


def test_sentences_and_effects_fit_80_columns(render: Render) -> None:
    shown = render(choices_view(FOUND))
    assert "- A second finding." in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "choice change effect on loss, bits/byte" in lines
    assert "vocab_size 8,192 -> 32,768 -0.095 (-0.104 to -0.086)" in lines
    assert "kernel 3 -> 7 not distinguishable" in lines
    assert "position of attention first third -> even +0.012 (+0.008 to +0.016)" in lines
    assert "attention at equal latency n -> n + 1 layers +0.024 (+0.016 to +0.032)" in lines
    assert "An effect is the difference in the predicted loss" in shown


def test_a_narrow_terminal_shows_everything() -> None:
    console = Console(file=StringIO(), width=20, color_system=None, highlight=False)
    console.print(choices_view(replace(FOUND, findings=())))
    shown = console.file.getvalue()
    assert all(len(line) <= 20 for line in shown.splitlines())
    rows = [line for line in shown[shown.index("─ ") :].splitlines()[1:] if line.strip()]
    rows = rows[: next(n for n, row in enumerate(rows) if row.startswith("An effect"))]
    for column, letters in (
        (slice(1, 5), "vocab_size"),
        (slice(7, 12), "8,192->32,768"),
        (slice(14, 20), "-0.095(-0.104to-0.086)"),
    ):
        assert letters in "".join(row[column].replace(" ", "") for row in rows)


def test_without_effects_there_is_no_table(render: Render) -> None:
    assert "effect on" not in render(choices_view(replace(FOUND, effects=None)))
    unknown = replace(EFFECTS, effects=(), more_attention=None)
    assert "effect on" not in render(choices_view(replace(FOUND, effects=unknown)))


def test_too_few_candidates_are_the_only_thing_shown(render: Render) -> None:
    shown = render(choices_view(ChoiceAnalysis(trials=3, note="Too few.", axes=())))
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert lines == ["Which choices matter", "Too few."]


def test_the_document_has_every_comparison() -> None:
    document = choices_document(FOUND)
    assert document["rank_correlation"] == 0.9
    assert document["findings"] == list(FOUND.findings)
    (vocabulary,) = (each for each in document["effects"] if each["choice"] == "vocab_size")
    assert (vocabulary["from"], vocabulary["to"]) == ("8,192", "32,768")
    assert (vocabulary["difference"], vocabulary["distinguishable"]) == (-0.0952, True)
    assert sum(each["choice"] == "attention at equal latency" for each in document["effects"]) == 3
    empty = choices_document(ChoiceAnalysis(trials=3, note="Too few.", axes=()))
    assert (empty["note"], empty["effects"], empty["unit"]) == ("Too few.", [], None)
