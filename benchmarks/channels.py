"""Compare a device behind a channel with the same device measured directly.

    python benchmarks/channels.py [--pairs 40] [--model lfm2-350m]

The device is this machine, behind an ssh server on the loopback interface and without a channel.
Prints how far the ratio of two copies of one model is from 1 (self-pairs), and how often its 95 %
confidence interval contains 1; what travels for a candidate of 350 million parameters; and how long
a whole measurement of it takes through the channel and directly, in alternation. The last line is
one JSON document. Requires an ssh server (Debian's openssh-server).
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from evaluators.calibration import CalibrationsInMemory
from evaluators.speed.built_model import build_and_load
from evaluators.speed.calibrated_times import CalibratedTimes
from hardware.channels.ssh import SshChannel
from hardware.local import LocalRunner
from hardware.measurement import parse_workload
from hardware.remote.archive import agent_archive
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from hardware.runner import Runner
from hardware.stability import TimingBudget, measure_paired
from search_space.onnx_model import write_onnx
from search_space.preset_models import preset
from tests.hardware.channels.sshd import SshServer

SMALL = "hybrid-20m"
DECODE = parse_workload("tg16@64")
CAPACITY = 80


def main() -> None:
    """Print self-pairs, what travels, and the time that the channel adds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--model", default="lfm2-350m")
    options = parser.parse_args()
    with _over_ssh() as remote:
        pairs = [_self_pair(remote) for _ in range(options.pairs)]
        errors = [abs(math.log(ratio)) for ratio, _ in pairs]
        covered = sum(contains for _, contains in pairs)
        print(
            f"{len(pairs)} self-pairs over ssh: median absolute log ratio "
            f"{100 * statistics.median(errors):.2f} %, largest {100 * max(errors):.2f} %; "
            f"{covered} of {len(pairs)} intervals contain 1"
        )
        travels = _model_bytes(options.model)
        print(
            f"travels for {options.model}: {travels / 1e6:.2f} MB, and once "
            f"{len(agent_archive().content) / 1e6:.2f} MB"
        )
        seconds: dict[str, list[float]] = {"ssh": [], "direct": []}
        runners: dict[str, Runner] = {"ssh": remote, "direct": LocalRunner()}
        for round_ in range(options.rounds):
            for name in ("ssh", "direct") if round_ % 2 else ("direct", "ssh"):
                seconds[name].append(_seconds(runners[name], options.model))
    added = [ssh / direct - 1 for ssh, direct in zip(*seconds.values(), strict=True)]
    print(
        f"time of a measurement of {options.model}: {statistics.median(seconds['direct']):.1f} s "
        f"directly; over ssh {100 * statistics.median(added):+.1f} % "
        f"({100 * min(added):+.1f} to {100 * max(added):+.1f}) in {len(added)} rounds"
    )
    print(
        json.dumps(
            {
                "ratios": [ratio for ratio, _ in pairs],
                "covered": covered,
                "travels_bytes": travels,
                "seconds": seconds,
            }
        )
    )


@contextmanager
def _over_ssh() -> Iterator[RemoteRunner]:
    with tempfile.TemporaryDirectory() as folder:
        server = SshServer(Path(folder))
        server.start()
        channel = SshChannel(server.host, python=sys.executable, program=server.client)
        try:
            with RemoteRunner(channel, RemoteSettings()) as runner:
                yield runner
        finally:
            server.stop()


def _self_pair(runner: Runner) -> tuple[float, bool]:
    """Return the ratio of two copies of a model, and whether its interval contains 1."""
    budget = TimingBudget(workload=DECODE, precision=0.01, seconds=8.0)
    model = preset(SMALL)
    with (
        build_and_load(runner, model, "int4", CAPACITY) as one,
        build_and_load(runner, model, "int4", CAPACITY) as other,
    ):
        (measurement,) = measure_paired(one, other, [budget], lambda _: None)
    times = CalibratedTimes(CalibrationsInMemory(), device="", reference=SMALL)
    times.add([measurement])
    ratio = times.ratio([measurement])
    interval = ratio.interval
    assert interval is not None
    return ratio.value, interval.low <= 1.0 <= interval.high


def _model_bytes(name: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(preset(name), Path(folder), quantization="int4", context_length=1088)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def _seconds(runner: Runner, name: str) -> float:
    """Return how long it takes to load a model and to time 15 windows of decoding."""
    start = time.monotonic()
    with build_and_load(runner, preset(name), "int4", CAPACITY) as model:
        for _ in range(15):
            model.time(DECODE, 16)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
