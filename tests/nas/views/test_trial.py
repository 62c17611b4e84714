"""What is shown of one trial: its scores, how well they are known, and the evidence."""

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


def test_times_come_with_their_intervals_and_what_was_beside_them(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "prefill 800.0 ms 799.0 to 801.0" in shown
    assert "tg64@1024 12.00 ms a token, p95 13.80, 3 samples" in shown
    assert "beside 20.00 ms of hybrid-20m; others had 12% of its cores; waited 42 s" in shown
    assert "timed in turn with hybrid-20m" in shown


def test_a_time_that_is_known_less_well_than_asked_for_is_marked(detail, render) -> None:
    shown = " ".join(render(trial_view(detail)).split())
    assert "~11.00 ms/token 10.00 to 12.50" in shown
    assert "~: not settled, known less well than the ±2% asked for" in shown
    # Nobody asked for it.
    assert " 13.00 ms/token 9.000 to 17.00" in shown
    assert trial_document(detail)["unsettled"] == ["decode"]
    (_, decode, *others) = SCORES
    settled = replace(decode, low=10.9, high=11.1)
    trial = replace(detail.trial, scores=(SCORES[0], settled, *others))
    assert "~" not in render(trial_view(replace(detail, trial=trial)))


def test_why_there_is_more_than_one_measurement_is_said(detail, render) -> None:
    assert "forecast" not in render(trial_view(detail))
    thrice = Evaluation(scores=SCORES, seconds=1.0, measurements=(PAIRED,) * 3)
    shown = " ".join(render(trial_view(replace(detail, evaluations={"latency": thrice}))).split())
    assert "measured 3 times, as the first was far from its forecast" in shown


def test_what_an_earlier_release_measured_is_shown_too(detail, render) -> None:
    old = Evaluation(scores=SCORES, seconds=1.0, measurements=(ALONE,))
    shown = render(trial_view(replace(detail, evaluations={"latency": old})))
    assert "12.00 ms a token" in shown
    assert "beside" not in shown


def test_scripts_get_every_sample_of_both_models(detail) -> None:
    document = json.loads(json.dumps(trial_document(detail)))
    (measurement,) = document["measurements"]
    assert measurement["workload"] == "tg64@1024"
    assert measurement["samples_ns"] == list(PAIRED.samples_ns)
    assert measurement["reference"]["samples_ns"] == [20_000_000] * 3
    assert measurement["disturbance"]["waited_s"] == 41.5
    assert measurement["environment"]["host"] == "board"
