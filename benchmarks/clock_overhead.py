"""Measure what the clocks for waiting cost per sample, in addition to the wall clock.

    python benchmarks/clock_overhead.py [--samples 20000] [--repeats 31]

hardware/bench.py reads these clocks before and after each sample, outside its wall time. Prints the
time that they add per sample, as the median and quartiles over the repeats, and as a share of a
sample of 0.5 ms.
"""

import argparse
import gc
import statistics
import threading
import time
from collections.abc import Callable

from hardware.environment import read_environment
from hardware.thread_scheduling import make_wait_clock, own_threads, taking_precedence

_SAMPLE_NS = 500_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=20_000, help="per repeat")
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    machine = read_environment("")
    print(f"{machine.cpu}, {machine.cores} cores, load average {machine.load_1min}")
    worker = threading.Event()
    threading.Thread(target=worker.wait, daemon=True).start()
    gc.disable()
    for threads in (1, 2):
        clock = make_wait_clock(threads, own_threads()[:threads])
        # Interleaved, so that a change of the processor's frequency affects both alike.
        with taking_precedence([threading.get_native_id()]):
            added_ns = [
                _added_ns(clock.start, clock.waited_ns, options.samples)
                for _ in range(options.repeats)
            ]
        low, middle, high = statistics.quantiles(added_ns, n=4)
        print(
            f"{threads} {'thread' if threads == 1 else 'threads'} ({type(clock).__name__[1:]}): "
            f"{middle:,.0f} ns [{low:,.0f}, {high:,.0f}] per sample, "
            f"{middle / _SAMPLE_NS:.2%} of a sample of 0.5 ms"
        )
    worker.set()


def _added_ns(
    start: Callable[[], None], waited_ns: Callable[[int], int | None], samples: int
) -> float:
    """Return the time per sample with the clocks minus that without them."""
    samples_ns: list[int] = []
    waits: list[int | None] = []
    began = time.perf_counter_ns()
    for _ in range(samples):
        begun = time.perf_counter_ns()
        _sample()
        samples_ns.append(time.perf_counter_ns() - begun)
    without_ns = time.perf_counter_ns() - began
    samples_ns.clear()
    began = time.perf_counter_ns()
    for _ in range(samples):
        start()
        begun = time.perf_counter_ns()
        _sample()
        sample_ns = time.perf_counter_ns() - begun
        samples_ns.append(sample_ns)
        waits.append(waited_ns(sample_ns))
    return (time.perf_counter_ns() - began - without_ns) / samples


def _sample() -> None:
    """Stand for the pass over a model."""


if __name__ == "__main__":
    main()
