"""`nas import`: a transformers configuration becomes an architecture file."""

import json
from pathlib import Path

import pytest

from search_space.architecture_file import read_architecture
from search_space.preset_models import PRESETS
from tests.search_space.huggingface.published import LLAMA_3_2, PUBLISHED


def test_a_configuration_becomes_an_architecture_file(nas, nas_process, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["lfm2-350m"]))
    imported = nas_process("import", "config.json", "-o", "lfm2.json")
    assert imported.returncode == 0
    assert imported.stdout == ""
    assert "read lfm2, 354,483,968 parameters: ccaccaccacacacac" in imported.stderr
    assert read_architecture(tmp_path / "lfm2.json") == PRESETS["lfm2-350m"]
    again = nas("import", ".", "-o", "lfm2.json")
    assert (again.returncode, "--force overwrites it" in again.stderr) == (2, True)
    assert nas("import", ".", "-o", "lfm2.json", "--force").returncode == 0


def test_the_scaling_of_positions_is_ignored_on_request(nas, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_2))
    refused = nas("import", "config.json")
    assert refused.returncode == 2
    assert refused.stderr.startswith("nas: config.json: rope_scaling: rope_type: 'llama3' rescales")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "architecture.json").exists()
    assert nas("import", "config.json", "--without-rope-scaling").returncode == 0
    assert read_architecture(tmp_path / "architecture.json") == PRESETS["llama-3.2-1b"]


@pytest.mark.parametrize("output", ["lfm2.toml", "lfm2.gguf", "config.json"])
def test_a_name_that_commands_take_for_something_else_is_refused(
    nas, tmp_path: Path, output: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(PUBLISHED["lfm2-350m"]))
    refused = nas("import", "model", "-o", output)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"nas: output: commands do not read '{output}' as an architecture file; choose a name that "
        "ends in .json, other than config.json\n"
    )
    assert not (tmp_path / output).exists()


def test_a_missing_file_is_named(nas) -> None:
    missing = nas("import", "nowhere/config.json")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "nowhere/config.json: no such file" in missing.stderr
