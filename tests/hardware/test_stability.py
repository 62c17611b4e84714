import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hardware.environment import CpuCounters
from hardware.measurement import Disturbance, Measurement, Workload
from hardware.runner import DeviceSnapshot, Loading, RunnerError, Window
from hardware.stability import TimingBudget, measure_alone, measure_paired
from hardware.window_statistics import interval_ms, ratio
from tests.hardware.clocks import DECODE, ENVIRONMENT, LOADING, PREFILL, STARTED_AT, Clock


@dataclass(eq=False)
class Scripted:
    """A model whose samples are `window_ns(workload, samples)`, on a runner with an overhead.

    `waiting` is the fraction of each sample's time that was spent waiting, by the first core that
    the model runs on; 0 for other cores. Without it, the runner has no clock for waiting.
    """

    clock: Clock
    window_ns: Callable[[Workload, int], Sequence[float]]
    overhead_ns: float = 0.0
    loading: Loading = LOADING
    waiting: dict[int, float] | None = None
    counters: list[CpuCounters] = field(default_factory=list)
    calls: list[tuple["Scripted", int]] = field(default_factory=list)
    clock_mhz: Callable[[], float | None] = lambda: None

    def time(self, workload: Workload, samples: int) -> Window:
        samples_ns = tuple(round(sample) for sample in self.window_ns(workload, samples))
        self.clock.now_ns += sum(samples_ns) + self.overhead_ns
        self.calls.append((self, samples))
        waited_ns = None
        if self.waiting is not None:
            share = self.waiting.get(self.loading.cores[0], 0.0)
            waited_ns = tuple(round(share * sample) for sample in samples_ns)
        return Window(
            samples_ns=samples_ns,
            waited_ns=waited_ns,
            peak_memory_bytes=1000 - len(self.calls),
            clock_mhz=self.clock_mhz(),
        )

    def move(self, cores: Sequence[int]) -> None:
        self.loading = replace(self.loading, cores=tuple(cores))

    def calmer_cores(self) -> Sequence[int] | None:
        return None

    def snapshot(self) -> DeviceSnapshot:
        return DeviceSnapshot(
            environment=replace(ENVIRONMENT, load_1min=self.clock.monotonic()),
            counters=self.counters.pop(0) if self.counters else None,
        )


@pytest.fixture(autouse=True)
def offered(monkeypatch) -> list[tuple[int, ...]]:
    """Return a list of calmer cores to offer, one entry after the other; at first it is empty."""
    offered: list[tuple[int, ...]] = []
    monkeypatch.setattr(Scripted, "calmer_cores", lambda self: offered.pop(0) if offered else None)
    return offered


def steady(clock: Clock, sample_ns: float, **fields) -> Scripted:
    return Scripted(clock, lambda _, samples: [sample_ns] * samples, **fields)


def noisy(clock: Clock, sample_ns: float, spread: float, seed: int = 0) -> Scripted:
    generator = np.random.default_rng(seed)
    return Scripted(
        clock,
        lambda _, samples: [sample_ns * math.exp(spread * generator.normal())] * samples,
    )


def pair(clock: Clock, timing_budget: TimingBudget, first: float, second: float) -> Measurement:
    models = steady(clock, first), steady(clock, second)
    (measurement,) = measure_paired(*models, [timing_budget], print)
    return measurement


class TestTimingBudget:
    @pytest.mark.parametrize("precision", [0.0, 1.0, -0.1, math.nan])
    def test_precision_is_a_fraction(self, precision):
        with pytest.raises(ValueError, match=r"^precision: .* is not between 0 and 1$"):
            TimingBudget(workload=DECODE, precision=precision)

    @pytest.mark.parametrize("quantile", [-0.1, 1.1, math.nan])
    def test_a_quantile_is_a_fraction(self, quantile):
        with pytest.raises(ValueError, match=r"^quantile: .* is not between 0 and 1$"):
            TimingBudget(workload=DECODE, quantile=quantile)

    @pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
    def test_seconds_are_positive_and_finite(self, seconds):
        with pytest.raises(ValueError, match=r"^seconds: .* is not a positive number$"):
            TimingBudget(workload=DECODE, seconds=seconds)


