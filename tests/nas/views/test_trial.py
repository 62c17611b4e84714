"""Tests of the scores, intervals and measurements that are shown of one trial."""

import json
from dataclasses import replace

import pytest

from evaluators.evaluator import Evaluation, Score
from hardware.environment import Environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from nas.views.trial import trial_document, trial_view
from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses
from studies.analysis.trial_detail import TrialDetail
from studies.records import Outcome
from studies.spec.study_tables import Objective
from tests.nas.calibrated import calibrated, calibration

ENVIRONMENT = Environment(
    host="board",
    system="Linux",
    cpu="one",
    cores=2,
    memory_bytes=2**33,
    python="3.11",
    runtime_version="1",
    governor=None,
    clock_mhz=None,
    temperature_c=None,
    load_1min=None,
)
ALONE = Measurement(
    workload=parse_workload("tg64@1024"),
    runtime="onnxruntime",
    threads=1,
    cores=(0,),
    samples_ns=(10_000_000, 12_000_000, 14_000_000),
    warmup_ns=(),
    load_ns=1,
    peak_memory_bytes=3,
    environment=ENVIRONMENT,
)
PAIRED = replace(
    ALONE,
    window=1,
    disturbance=Disturbance(steal=0.02, beside=0.1, elsewhere=1.0, waited_s=41.5),
    reference=replace(ALONE, window=1, samples_ns=(20_000_000,) * 3),
)
SCORES = (
    Score(name="loss", value=2.0, unit="bits/byte"),
    Score(name="decode", value=11.0, unit="ms/token", low=10.0, high=12.5),
    Score(name="decode_p95", value=13.0, unit="ms/token", low=9.0, high=17.0),
    Score(name="prefill", value=800.0, unit="ms", low=799.0, high=801.0),
    Score(name="memory", value=300.0, unit="MB"),
)


@pytest.fixture
def detail(make_trial, spec) -> TrialDetail:
    return TrialDetail(
        spec=spec,
        trial=replace(make_trial(7), scores=SCORES),
        architecture=None,
        evaluations={"latency": Evaluation(scores=SCORES, seconds=1.0, measurements=(PAIRED,))},
        calibrations={},
    )


@pytest.fixture
def calibrated_detail(detail) -> TrialDetail:
    """The trial with times that were computed from ratios, each from two runs of five samples."""
    known = calibration()
    names = {"decode": 0.01, "decode_p95": None}
    scores = tuple(
        calibrated(replace(score, value=11.0), half_width=names[score.name], known=known)
        if score.name in names
        else score
        for score in SCORES
        if score.name != "prefill"
    )
    samples = tuple(range(10_000_000, 15_000_000, 1_000_000))
    waited = (0, 0, 2_000_000, 0, 1_000_000)
    run = replace(
        PAIRED,
        samples_ns=samples,
        waited_ns=waited,
        window=5,
        reference=replace(ALONE, window=5, samples_ns=(20_000_000,) * 5),
    )
    return replace(
        detail,
        trial=replace(detail.trial, scores=scores),
        evaluations={"latency": Evaluation(scores=scores, seconds=1.0, measurements=(run, run))},
        calibrations={known.key: known},
    )


