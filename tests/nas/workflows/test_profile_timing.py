import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.speed.operators.additivity import additivity
from evaluators.speed.operators.operator_costs import operator_costs
from evaluators.speed.operators.paired_timer import ProfileBudget
from hardware.local import LocalRunner
from hardware.measurement import Workload, parse_workload
from hardware.progress import Say
from hardware.quiet import Reservation
from nas.workflows.profile_plan import ProfilePlan
from nas.workflows.profile_timing import Profiling
from nas.workflows.work_progress import WorkProgress
from search_space.onnx_model import write_onnx
from search_space.probes import Kinds, make_probes
from studies.storage.store import Store
from tests.nas.workflows.profile_parts import PartsRunner, at_once, true_ns

PLAN = ProfilePlan(
    widths=(64,),
    depths=(64, 256),
    quantizations=("int4",),
    threads=(1,),
    prompt=16,
    models=1,
    kinds=Kinds(kernels=(3, 7), windows=(128,)),
    profile_budget=ProfileBudget(precision=0.01, seconds=0.001, rounds=2),
)
LAYERS = 8
TIMES = 2 * (6 * 2 + 2 * 3 + 3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/nas.db") as store:
        yield store


def profiling(plan: ProfilePlan, runner, store: Store) -> Profiling:
    runners = dict.fromkeys(plan.threads, runner)
    return Profiling(plan, runners, store, cache_bytes=0, quiet=at_once)


def unheard(progress: WorkProgress) -> None:
    """Discard the progress."""


def true_ratio(part: str, workload: Workload, folder: Path) -> float:
    """Return the ratio on the device that PartsRunner simulates, from the files of the probes."""

    def layers_ns(part: str) -> float:
        (probe,) = [each for each in make_probes(64, LAYERS, PLAN.kinds) if each.part == part]
        write_onnx(probe.architecture, folder, quantization="int4", context_length=1000)
        return true_ns(json.loads((folder / "model.json").read_text()), workload)

    without = layers_ns("no mixer")
    return (layers_ns(part) - without) / (layers_ns("convolution 3") - without)


def test_it_finds_what_each_mixer_takes_within_its_intervals(store: Store, tmp_path: Path) -> None:
    run = profiling(
        replace(PLAN, profile_budget=replace(PLAN.profile_budget, rounds=3)), PartsRunner(), store
    )
    run.run(unheard)
    (profile,) = run.profiles()
    mixers = {"convolution 7", "attention", "window 128", "linear attention"}
    costs = [cost for cost in operator_costs(profile) if cost.part in mixers]
    assert len(costs) == 4 * 3
    for cost in costs:
        truth = true_ratio(cost.part, cost.workload, tmp_path)
        assert cost.ratio.margin is not None
        assert cost.ratio.margin < 0.2 * truth
        # Twice the interval, because one of twelve is outside its interval every other time.
        assert abs(cost.ratio.value - truth) < 2 * cost.ratio.margin


def test_whole_models_are_checked_against_the_sum(store: Store) -> None:
    run = profiling(PLAN, PartsRunner(noise=0.001, loading=0.001), store)
    run.run(unheard)
    (profile,) = run.profiles()
    checks = additivity(profile)
    assert [str(check.workload) for check in checks] == ["tg32@64", "tg32@256", "pp16"]
    for check in checks:
        assert check.ratio.value == pytest.approx(1, abs=0.03)


def test_cached_times_are_not_measured_again(store: Store) -> None:
    first = profiling(PLAN, PartsRunner(), store)
    assert (first.done, first.total) == (0, TIMES)
    first.run(unheard)
    assert first.done == TIMES
    runner = PartsRunner()
    second = profiling(PLAN, runner, store)
    assert second.done == TIMES
    second.run(unheard)
    assert runner.loads == 0
    assert second.profiles() == first.profiles()


def test_a_deeper_context_requires_that_depth_only(store: Store) -> None:
    profiling(PLAN, PartsRunner(), store).run(unheard)
    runner = PartsRunner()
    deeper = profiling(replace(PLAN, depths=(*PLAN.depths, 512)), runner, store)
    # Attention and window at the new depth, and the whole model at the new largest depth.
    assert deeper.total - deeper.done == 2 * 3
    heard: list[str] = []
    deeper.run(lambda progress: heard.append(progress.subject))
    assert deeper.done == deeper.total
    assert len({subject.rpartition(", round ")[0] for subject in heard}) == 3


def test_an_interrupted_profile_resumes(store: Store) -> None:
    interrupted = profiling(PLAN, PartsRunner(patience=100), store)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(unheard)
    assert 0 < interrupted.done < TIMES
    known = interrupted.profiles()
    assert any(model.times for model in known[0].probes)
    rest = profiling(PLAN, PartsRunner(), store)
    assert rest.done == interrupted.done
    assert rest.profiles() == known
    rest.run(unheard)
    assert rest.done == TIMES


def test_a_probe_that_fails_is_a_result_and_the_others_are_timed(store: Store) -> None:
    run = profiling(PLAN, PartsRunner(lost="LinearAttention"), store)
    run.run(unheard)
    (profile,) = run.profiles()
    failures = {
        model.architecture.layout: model.failure
        for model in (*profile.probes, *profile.models)
        if model.failure
    }
    assert failures[LAYERS * "l"] == "out of memory: 40.0 GB are needed, 8.0 GB are free"
    parts = {cost.part for cost in operator_costs(profile)}
    assert "linear attention" not in parts
    assert {"attention", "window 128", "feed-forward", "vocabulary"} <= parts


def test_every_probe_has_the_reason_if_the_reference_cannot_be_loaded(store: Store) -> None:
    run = profiling(PLAN, PartsRunner(lost="CausalConvWithState"), store)
    run.run(unheard)
    (profile,) = run.profiles()
    assert all(model.failure and not model.times for model in profile.probes)
    assert operator_costs(profile) == ()


def test_devices_and_settings_are_distinguished(store: Store) -> None:
    profiling(PLAN, PartsRunner(), store).run(unheard)
    others = [
        profiling(PLAN, PartsRunner(fingerprint="another device"), store),
        profiling(replace(PLAN, quantizations=("int8",)), PartsRunner(), store),
        profiling(replace(PLAN, widths=(128,)), PartsRunner(), store),
        profiling(
            replace(PLAN, profile_budget=replace(PLAN.profile_budget, seconds=1.0)),
            PartsRunner(),
            store,
        ),
    ]
    assert [other.done for other in others] == [0, 0, 0, 0]


def test_each_combination_is_a_profile_of_its_own(store: Store) -> None:
    plan = replace(
        PLAN,
        widths=(64, 128),
        quantizations=("int4", "fp32"),
        threads=(1, 2),
        models=0,
        kinds=Kinds(kernels=(3,), windows=(128,)),
        profile_budget=replace(PLAN.profile_budget, rounds=1),
    )
    run = profiling(plan, PartsRunner(), store)
    run.run(unheard)
    settings = [
        (each.setting.width, each.setting.quantization, each.setting.threads)
        for each in run.profiles()
    ]
    assert len(set(settings)) == len(settings) == 8
    assert all(len(operator_costs(profile)) > 0 for profile in run.profiles())


def test_times_on_a_machine_that_was_not_reserved_are_shown_but_not_stored(store: Store) -> None:
    obstacle = "another measurement on this machine has not ended within 600 s"

    @contextlib.contextmanager
    def occupied(_: Say) -> Iterator[Reservation]:
        yield Reservation(waited_s=600.0, obstacle=obstacle)

    plan = replace(PLAN, models=0, kinds=Kinds(kernels=(3,), windows=(128,)))
    runners = dict.fromkeys(plan.threads, PartsRunner())
    run = Profiling(plan, runners, store, cache_bytes=0, quiet=occupied)
    run.run(unheard)
    assert run.done == run.total
    (profile,) = run.profiles()
    ratios = [r for model in profile.probes for time in model.times for r in time.ratios]
    assert ratios
    assert all(ratio.value > 0 and ratio.deviation is None for ratio in ratios)
    (remark,) = run.remarks
    assert remark.startswith(f"{obstacle}; ")
    again = Profiling(plan, runners, store, cache_bytes=0, quiet=at_once)
    assert again.done == 0


def test_it_runs_on_this_machine(store: Store, short_windows: None) -> None:
    plan = replace(
        PLAN,
        depths=(16, 200),
        models=0,
        kinds=Kinds(kernels=(3,), windows=(128,)),
        profile_budget=ProfileBudget(precision=0.5, seconds=0.01, rounds=1),
    )
    run = profiling(plan, LocalRunner(), store)
    heard: list[WorkProgress] = []
    run.run(heard.append)
    (profile,) = run.profiles()
    assert run.done == run.total
    assert not any(model.failure for model in (*profile.probes, *profile.models))
    assert any(
        each.subject == "width 64, int4, 1 thread, attention, round 1"
        and each.text.startswith("tg32@200")
        for each in heard
    )
    for model in profile.probes:
        assert all(ratio.value > 0 for time in model.times for ratio in time.ratios)


def test_workloads_are_those_of_llama_bench(store: Store) -> None:
    run = profiling(PLAN, PartsRunner(), store)
    run.run(unheard)
    (profile,) = run.profiles()
    timed = {time.workload for model in profile.probes for time in model.times}
    assert timed == set(map(parse_workload, ("tg32@64", "tg32@256", "pp16")))
