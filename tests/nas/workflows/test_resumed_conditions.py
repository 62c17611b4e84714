"""A resumed study whose text, device or releases are not those of its earlier trials."""

from pathlib import Path

import pytest

from evaluators.speed.device_file import DeviceDefinition
from evaluators.speed.device_latency import DeviceLatency, marked
from evaluators.text.corpus import Corpus
from nas.workflows.resumed_conditions import (
    check_same_devices,
    check_same_text,
    report_other_conditions,
)
from search_space.preset_models import preset
from studies.records import Outcome, StageRun
from studies.spec.study_spec import StudySpec, to_json
from studies.storage.store import Store
from tests.studies.fakes import latency, small_spec, training

PRESENT = Corpus(training=("a",), held_out=("b",), identity="f1f1")


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    return small_spec(f"sqlite:///{tmp_path}/nas.db")


def add_trial(
    store: Store,
    spec: StudySpec,
    outcome: Outcome | None,
    fingerprints: dict[str, str],
) -> None:
    """Add a candidate that has passed some stages; without an outcome, it is interrupted."""
    store.add_study(spec.name, to_json(spec))
    trial = store.claim(spec.name, total=99)
    assert trial is not None
    begun = store.begin(trial, preset("hybrid-20m"))
    for stage, fingerprint in fingerprints.items():
        run = StageRun(stage=stage, fingerprint=fingerprint, seconds=1.0)
        store.leave(begun, run, finished=False)
    if outcome is None:
        store.interrupt(begun)
    else:
        store.end(begun, outcome)


def test_a_study_that_has_not_begun_has_no_other_text(spec: StudySpec) -> None:
    with Store.open(spec.storage) as store:
        check_same_text(spec, store, PRESENT)
        store.add_study(spec.name, to_json(spec))
        check_same_text(spec, store, PRESENT)


@pytest.mark.parametrize(
    ("outcome", "identity", "is_refused"),
    [
        (Outcome(state="complete"), "e0e0", True),
        (Outcome(state="stopped", stage="training", reason="loss"), "e0e0", True),
        (Outcome(state="infeasible", stage="text", reason="decode_per_byte"), "e0e0", True),
        (Outcome(state="complete"), "f1f1", False),
        # These have no scores, and an interrupted trial is evaluated again.
        (Outcome(state="failed", stage="training", failure="diverged", reason="x"), "e0e0", False),
        (None, "e0e0", False),
    ],
)
def test_another_text_is_refused_if_a_trial_has_scores_on_it(
    spec: StudySpec, outcome: Outcome | None, identity: str, is_refused: bool
) -> None:
    with Store.open(spec.storage) as store:
        add_trial(store, spec, outcome, {"text": f"per byte 1 {identity} tokenizers 1 latency"})
        if not is_refused:
            check_same_text(spec, store, PRESENT)
            return
        with pytest.raises(ValueError, match=r"^proxy\.corpus: the text of 'python' .* 1 trial of"):
            check_same_text(spec, store, PRESENT)


def test_trials_without_a_text_say_nothing_about_it(spec: StudySpec) -> None:
    """They exceeded a limit before anything was read."""
    with Store.open(spec.storage) as store:
        outcome = Outcome(state="infeasible", stage="latency", reason="decode: 9 ms")
        add_trial(store, spec, outcome, {"latency": "latency 1"})
        check_same_text(spec, store, PRESENT)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("text.txt", "the text of 'text.txt' differs"),
        (("a.txt", "b.txt"), r"the text of \['a.txt', 'b.txt'\] differs"),
        ("text.txt", "; restore the text, choose another name for the study, or start it again"),
        ("python", "; use the same release of Python, choose another name"),
        (("python",), "; use the same release of Python, choose another name"),
        (("python", "a.txt"), "; restore the text, choose another name"),
    ],
)
def test_the_error_states_what_to_do(
    spec: StudySpec, name: str | tuple[str, ...], remedy: str
) -> None:
    proxy = spec.proxy.model_copy(update={"corpus": name})
    spec = spec.model_copy(update={"proxy": proxy})
    with Store.open(spec.storage) as store:
        for _ in range(2):
            add_trial(store, spec, Outcome(state="complete"), {"text": "per byte 1 e0e0"})
        with pytest.raises(ValueError, match=remedy) as refused:
            check_same_text(spec, store, PRESENT)
    assert "2 trials of 'small' were scored" in str(refused.value)
    assert len(str(refused.value)) <= 500


