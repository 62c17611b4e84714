"""Tests that text which is not ours cannot control the terminal."""

import pytest
from rich.text import Text

from nas.views.terminal import notices, output, table

_HOSTILE = "\x1b]0;title\x07 \x1b[2J \x9b31m \x7f \u202egnp.exe"


@pytest.mark.parametrize("shown", [_HOSTILE, Text(_HOSTILE, style="bold")], ids=["str", "Text"])
def test_no_control_character_reaches_the_terminal(shown, capsys) -> None:
    grid = table("name")
    grid.add_row(shown)
    for console in (output(), notices()):
        console.print(shown)
        console.print(shown, soft_wrap=True)
        console.print(grid)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not set(text) & set("\x1b\x07\x9b\x7f\u202e")
        assert "title" in text


def test_names_with_colons_are_printed_as_they_are(capsys) -> None:
    for console in (output(), notices()):
        console.print("hf:x:en", Text(":fire:"))
    said = capsys.readouterr()
    assert said.out == said.err == "hf:x:en :fire:\n"


def test_colours_and_line_breaks_stay(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output().print(Text("one\ntwo", style="bold red"))
    said = capsys.readouterr().out
    assert "\x1b[1;31mone" in said
    assert said.count("\n") == 2
