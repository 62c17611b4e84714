"""Study files that start from architectures in files, and what their studies store about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search_space.architecture import Architecture, to_json
from search_space.space.encoding import FixedSuggester, draw
from studies.spec.difference import check_unchanged, difference
from studies.spec.start_files import (
    check_start_files,
    first_candidates,
    with_stored_starts,
)
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, from_json
from studies.spec.study_spec import to_json as spec_to_json
from studies.spec.study_tables import SamplerSettings

STUDY = """
name = "small"
trials = 1
{more}

[[objectives]]
name = "loss"

[[objectives]]
name = "decode"

[space]
depth = [2]
width = [64, 96]
mixers = ["c", "a"]
feed_forward = [2.0]
vocab_size = [512]
head_dim = [32]
{rules}

[device]
runner = "fake"

[sampler]
start_from = [{names}]
"""


def read(folder: Path, *names: str, more: str = "", rules: str = "") -> StudySpec:
    file = folder / "study.toml"
    named = ", ".join(map(json.dumps, names))
    file.write_text(STUDY.format(names=named, more=more, rules=rules))
    return read_spec(file)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Architecture, ...]:
    """Three architectures of the space."""
    space = read(tmp_path).space
    layouts = ("ca", "ac", "cc")
    return tuple(
        draw(space, FixedSuggester({"width": 0, "mixer_00": one, "mixer_01": other}))
        for one, other in layouts
    )


@pytest.fixture
def folder(tmp_path: Path, models: tuple[Architecture, ...]) -> Path:
    """The folder of a study file, which is not the working directory."""
    place = tmp_path / "place"
    (place / "lists").mkdir(parents=True)
    (place / "mine.json").write_text(to_json(models[0]))
    lines = (to_json(models[1]), to_json(models[0]), to_json(models[2]), to_json(models[1]))
    (place / "lists" / "layouts.jsonl").write_text("\n".join(lines))
    return place


def test_files_are_relative_to_the_study_file_and_keep_their_order(
    folder: Path, models: tuple[Architecture, ...]
) -> None:
    spec = read(folder, "mine.json", "edge-a", "lists/layouts.jsonl")
    assert spec.starts.keys() == {"mine.json", "lists/layouts.jsonl"}
    assert first_candidates(spec) == {
        "mine.json": models[:1],
        "edge-a": (),
        "lists/layouts.jsonl": models[1:],
    }
    assert from_json(spec_to_json(spec)) == spec
    assert first_candidates(read(folder, "lists/layouts.jsonl", "mine.json")) == {
        "lists/layouts.jsonl": (models[1], models[0], models[2]),
        "mine.json": (),
    }


def test_a_name_without_a_slash_or_the_suffix_of_a_file_is_a_study(folder: Path) -> None:
    (folder / "edge").write_text("a file of this name")
    assert read(folder, "edge", "v1.2").starts == {}


def test_a_hundred_thousand_names_are_compared_with_each_other_at_once() -> None:
    names = tuple(f"{number}.json" for number in range(100_000))
    assert SamplerSettings(start_from=names).start_from == names
    with pytest.raises(ValueError, match=r"'7\.json' is given twice"):
        SamplerSettings(start_from=(*names, "7.json"))


@pytest.mark.parametrize(
    ("names", "more", "sentence"),
    [
        (["small"], "", "sampler.start_from[0]: 'small' is this study; a study starts from others"),
        (["mine.json", "mine.json"], "", "sampler.start_from: 'mine.json' is given twice"),
        (["Edge A"], "", "sampler.start_from: 'Edge A' is neither a file (.json or .jsonl) nor"),
        (["lists/"], "", "sampler.start_from[0]: model: '"),
        (["edge", "empty.jsonl"], "", "sampler.start_from[1]: {}/empty.jsonl: the file is empty"),
        (["wide.json"], "", "wide.json: the architecture is not in the space; width: 128 is not"),
        (["wide.jsonl"], "", "wide.jsonl, line 2: the architecture is not in the space; width: "),
        ([], "starts = {}", "starts is not a known field; use sampler.start_from"),
    ],
)
def test_an_error_is_one_sentence(
    names: list[str], more: str, sentence: str, folder: Path, models: tuple[Architecture, ...]
) -> None:
    wide = draw(
        replace(read(folder).space, width=(128,)),
        FixedSuggester({"mixer_00": "c", "mixer_01": "a"}),
    )
    (folder / "wide.json").write_text(to_json(wide))
    (folder / "wide.jsonl").write_text(f"{to_json(models[0])}\n{to_json(wide)}\n")
    (folder / "empty.jsonl").touch()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        read(folder, *names, more=more)
    assert sentence.format(folder) in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'study.toml'}: ")
    assert "\n" not in str(caught.value)


def test_a_rule_of_the_space_is_an_error_that_names_the_rule(folder: Path) -> None:
    sentence = r"mine\.json: the architecture is not in the space; last: 'a' is not"
    with pytest.raises(ValueError, match=sentence):
        read(folder, "mine.json", rules='rules = { last = ["c"] }')


def test_a_study_resumes_without_the_file(folder: Path) -> None:
    begun = read(folder, "mine.json")
    check_start_files(begun)
    (folder / "mine.json").unlink()
    spec = read(folder, "mine.json")
    with pytest.raises(ValueError, match=r"^sampler\.start_from\[0\]: '.*mine\.json' does not exi"):
        check_start_files(spec)
    assert with_stored_starts(spec, from_json(spec_to_json(begun))) == begun


def test_a_study_keeps_the_fronts_that_it_was_started_with(
    folder: Path, models: tuple[Architecture, ...]
) -> None:
    spec = read(folder, "edge-a")
    begun = spec.model_copy(update={"starts": {"edge-a": models}})
    later = spec.model_copy(update={"starts": {"edge-a": models[:1]}})
    assert with_stored_starts(later, begun) == with_stored_starts(spec, begun) == begun


def test_other_architectures_are_another_study(
    folder: Path, models: tuple[Architecture, ...]
) -> None:
    begun = read(folder, "mine.json")
    check_unchanged(begun, with_stored_starts(read(folder, "mine.json"), begun))
    (folder / "mine.json").write_text(to_json(models[1]))
    [change] = difference(begun, with_stored_starts(read(folder, "mine.json"), begun))
    assert change.startswith("starts.mine.json: '1 with the hash ")
    cold = read(folder)
    with pytest.raises(ValueError, match=r'start_from: \[\] in the study, \["edge-a"\] in the'):
        check_unchanged(cold, with_stored_starts(read(folder, "edge-a"), cold))
