"""Measured models of a space, and what the limits of a study are expected to refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.scores import make_score
from hardware.fake import FakeRunner
from hardware.measurement import Disturbance
from hardware.runner import RunnerError
from nas.workflows.space_samples import (
    SpaceSample,
    measure_samples,
    refused_shares,
    space_samples,
    waiting_seconds,
)
from search_space.architecture import Architecture
from search_space.costs import parameter_counts, state_bytes, weight_bytes
from search_space.preset_models import PRESETS
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, DeviceSettings, Target
from tests.hardware.measurements import measured

MODELS = tuple(
    PRESETS[name]
    for name in ("hybrid-20m", "smollm2-135m", "lfm2.5-230m", "lfm2-350m", "lfm2-700m")
)


@pytest.fixture
def spec() -> StudySpec:
    return read_spec("quickstart").model_copy(update={"device": DeviceSettings(runner="fake")})


def test_the_samples_are_chosen_by_their_number_of_parameters() -> None:
    shuffled = [MODELS[position] for position in (3, 0, 4, 2, 1)]
    assert space_samples(shuffled) == {
        "smallest": MODELS[0],
        "median": MODELS[2],
        "largest": MODELS[4],
    }


def test_few_architectures_lead_to_fewer_samples() -> None:
    assert space_samples(MODELS[:1]) == {"median": MODELS[0]}
    assert space_samples(MODELS[:2]) == {"smallest": MODELS[0], "median": MODELS[1]}


def test_samples_are_measured_as_candidates_are(spec: StudySpec) -> None:
    """The simulated device takes 0.1 ns per byte of weights and decodes one token at a time."""
    said: list[str] = []
    chosen = space_samples(MODELS[:3])
    samples = measure_samples(spec, chosen, said.append)
    assert [(sample.size, sample.architecture) for sample in samples] == [*chosen.items()]
    for sample in samples:
        assert sample.failure is None
        assert sample.seconds is not None
        assert sample.seconds > 0
        scores = {score.name: score for score in sample.scores}
        assert scores["parameters"].value == parameter_counts(sample.architecture).total
        decode = scores["decode"]
        assert decode.low is not None
        assert decode.high is not None
        expected = weight_bytes(sample.architecture, "int4") * 1e-7
        assert decode.low < expected < decode.high
    topics = [text for text in said if ":" not in text]
    assert topics == [
        f"timing the {size} of the drawn models" for size in ("smallest", "median", "largest")
    ]


def test_a_model_that_cannot_be_measured_is_a_result(
    spec: StudySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(runner: FakeRunner, model: Path, capacity: int) -> None:
        raise RunnerError("out of memory", f"no room for {capacity} tokens")

    monkeypatch.setattr(FakeRunner, "load", refuse)
    (sample,) = measure_samples(spec, {"median": MODELS[0]}, lambda text: None)
    assert sample.failure is not None
    assert "no room for 320 tokens" in sample.failure
    assert sample.seconds is None
    assert [score.name for score in sample.scores] == ["parameters"]


def test_the_wait_for_a_quiet_machine_counts_once_and_waiting_windows_count_each() -> None:
    disturbance = Disturbance(steal=0.0, beside=0.0, elsewhere=0.0, waited_s=3.0)
    reference = measured([[5e8, 5e8]], waited_ns=(0, 250_000_000), disturbance=disturbance)
    ours = measured(
        [[1e9, 1e9]], reference, waited_ns=(500_000_000, 500_000_000), disturbance=disturbance
    )
    unknown = replace(ours, waited_ns=None, reference=None)
    assert waiting_seconds([ours, unknown]) == pytest.approx(3.0 + 1.0 + 0.25)
    assert waiting_seconds([measured([[1e9]])]) == 0.0


def limited(spec: StudySpec, name: str, most: float) -> StudySpec:
    return spec.model_copy(update={"constraints": (Constraint(name=name, max=most),)})


def sample_with(architecture: Architecture, name: str, value: float) -> SpaceSample:
    return SpaceSample(
        size="median",
        architecture=architecture,
        scores=(make_score(name, value),),
        seconds=1.0,
        failure=None,
    )


class TestRefusedShares:
    def test_no_limit_refuses_nothing(self, spec: StudySpec) -> None:
        free = spec.model_copy(update={"constraints": ()})
        shares = refused_shares(free, MODELS, [])
        assert (shares.untimed, shares.untrained) == (0.0, 0.0)

    def test_parameters_are_counted_before_anything_is_timed(self, spec: StudySpec) -> None:
        shares = refused_shares(limited(spec, "parameters", 3e8), MODELS, [])
        assert (shares.untimed, shares.untrained) == (2 / 5, 2 / 5)

    @pytest.mark.parametrize(("above", "position"), [(4, 0), (2, 2), (0, 4)])
    def test_memory_is_estimated_from_the_samples(
        self, spec: StudySpec, above: int, position: int
    ) -> None:
        """Here it is exactly linear: 10 MB, and 1.5 times the bytes of weights and states."""

        def memory_mb(architecture: Architecture) -> float:
            states = state_bytes(architecture, spec.target.context_depth)
            return 10.0 + 1.5e-6 * (weight_bytes(architecture, "int4") + states)

        samples = [sample_with(model, "memory", memory_mb(model)) for model in MODELS[1:3]]
        most = memory_mb(MODELS[position]) + 0.1
        shares = refused_shares(limited(spec, "memory", most), MODELS, samples)
        assert (shares.untimed, shares.untrained) == (0.0, above / 5)

    def test_a_large_model_that_was_faster_does_not_make_small_ones_slow(
        self, spec: StudySpec
    ) -> None:
        samples = [
            sample_with(MODELS[1], "decode", 9.0),
            sample_with(MODELS[3], "decode", 7.0),
        ]
        assert refused_shares(limited(spec, "decode", 8.1), MODELS, samples).untrained == 0.0
        assert refused_shares(limited(spec, "decode", 7.9), MODELS, samples).untrained == 1.0

    @pytest.mark.parametrize("name", ["decode_memory", "loss"])
    def test_scores_that_cannot_be_estimated_refuse_nothing(
        self, spec: StudySpec, name: str
    ) -> None:
        samples = [sample_with(MODELS[0], name, 5.0)]
        assert refused_shares(limited(spec, name, 1e-6), MODELS, samples).untrained == 0.0

    def test_the_file_on_a_device_is_estimated_from_the_weights_alone(
        self, spec: StudySpec
    ) -> None:
        """The states of these models are not in their files, whose sizes are those of weights."""
        spec = spec.model_copy(update={"target": Target(devices=("phone",), context_depth=10_000)})

        def size_mb(architecture: Architecture) -> float:
            return 1e-6 * weight_bytes(architecture, "int4")

        samples = [sample_with(MODELS[n], "size@phone", size_mb(MODELS[n])) for n in (0, 4)]
        for place, model in enumerate(MODELS):
            most = 1.001 * size_mb(model)
            found = refused_shares(limited(spec, "size@phone", most), MODELS, samples)
            assert found.untrained == sum(size_mb(each) > most for each in MODELS) / 5, place
