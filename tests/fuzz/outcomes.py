"""Checks of how a command ends, which hold for every command and all damaged files."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

from tests.nas.conftest import run_nas

# The same cases in every run; `make test-all` draws others.
SAMPLE = settings(
    max_examples=120,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
THOUSANDS = settings(SAMPLE, max_examples=1_500, derandomize=False)

_MOST_CHARACTERS = 500
_MOST_SECONDS = 5.0  # of processor time, which other programs do not lengthen
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What these events of the interpreter change, by the positions of the paths among their arguments.
_CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
}


@contextmanager
def damaged_folder() -> Iterator[Path]:
    """Provide an empty folder that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="nas-fuzz-") as folder:
        yield Path(folder).resolve()


def exit_code(folder: Path, *arguments: str) -> int:
    """Run a command in a folder, and check that it ends as it should.

    It ends well or with one sentence and exit code 2, in less than five seconds, and changes
    nothing outside the folder. If it refuses its input, it leaves no file behind.
    """
    before = sorted(folder.rglob("*"))
    started = time.process_time()
    with changed_paths() as changed:
        done = run_nas(folder, *arguments)
    assert time.process_time() - started < _MOST_SECONDS
    assert [path for path in changed if not path.is_relative_to(folder)] == []
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:
        check_sentence(done.stderr.splitlines()[-1].removeprefix("nas: "))
        assert "Traceback" not in done.stderr
        assert sorted(folder.rglob("*")) == before
    return done.returncode


def check_sentence(sentence: str) -> None:
    """Check that an error message is one short line without control characters."""
    assert 0 < len(sentence) <= _MOST_CHARACTERS
    assert sentence.isprintable(), repr(sentence)


_recorded: list[Path] | None = None


@contextmanager
def changed_paths() -> Iterator[list[Path]]:
    """Record the paths that this process creates, writes, renames or deletes."""
    global _recorded  # an audit hook cannot be removed
    _recorded = found = []
    try:
        yield found
    finally:
        _recorded = None


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if _recorded is None:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        positions: tuple[int, ...] = (0,)
    else:
        positions = _CHANGES.get(event, ())
    for position in positions:
        path = arguments[position]
        if isinstance(path, str | bytes | os.PathLike):
            shown = os.fsdecode(path)
            # Python stores what it compiles, and libraries open the null device.
            if "__pycache__" not in shown and shown != os.devnull:
                _recorded.append(Path.cwd() / shown)


sys.addaudithook(_record)
