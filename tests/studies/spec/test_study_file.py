import dataclasses
import re

import numpy as np
import pytest

from evaluators.quality.recall_probe import RecallProbe
from evaluators.scores import score_names
from search_space.preset_models import PRESETS
from search_space.space.encoding import RandomSuggester, draw, encode
from search_space.space.space_definition import Rules, Space, broken_rule
from studies.spec.reference_models import paired_reference
from studies.spec.study_file import read_spec, shipped_studies, spec_text
from studies.spec.study_spec import StudySpec, check_machine
from studies.spec.study_tables import DeviceSettings, ProxySettings, SamplerSettings, Target


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_is_valid_and_most_draws_keep_its_size_rules(name):
    spec = read_spec(name)
    assert spec.name == name
    suggester = RandomSuggester(np.random.default_rng(0))
    drawn = [draw(spec.space, suggester) for _ in range(100)]
    broken = [broken_rule(model, spec.space, spec.target.quantization) for model in drawn]
    assert broken.count(None) > 50
    assert len(set(drawn)) > 90
    check_machine(spec)


def test_the_shipped_studies():
    assert shipped_studies() == ("edge-350m", "quickstart")
    edge, quick = read_spec("edge-350m"), read_spec("quickstart")
    for name in ("lfm2-350m", "lfm2.5-230m"):
        assert encode(edge.space, PRESETS[name]) is not None
        assert broken_rule(PRESETS[name], edge.space, "int4") is None
    assert quick.space.rules.parameters == (10_000_000, 40_000_000)
    assert set(quick.space.mixers) == set("casl-")


def test_the_file_that_init_writes_explains_every_key():
    text = spec_text("quickstart")
    tables = [StudySpec, Target, ProxySettings, DeviceSettings, SamplerSettings]
    keys = {key for table in tables for key in table.model_fields}
    plain = (Space, Rules, RecallProbe)
    keys |= {field.name for each in plain for field in dataclasses.fields(each)}
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert [name for name in score_names(()) if not re.search(rf"\b{name}\b", comments)] == []


def test_shipped_studies_name_the_reference_nearest_in_size():
    for name in shipped_studies():
        spec = read_spec(name)
        unnamed = spec.device.model_copy(update={"reference": None})
        assert spec.device.reference == paired_reference(
            spec.model_copy(update={"device": unnamed})
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = \ntrials = 5", "line 1 is not valid TOML: invalid value"),
        (
            'name = "a"\nname = "b"\ntrials = 5',
            "line 2 is not valid TOML: cannot overwrite a value",
        ),
        (
            "[space",
            "end of document is not valid TOML: expected ']' at the end of a table declaration",
        ),
        ("trials = " + "1" * 5_000, "a number has too many digits"),
        ("name = " + "[" * 5_000, "lists are nested deeper than any field allows"),
        ("name = 1979-05-27", "name: '1979-05-27' is not a number or text"),
        ("seed = nan", "seed: nan is not a finite number"),
    ],
)
def test_an_invalid_file_is_reported_with_the_place(tmp_path, text, expected):
    path = tmp_path / "small.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {expected}")):
        read_spec(path)


def test_an_unknown_study_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"'quikstart' .*; did you mean quickstart\?$"):
        read_spec("quikstart")
    with pytest.raises(ValueError, match=r"missing\.toml: no such file or directory$"):
        read_spec(tmp_path / "missing.toml")


def test_a_file_takes_precedence_over_a_shipped_study_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = spec_text("quickstart").replace('name = "quickstart"', 'name = "mine"')
    (tmp_path / "quickstart").write_text(text)
    assert read_spec("quickstart").name == "mine"
