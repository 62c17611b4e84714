from dataclasses import replace

import pytest
from rich.console import Console

from nas.workflows.corpus_usage import CorpusUsage
from nas.workflows.stage_times import StageTimes
from nas.workflows.study_plan import Plan, inexpressible_mixers, plan_document, plan_view
from search_space.preset_models import PRESETS
from studies.spec.study_file import read_spec
from studies.spec.study_spec import Constraint, DeviceSettings, Objective


def _plan() -> Plan:
    spec = read_spec("quickstart").model_copy(
        update={
            "trials": 10,
            "objectives": (Objective(name="loss"), Objective(name="decode", max=12.5)),
            "constraints": (Constraint(name="memory", max=400.0),),
            "references": ("lfm2-350m",),
        }
    )
    return Plan(
        spec=spec,
        architectures=123_456_789,
        parameters_least=10_000_000,
        parameters_most=40_000_000,
        weight_bytes_least=5_000_000,
        weight_bytes_most=25_000_000,
        legal_share=0.5,
        expressible_share=1.0,
        inexpressible={},
        reference="hybrid-20m",
        drawn=PRESETS["qwen3-0.6b"],
        reading=CorpusUsage(
            training_bytes=8_000_000, held_out_bytes=250_000, read_bytes=2e7, note="2 copies"
        ),
        times=StageTimes(latency_seconds=10.0, training_seconds=50.0, failure=None),
    )


def _shown(plan: Plan) -> str:
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(plan_view(plan))
    return capture.get()


def test_the_view_says_what_is_asked_for_and_what_it_costs() -> None:
    shown = _shown(_plan())
    for fact in (
        "loss, decode (at most 12.5), with memory at most 400",
        "1.2e+08 architectures; 50% of random draws",
        "10.0 to 40.0 million",
        "5.0 to 25.0 MB at int4",
        "hybrid-20m, to ±3% or for 3 s",
        "8 MB to train on, 0.25 MB held out; a training reads 2.5 times over; 2 copies",
        "about 11 min, less what is stopped: 10 s of timing + 50 s of training a trial",
        "a" * 28,
    ):
        assert fact in " ".join(shown.split())
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_time_is_that_of_every_candidate_and_reference() -> None:
    alike = replace(_plan(), drawn=PRESETS["lfm2-350m"])  # as the reference is
    assert alike.seconds == pytest.approx(11 * 60)
    assert plan_document(alike)["seconds"] == pytest.approx(11 * 60)


def test_a_larger_reference_takes_longer_to_train() -> None:
    small = replace(_plan(), drawn=PRESETS["smollm2-135m"])
    assert small.seconds is not None
    assert small.seconds > 11 * 60


def test_a_shared_network_is_trained_once_for_all() -> None:
    plan = _plan()
    proxy = plan.spec.proxy.model_copy(update={"method": "shared"})
    spec = plan.spec.model_copy(update={"proxy": proxy, "references": ()})
    times = replace(plan.times, network_seconds=1_800.0, training_seconds=2.0)
    shared = replace(plan, spec=spec, times=times)
    assert shared.seconds == pytest.approx(10 * (10 + 2) + 1_800)
    assert plan_document(shared)["network_seconds"] == 1_800
    assert (
        "about 32 min: 30 min of training the shared network, then 10 s of timing + 2 s of "
        "scoring a trial"
    ) in " ".join(_shown(shared).split())


def test_a_drawn_architecture_that_fails_is_told_with_its_reason() -> None:
    times = StageTimes(latency_seconds=10.0, training_seconds=None, failure="diverged: loss 9 nats")
    failed = replace(_plan(), times=times)
    assert failed.seconds is None
    sentence = "not known: the architecture that was drawn failed, diverged: loss 9 nats"
    assert sentence in " ".join(_shown(failed).split())


def test_what_the_runtime_cannot_express_is_said() -> None:
    plan = replace(_plan(), expressible_share=0.25, inexpressible={"l": "it has no such layers"})
    assert "can express 25% of legal draws; never 'l': it has no such layers" in " ".join(
        _shown(plan).split()
    )
    assert plan_document(plan)["inexpressible_mixers"] == {"l": "it has no such layers"}


def test_mixers_that_llama_cpp_has_not_are_found() -> None:
    spec = read_spec("edge-350m").model_copy(update={"device": DeviceSettings(runner="llama.cpp")})
    assert set(inexpressible_mixers(spec)) == {"l", "-"}
    assert inexpressible_mixers(read_spec("edge-350m")) == {}
