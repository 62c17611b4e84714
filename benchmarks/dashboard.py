"""Time the dashboard's documents and updates, a report and `nas pareto` on a large study.

    python benchmarks/dashboard.py [--trials 5000] [--new 100] [--rounds 5]

Writes a study of that many trials and one of twice as many into a temporary folder. Prints the
seconds to the first document of a new process, to an update and to the choices that matter; the
sizes of the documents; and the seconds of the commands, each in a process of its own. Times are
given as median [quartiles] of the rounds, next to targets for a machine with two cores.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from hardware.environment import read_environment
from nas.dashboard.document import StudyDocuments, json_bytes
from nas.dashboard.form import Document
from nas.dashboard.why_form import Why
from studies.storage.store import Store
from tests.studies.large_study import LargeStudy, write_study

Made = TypeVar("Made", Document, Why)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=5_000)
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    machine = read_environment("")
    print(f"{machine.cpu}, {machine.cores} cores, load average {machine.load_1min}")

    with tempfile.TemporaryDirectory() as folder:
        study = LargeStudy(url=f"sqlite:///{folder}/study.db", trials=options.trials)
        larger = LargeStudy(url=f"sqlite:///{folder}/larger.db", trials=2 * options.trials)
        write_study(study)
        write_study(larger)
        _documents(study, options.new, options.rounds)
        report = Path(folder) / "report.html"
        _command(
            f"report of {options.trials:,} (target 10 s)",
            options.rounds,
            ["report", study.name, "--storage", study.url, "-o", str(report), "--force"],
        )
        print(f"{'its size (target 8 MB)':>44}  {report.stat().st_size / 1e6:.2f} MB")
        _command(
            f"nas pareto on {2 * options.trials:,} (target 1 s)",
            options.rounds,
            ["pareto", larger.name, "--storage", larger.url],
        )


def _documents(study: LargeStudy, new: int, rounds: int) -> None:
    timed: dict[str, list[float]] = {}
    with Store.open_to_read(study.url) as store:
        for _ in range(rounds):
            documents = StudyDocuments(store, study.name)
            whole = _timed(timed, "first document", documents.document)
            write_study(LargeStudy(url=study.url, trials=new))
            ask = functools.partial(documents.document, whole["revision"])
            update = _timed(timed, f"update of {new} (target 0.3 s with drawing)", ask)
            _timed(timed, "choices that matter", documents.why)
    for what, seconds in timed.items():
        _print(what, seconds)
    print(f"{'size of the document':>44}  {len(json_bytes(whole)) / 1e6:.2f} MB")
    print(f"{'size of the update':>44}  {len(json_bytes(update)) / 1e6:.3f} MB")


def _timed(timed: dict[str, list[float]], what: str, make: Callable[[], Made]) -> Made:
    """Call `make` and serialise its result; record the seconds of both together."""
    start = time.perf_counter()
    made = make()
    json_bytes(made)
    timed.setdefault(what, []).append(time.perf_counter() - start)
    return made


def _command(what: str, rounds: int, arguments: Sequence[str]) -> None:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        command = [sys.executable, "-m", "nas.cli", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    _print(what, seconds)


def _print(what: str, seconds: Sequence[float]) -> None:
    low, middle, high = statistics.quantiles(seconds, n=4)
    print(f"{what:>44}  {middle:.3f} s [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
