"""Damaged study files: every one is accepted or refused with one sentence."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given

from search_space.input_errors import one_sentence
from studies.spec.reference_models import check_models
from studies.spec.start_files import check_start_files
from studies.spec.study_file import read_spec, spec_text
from studies.spec.study_spec import StudySpec, check_machine
from tests.fuzz.damage import toml_files
from tests.fuzz.outcomes import SAMPLE, THOUSANDS, check_sentence, damaged_folder, exit_code
from tests.nas.tiny_study import STUDY, write_study

# Without the tables that quickstart explains but leaves out, few mistakes could be made.
_MORE = """
[proxy]
corpus = ["text.txt", "folder"]
task = "task.jsonl"
width_share = 0.125
[recall]
[[constraints]]
name = "weight_mb"
max = 10.0
[space.rules]
parameters = [1, 100000000]
"""
_TINY = tomllib.loads(STUDY)
_STUDIES = [
    _TINY,
    tomllib.loads(spec_text("quickstart")),
    _TINY | {key: value for key, value in tomllib.loads(_MORE).items() if key != "space"},
    _TINY | {"references": ["lfm2-350m", "pipe.json"], "device": {"reference": "loop.json"}},
    _TINY | {"sampler": {"start_from": ["edge", "text.txt/x.json", "list.jsonl", "pipe.json"]}},
    _TINY
    | {
        "space": _TINY["space"]
        | {"feed_forward": [1.0, 4.0], "matched": {"latency": 5.0, "score": "prefill"}}
    },
]


def check(content: bytes) -> None:
    with damaged_folder() as folder:
        write_study(folder)
        (folder / "study.toml").write_bytes(content)
        os.mkfifo(folder / "pipe")
        os.mkfifo(folder / "pipe.json")
        for name in ("loop", "loop.json"):
            (folder / name).symlink_to(name)
        # `nas validate` would time the models of a valid study.
        command = "validate" if is_refused(folder) else "status"
        assert exit_code(folder, command, "study.toml") == 2


def is_refused(folder: Path) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            spec: StudySpec = read_spec("study.toml")
            check_machine(spec)
            check_models(spec)
            check_start_files(spec)
        except ValueError as error:
            check_sentence(one_sentence(str(error)))
            return True
    return False


@SAMPLE
@given(content=toml_files(_STUDIES))
def test_a_damaged_study_file_gives_one_sentence(content: bytes) -> None:
    check(content)


@pytest.mark.slow
@THOUSANDS
@given(content=toml_files(_STUDIES))
def test_more_than_a_thousand_damaged_study_files_give_one_sentence(content: bytes) -> None:
    check(content)


@pytest.mark.parametrize(
    "content",
    [
        b"a." * 400_000 + b"a = 1",
        b"[" + b"a." * 400_000 + b"a]",
        b"a = " + b"[" * 100_000,
        b"a = " + b"{a = " * 50_000,
        b"a = " + b"9" * 900_000,
        b'a = "' + b"\\u0041" * 150_000 + b'"',
        b"".join(b"[a%d]\n" % number for number in range(100_000)),
        b"[[a]]\n" * 150_000,
        b"\xff\xfe",
        b"",
        bytes(1_100_000),
    ],
    ids=range(11),
)
def test_a_study_file_built_to_take_long_is_refused_in_time(content: bytes) -> None:
    check(content)
