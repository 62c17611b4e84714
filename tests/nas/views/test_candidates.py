"""Tests of the order in which a table of candidates is shortened in a narrow terminal."""

from io import StringIO

import pytest
from rich.console import Console

from nas.views.candidates import CandidateTable, Row
from studies.records import ModelSummary

LAYOUT = "cacslcacc-" * 2


@pytest.fixture
def table() -> CandidateTable:
    model = ModelSummary(hash="0" * 16, layout=LAYOUT, parameters=354_483_968)
    row = Row(names=("117",), model=model, figures=("20.50 ±0.35", "0.4375 ±0.0076"))
    headings = ("decode\nms/token", "recall_error\nwrong")
    return CandidateTable(names=("trial",), figures=headings, rows=(row,))


def shown(table: CandidateTable, width: int) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def test_nothing_is_split_if_there_is_room(table) -> None:
    text = shown(table, 80)
    for whole in (LAYOUT, "354.5", "20.50 ±0.35", "0.4375 ±0.0076", "recall_error", "ms/token"):
        assert whole in text


def test_layouts_are_split_into_two_lines_first(table) -> None:
    text = shown(table, 60)
    assert LAYOUT not in text
    for whole in (LAYOUT[:10], "354.5", "20.50 ±0.35", "0.4375 ±0.0076"):
        assert whole in text


@pytest.mark.parametrize(("width", "sizes"), [(46, True), (36, False)])
def test_intervals_move_below_values_before_parameters_are_omitted(
    table, width: int, sizes: bool
) -> None:
    text = shown(table, width)
    assert ("354.5" in text) == sizes
    for whole in (LAYOUT[:10], " 20.50 ", " 0.4375", " ±0.35 ", " ±0.0076", "recall_"):
        assert whole in text
    assert "±" not in text.split("20.50")[1].splitlines()[0]


def test_a_table_without_rows_has_headings() -> None:
    empty = CandidateTable(names=("trial",), figures=("loss\nbits/byte",), rows=())
    assert "bits/byte" in shown(empty, 40)
