"""The user's own task: a file of prompts and completions, some of which are held out."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from search_space.input_files import UnreadableFile, read_file

# A task is held in memory, and its examples are short.
_MOST_BYTES = 1_000_000_000
_HELD_OUT_SHARE = 0.2
# Held-out prompts are scored after every training. With this limit a longer file gives more text to
# train on but does not make scoring slower.
_MOST_HELD_OUT = 400
_FEWEST_PROMPTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt and the completion that the model should learn to write."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Training and held-out examples that share no prompt, in the order of the prompts' hashes.

    Attributes:
        training: The examples to train on.
        held_out: The examples to score.
        identity: SHA-256 over the examples, independent of their order in the file.
    """

    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    identity: str


def read_task(name: str) -> Task:
    """Read a JSONL file in which each line is {"prompt": ..., "completion": ...}.

    Duplicate examples count once. A fifth of the prompts, but at most 400, are held out: those with
    the smallest hashes.

    Args:
        name: The path of the file.

    Raises:
        ValueError: The file cannot be read, a line has another form, or there are fewer than 50
            different prompts.
    """
    task = _split(_examples(name))
    count = len({example.prompt for example in (*task.training, *task.held_out)})
    if count < _FEWEST_PROMPTS:
        raise ValueError(
            f"task: '{name}' has {count} different prompts, but at least {_FEWEST_PROMPTS} are "
            "required"
        )
    return task


def _split(examples: Iterable[Example]) -> Task:
    distinct = sorted(set(examples), key=_sort_key)
    prompts = list(dict.fromkeys(example.prompt for example in distinct))
    held_out = set(prompts[: min(_MOST_HELD_OUT, int(_HELD_OUT_SHARE * len(prompts)))])
    return Task(
        training=tuple(each for each in distinct if each.prompt not in held_out),
        held_out=tuple(each for each in distinct if each.prompt in held_out),
        identity=hashlib.sha256("".join(map(_digest, distinct)).encode()).hexdigest(),
    )


def _examples(name: str) -> Iterator[Example]:
    try:
        path = Path(name).expanduser()
    except (OSError, RuntimeError, ValueError):  # an unknown user's home
        raise ValueError(f"task: '{name}' cannot be read (no file has that name)") from None
    try:
        lines = read_file(path, _MOST_BYTES).splitlines()
    except UnreadableFile as error:
        raise ValueError(f"task: '{name}' cannot be read ({error.reason})") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _example(line)
            except ValueError as error:
                raise ValueError(f"task: line {number} of '{name}' {error}") from None


def _example(line: bytes) -> Example:
    """Parse a line, or raise ValueError with a predicate whose subject is the line."""
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict) or set(found) != {"prompt", "completion"}:
        raise ValueError('is not an object with exactly the fields "prompt" and "completion"')
    for field, text in found.items():
        if not isinstance(text, str):
            raise ValueError(f'has a "{field}" that is not a string')
        if not _is_unicode(text):
            raise ValueError(
                f'has a "{field}" with an unpaired UTF-16 surrogate, which is not a character'
            )
    if not found["completion"]:
        raise ValueError('has an empty "completion"')
    return Example(prompt=found["prompt"], completion=found["completion"])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sort_key(example: Example) -> tuple[str, str]:
    return hashlib.sha256(example.prompt.encode()).hexdigest(), example.completion


def _digest(example: Example) -> str:
    return hashlib.sha256(json.dumps([example.prompt, example.completion]).encode()).hexdigest()
