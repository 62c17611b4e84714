"""Measure the overhead of a study per trial: the time for sampling, storing and the front.

    python benchmarks/overhead.py [--trials 1000] [--sampler tpe]

Runs a study of 32 parameters and three objectives in a new SQLite file with evaluators that take no
time. Prints the milliseconds per trial at several sizes of the study, and how they are spent in the
last trials.
"""

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "studies"))
import fakes

from hardware.environment import read_environment
from search_space.space.space_definition import Space
from studies.analysis import study_front
from studies.samplers.point_sampler import PointSampler
from studies.search.events import Event, StudyStarted, TrialEnded
from studies.search.loop import run_study
from studies.search.samplers import SAMPLERS
from studies.spec.study_tables import SamplerSettings
from studies.storage.store import Store

_SPACE = Space(
    depth=(8, 12, 16, 24),
    width=(512, 768, 1_024, 1_536),
    mixers=("c", "a", "s", "l"),
    feed_forward=(2.0, 2.5, 3.0, 4.0),
    vocab_size=(16_384, 32_768, 65_536),
    kernel=(3, 5, 7),
    kv_heads=(2, 4, 8),
    window=(128, 256, 512),
    embedding_share=(0.25, 0.5, 1.0),
)


_TRIAL_COUNTS = (50, 100, 200, 500, 1_000, 2_000)
# Methods that Optuna's cache of a database calls in addition to those of every storage.
_CACHE_METHODS = ("_create_new_trial", "_set_trial_param", "_get_trials")
_STORE = (
    *("claim", "begin", "enter", "leave", "end", "architecture"),
    *("earlier_duplicate", "load_evaluation", "save_evaluation"),
)


class Split:
    """Seconds by part of the program; a part's calls into another part count for the other one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._parts = ["everything else"]
        self._since = time.perf_counter()

    def wrap(self, owner: type, names: Iterable[str], part: str) -> None:
        """Count the time of these methods towards the part."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name), part))

    def take(self) -> dict[str, float]:
        """Return the seconds by part since the last call."""
        self._count()
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            self._count()
            self._parts.append(part)
            try:
                return function(*args, **named)
            finally:
                self._count()
                self._parts.pop()

        return timed

    def _count(self) -> None:
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--sampler", choices=tuple(SAMPLERS), default="tpe")
    options = parser.parse_args()
    machine = read_environment(f"Optuna {optuna.__version__}")
    print(machine.cpu, f"{machine.cores} cores", machine.runtime_version, sep=", ")
    print(f"load average {machine.load_1min}")

    split, trials = _instrumented(), []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        spec = fakes.small_spec(
            url,
            trials=options.trials,
            space=_SPACE,
            sampler=SamplerSettings(kind=options.sampler),
        )

        def listen(event: Event) -> None:
            if isinstance(event, StudyStarted | TrialEnded):
                trials.append(split.take())

        with Store.open(url) as store:
            run_study(spec, evaluators=fakes.all_stages(), store=store, listener=listen)
            start = time.perf_counter()
            front = study_front.front(store, spec.name)
            front_ms = 1e3 * (time.perf_counter() - start)

    print(f"ms per trial ({options.sampler}), median [quartiles] of the 50 trials up to each count")
    for count in (count for count in _TRIAL_COUNTS if count <= options.trials):
        totals = [1e3 * sum(trial.values()) for trial in trials[count - 49 : count + 1]]
        print(f"{count:6,}  {_spread(totals)}")
    print("by part of the program, for the last 50 trials")
    for part in trials[-1]:
        print(f"{part:>18}  {_spread([1e3 * trial.get(part, 0.0) for trial in trials[-50:]])}")
    print(
        f"computing the front of {len(front.members)} trials from the database: {front_ms:.0f} ms"
    )


def _instrumented() -> Split:
    split = Split()
    storage = optuna.storages.RDBStorage
    asks = ("infer_relative_search_space", "sample_relative", "sample_independent")
    for sampler in ("TPESampler", "NSGAIISampler", "GPSampler"):
        split.wrap(getattr(optuna.samplers, sampler), asks, "sampler")
    split.wrap(PointSampler, asks, "sampler")
    public = [name for name in dir(optuna.storages.BaseStorage) if not name.startswith("_")]
    split.wrap(storage, [*public, *_CACHE_METHODS], "Optuna's storage")
    split.wrap(Store, _STORE, "our storage")
    return split


def _spread(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:6.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