def test_times_have_intervals_and_the_reference_models_times(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "prefill 800.0 ms 799.0 to 801.0" in shown
    assert "tg64@1024 12.00 ms/token, p95 13.80, 3 samples" in shown
    assert (
        "1 thread these times include waiting for a core, which was not recorded interleaved with "
        "hybrid-20m, which took 20.00 ms/token other processes and the hypervisor took 12 % of the "
        "cores' time waited 42 s for a quiet machine"
    ) in shown
    assert "intervals cover the ratio to hybrid-20m only" in shown


def test_a_time_is_explained_by_its_ratio_and_the_reference_models_time(
    calibrated_detail, render
) -> None:
    shown = " ".join(render(trial_view(calibrated_detail)).split())
    # 11 ms * hypot(1 %, 2 %): the interval of the ratio, and that of the reference model's time.
    assert "decode 11.00 ms/token 10.76 to 11.25" in shown
    assert "decode 1.100 ±0.011 10.00 ±0.20 12 tg64@1024" in shown
    assert "reference ms: the time of hybrid-20m according to all its timings" in shown
    assert "multiplied by the time of hybrid-20m; intervals cover the errors of both" in shown
    assert "measured 2 times; each time combines all runs by their ratios" in shown
    assert "tg64@1024: generates 64 tokens after 1,024 others" in shown
    assert "prediction" not in shown


def test_raw_times_exclude_waiting_and_a_tail_without_interval_is_marked(
    calibrated_detail, render
) -> None:
    shown = " ".join(render(trial_view(calibrated_detail)).split())
    # The warm samples are the last three of each window: 10, 13 and 13 ms without waiting.
    assert "tg64@1024 13.00 ms/token, p95 ~13.00, 5 samples, onnxruntime, 1 thread, run 1 of 2" in (
        shown
    )
    assert "run 2 of 2 40 % of the samples waited for a core; these times exclude the waiting" in (
        shown
    )
    assert "decode_p95 ~11.00 ms/token unknown" in shown
    assert "~ without an interval: too few samples to know how precise it is" in shown
    assert "~ provisional" not in shown


def test_a_provisional_time_and_an_unsure_limit_are_explained(
    calibrated_detail, spec, render
) -> None:
    objectives = (Objective(name="loss"), Objective(name="decode", max=11.1))
    scores = tuple(
        replace(score, provisional=True) if score.name == "decode" else score
        for score in calibrated_detail.trial.scores
    )
    doubtful = replace(
        calibrated_detail,
        spec=spec.model_copy(update={"objectives": objectives}),
        trial=replace(calibrated_detail.trial, scores=scores),
    )
    shown = " ".join(render(trial_view(doubtful)).split())
    assert (
        "state complete; may exceed the limit of decode, but was kept because that is not certain"
        in shown
    )
    assert " ~11.00 ms/token 10.76 to 11.25" in shown
    assert (
        "~ provisional: too uncertain to decide anything; `nas run` measures it again when the "
        "machine is quieter"
    ) in shown
    stopped = Outcome(state="stopped", stage="training", reason="its loss is too high")
    early = replace(doubtful, trial=replace(doubtful.trial, outcome=stopped))
    shown = " ".join(render(trial_view(early)).split())
    assert " ~11.00 ms/token 10.76 to 11.25" in shown
    assert "~: the confidence interval is wider than the requested ±2 %" in shown
    assert "nas run" not in shown  # it measures complete candidates only
    document = json.loads(json.dumps(trial_document(doubtful)))
    assert document["unsure_limits"] == ["decode"]
    assert document["provisional"] == ["decode"]
    decode = next(each for each in document["scores"] if each["name"] == "decode")
    assert decode["provisional"] is True
    assert decode["measured"]["ratio"] == pytest.approx(1.1)
    assert document["measurements"][0]["waited_ns"] == [0, 0, 2_000_000, 0, 1_000_000]


def test_a_wide_interval_of_an_earlier_release_is_marked(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "~11.00 ms/token 10.00 to 12.50" in shown
    assert (
        "~ from an earlier release: the confidence interval is wider than the requested ±2 %"
        in shown
    )
    # It is not an objective, so no precision is requested for it.
    assert " 13.00 ms/token 9.000 to 17.00" in shown
    document = trial_document(detail)
    assert document["provisional"] == ["decode"]
    assert [each["name"] for each in document["scores"] if each["provisional"]] == ["decode"]
    (_, decode, *others) = SCORES
    settled = replace(decode, low=10.9, high=11.1)
    trial = replace(detail.trial, scores=(SCORES[0], settled, *others))
    assert "~" not in render(trial_view(replace(detail, trial=trial)))


def test_the_reason_for_several_measurements_is_given(detail, render) -> None:
    assert "prediction" not in render(trial_view(detail))
    thrice = Evaluation(scores=SCORES, seconds=1.0, measurements=(PAIRED,) * 3)
    shown = " ".join(render(trial_view(replace(detail, evaluations={"latency": thrice}))).split())
    assert "measured 3 times, because the first measurement was far from its prediction" in shown


def test_a_measurement_without_a_reference_model_is_shown(detail, render) -> None:
    # An earlier release stored measurements without a reference model.
    old = Evaluation(scores=SCORES, seconds=1.0, measurements=(ALONE,))
    shown = render(trial_view(replace(detail, evaluations={"latency": old})))
    assert "12.00 ms/token" in shown
    assert "interleaved" not in shown


def test_the_document_has_every_sample_of_both_models(detail) -> None:
    document = json.loads(json.dumps(trial_document(detail)))
    (measurement,) = document["measurements"]
    assert measurement["workload"] == "tg64@1024"
    assert measurement["samples_ns"] == list(PAIRED.samples_ns)
    assert measurement["reference"]["samples_ns"] == [20_000_000] * 3
    assert measurement["disturbance"]["waited_s"] == 41.5
    assert measurement["environment"]["host"] == "board"


def test_a_complete_candidate_is_shown_with_its_expected_loss(make_trial, spec, render) -> None:
    trial = make_trial(7, loss=1.62)
    assert trial.model is not None
    loss = ExpectedLoss(measured=1.62, expected=1.71, sd=0.015)
    found = ExpectedLosses(candidates=57, correlation=0.93, losses={trial.model.hash: loss})
    detail = TrialDetail(spec=spec, trial=trial, architecture=None, evaluations={}, calibrations={})
    assert trial_document(detail)["expected_loss"] is None
    assert trial_document(detail, found)["expected_loss"] == {
        "value": 1.71,
        "sd": 0.015,
        "unexpected": True,
    }
    shown = " ".join(render(trial_view(detail, found)).split())
    assert "expected loss: 1.710 ±0.030 bits/byte; the measured loss of 1.620 is" in shown
    assert "56 other complete candidates" in shown
    assert "in either direction" in shown
    assert "expected" not in render(trial_view(detail))

    unknown = replace(found, losses={})
    assert "expected" not in render(trial_view(detail, unknown))
    for other in (
        make_trial(8, loss=1.62),
        replace(make_trial(7, "stopped"), model=trial.model),
        replace(make_trial(7, reference="lfm2-350m", loss=1.62), model=trial.model),
    ):
        changed = replace(detail, trial=other)
        assert trial_document(changed, found)["expected_loss"] is None
        assert "expected" not in render(trial_view(changed, found))
