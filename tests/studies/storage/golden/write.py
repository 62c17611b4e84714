"""Write the golden database of the current schema. Run it once per schema, before its release.

python -m tests.studies.storage.golden.write
"""

import platform
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

from search_space.space.rules import Rules
from studies.confirmation.confirmation_run import ConfirmationJob, run_confirmation_jobs
from studies.owner import this_process
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
from studies.storage import migrations
from studies.storage.store import Store
from tests.evaluators.calibration_conformance import DECODE, timing
from tests.studies.fakes import all_stages, small_spec, training, unlucky
from tests.studies.storage.timed_trials import ARCHITECTURES, timed


def golden_spec(url: str) -> StudySpec:
    """Return a study whose trials have every outcome."""
    rules = Rules(parameters=(1_500_000, 9_000_000))
    return small_spec(
        url,
        trials=16,
        references=("lfm2-350m",),
        space=replace(small_spec(url).space, depth=(2, 4), rules=rules),
        objectives=(Objective(name="loss"), Objective(name="decode", max=2.95)),
        constraints=(Constraint(name="memory", max=4.0),),
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        stages = all_stages()
        stages[1].failing = lambda architecture: unlucky(architecture, 0.15)
        with Store.open(f"sqlite:///{path}") as store:
            run_study(golden_spec(f"sqlite:///{path}"), evaluators=stages, store=store)
            _confirm(store)
            _calibrate(store)
        connection = sqlite3.connect(path)
        dump = "\n".join(connection.iterdump())
        for own, shown in (
            (platform.node(), "host"),
            (this_process().boot, "boot"),
            (this_process().namespace, "namespace"),
        ):
            dump = dump.replace(own, shown)
        connection.close()
    name = f"schema_{1 + len(migrations.MIGRATIONS)}.sql"
    Path(__file__).with_name(name).write_text(dump + "\n")


def _confirm(store: Store) -> None:
    """Run one retraining that succeeds and one that fails."""
    for number, failing in ((13, False), (1, True)):
        (trial,) = store.trials("small", numbers=[number])
        evaluator = training()
        evaluator.fingerprint = "fake-training for longer"
        evaluator.failing = (lambda _: True) if failing else (lambda _: False)
        job = ConfirmationJob(trial=trial, evaluator=evaluator, seed=1, token_budget=160_000)
        run_confirmation_jobs([job], store, lambda event: None)


def _calibrate(store: Store) -> None:
    """Store a provisional time, and another time of the reference model that it depends on."""
    store.add_timings({DECODE: timing(26.0, 0.5)})
    calibration = store.calibration(DECODE)
    assert calibration is not None
    store.save_evaluation("timed", ARCHITECTURES[0], timed(calibration, 0.5, provisional=True))
    store.add_timings({DECODE: timing(10.0, 0.005)})
    store.add_repeat(DECODE, 1e-4)


if __name__ == "__main__":
    main()
