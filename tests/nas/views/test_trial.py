"""Tests of the scores, intervals and measurements that are shown of one trial."""

import json
from dataclasses import replace

import pytest

from evaluators.evaluator import Evaluation, Score
from hardware.environment import Environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from nas.views.trial import trial_document, trial_view
from studies.analysis.summaries import TrialDetail

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
    )


def test_times_have_intervals_and_the_reference_models_times(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "prefill 800.0 ms 799.0 to 801.0" in shown
    assert "tg64@1024 12.00 ms/token, p95 13.80, 3 samples" in shown
    assert (
        "interleaved with hybrid-20m, which took 20.00 ms/token other processes and the hypervisor "
        "took 12 % of the cores' time waited 42 s for a quiet machine"
    ) in shown
    assert "confidence intervals of times are those of the measured ratio to hybrid-20m" in shown


def test_a_time_with_a_wider_interval_than_requested_is_marked(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "~11.00 ms/token 10.00 to 12.50" in shown
    assert "~: the confidence interval is wider than the requested ±2 %" in shown
    # It is not an objective, so no precision is requested for it.
    assert " 13.00 ms/token 9.000 to 17.00" in shown
    assert trial_document(detail)["unsettled"] == ["decode"]
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