class TestWindows:
    @pytest.mark.parametrize(
        ("workload", "sample_ms", "overhead_ms", "samples"),
        [
            (DECODE, 0.5, 0, 200),  # 0.1 s
            (DECODE, 4, 0, 25),
            (DECODE, 5, 0, 24),  # at least 24 tokens,
            (DECODE, 20, 0, 10),  # in at most 0.2 s
            (DECODE, 300, 0, 1),
            (replace(DECODE, tokens=3), 1, 0, 100),  # more than the workload has
            (PREFILL, 2500, 0, 1),
            (PREFILL, 10, 0, 10),  # 0.1 s
            (DECODE, 20, 300, 30),  # twice the overhead
            (PREFILL, 100, 1000, 20),
            (PREFILL, 2500, 1000, 1),
        ],
    )
    def test_they_are_short_but_longer_than_the_overhead_of_the_runner(
        self, clock, workload, sample_ms, overhead_ms, samples
    ):
        model = steady(clock, 1e6 * sample_ms, overhead_ns=1e6 * overhead_ms)
        (measurement,) = measure_alone(model, [TimingBudget(workload=workload)], print)
        assert measurement.window == samples
        assert model.calls[-1] == (model, samples)

    def test_a_slow_first_prompt_does_not_make_them_shorter(self, clock):
        prompts_ns = itertools.chain([9e7], itertools.repeat(1e7))
        model = Scripted(clock, lambda _, samples: [next(prompts_ns) for _ in range(samples)])
        (measurement,) = measure_alone(model, [TimingBudget(workload=PREFILL)], print)
        assert measurement.window == 10

    def test_each_model_has_its_own_size(self, clock):
        measurement = pair(clock, TimingBudget(workload=DECODE), 40e6, 20e6)
        assert (measurement.window, measurement.reference.window) == (5, 10)

    def test_waiting_makes_them_longer(self, clock):
        """They have the same number of samples as without other load."""
        model = steady(clock, 80e6, waiting={1: 0.75})
        (measurement,) = measure_alone(model, [TimingBudget(workload=DECODE)], print)
        assert measurement.window == 10

    def test_waiting_makes_them_at_most_ten_times_as_long(self, clock):
        model = steady(clock, 80e6, waiting={1: 0.99})
        (measurement,) = measure_alone(model, [TimingBudget(workload=DECODE)], print)
        assert sum(measurement.samples_ns[: measurement.window]) <= 10 * 2e8

    def test_they_are_interleaved_as_abba_after_the_warm_ups(self, clock):
        calls = []
        ours, theirs = (replace(noisy(clock, 20e6, 0.05, seed), calls=calls) for seed in (0, 1))
        (measurement,) = measure_paired(ours, theirs, [TimingBudget(workload=DECODE)], print)
        pairs = len(measurement.samples_ns) // measurement.window
        counted = "".join("A" if model is ours else "B" for model, _ in calls[-2 * pairs :])
        assert pairs > 4
        assert counted == ("ABBA" * pairs)[: 2 * pairs]
        warmups = [model for model, _ in calls[: -2 * pairs]]
        assert ours in warmups
        assert theirs in warmups

    def test_every_sample_is_kept_in_order_and_warm_ups_are_separate(self, clock):
        numbers = itertools.count(10_000_000)
        model = Scripted(clock, lambda _, samples: [next(numbers) for _ in range(samples)])
        (measurement,) = measure_alone(model, [TimingBudget(workload=DECODE)], print)
        assert measurement.warmup_ns + measurement.samples_ns == tuple(
            range(10_000_000, next(numbers))
        )
        assert len(measurement.warmup_ns) == sum(samples for _, samples in model.calls) - len(
            measurement.samples_ns
        )
        assert len(measurement.samples_ns) % measurement.window == 0
        assert measurement.warmup_ns

    def test_a_measurement_carries_its_evidence(self, clock):
        measurement = pair(clock, TimingBudget(workload=PREFILL), 2e9, 1e9)
        for one in (measurement, measurement.reference):
            assert one.workload == PREFILL
            assert (one.runtime, one.threads, one.cores, one.load_ns) == ("test", 1, (1,), 7)
            assert (one.model_bytes, one.empty_memory_bytes, one.loaded_memory_bytes) == (6, 5, 4)
            assert one.peak_memory_bytes == 999  # that of the first window, a warm-up
            assert one.environment.load_1min < one.environment_after.load_1min
            assert one.disturbance is None
            assert one.measured_at == STARTED_AT + clock.monotonic()
            assert one.waited_ns is None
        assert measurement.reference.reference is None
        (alone,) = measure_alone(steady(clock, 1e9), [TimingBudget(workload=PREFILL)], print)
        assert alone.reference is None


