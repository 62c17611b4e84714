import json
import os
import tracemalloc

import pytest

from search_space.architecture import architecture_hash, to_json
from search_space.architecture_file import read_architecture, read_architectures
from search_space.huggingface.configuration import config_of
from search_space.preset_models import PRESETS


class TestReadArchitecture:
    def test_an_architecture_is_read_from_its_file(self, tmp_path):
        path = tmp_path / "model.json"
        path.write_text(to_json(PRESETS["lfm2-350m"], indent=2))
        assert read_architecture(path) == PRESETS["lfm2-350m"]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b'{"width": }', "line 1, column 11 is not valid JSON: expecting value"),
            (b"", "line 1, column 1 is not valid JSON: expecting value"),
            (b'{"width": 1, "width": 2}', "width is given twice"),
            (b'{"width": NaN}', "width: nan is not a finite number"),
            (b"\xff\xfe", "byte 0 is not UTF-8 text"),
            (b" " * 1_000_001, "the file exceeds 1 MB"),
            (b"1" * 5_000, "a number of 5000 digits does not fit in 64 bits"),
            (
                rb'{"width": "\ud800"}',
                r"width: '\ud800' contains an unpaired UTF-16 surrogate, "
                "which is not a character",
            ),
            (
                rb'{"\udfff": 1}',
                r"'\udfff' contains an unpaired UTF-16 surrogate, which is not a character",
            ),
        ],
    )
    def test_invalid_json_raises_one_sentence(self, tmp_path, content, expected):
        path = tmp_path / "model.json"
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared whole
            read_architecture(path)
        assert str(caught.value) == f"{path}: {expected}"

    def test_a_configuration_of_transformers_is_an_error_that_names_the_command(self, tmp_path):
        path = tmp_path / "model.json"
        path.write_text('{"model_type": "lfm2"}')
        with pytest.raises(ValueError, match=r"convert it with nas import$"):
            read_architecture(path)


def exported(name, **others):
    """Return what `nas export` and `nas show --json` write about a preset, in one line."""
    model = PRESETS[name]
    table = {"architecture": json.loads(to_json(model)), "hash": architecture_hash(model)}
    return json.dumps(table | others)


class TestReadArchitectures:
    @pytest.mark.parametrize(
        "text",
        [
            to_json(PRESETS["lfm2-350m"], indent=2),
            exported("lfm2-350m", provenance={}),
            exported("lfm2-350m", layout="cc", parameters={"total": 1}, study="edge", trial=3),
            json.dumps({"architecture": json.loads(to_json(PRESETS["lfm2-350m"]))}),
        ],
    )
    def test_a_json_file_contains_one(self, tmp_path, text):
        path = tmp_path / "model.json"
        path.write_text(text)
        (found,) = read_architectures(path)
        assert (found.architecture, found.place) == (PRESETS["lfm2-350m"], str(path))

    def test_a_folder_of_transformers_contains_one(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps(config_of(PRESETS["qwen3-0.6b"])))
        for path in (tmp_path, tmp_path / "config.json"):
            (found,) = read_architectures(path)
            assert found.architecture == PRESETS["qwen3-0.6b"]

    def test_a_list_contains_one_per_line(self, tmp_path):
        path = tmp_path / "layouts.jsonl"
        lines = [to_json(PRESETS["lfm2-350m"]), "", exported("gemma-3-270m", x="\u2028"), "  "]
        path.write_text("\r\n".join(lines), encoding="utf-8")
        found = read_architectures(path)
        assert [each.architecture for each in found] == [
            PRESETS["lfm2-350m"],
            PRESETS["gemma-3-270m"],
        ]
        assert [each.place for each in found] == [f"{path}, line 1", f"{path}, line 3"]

    @pytest.mark.parametrize(
        ("name", "text", "sentence"),
        [
            ("a.json", "", ": the file is empty; it must contain an architecture"),
            ("a.jsonl", "\n \n", ": the file is empty; each line must be an architecture"),
            ("a.jsonl", "\n{", ", line 2: column 2 is not valid JSON: expecting property name"),
            ("a.jsonl", '{"width": 1}', ", line 1: vocab_size is missing"),
            ("a.jsonl", '{"model_type": "lfm2"}', ", line 1: this is a configuration of"),
            ("a.json", "[]", ": [] is not a table of named fields"),
            ("a.jsonl", "1\n" * 1_001, ": 1,001 architectures are more than 1,000"),
            ("a.json", exported("lfm2-350m", hash="0"), ": hash: '0' is not "),
            ("a.jsonl", exported("lfm2-350m", hash="0"), ", line 1: hash: '0' is not "),
        ],
    )
    def test_a_mistake_is_one_sentence_with_the_line(self, tmp_path, name, text, sentence):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
            read_architectures(path)
        assert str(caught.value).startswith(f"{path}{sentence}")
        assert "\n" not in str(caught.value)

    def test_millions_of_short_lines_are_refused_with_little_memory(self, tmp_path):
        path = tmp_path / "layouts.jsonl"
        path.write_text("1\n" * 2_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r": 2,000,000 architectures are more than 1,000$"):
                read_architectures(path)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The text takes 4 MB and a stream of it 16 MB; a list of its lines takes 100 MB.
        assert peak_bytes < 50_000_000

    def test_only_a_line_feed_ends_a_line(self, tmp_path):
        path = tmp_path / "layouts.jsonl"
        path.write_text("\u2028\n" + exported("lfm2-350m", note="a\u2028b\x85c") + "\n{", "utf-8")
        with pytest.raises(ValueError, match=r", line 3: column 2 is not valid JSON"):
            read_architectures(path)

    def test_a_pipe_is_refused(self, tmp_path):
        path = tmp_path / "layouts.jsonl"
        os.mkfifo(path)
        with pytest.raises(ValueError, match=r"layouts\.jsonl: is a pipe, not a file$"):
            read_architectures(path)
