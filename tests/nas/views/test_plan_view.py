"""The plan of a study as `nas validate` shows it."""

from dataclasses import replace

import pytest

from nas.views.plan_view import corpus_usage_text, plan_document, plan_view
from nas.workflows.stage_times import StageTimes
from nas.workflows.study_plan import CorpusUsage
from search_space.preset_models import PRESETS
from tests.nas.example_plan import example_plan


def test_the_view_shows_the_settings_and_the_cost(render) -> None:
    shown = render(plan_view(example_plan()))
    for fact in (
        "loss, decode (at most 12.5), with memory at most 400",
        "1.2e+08 architectures; 50 % of random draws",
        "10.0 to 40.0 million",
        "5.0 to 25.0 MB at int4",
        "hybrid-20m, interleaved, to ±3 % or for 3 s",
        "8 MB to train on, 0.25 MB held out; a training run reads it 2.5 times; 2 copies",
        "about 11 min, less if trials are stopped early: per trial 10 s of timing + 50 s of "
        "training; references may take longer",
        "a" * 28,
    ):
        assert fact in " ".join(shown.split())
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_document_has_the_time_of_the_whole_study() -> None:
    alike = replace(example_plan(), drawn=PRESETS["lfm2-350m"])  # the same as the reference model
    assert plan_document(alike)["seconds"] == pytest.approx(11 * 60)


def test_a_shared_network_is_trained_once_for_all(render) -> None:
    plan = example_plan()
    proxy = plan.spec.proxy.model_copy(update={"method": "shared"})
    spec = plan.spec.model_copy(update={"proxy": proxy, "references": ()})
    times = replace(plan.times, network_seconds=1_800.0, training_seconds=2.0)
    shared = replace(plan, spec=spec, times=times)
    assert shared.seconds == pytest.approx(10 * (10 + 2) + 1_800)
    assert plan_document(shared)["network_seconds"] == 1_800
    assert (
        "about 32 min: 30 min to train the shared network, then per trial 10 s of timing + 2 s of "
        "scoring"
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
