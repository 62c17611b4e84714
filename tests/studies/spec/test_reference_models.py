"""The choice of the reference model that a study times its candidates with."""

from dataclasses import replace

import pytest

from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from search_space.space.rules import Rules
from studies.spec.reference_models import paired_reference, with_reference, with_stored_reference
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import DeviceSettings
from tests.studies.fakes import small_spec


def _searching(least: int, most: int) -> StudySpec:
    spec = read_spec("edge-350m")
    space = replace(spec.space, rules=Rules(parameters=(least, most)))
    return spec.model_copy(update={"space": space, "device": DeviceSettings()})


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (230_000_000, 230_000_000, "lfm2.5-230m"),
        (115_000_000, 460_000_000, "lfm2.5-230m"),  # the arithmetic mean would choose another one
        (600_000_000, 900_000_000, "lfm2-700m"),
        (100, 500_000_000, "smollm2-135m"),  # the choices reach no smaller size
    ],
)
def test_it_is_the_nearest_to_the_middle_of_the_space(least: int, most: int, expected: str) -> None:
    assert paired_reference(_searching(least, most)) == expected


def test_small_spaces_have_a_small_one() -> None:
    spec = small_spec("sqlite:///nas.db")
    assert parameter_counts(PRESETS[paired_reference(spec)]).total < 30_000_000


def test_a_named_reference_takes_precedence() -> None:
    device = DeviceSettings(reference="gemma-3-270m")
    spec = small_spec("sqlite:///nas.db", device=device)
    assert paired_reference(spec) == "gemma-3-270m"
    assert with_reference(spec) == spec


def test_a_resumed_study_keeps_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release has a preset that is nearer in size."""
    spec = _searching(230_000_000, 230_000_000)
    begun = with_reference(spec)
    nearer = {"a nearer one": PRESETS["lfm2.5-230m"]}
    monkeypatch.setattr("studies.spec.reference_models.PRESETS", nearer | PRESETS)
    assert paired_reference(spec) == "a nearer one"
    assert with_stored_reference(spec, begun) == begun
    named = spec.model_copy(update={"device": DeviceSettings(reference="gemma-3-270m")})
    assert with_stored_reference(named, begun) == named
    assert with_stored_reference(spec, spec) == spec  # started before measurements were paired


def test_it_is_one_that_the_runner_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _searching(230_000_000, 230_000_000)
    device = DeviceSettings(runner="llama.cpp")
    monkeypatch.setattr(
        "studies.spec.reference_models.unsupported_by_format",
        lambda model, _: "no convolutions there" if "c" in model.layout else None,
    )
    there = spec.model_copy(update={"device": device})
    assert paired_reference(there) == "gemma-3-270m"
    named = device.model_copy(update={"reference": "lfm2-350m"})
    with pytest.raises(ValueError, match=r"^device\.reference: 'lfm2-350m' .* no convolutions"):
        paired_reference(spec.model_copy(update={"device": named}))
