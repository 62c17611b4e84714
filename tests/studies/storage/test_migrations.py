"""Tests that databases of every released schema open with unchanged content."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from evaluators.evaluator import Evaluation, Score
from hardware.measurement import Measurement, parse_workload
from studies.analysis import study_front, summaries, trial_detail
from studies.search.loop import run_study
from studies.spec.study_spec import from_json
from studies.storage import migrations
from studies.storage.store import Store
from tests.evaluators.calibration_conformance import DECODE, timing
from tests.studies.fakes import ENVIRONMENT, all_stages
from tests.studies.storage.timed_trials import ARCHITECTURES, ended, replace_stored, reread, timed

_GOLDEN = Path(__file__).parent / "golden"
# Without what earlier releases did not record.
OLD_MEASUREMENT = Measurement(
    workload=parse_workload("tg64@512"),
    runtime="fake",
    threads=1,
    cores=(0,),
    samples_ns=(2_000_000, 2_100_000),
    warmup_ns=(3_000_000,),
    load_ns=1,
    peak_memory_bytes=2,
    environment=ENVIRONMENT,
)


def _loaded(dump: Path, folder: Path) -> str:
    path = folder / "study.db"
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    return f"sqlite:///{path}"


def _tables(url: str) -> dict[str, object]:
    """Return the columns and the constraints of each table."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: (
            sorted(
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            ),
            sorted(each["column_names"] for each in inspector.get_unique_constraints(table)),
            sorted(
                (each["constrained_columns"], each["referred_table"])
                for each in inspector.get_foreign_keys(table)
            ),
        )
        for table in inspector.get_table_names()
        if table.startswith("nas_")
    }
    engine.dispose()
    return found


@pytest.mark.parametrize("dump", sorted(_GOLDEN.glob("schema_*.sql")), ids=lambda path: path.stem)
def test_a_database_of_a_released_schema_is_read_unchanged(dump: Path, tmp_path: Path) -> None:
    url = _loaded(dump, tmp_path)
    with Store.open(url) as store:
        counts = summaries.status(store, "small").counts
        assert (counts.complete, counts.stopped, counts.infeasible, counts.failed) == (5, 6, 2, 3)
        assert counts.rejected == 2
        assert summaries.status(store, "small").references[0].reference == "lfm2-350m"
        front = study_front.front(store, "small")
        assert [trial.number for trial in front.members] == [13, 1, 0, 4]
        best = trial_detail.detail(store, "small", "13")
        assert best.trial.model is not None
        assert (best.trial.model.layout, best.trial.model.parameters) == ("-l", 7_870_536)
        assert best.trial.values["loss"] == 2.6741735013000003
        (measurement,) = best.evaluations["latency"].measurements
        assert (measurement.reference is None) == (dump.stem == "schema_1")
        assert measurement.samples_ns == (1_087_054, 1_087_064, 1_087_044)
        assert len(best.trial.curve) == 8
        runs = {run.number: run for run in store.confirmation_runs("small")}
        if dump.stem in ("schema_1", "schema_2"):
            assert not runs
        else:
            long = runs[13]
            assert (long.key.seed, long.key.token_budget) == (
                1,
                160_000,
            )
            assert [score.value for score in long.scores] == [2.6741735013000003]
            assert runs[1].failure == "diverged"
            assert runs[1].reason in ("as the test wants it", "requested by the test")

        calibration = store.calibration(DECODE)
        if dump.stem in ("schema_1", "schema_2", "schema_3"):
            assert calibration is None
            assert all(score.measured is None for score in best.trial.scores)
            assert best.trial.provisional(["decode", "loss", "memory"]) == ()
            assert (measurement.waited_ns, measurement.measured_at) == (None, None)
        else:
            assert calibration is not None
            assert [each.milliseconds for each in calibration.timings] == [26.0, 10.0]
            assert (calibration.repeats, calibration.variance) == (1, 1e-4)
            golden = store.load_evaluation("timed", ARCHITECTURES[0])
            assert golden is not None
            assert golden.scores[0].provisional
            assert golden.scores[0].measured is not None
            assert golden.scores[0].measured.ratio == 0.5
            assert golden.scores[0].value == 0.5 * calibration.milliseconds

        # The study can be resumed.
        spec = from_json(store.study("small").spec)
        run_study(spec, evaluators=all_stages(), store=store, trials=18)
        assert summaries.status(store, "small").counts.ended == 18
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    Store.open(fresh).close()
    assert _tables(url) == _tables(fresh)


