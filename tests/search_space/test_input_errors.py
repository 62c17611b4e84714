"""Every error is shown as one line that a terminal prints and a reader finishes."""

from hypothesis import given
from hypothesis import strategies as st

from search_space.input_errors import one_sentence


def test_an_ordinary_message_is_unchanged() -> None:
    text = "space.depth: 0 is not between 1 and 128 (± 5 %, größer, 模型)"
    assert one_sentence(text) == text


def test_control_characters_are_shown_as_escapes() -> None:
    text = "name: '\x1b[31m\x00\r\n\u202e\udcff' is not a name"
    assert one_sentence(text) == r"name: '\x1b[31m\x00\r\n\u202e\udcff' is not a name"


def test_the_end_of_a_message_about_a_long_path_is_kept() -> None:
    shown = one_sentence(f"references[0]: {'x' * 6_000}.json: file name too long")
    assert shown.startswith("references[0]: xxx")
    assert shown.endswith("xxx.json: file name too long")
    assert len(shown) < 200


def test_a_long_message_of_short_words_loses_its_middle() -> None:
    shown = one_sentence("start " + "word " * 5_000 + "end")
    assert shown.startswith("start word")
    assert " ... " in shown
    assert shown.endswith("word end")
    assert len(shown) <= 500


@given(st.text(max_size=3_000) | st.text("ab \n\x00", min_size=400, max_size=30_000))
def test_any_text_becomes_one_printable_line_of_at_most_500_characters(text: str) -> None:
    shown = one_sentence(text)
    assert len(shown) <= 500
    assert shown.isprintable()
