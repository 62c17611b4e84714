import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.views.scatter import Mark, scatter

FINITE = st.floats(min_value=-1e6, max_value=1e6)
MARKS = st.lists(
    st.builds(Mark, x=FINITE, y=FINITE, symbol=st.just("●"), label=st.sampled_from(["", "name"])),
    min_size=1,
    max_size=30,
)


@given(marks=MARKS)
def test_the_plot_fits_80_columns_and_shows_a_mark(marks: list[Mark]) -> None:
    drawn = scatter(marks, x_title="ms/token", y_title="bits/byte")
    assert all(len(line) <= 80 for line in drawn.splitlines())
    assert 1 <= drawn.count("●") <= len(marks)


def test_marks_are_placed_in_the_order_of_their_values() -> None:
    marks = [
        Mark(x=0, y=0, symbol="a"),
        Mark(x=10, y=10, symbol="b"),
        Mark(x=5, y=5, symbol="c"),
    ]
    lines = scatter(marks, x_title="x", y_title="y", columns=44, rows=11).splitlines()
    place = {
        symbol: (line.index(symbol), row)
        for row, line in enumerate(lines[1:12])
        for symbol in "abc"
        if symbol in line
    }
    assert place["a"][0] < place["c"][0] < place["b"][0]
    assert (place["a"][1], place["c"][1], place["b"][1]) == (10, 5, 0)
    assert lines[1].startswith("10 ┤")
    assert lines[11].startswith(" 0 ┤")


def test_ticks_of_a_narrow_range_have_distinct_labels() -> None:
    marks = [Mark(x=1.2905, y=0, symbol="."), Mark(x=1.2995, y=1, symbol=".")]
    labels = scatter(marks, x_title="", y_title="").splitlines()[-2].split()
    assert labels == ["1.29", "1.292", "1.294", "1.296", "1.298", "1.3"]


def test_the_last_mark_covers_the_others() -> None:
    marks = [Mark(x=1, y=1, symbol="."), Mark(x=1, y=1, symbol="A")]
    assert "A" in scatter(marks, x_title="", y_title="")


@pytest.mark.parametrize("x", [0.0, 10.0])
def test_a_label_is_written_on_the_side_with_room(x: float) -> None:
    marks = [
        Mark(x=0, y=0, symbol="."),
        Mark(x=10, y=2, symbol="."),
        Mark(x=x, y=1, symbol="◆", label="lfm2-350m"),
    ]
    drawn = scatter(marks, x_title="", y_title="")
    assert ("◆ lfm2-350m" if x == 0 else "lfm2-350m ◆") in drawn