class TestEnd:
    def test_it_comes_when_the_interval_is_narrow_enough(self, clock):
        lengths = {}
        for precision in (0.10, 0.02):
            ours, theirs = noisy(clock, 20e6, 0.05, 1), noisy(clock, 20e6, 0.05, 2)
            timing_budget = TimingBudget(workload=DECODE, precision=precision, seconds=60)
            (measurement,) = measure_paired(ours, theirs, [timing_budget], print)
            known = ratio(measurement)
            assert math.log(known.high / known.low) / 2 <= precision * 1.0001
            lengths[precision] = len(measurement.samples_ns)
        assert clock.monotonic() < 60
        assert lengths[0.10] < lengths[0.02]

    def test_it_comes_at_the_time_limit_with_a_wider_interval(self, clock):
        ours, theirs = noisy(clock, 20e6, 0.2, 1), noisy(clock, 20e6, 0.2, 2)
        (measurement,) = measure_paired(
            ours, theirs, [TimingBudget(workload=DECODE, seconds=5)], print
        )
        assert 4 < clock.monotonic() < 5.1  # the last pair may take longer than the others
        known = ratio(measurement)
        assert known.high / known.low > 1.05

    @pytest.mark.parametrize("quantile", [0.5, 0.95])
    def test_the_precision_is_that_of_the_requested_quantile(self, clock, quantile):
        """Bursts affect a few samples of each window, but not its median."""
        generator = np.random.default_rng(0)

        def bursts(_: Workload, samples: int) -> list[float]:
            return [20e6] * (samples - 1) + [20e6 * math.exp(0.2 * abs(generator.normal()))]

        models = Scripted(clock, bursts), steady(clock, 20e6)
        timing_budget = TimingBudget(workload=DECODE, precision=0.05, seconds=60, quantile=quantile)
        (measurement,) = measure_paired(*models, [timing_budget], print)
        windows = len(measurement.samples_ns) // measurement.window
        known = ratio(measurement, quantile)
        assert math.log(known.high / known.low) / 2 <= 0.05
        assert (windows > 6) == (quantile == 0.95)

    def test_the_fewest_windows_are_taken_even_beyond_the_time_limit(self, clock):
        measurement = pair(clock, TimingBudget(workload=PREFILL, seconds=1), 9e9, 9e9)
        assert ratio(measurement).low is not None

    def test_unused_seconds_go_to_the_next_workloads(self, clock):
        generator = np.random.default_rng(0)
        ends = {}

        def window_ns(workload: Workload, samples: int) -> list[float]:
            ends[workload] = clock.monotonic()
            return [2e7 * math.exp(generator.normal() * (workload == DECODE))] * samples

        models = Scripted(clock, window_ns), Scripted(clock, window_ns)
        timing_budgets = [
            TimingBudget(workload=workload, seconds=10) for workload in (PREFILL, DECODE)
        ]
        first, second = measure_paired(*models, timing_budgets, print)
        assert (first.workload, second.workload) == (PREFILL, DECODE)
        assert ends[PREFILL] < 5
        assert 18 < ends[DECODE] <= 20

    def test_a_failure_propagates(self, clock):
        def fail(workload: Workload, samples: int) -> list[float]:
            raise RunnerError("crashed", "gone")

        with pytest.raises(RunnerError, match="gone"):
            measure_paired(
                steady(clock, 1e9), Scripted(clock, fail), [TimingBudget(workload=PREFILL)], print
            )

    def test_the_estimate_is_reported(self, clock):
        reports = []
        models = steady(clock, 22e6), steady(clock, 20e6)
        measure_paired(*models, [TimingBudget(workload=DECODE)], reports.append)
        assert reports[-1].startswith("tg64@1024: ")
        assert reports[-1].endswith(" pairs, ratio 1.100 ±0.000")
        measure_alone(steady(clock, 20e6), [TimingBudget(workload=DECODE)], reports.append)
        assert reports[-1].endswith(" windows, 20.000 ms ±0.0 %")


