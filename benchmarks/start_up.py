"""Time whole processes of `nas` commands that compute nothing, from start to end.

python benchmarks/start_up.py [--repetitions 20]
"""

import argparse
import statistics
import subprocess
import sys
import time

from hardware.environment import read_environment

COMMANDS = (("--help",), ("presets",), ("show", "lfm2-350m"), ("init", "--help"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20)
    repetitions = parser.parse_args().repetitions
    machine = read_environment("")
    print(f"{machine.cpu}, {machine.cores} cores, load {machine.load_1min}")
    samples: dict[tuple[str, ...], list[float]] = {command: [] for command in COMMANDS}
    for _ in range(repetitions):
        for command, seconds in samples.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "nas.cli", *command], stdout=subprocess.DEVNULL, check=True
            )
            seconds.append(time.perf_counter() - start)
    for command, seconds in samples.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        print(f"nas {' '.join(command):18} {middle:.3f} s, quartiles {low:.3f} to {high:.3f} s")


if __name__ == "__main__":
    main()
