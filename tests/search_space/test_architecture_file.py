import pytest

from search_space.architecture import to_json
from search_space.architecture_file import read_architecture
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
