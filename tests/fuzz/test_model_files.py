"""Damaged architectures and configurations: each is accepted or refused with one sentence."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.exporters.architecture_json import provenance_of
from search_space.architecture import architecture_hash, to_json
from search_space.huggingface.configuration import config_of
from tests.fuzz.damage import json_files
from tests.fuzz.outcomes import SAMPLE, THOUSANDS, damaged_folder, exit_code
from tests.search_space.huggingface.published import PUBLISHED
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

_MIXED = stack(CONV, ATTENTION, LINEAR, WINDOW, None)
_ARCHITECTURES = [
    json.loads(to_json(_MIXED)),
    {
        "architecture": json.loads(to_json(_MIXED)),
        "hash": architecture_hash(_MIXED),
        "provenance": asdict(provenance_of(None, made_from=None)),
    },
]
_CONFIGS = [*PUBLISHED.values(), config_of(_MIXED), config_of(stack(CONV, ATTENTION))]


def check_architecture(content: bytes, command: str) -> None:
    with damaged_folder() as folder:
        (folder / "model.json").write_bytes(content)
        if command == "show":
            exit_code(folder, "show", "model.json")
        else:
            exit_code(folder, "export", "model.json", "-o", "copy.json")


def check_config(content: bytes, command: str) -> None:
    with damaged_folder() as folder:
        (folder / "config.json").write_bytes(content)
        if command == "show":
            exit_code(folder, "show", "config.json")
        elif exit_code(folder, "import", "config.json", "-o", "model.json") == 0:
            assert exit_code(folder, "show", "model.json") == 0


_COMMANDS = st.sampled_from(["show", "write"])


@SAMPLE
@given(content=json_files(_ARCHITECTURES), command=_COMMANDS)
def test_a_damaged_architecture_gives_one_sentence(content: bytes, command: str) -> None:
    check_architecture(content, command)


@SAMPLE
@given(content=json_files(_CONFIGS), command=_COMMANDS)
def test_a_damaged_configuration_gives_one_sentence(content: bytes, command: str) -> None:
    check_config(content, command)


@pytest.mark.slow
@THOUSANDS
@given(content=json_files(_ARCHITECTURES), command=_COMMANDS)
def test_more_than_a_thousand_damaged_architectures_give_one_sentence(
    content: bytes, command: str
) -> None:
    check_architecture(content, command)


@pytest.mark.slow
@THOUSANDS
@given(content=json_files(_CONFIGS), command=_COMMANDS)
def test_more_than_a_thousand_damaged_configurations_give_one_sentence(
    content: bytes, command: str
) -> None:
    check_config(content, command)
