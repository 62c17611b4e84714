"""Measure what a commit costs in a study, with and without a sync of the disk.

    python benchmarks/commit_cost.py [--commits 300] [--folder .]

Writes the transactions of a study to two SQLite files in turns: `synchronous = NORMAL`, after which
a power failure may lose the last commits, and `FULL`, after which it loses none. Prints the
milliseconds per transaction and the number of transactions of a trial.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from hardware.environment import read_environment
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies import fakes

_LEVELS = ("NORMAL", "FULL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--folder", default=".", help="a folder on the disk to measure")
    options = parser.parse_args()
    machine = read_environment("")
    print(machine.cpu, f"{machine.cores} cores", f"load average {machine.load_1min}", sep=", ")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stores = {level: _store(f"sqlite:///{folder}/{level}.db", level) for level in _LEVELS}
        trials = {}
        for level, store in stores.items():
            store.add_study("ours", "{}")
            trials[level] = store.claim("ours", total=1)
        times: dict[str, list[float]] = {level: [] for level in _LEVELS}
        for _ in range(options.commits):
            for level, store in stores.items():
                start = time.perf_counter()
                store.enter(trials[level], "training")
                times[level].append(1e3 * (time.perf_counter() - start))
        for level, values in times.items():
            low, middle, high = statistics.quantiles(values, n=4)
            print(f"{level:>6}: {middle:.2f} ms [{low:.2f}, {high:.2f}] per transaction")
        for store in stores.values():
            store.close()
        print(f"{_transactions_of_a_trial(folder):.0f} transactions per trial")


def _store(url: str, level: str) -> Store:
    store = Store.open(url)
    engine = store._database.engine
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def connect(connection, _record) -> None:
        connection.execute(f"PRAGMA synchronous = {level}")

    return store


def _transactions_of_a_trial(folder: str) -> float:
    url, trials = f"sqlite:///{folder}/study.db", 20
    with Store.open(url) as store:
        commits = [0]
        for engine in (store._database.engine, store.optuna_storage().engine):
            sa.event.listen(engine, "commit", lambda _: commits.__setitem__(0, commits[0] + 1))
        spec = fakes.small_spec(url, trials=trials)
        run_study(spec, evaluators=fakes.all_stages(), store=store)
    return commits[0] / trials


if __name__ == "__main__":
    main()
