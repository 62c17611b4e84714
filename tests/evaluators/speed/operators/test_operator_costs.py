"""Costs of parts on a simulated device, whose times are a sum of parts with noise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluators.speed.operators.additivity import additivity
from evaluators.speed.operators.operator_costs import first_depth, operator_costs
from evaluators.speed.operators.probe_times import (
    ModelTimes,
    PairedRatio,
    PairedTime,
    Profile,
    Setting,
)
from hardware.measurement import Workload, parse_workload
from search_space.architecture import Architecture, Attention, LinearAttention, ShortConv
from search_space.probes import Kinds, make_probes, whole_models

KINDS = Kinds(kernels=(3, 7), windows=(512,))
DEPTHS = (256, 1024, 4096)
DECODE = tuple(parse_workload(f"tg32@{depth}") for depth in DEPTHS)
PREFILL = parse_workload("pp128")


def true_ms(architecture: Architecture, workload: Workload) -> float:
    """Return the sum of a model's parts and a constant that belongs to none of them."""
    tokens, square = (workload.tokens if workload.phase == "prefill" else 1), architecture.width**2
    total = 0.05 + 3e-9 * architecture.vocab_size * architecture.width
    for layer in architecture.layers:
        total += tokens * 3e-9 * 3 * layer.feed_forward_width * architecture.width
        total += tokens * mixer_ms(layer.mixer, square, workload.depth)
    return total


def mixer_ms(mixer: object, square: int, depth: int) -> float:
    match mixer:
        case ShortConv(kernel=kernel):
            return 12e-9 * square + 1e-3 * kernel
        case Attention(window=window):
            return 9e-9 * square + 1e-4 * min(depth, window or depth)
        case LinearAttention():
            return 15e-9 * square
        case _:
            return 0.0


def timed(
    architecture: Architecture,
    reference: Architecture,
    workloads: tuple[Workload, ...],
    *,
    noise: float,
    loading: float,
    generator: np.random.Generator,
    rounds: int = 3,
) -> ModelTimes:
    """Simulate timings with a known noise within a round, and noise `loading` between processes."""
    times = []
    for workload in workloads:
        reference_ms = true_ms(reference, workload)
        ratios = []
        for _ in range(rounds):
            off = generator.normal(0, noise) + generator.normal(0, loading)
            value = true_ms(architecture, workload) / reference_ms * math.exp(off)
            ratios.append(PairedRatio(value=value, deviation=noise))
        times.append(
            PairedTime(
                workload=workload, ratios=tuple(ratios), reference_ms=(reference_ms,) * rounds
            )
        )
    return ModelTimes(architecture=architecture, times=tuple(times))


def profile(
    *, noise: float = 1e-9, loading: float = 0.0, width: int = 1024, seed: int = 0, rounds: int = 3
) -> Profile:
    setting = Setting(width=width, layers=16, quantization="int4", threads=1, kinds=KINDS)
    probes = make_probes(width, 16, KINDS)
    generator = np.random.default_rng(seed)

    def of(architecture: Architecture, workloads: tuple[Workload, ...]) -> ModelTimes:
        return timed(
            architecture,
            probes[0].architecture,
            workloads,
            noise=noise,
            loading=loading,
            generator=generator,
            rounds=rounds,
        )

    return Profile(
        setting=setting,
        probes=tuple(
            of(probe.architecture, (*(DECODE if probe.has_kv_cache else DECODE[:1]), PREFILL))
            for probe in probes
        ),
        models=tuple(of(model, (*DECODE, PREFILL)) for model in whole_models(width, 2, KINDS)),
    )


def true_costs(width: int) -> dict[tuple[str, Workload], float]:
    convolution = mixer_ms(ShortConv(kernel=3), width**2, 0)
    costs = {}
    for probe in make_probes(width, 1, KINDS):
        for workload in (*DECODE, PREFILL):
            scale = workload.tokens if workload.phase == "prefill" else 1
            if probe.letter is not None:
                own = mixer_ms(probe.architecture.layers[0].mixer, width**2, workload.depth)
            elif probe.part == "feed-forward":
                own = 9e-9 * width**2
            else:
                own = 3e-9 * 65_536 * width / scale
            costs[probe.part, workload] = own / convolution
    return costs


