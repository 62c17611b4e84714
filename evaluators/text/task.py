"""The user's own task: a file of prompts and completions, a part of which is held out."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HELD_OUT_SHARE = 0.2
# They are scored after every training: a longer file makes training richer, and scoring no slower.
_MOST_HELD_OUT = 400
_FEWEST_PROMPTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Two sides that share no prompt, each in the order of the prompts' hashes.

    identity: SHA-256 over the examples; their order in the file leaves it alone.
    """

    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    identity: str


def read_task(name: str) -> Task:
    """The examples of a JSONL file, of which each line is {"prompt": ..., "completion": ...}.

    Examples that are given twice count once. A fifth of the prompts, but not more than some
    hundred, is held out: those whose hashes are smallest. Raises ValueError for a file that is not
    there, for a line that is anything else, and for too few prompts.
    """
    task = _split(_examples(name))
    count = len({example.prompt for example in (*task.training, *task.held_out)})
    if count < _FEWEST_PROMPTS:
        raise ValueError(
            f"task: '{name}' holds {count} different prompts, and at least {_FEWEST_PROMPTS} are "
            "needed"
        )
    return task


def _split(read: Iterable[Example]) -> Task:
    examples = sorted(set(read), key=_place)
    prompts = list(dict.fromkeys(example.prompt for example in examples))
    held_out = set(prompts[: min(_MOST_HELD_OUT, int(_HELD_OUT_SHARE * len(prompts)))])
    return Task(
        training=tuple(each for each in examples if each.prompt not in held_out),
        held_out=tuple(each for each in examples if each.prompt in held_out),
        identity=hashlib.sha256("".join(map(_digest, examples)).encode()).hexdigest(),
    )


def _examples(name: str) -> Iterator[Example]:
    try:
        lines = Path(name).expanduser().read_bytes().splitlines()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file has that name"
        raise ValueError(f"task: '{name}' cannot be read ({reason.lower()})") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _example(line)
            except ValueError as error:
                raise ValueError(f"task: line {number} of '{name}' {error}") from None


def _example(line: bytes) -> Example:
    """ValueError with the rest of a sentence that began with the line's number."""
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict) or set(found) != {"prompt", "completion"}:
        raise ValueError('is not an object of "prompt" and "completion" and nothing else')
    for field, text in found.items():
        if not isinstance(text, str):
            raise ValueError(f'has a "{field}" that is not a text')
        if not _is_unicode(text):
            raise ValueError(f'has a "{field}" with half of a UTF-16 pair, which is no character')
    if not found["completion"]:
        raise ValueError('has an empty "completion"')
    return Example(prompt=found["prompt"], completion=found["completion"])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(example: Example) -> tuple[str, str]:
    return hashlib.sha256(example.prompt.encode()).hexdigest(), example.completion


def _digest(example: Example) -> str:
    return hashlib.sha256(json.dumps([example.prompt, example.completion]).encode()).hexdigest()