class TestWaiting:
    def test_models_are_compared_without_it(self, clock):
        ours = steady(clock, 50e6, waiting={1: 0.6})
        theirs = steady(clock, 40e6, waiting={1: 0.5})
        (measurement,) = measure_paired(ours, theirs, [TimingBudget(workload=DECODE)], print)
        assert ratio(measurement).value == pytest.approx(1.0)
        assert set(measurement.samples_ns) == {50_000_000}  # the wall time remains
        assert set(measurement.waited_ns) == {30_000_000}
        assert measurement.waiting_share == pytest.approx(0.6)
        assert measurement.reference.waiting_share == pytest.approx(0.5)

    def test_it_does_not_prolong_the_timing(self, clock):
        """Wall times vary by a factor of two and running times not at all."""
        generator = np.random.default_rng(0)

        def window(workload: Workload, samples: int) -> Window:
            waited_ns = generator.integers(20_000_000, size=samples).tolist()
            return Window(
                samples_ns=tuple(20_000_000 + waited for waited in waited_ns),
                waited_ns=tuple(waited_ns),
                peak_memory_bytes=1,
            )

        model = steady(clock, 0.0)
        model.time = window
        (measurement,) = measure_alone(model, [TimingBudget(workload=DECODE)], print)
        assert len(measurement.samples_ns) == 6 * measurement.window
        known = interval_ms([measurement])
        assert (known.low, known.high) == pytest.approx((20, 20))

    def test_one_runner_may_have_no_clock_for_it(self, clock):
        models = steady(clock, 20e6), steady(clock, 40e6, waiting={1: 0.5})
        (measurement,) = measure_paired(*models, [TimingBudget(workload=DECODE)], print)
        assert measurement.waited_ns is None
        assert measurement.waiting_share is None
        assert measurement.reference.waiting_share == pytest.approx(0.5)
        assert ratio(measurement).value == pytest.approx(1.0)

    def test_a_model_that_never_ran_has_a_time(self, clock):
        """The clock for several threads may attribute an earlier wait to a sample."""
        ours, theirs = (steady(clock, 20e6, waiting={1: share}) for share in (1.0, 0.0))
        (measurement,) = measure_paired(ours, theirs, [TimingBudget(workload=DECODE)], print)
        assert measurement.waiting_share == 1
        assert ratio(measurement).value > 0

    def test_the_first_half_of_each_window_does_not_count(self, clock):
        """Caches hold the other model's weights at the beginning."""

        def cooled(_: Workload, samples: int) -> list[float]:
            return [35e6] * (samples // 2) + [20e6] * (samples - samples // 2)

        models = Scripted(clock, cooled), steady(clock, 10e6)
        (measurement,) = measure_paired(*models, [TimingBudget(workload=DECODE)], print)
        known = ratio(measurement)
        assert (known.low, known.value, known.high) == pytest.approx((2, 2, 2))
        assert measurement.samples_ns.count(35_000_000) > 0


class TestMoving:
    def test_models_that_wait_move_and_begin_again(self, clock, offered):
        offered += [(0,), (3,)]
        ours = steady(clock, 20e6, waiting={})
        theirs = steady(clock, 20e6, waiting={1: 0.5})
        sentences = []
        (measurement,) = measure_paired(
            ours, theirs, [TimingBudget(workload=DECODE)], sentences.append
        )
        for one in (measurement, measurement.reference):
            assert one.cores == (0,)
            assert set(one.waited_ns) == {0}
            assert len(one.samples_ns) == 6 * one.window  # as without the earlier windows
        assert ours.loading.cores == theirs.loading.cores == (0,)
        assert sentences[0] == "other programs are busy; moving from core 1 to core 0"
        assert offered == [(3,)]  # there was no reason for another move

    def test_the_evidence_is_that_of_the_new_cores(self, clock, offered):
        offered += [(0,)]
        # In the 20 s after the move, other processes use 10 s of core 0 and 20 s of core 1.
        snapshots = [
            counters(at_s, busy_s, [0, 0], 0)
            for at_s, busy_s in ((0, [0, 0]), (10, [9, 9]), (30, [19, 29]))
        ]
        model = steady(clock, 20e6, waiting={1: 0.5}, counters=snapshots)
        (measurement,) = measure_alone(model, [TimingBudget(workload=DECODE)], print)
        assert measurement.disturbance == Disturbance(
            steal=0, beside=pytest.approx(0.5), elsewhere=pytest.approx(1.0)
        )
        ended_s = clock.monotonic()
        assert measurement.environment.load_1min == pytest.approx(
            ended_s - len(measurement.samples_ns) * 20e-3
        )

    def test_they_move_at_most_twice(self, clock, offered):
        offered += [(0,), (2,), (3,), (4,)]
        models = [steady(clock, 20e6, waiting=dict.fromkeys(range(5), 0.5)) for _ in range(2)]
        (measurement,) = measure_paired(*models, [TimingBudget(workload=DECODE)], print)
        assert offered == [(3,), (4,)]
        assert measurement.cores == measurement.reference.cores == (2,)
        assert measurement.waiting_share == pytest.approx(0.5)

    def test_they_stay_where_no_core_is_calmer(self, clock, offered):
        models = [steady(clock, 20e6, waiting={1: 0.5}) for _ in range(2)]
        (measurement,) = measure_paired(*models, [TimingBudget(workload=DECODE)], print)
        assert measurement.cores == (1,)
        assert len(measurement.samples_ns) == 6 * measurement.window
        counted = sum(samples for _, samples in models[0].calls)
        assert counted == len(measurement.warmup_ns) + len(measurement.samples_ns)

    @pytest.mark.parametrize("waiting", [None, {1: 0.0}, {1: 0.05}])
    def test_they_stay_if_they_hardly_wait(self, clock, offered, waiting):
        offered += [(0,)]
        models = [steady(clock, 20e6, waiting=waiting) for _ in range(2)]
        measure_paired(*models, [TimingBudget(workload=DECODE)], print)
        assert offered == [(0,)]

    def test_moving_does_not_extend_the_time_limit(self, clock, offered):
        offered += [(0,), (2,)]
        generator = np.random.default_rng(0)

        def vary(_: Workload, samples: int) -> list[float]:
            return [20e6 * math.exp(generator.normal())] * samples

        waiting = dict.fromkeys(range(3), 0.5)
        models = [Scripted(clock, vary, waiting=waiting) for _ in range(2)]
        measure_paired(*models, [TimingBudget(workload=DECODE, seconds=20)], print)
        assert offered == []
        assert 18 < clock.monotonic() <= 20


def counters(at_s: float, busy_s: Sequence[float], steal_s: Sequence[float], own_s: float):
    return CpuCounters(
        at_ns=round(1e9 * at_s), busy_s=tuple(busy_s), steal_s=tuple(steal_s), own_s=own_s
    )


class TestDisturbance:
    @staticmethod
    def disturbance(clock, cores, ours, theirs) -> Disturbance | None:
        loading = replace(LOADING, cores=cores)
        models = (
            steady(clock, 1e9, loading=loading, counters=list(snapshots))
            for snapshots in (ours, theirs)
        )
        (measured,) = measure_paired(*models, [TimingBudget(workload=PREFILL)], print)
        assert measured.disturbance == measured.reference.disturbance
        return measured.disturbance

    # In 10 s, each process uses 4 s of core 1 and other processes 1 s; 0.5 s of it are stolen.
    OURS = (counters(100, [50, 30], [0, 2], 7), counters(110, [55, 39], [3, 2.5], 11))
    THEIRS = (counters(100, [50, 30], [0, 2], 1), counters(110, [55, 39], [3, 2.5], 5))

    def test_own_time_is_subtracted_and_cores_are_distinguished(self, clock):
        found = self.disturbance(clock, (1,), self.OURS, self.THEIRS)
        assert found == Disturbance(
            steal=pytest.approx(0.05), beside=pytest.approx(0.1), elsewhere=pytest.approx(0.5)
        )

    @pytest.mark.parametrize("cores", [(), (0, 1)])
    def test_fractions_refer_to_all_measuring_cores_or_to_all_if_none_is_pinned(self, clock, cores):
        found = self.disturbance(clock, cores, self.OURS, self.THEIRS)
        assert found == Disturbance(
            steal=pytest.approx(3.5 / 20), beside=pytest.approx(6 / 20), elsewhere=0
        )

    def test_the_load_of_other_processes_is_never_negative(self, clock):
        idle = counters(0, [0, 0], [0, 0], 0), counters(10, [0, 7.99], [0, 0], 4)
        assert self.disturbance(clock, (1,), idle, idle).beside == 0

    def test_only_the_time_of_a_single_model_is_subtracted(self, clock):
        model = steady(clock, 1e9, counters=list(self.OURS))
        (measured,) = measure_alone(model, [TimingBudget(workload=PREFILL)], print)
        assert measured.disturbance.beside == pytest.approx(0.5)

    def test_without_counters_it_is_none(self, clock):
        assert self.disturbance(clock, (1,), self.OURS, ()) is None


class TestClocks:
    """Windows at a clock frequency that has fallen do not count."""

    @staticmethod
    def throttled_after(clock: Clock, rounds: int, slowdown: float) -> Scripted:
        """Return a model that takes `slowdown` times as long once it has had some windows."""

        def window_ns(workload: Workload, samples: int) -> list[float]:
            return [4e6 * (slowdown if len(model.calls) >= rounds else 1.0)] * samples

        model = Scripted(clock, window_ns)
        model.clock_mhz = lambda: 2_000.0 / (slowdown if len(model.calls) >= rounds else 1.0)
        return model

    def test_they_are_discarded(self, clock):
        model = self.throttled_after(clock, 7, 1.5)
        reference = steady(clock, 4e6)
        budget = TimingBudget(workload=DECODE, precision=1e-6, seconds=5.0)
        (measured,) = measure_paired(model, reference, [budget], print)
        assert set(measured.samples_ns) == {4_000_000}
        assert measured.reference is not None
        assert len(measured.samples_ns) == len(measured.reference.samples_ns)
        assert measured.disturbance is not None
        assert measured.disturbance.throttled > 0.5

    def test_a_small_change_does_not_matter(self, clock):
        model = self.throttled_after(clock, 7, 1.04)
        budget = TimingBudget(workload=DECODE, precision=1e-6, seconds=5.0)
        (measured,) = measure_paired(model, steady(clock, 4e6), [budget], print)
        assert measured.disturbance is None or measured.disturbance.throttled == 0.0
        assert set(measured.samples_ns) == {4_000_000, 4_160_000}
