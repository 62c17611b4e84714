import json
from pathlib import Path

import pytest

from nas.inputs.named_model import find_model
from search_space.architecture import to_json
from search_space.huggingface.configuration import config_of
from search_space.preset_models import PRESETS


def test_a_preset_goes_by_its_name() -> None:
    assert find_model("lfm2-350m").architecture == PRESETS["lfm2-350m"]


def test_a_file_goes_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "winner.json"
    path.write_text(to_json(PRESETS["lfm3-1.7b"], indent=2))
    found = find_model(str(path))
    assert (found.name, found.architecture) == ("winner", PRESETS["lfm3-1.7b"])


def test_what_is_neither_is_named_with_what_is_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"model: 'lfm9' is neither a preset \(expected one of lfm2.5-230m, "
    ):
        find_model("lfm9")


def test_a_file_that_is_no_architecture_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"vocab_size": 10, "width": "wide", "embedding_width": 8, "layers": []}')
    with pytest.raises(ValueError, match=r"wrong.json: width: 'wide' is not a whole number"):
        find_model(str(path))


def test_a_file_that_is_too_large_to_build_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    path.write_text(to_json(PRESETS["lfm2-350m"]).replace('"width":1024', '"width":1000000000'))
    with pytest.raises(ValueError, match=r"width: 1000000000 is not between 1 and 65,536"):
        find_model(str(path))


def test_a_text_that_is_no_path_is_not_found() -> None:
    with pytest.raises(ValueError, match="is neither a preset"):
        find_model("{" * 5000)


def test_a_folder_of_transformers_goes_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(PRESETS["qwen3-0.6b"])))
    for text in (folder, folder / "config.json"):
        found = find_model(str(text))
        assert (found.name, found.architecture) == ("qwen", PRESETS["qwen3-0.6b"])


def test_a_folder_of_another_export_is_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "architecture.json").write_text(to_json(PRESETS["lfm3-1.7b"]))
    assert find_model(str(tmp_path)).architecture == PRESETS["lfm3-1.7b"]


def test_a_folder_of_neither_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds neither config\.json nor architecture\.json"):
        find_model(str(tmp_path))
