"""Compare the wall time of two real searches: one of `nas`, and a plain one with Optuna's TPE.

    python benchmarks/head_to_head.py [--space quickstart] [--trials 20] [--rival-trials 40]
        [--rounds 2] [--seed 0] [--fresh-seeds 2] [--folder FOLDER] [--json FILE]

The plain search proposes with TPE, builds and measures every candidate, and trains it to the end,
one after the other. `nas` trains as many at a time as it does by default.
Both searches are real: they train and time on this machine, each with a database of its own. They
take turns, so that other load on the machine affects both, and each has a clock that runs only
during its turns. Every candidate that was ever on one of the two fronts is then retrained with
fresh seeds, since the best of many noisy losses owes part of its rank to luck.

Prints how long `nas` needed until its front dominated as much hypervolume as the final front of the
plain search, as a fraction of the plain search's time. Both hypervolumes are computed from the
fresh losses. The reference point is the worst value of all candidates that either search has
completed.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from evaluators.scores import LOSS
from evaluators.text.corpus import Corpus
from hardware.environment import read_environment
from nas.assembly import (
    evaluators_of,
    retraining_evaluator,
    study_corpus,
)
from nas.training_slots import trainers_of
from search_space.architecture import Architecture
from studies.analysis.pareto_front import hypervolume, non_dominated
from studies.records import Trial
from studies.search.events import Event, TrialEnded
from studies.search.loop import run_study
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import SamplerKind
from studies.storage.store import Store

# Far from the seeds of studies.
_FRESH_SEED = 1_000_000


@dataclass(slots=True, kw_only=True)
class Search:
    """One of the two searches.

    Attributes:
        name: Its name in the output.
        spec: Its study.
        trials: The number of its candidates.
        is_parallel: Whether it trains several candidates at a time.
        seconds: The time of its turns so far.
        ended: The seconds after which each candidate ended, by number.
    """

    name: str
    spec: StudySpec
    trials: int
    is_parallel: bool
    seconds: float = 0.0
    ended: dict[int, float] = field(default_factory=dict)

    def run_until(self, trials: int, corpus: Corpus) -> None:
        """Run the study until it has this number of candidates."""
        start = time.monotonic() - self.seconds

        def note(event: Event) -> None:
            if isinstance(event, TrialEnded) and event.trial.kind == "candidate":
                self.ended[event.trial.number] = time.monotonic() - start
                print(f"{self.name}: {event.trial.title}", flush=True)

        store = Store.open(self.spec.storage)
        with (
            evaluators_of(self.spec, store, corpus) as evaluators,
            trainers_of(self.spec) as trainers,
        ):
            run_study(
                self.spec,
                evaluators=evaluators,
                store=store,
                runner=trainers if self.is_parallel else None,
                listener=note,
                trials=trials,
            )
        self.seconds = time.monotonic() - start

    def complete(self) -> list[Trial]:
        """Return the complete candidates in the order in which they ended."""
        store = Store.open(self.spec.storage)
        trials = [each for each in store.trials(self.spec.name) if each.state == "complete"]
        return sorted(trials, key=lambda each: self.ended.get(each.number, 0.0))

    def architecture(self, trial: Trial) -> Architecture:
        assert trial.model is not None
        return Store.open(self.spec.storage).architecture(trial.model.hash)


def main() -> None:
    options = _options()
    spec = read_spec(options.space).model_copy(update={"seed": options.seed})
    folder = options.folder or Path(tempfile.mkdtemp(prefix="head-to-head-"))
    folder.mkdir(exist_ok=True)
    ours = _search("nas", spec, folder, "auto", options.trials)
    rival = _search("plain", _without_rungs(spec), folder, "tpe", options.rival_trials)
    corpus = study_corpus(spec, lambda _: None)
    for turn in range(1, options.rounds + 1):
        for search in (ours, rival):
            search.run_until(-(-search.trials * turn // options.rounds), corpus)
    fresh = FreshLosses(ours.spec, corpus, options.fresh_seeds)
    everything = [
        values_of(search.spec, each) for search in (ours, rival) for each in search.complete()
    ]
    reference = np.max(everything, axis=0)
    curves = {search.name: curve(search, fresh, reference.tolist()) for search in (ours, rival)}
    target = curves[rival.name][-1][1]
    reached = next((seconds for seconds, volume in curves[ours.name] if volume >= target), None)
    result = {
        "machine": str(read_environment(f"torch {torch.__version__}")),
        "seed": options.seed,
        "reference_point": reference.tolist(),
        "seconds": {search.name: round(search.seconds) for search in (ours, rival)},
        "trials": {search.name: search.trials for search in (ours, rival)},
        "curves": curves,
        "target": target,
        "seconds_to_target": reached,
        "fraction": None if reached is None else reached / rival.seconds,
    }
    print(f"plain: {target:.4g} after {rival.trials} candidates and {rival.seconds:.0f} s")
    final_seconds, final = curves[ours.name][-1]
    if reached is None:
        print(f"nas: not reached; {final / target:.1%} of it after {final_seconds:.0f} s")
    else:
        print(f"nas: reached after {reached:.0f} s, {reached / rival.seconds:.1%} of the time")
    if options.json is not None:
        options.json.write_text(json.dumps(result) + "\n")


class FreshLosses:
    """The mean losses of architectures in trainings with seeds that no search has used."""

    def __init__(self, spec: StudySpec, corpus: Corpus, seeds: int) -> None:
        self._evaluators = [
            retraining_evaluator(spec, corpus, _FRESH_SEED + seed, spec.proxy.token_budget)
            for seed in range(seeds)
        ]
        self._known: dict[Architecture, float] = {}

    def of(self, architecture: Architecture) -> float:
        """Return the loss in bits per byte."""
        if architecture not in self._known:
            self._known[architecture] = statistics.fmean(
                evaluator.evaluate(architecture, lambda _: None).scores[0].value
                for evaluator in self._evaluators
            )
            print(f"retrained: {self._known[architecture]:.4f}", flush=True)
        return self._known[architecture]


def curve(
    search: Search, fresh: FreshLosses, reference: Sequence[float]
) -> list[tuple[float, float]]:
    """Return the seconds and the hypervolume after each complete candidate of a search.

    The front after a candidate is the one that the search reported at that time. Its hypervolume is
    computed from the fresh losses.
    """
    complete = search.complete()
    names = [objective.name for objective in search.spec.objectives]
    found = []
    for count in range(1, len(complete) + 1):
        values = [values_of(search.spec, each) for each in complete[:count]]
        judged = []
        provisional = [bool(each.provisional(names)) for each in complete[:count]]
        for index in non_dominated(values, provisional):
            trial = complete[index]
            loss = fresh.of(search.architecture(trial))
            judged.append([loss if name == LOSS else trial.values[name] for name in names])
        seconds = search.ended.get(complete[count - 1].number, 0.0)
        found.append((seconds, hypervolume(judged, reference)))
    return found


def values_of(spec: StudySpec, trial: Trial) -> list[float]:
    """Return the objectives of a complete trial."""
    return [trial.values[objective.name] for objective in spec.objectives]


def _search(name: str, spec: StudySpec, folder: Path, kind: SamplerKind, trials: int) -> Search:
    sampler = spec.sampler.model_copy(update={"kind": kind})
    own = {"sampler": sampler, "storage": f"sqlite:///{folder / name}.db", "trials": trials}
    return Search(
        name=name,
        spec=spec.model_copy(update=own),
        trials=trials,
        is_parallel=kind == "auto",
    )


def _without_rungs(spec: StudySpec) -> StudySpec:
    return spec.model_copy(update={"proxy": spec.proxy.model_copy(update={"rungs": ()})})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--space", default="quickstart", help="a study file or an included study")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rival-trials", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh-seeds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keeps the databases")
    parser.add_argument("--json", type=Path, help="the file to write all results to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