def test_stages_under_other_conditions_are_reported(spec: StudySpec) -> None:
    """One trial was timed and trained as in this run, one only trained, and one only timed."""
    now, earlier = {"latency": "fake-latency", "training": "fake-training"}, "old"
    evaluators = (latency(), training())
    said: list[str] = []
    with Store.open(spec.storage) as store:
        report_other_conditions(spec, store, evaluators, said.append)
        add_trial(store, spec, Outcome(state="complete"), now)
        report_other_conditions(spec, store, evaluators, said.append)
        assert said == []
        add_trial(store, spec, Outcome(state="complete"), now | {"latency": earlier})
        report_other_conditions(spec, store, evaluators, said.append)
        add_trial(store, spec, Outcome(state="complete"), {"training": earlier})
        with_task = spec.proxy.model_copy(update={"task": "tasks.jsonl"})
        changed = spec.model_copy(update={"proxy": with_task})
        report_other_conditions(changed, store, evaluators[1:], said.append)
    ending = "their scores and those of new trials may not be comparable"
    assert said == [
        "latency: 1 of 2 trials were evaluated on a different device or release than this run "
        f"uses; {ending}",
        "training: 1 of 3 trials were evaluated on a different device, release or task file than "
        f"this run uses; {ending}",
    ]


class _Device(DeviceLatency):
    """A device whose evaluator measures nothing in these tests."""

    def __init__(self, name: str, identity: str) -> None:
        self.device, self.identity = name, identity

    stage = property(lambda self: f"latency@{self.device}")
    definition = DeviceDefinition(channel="local", threads=2)


def measured(identity: str, name: str, threads: int = 2) -> str:
    """Return the fingerprint of what a device has measured."""
    runtime = f"onnxruntime 1.2 threads {threads} device {identity}"
    return f"latency 3 {runtime} {marked(identity)} as {name}"


@pytest.mark.parametrize(
    ("outcome", "identity", "is_refused"),
    [
        (Outcome(state="complete"), "b2", True),
        (Outcome(state="infeasible", stage="latency@phone", reason="decode"), "b2", True),
        (Outcome(state="complete"), "a1", False),
        # It has no scores, and is evaluated again.
        (Outcome(state="failed", stage="x", failure="device lost", reason="x"), "b2", False),
        (None, "b2", False),
    ],
)
def test_another_device_of_the_same_name_is_refused(
    spec: StudySpec, outcome: Outcome | None, identity: str, is_refused: bool
) -> None:
    evaluators = [latency(), _Device("phone", identity), _Device("pi5", "b2")]
    with Store.open(spec.storage) as store:
        check_same_devices(spec, store, evaluators)  # the study has not begun
        other = measured("c3" if outcome is None else "b2", "pi5")
        passed = {"latency@phone": measured("a1", "phone"), "latency@pi5": other}
        add_trial(store, spec, outcome, passed)
        if not is_refused:
            check_same_devices(spec, store, evaluators)
            return
        with pytest.raises(ValueError, match=r"^target\.devices: 'phone' is another") as caught:
            check_same_devices(spec, store, evaluators)
    assert "(b2) than the one on which 'small' has measured 1 models" in str(caught.value)


def test_other_settings_of_a_device_are_refused(spec: StudySpec) -> None:
    with Store.open(spec.storage) as store:
        passed = {"latency@phone": measured("a1", "phone", threads=1)}
        add_trial(store, spec, Outcome(state="complete"), passed)
        with pytest.raises(
            ValueError, match=r"'phone' has other settings \(onnxruntime, threads = 2"
        ):
            check_same_devices(spec, store, [_Device("phone", "a1")])


def test_an_update_on_a_device_is_reported_by_the_stage_of_the_device(spec: StudySpec) -> None:
    said: list[str] = []
    device = _Device("phone", "a1")
    device._latency = latency()
    with Store.open(spec.storage) as store:
        add_trial(store, spec, Outcome(state="complete"), {"latency@phone": "an earlier release"})
        report_other_conditions(spec, store, [device], said.append)
    (sentence,) = said
    assert sentence.startswith("latency@phone: 1 of 1 trials were evaluated on a different device")
