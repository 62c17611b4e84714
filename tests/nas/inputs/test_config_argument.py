"""The argument of `nas import`: configurations, and the many files that are none."""

import json
from pathlib import Path

import pytest

from nas.inputs.config_argument import find_config
from search_space.architecture import to_json
from search_space.preset_models import PRESETS
from tests.search_space.huggingface.published import PUBLISHED


def test_a_configuration_is_found_by_its_file_or_folder(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(PUBLISHED["lfm2-350m"]))
    other = tmp_path / "lfm2"  # a downloaded file may have any name
    other.write_text(path.read_text())
    for argument in (path, tmp_path, other):
        assert find_config(argument) == PUBLISHED["lfm2-350m"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("lfm2-350m", "path: 'lfm2-350m' is a preset, which every command takes by its name"),
        ("Qwen/Qwen3-0.6B", "path: 'Qwen/Qwen3-0.6B' is neither a config.json nor a folder on th"),
        ("empty", "path: 'empty' contains no config.json"),
        ("ours", "path: 'ours' contains no config.json, but an architecture.json, which needs no"),
        ("ours/architecture.json", "path: 'ours/architecture.json' is an architecture file, whi"),
        ("generation_config.json", "generation_config.json: model_type is missing, so this is n"),
        ("study.toml", "path: 'study.toml' is not a config.json of transformers"),
        ("model.gguf", "path: 'model.gguf' is not a config.json of transformers"),
        ("list.json", "list.json: [1] is not a table of named fields"),
        ("both.json", "both.json: model_type: 'gemma3' is not a language model but contains one"),
        ("x" * 300, "x" * 300 + ": file name too long"),
    ],
)
def test_what_is_no_configuration_is_named_for_what_it_is(
    path: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/architecture.json").write_text(to_json(PRESETS["lfm2-350m"]))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2}')
    (tmp_path / "study.toml").write_text('name = "study"\n')
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03\xff")
    (tmp_path / "list.json").write_text("[1]")
    both = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}
    (tmp_path / "both.json").write_text(json.dumps(both))
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is checked below
        find_config(Path(path))
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