def test_without_noise_every_cost_is_exact() -> None:
    truth = true_costs(1024)
    costs = operator_costs(profile())
    parts = {"convolution 3", "convolution 7", "attention", "window 512", "linear attention"}
    assert {cost.part for cost in costs} == parts | {"feed-forward", "vocabulary"}
    for cost in costs:
        assert cost.ratio.value == pytest.approx(truth[cost.part, cost.workload], rel=1e-6)
    (attention,) = [
        cost for cost in costs if cost.part == "attention" and cost.workload == DECODE[1]
    ]
    assert attention.ms.value == pytest.approx(9e-9 * 1024**2 + 1e-4 * 1024, rel=1e-6)


@pytest.mark.parametrize("loading", [0.0, 0.03])
def test_intervals_have_their_nominal_coverage(loading: float) -> None:
    truth = true_costs(1024)
    covered = []
    for seed in range(40):
        for cost in operator_costs(profile(noise=0.01, loading=loading, seed=seed)):
            if cost.part != "convolution 3":
                assert cost.ratio.low is not None
                assert cost.ratio.high is not None
                known = truth[cost.part, cost.workload]
                covered.append(cost.ratio.low <= known <= cost.ratio.high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_the_convolution_that_costs_are_relative_to_is_exactly_one() -> None:
    costs = operator_costs(profile(noise=0.05))
    ones = [cost.ratio for cost in costs if cost.part == "convolution 3"]
    assert len(ones) == len(DEPTHS) + 1
    assert all(one.value == 1.0 and one.margin == pytest.approx(0) for one in ones)


def test_a_slow_reference_changes_no_cost() -> None:
    fair = profile(noise=0.01)
    slow = replace(
        fair,
        probes=tuple(
            replace(
                model,
                times=tuple(
                    replace(
                        time,
                        ratios=tuple(replace(each, value=0.9 * each.value) for each in time.ratios),
                    )
                    for time in model.times
                ),
            )
            for model in fair.probes
        ),
    )
    for one, other in zip(operator_costs(fair), operator_costs(slow), strict=True):
        assert one.ratio.value == pytest.approx(other.ratio.value)
        assert one.ratio.margin == pytest.approx(other.ratio.margin, abs=1e-12)


def test_attention_reaches_a_ratio_at_the_true_depth() -> None:
    convolution = mixer_ms(ShortConv(kernel=3), 1024**2, 0)
    depth = (3 * convolution - 9e-9 * 1024**2) / 1e-4
    costs = operator_costs(profile(noise=0.005))
    found = first_depth(costs, "attention", 3.0)
    assert found is not None
    assert found.margin is not None
    assert abs(found.value - depth) < 3 * found.margin
    assert found.margin < depth / 10
    assert first_depth(costs, "linear attention", 3.0) is None
    assert first_depth(costs, "attention", 0.5).value == DEPTHS[0]


def test_a_part_that_was_not_timed_is_left_out_and_the_others_stay() -> None:
    whole = profile()
    without = tuple(
        replace(model, times=(), failure="out of memory: 40.0 GB are free")
        if model.architecture.layout == 16 * "a"
        else model
        for model in whole.probes
    )
    known = {(cost.part, cost.workload): cost.ratio.value for cost in operator_costs(whole)}
    left = operator_costs(replace(whole, probes=without))
    assert "attention" not in {cost.part for cost in left}
    assert len(left) == len(known) - (len(DEPTHS) + 1)
    for cost in left:
        assert cost.ratio.value == pytest.approx(known[cost.part, cost.workload])


def test_there_are_no_costs_if_the_convolution_is_lost_in_noise() -> None:
    flat = profile()
    same = PairedRatio(value=1.0, deviation=0.05)
    probes = tuple(
        replace(model, times=tuple(replace(time, ratios=(same,) * 3) for time in model.times))
        for model in flat.probes
    )
    assert operator_costs(replace(flat, probes=probes)) == ()


def test_too_few_windows_leave_values_without_intervals() -> None:
    whole = profile(rounds=1)
    bare = tuple(
        replace(
            model,
            times=tuple(
                replace(
                    time,
                    ratios=tuple(replace(each, deviation=None) for each in time.ratios),
                )
                for time in model.times
            ),
        )
        for model in whole.probes
    )
    attention = [
        cost for cost in operator_costs(replace(whole, probes=bare)) if cost.part == "attention"
    ]
    assert len(attention) == len(DEPTHS) + 1
    assert all(cost.ratio.margin is None and cost.ratio.low is None for cost in attention)


def test_parts_add_up_to_whole_models() -> None:
    checks = additivity(profile())
    assert len(checks) == 2 * (len(DEPTHS) + 1)
    for check in checks:
        assert check.ratio.value == pytest.approx(1, abs=0.005)