def test_every_schema_has_a_golden_database() -> None:
    versions = range(1, 2 + len(migrations.MIGRATIONS))
    names = {path.name for path in _GOLDEN.glob("*.sql")}
    assert names == {f"schema_{version}.sql" for version in versions}


def test_a_database_of_version_3_is_migrated_by_postgresql(
    postgresql_url: str,
) -> None:
    """The golden databases are files of SQLite, which cannot take these columns away again."""
    evaluation = Evaluation(
        scores=(Score(name="decode", value=0.1 + 0.2, unit="ms", low=0.25, high=0.5),),
        seconds=2.0,
        measurements=(OLD_MEASUREMENT,),
    )
    with Store.open(postgresql_url) as store:
        store.add_study("ours", "{}")
        trial = ended(store, ARCHITECTURES[0], {"latency": evaluation})
        fresh = _tables(postgresql_url)
        with store._database.write() as connection:
            for table in ("nas_trials", "nas_repeats"):
                for change in (
                    "ADD COLUMN host TEXT, ADD COLUMN pid INTEGER, "
                    "ADD COLUMN process_started TEXT, ADD COLUMN seen_at TIMESTAMP",
                    "DROP COLUMN process",
                ):
                    connection.execute(sa.text(f"ALTER TABLE {table} {change}"))
            connection.execute(sa.text("ALTER TABLE nas_trials DROP COLUMN kills"))
            connection.execute(sa.text("DROP TABLE nas_processes"))
            connection.execute(
                sa.text(
                    "UPDATE nas_trials SET host = 'host', pid = 7, process_started = '1', "
                    "seen_at = '2026-01-02 03:04:05'"
                )
            )
            for table, columns in {
                "nas_measurements": ("waited_ns", "measured_at"),
                "nas_scores": ("provisional", "calibration", "ratio", "ratio_low", "ratio_high"),
                "nas_trials": ("exceeded", "revision", "predicted_latency"),
            }.items():
                for column in columns:
                    connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
            connection.execute(sa.text("DROP TABLE nas_calibrations"))
            connection.execute(sa.text("UPDATE nas_version SET version = 3"))
    with pytest.raises(ValueError, match="has tables of an older release"):
        Store.open_to_read(postgresql_url)
    for _ in range(2):
        with Store.open(postgresql_url) as store:
            found = reread(store, trial)
            assert replace(found, owner=trial.owner) == trial
            assert str(found.owner) == "process 7 on host"
            assert store.evaluations(trial) == {"latency": evaluation}
            assert store.calibrations(["latency"]) == ()
    assert _tables(postgresql_url) == fresh
    with Store.open(postgresql_url) as store:
        store.add_timings({DECODE: timing(10.0)})
        calibration = store.calibration(DECODE)
        assert calibration is not None
        replace_stored(store, "latency", ARCHITECTURES[0], timed(calibration, 0.5))
        assert reread(store, trial).values["decode"] == pytest.approx(5.0)


def _add_birds(connection: sa.Connection) -> None:
    connection.execute(sa.text("CREATE TABLE nas_birds (name TEXT)"))
    connection.execute(sa.text("INSERT INTO nas_birds VALUES ('wren')"))


def _add_colours(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE nas_birds ADD COLUMN colour TEXT"))


def _fail(connection: sa.Connection) -> None:
    connection.execute(sa.text("CREATE TABLE nas_stones (name TEXT)"))
    raise RuntimeError("half way")


def test_an_older_database_is_migrated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(url).close()
    released = migrations.MIGRATIONS
    for steps in ((_add_birds,), (_add_birds, _add_colours)):
        monkeypatch.setattr(migrations, "MIGRATIONS", (*released, *steps))
        for _ in range(2):  # each migration runs once
            with Store.open(url) as store:
                with store._database.read() as connection:
                    birds = connection.execute(sa.text("SELECT * FROM nas_birds")).all()
                assert len(birds) == 1
    assert len(birds[0]) == 2
    monkeypatch.setattr(migrations, "MIGRATIONS", (*released, _add_birds))
    with pytest.raises(ValueError, match=f"has tables of version {len(released) + 3}"):
        Store.open(url)


def test_a_failing_migration_leaves_the_database_unchanged(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(url).close()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, _add_birds, _fail))
        with pytest.raises(RuntimeError, match="half way"):
            Store.open(url)
    with Store.open(url) as store, store._database.read() as connection:
        tables = sa.inspect(connection).get_table_names()
        assert not {"nas_birds", "nas_stones"} & set(tables)
