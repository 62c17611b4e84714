"""The plan of a study as `nas validate` shows it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from nas.views.plan_view import corpus_usage_text, plan_document, plan_view
from nas.workflows.space_samples import RefusedShares
from nas.workflows.stage_times import StageTimes
from nas.workflows.study_plan import CorpusUsage, StudyPlan
from search_space.preset_models import PRESETS
from search_space.space.matching import Matched, MatchedLatency
from studies.spec.study_tables import Constraint, Objective
from tests.nas.example_plan import example_plan


def test_the_view_shows_the_settings_and_the_cost(render) -> None:
    shown = render(plan_view(example_plan()))
    for fact in (
        "loss, decode (at most 12.5 ms/token), with memory at most 400 MB",
        "1.2e+08 architectures; 50 % of random draws",
        "10.0 to 40.0 million",
        "5.0 to 25.0 MB at int4",
        "hybrid-20m, interleaved, to ±5 % of the ratio or for 3 s",
        "8 MB to train on, 0.25 MB held out; a training run reads it 2.5 times; 2 copies",
        "about 11 min on a quiet machine, less if trials are stopped early: per trial 10 s of "
        "timing + 50 s of training; references may take longer",
    ):
        assert fact in " ".join(shown.split())
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_view_shows_what_models_of_the_space_take(render) -> None:
    lines = render(plan_view(example_plan())).splitlines()
    cells = {
        line.split()[0].strip(","): line.split()[1:]
        for line in lines[lines.index(next(line for line in lines if "this machine" in line)) :]
        if line.strip()
    }
    assert cells["smallest"] == ["median", "largest"]
    assert cells["parameters"] == ["134.5", "million", "596.0", "million", "742.5", "million"]
    assert cells["decode"] == ["ms/token", "4.000", "±0.16", "12.00", "±0.48", "14.00", "±0.56"]
    assert cells["memory"] == ["MB", "150.0", "390.0", "450.0"]


@pytest.mark.parametrize(
    ("decode", "memory", "remarks"),
    [
        (12.5, 400.0, []),
        # The decoding times, with their intervals, extend from 3.84 to 14.56 ms.
        (
            14.6,
            400.0,
            [
                "decode: the limit of 14.60 ms/token is above all of these models and probably "
                "refuses none"
            ],
        ),
        (14.5, 400.0, []),
        (3.9, 400.0, []),
        (3.8, 149.0, ["decode: the limit of 3.800 ms/token is below all", "memory: the limit"]),
    ],
)
def test_a_limit_that_no_measured_model_is_near_is_reported(
    render, decode: float, memory: float, remarks: list[str]
) -> None:
    plan = example_plan()
    objectives = (Objective(name="loss"), Objective(name="decode", max=decode))
    constraints = (Constraint(name="memory", max=memory),)
    spec = plan.spec.model_copy(update={"objectives": objectives, "constraints": constraints})
    plan = replace(plan, spec=spec)
    found = plan_document(plan)["remarks_on_limits"]
    assert len(found) == len(remarks)
    shown = " ".join(render(plan_view(plan)).split())
    for sentence, beginning in zip(found, remarks, strict=True):
        assert sentence.startswith(beginning)
        assert sentence in shown


def test_provisional_times_are_marked(render) -> None:
    plan = example_plan()
    first, *others = plan.samples
    scores = tuple(replace(score, provisional=score.name == "decode") for score in first.scores)
    shown = render(plan_view(replace(plan, samples=(replace(first, scores=scores), *others))))
    assert "~4.000 ±0.16" in shown
    assert "~12.00" not in shown
    assert "intervals cover the ratio to hybrid-20m only" in " ".join(shown.split())
    # `nas run` does not measure these models.
    assert "nas run" not in shown
    assert "~: the confidence interval is wider than the requested ±5 %" in shown


def test_refusals_are_part_of_the_duration(render) -> None:
    plan = replace(example_plan(), refused=RefusedShares(untimed=0.0, untrained=0.3))
    assert "the limits refuse about 30 % of random draws" in " ".join(
        render(plan_view(plan)).split()
    )
    assert plan_document(plan)["share_refused_before_training"] == 0.3


def test_the_document_has_the_measured_models() -> None:
    plan = example_plan()
    failed = replace(plan.samples[2], scores=(), seconds=None, failure="out of memory: 9 GB")
    document = plan_document(replace(plan, samples=(*plan.samples[:2], failed)))
    smallest, _, largest = document["models"]
    assert (smallest["size"], smallest["layout"], smallest["seconds"]) == (
        "smallest",
        "a" * 30,
        10.0,
    )
    assert smallest["scores"][0] == {
        "name": "decode",
        "value": 4.0,
        "unit": "ms/token",
        "low": pytest.approx(3.84),
        "high": pytest.approx(4.16),
        "provisional": False,
    }
    assert largest["failure"] == "out of memory: 9 GB"


def test_a_model_that_cannot_be_measured_is_reported(render) -> None:
    plan = example_plan()
    failed = replace(plan.samples[2], scores=(), seconds=None, failure="out of memory: 9 GB")
    shown = render(plan_view(replace(plan, samples=(*plan.samples[:2], failed))))
    assert "the largest model could not be measured: out of memory: 9 GB" in shown


def test_the_document_has_the_time_of_the_whole_study() -> None:
    alike = replace(example_plan(), drawn=PRESETS["lfm2-350m"])  # the same as the reference model
    assert plan_document(alike)["seconds"] == pytest.approx(11 * 60)


@pytest.mark.parametrize(
    ("read_bytes", "passes", "words"),
    [
        (2e7, 2.5, "a training run reads it 2.5 times"),
        (8e6, 1.0, "a training run reads it once"),
        (2e6, 0.25, "a training run reads 25 % of it"),
    ],
)
def test_the_text_and_the_document_agree(
    render, read_bytes: float, passes: float, words: str
) -> None:
    """There are 8 MB to train on. A study of 11 models, which take a minute each, takes 11 min."""
    plan = replace(example_plan(), drawn=PRESETS["lfm2-350m"])  # the same as the reference model
    plan = replace(plan, corpus_usage=replace(plan.corpus_usage, read_bytes=read_bytes))
    document, shown = plan_document(plan), " ".join(render(plan_view(plan)).split())
    assert document["text"]["corpus_passes"] == passes
    assert words in shown
    assert document["seconds"] == pytest.approx(11 * 60)
    assert "about 11 min on a quiet machine" in shown


def test_more_trainings_than_the_machine_supports_are_remarked(render) -> None:
    plan = example_plan()
    assert plan_document(plan)["remark_on_parallel"] is None
    crowded = replace(plan, parallel=999, crowding="proxy.parallel: 999 trainings compete")
    assert plan_document(crowded)["remark_on_parallel"] == crowded.crowding
    shown = render(plan_view(crowded))
    assert "999 candidates at a time" in " ".join(shown.split())
    assert crowded.crowding in shown.splitlines()


def test_a_shared_network_is_trained_once_for_all(render) -> None:
    plan = example_plan()
    proxy = plan.spec.proxy.model_copy(update={"method": "shared"})
    spec = plan.spec.model_copy(update={"proxy": proxy, "references": ()})
    times = replace(plan.times, network_seconds=1_800.0, training_seconds=2.0)
    shared = replace(plan, spec=spec, times=times)
    assert shared.seconds == pytest.approx(10 * (10 + 2) + 1_800)
    assert plan_document(shared)["network_seconds"] == 1_800
    assert (
        "about 32 min on a quiet machine: 30 min to train the shared network, then per trial 10 s "
        "of timing + 2 s of scoring"
    ) in " ".join(render(plan_view(shared)).split())


def test_a_drawn_architecture_that_fails_is_reported_with_its_reason(render) -> None:
    times = StageTimes(latency_seconds=10.0, training_seconds=None, failure="diverged: loss 9 nats")
    failed = replace(example_plan(), times=times)
    assert failed.seconds is None
    sentence = "unknown, because a randomly drawn architecture failed: diverged: loss 9 nats"
    assert sentence in " ".join(render(plan_view(failed)).split())


def test_mixers_that_the_runtime_cannot_express_are_reported(render) -> None:
    plan = replace(
        example_plan(), expressible_share=0.25, inexpressible={"l": "it has no such layers"}
    )
    assert "can express 25 % of legal draws; never 'l': it has no such layers" in " ".join(
        render(plan_view(plan)).split()
    )
    assert plan_document(plan)["inexpressible_mixers"] == {"l": "it has no such layers"}


def test_a_small_fraction_is_a_percentage() -> None:
    usage = CorpusUsage(
        training_bytes=10_000_000, held_out_bytes=300_000, read_bytes=9e4, note=None
    )
    assert corpus_usage_text(usage) == (
        "10 MB to train on, 0.3 MB held out; a training run reads 0.9 % of it"
    )


@pytest.mark.parametrize(
    ("matched", "fact"),
    [
        (None, None),
        (Matched(parameters=20_000_000), "matched 20,000,000 parameters, within 1 %"),
        (
            Matched(parameters=20_000_000, count="non_embedding"),
            "matched 20,000,000 parameters outside the embedding, within 1 %",
        ),
        (
            MatchedLatency(latency=12.0),
            "matched a predicted decode of 12 ms/token, within 1 %, as soon as 4 models have been "
            "measured",
        ),
    ],
)
def test_the_view_states_what_is_matched(
    render: Callable[..., str], matched: Matched | MatchedLatency | None, fact: str | None
) -> None:
    shown = " ".join(render(plan_view(_matched_plan(matched))).split())
    assert ("matched" in shown) == (fact is not None)
    assert fact is None or fact in shown


@pytest.mark.parametrize(("latency", "place"), [(3.0, "below"), (20.0, "above"), (9.0, None)])
def test_a_latency_outside_the_range_of_the_measured_models_is_remarked(
    render: Callable[..., str], latency: float, place: str | None
) -> None:
    shown = " ".join(render(plan_view(_matched_plan(MatchedLatency(latency=latency)))).split())
    sentence = f"matched: a decode of {latency:g} ms/token is {place} all of these models; layouts"
    assert (sentence in shown) == (place is not None)
    assert ("of these models; layouts" in shown) == (place is not None)


def _matched_plan(matched: Matched | MatchedLatency | None) -> StudyPlan:
    plan = example_plan()
    space = replace(plan.spec.space, feed_forward=(1.0, 6.0), matched=matched)
    return replace(plan, spec=plan.spec.model_copy(update={"space": space}))


@pytest.mark.parametrize(
    ("latency_seconds", "expected"),
    [
        (0.0, "per trial timing (12 s on phone and 7 s on pi5) + 50 s of training"),
        (
            10.0,
            "per trial timing (10 s on this machine, 12 s on phone and 7 s on pi5) + 50 s of "
            "training",
        ),
    ],
)
def test_the_time_on_each_device_is_shown(render, latency_seconds: float, expected: str) -> None:
    times = StageTimes(
        latency_seconds=latency_seconds,
        training_seconds=50.0,
        failure=None,
        device_seconds={"phone": 12.0, "pi5": 7.0},
    )
    plan = replace(example_plan(), times=times)
    assert expected in " ".join(render(plan_view(plan)).split())
    assert plan_document(plan)["device_seconds"] == {"phone": 12.0, "pi5": 7.0}
