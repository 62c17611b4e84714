"""Tests that databases of every released schema open with unchanged content."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from studies.analysis import summaries
from studies.search.loop import run_study
from studies.spec.study_spec import from_json
from studies.storage import schema
from studies.storage.store import Store
from tests.studies.fakes import all_stages

_GOLDEN = Path(__file__).parent / "golden"


def _loaded(dump: Path, folder: Path) -> str:
    path = folder / "study.db"
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    return f"sqlite:///{path}"


def _columns(url: str) -> dict[str, list[tuple[str, str, bool]]]:
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: sorted(
            (column["name"], str(column["type"]), column["nullable"])
            for column in inspector.get_columns(table)
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
        front = summaries.front(store, "small")
        assert [trial.number for trial in front.members] == [13, 1, 0, 4]
        best = summaries.detail(store, "small", "13")
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
            assert (runs[1].failure, runs[1].reason) == ("diverged", "as the test wants it")

        # The study can be resumed.
        spec = from_json(store.study("small").spec)
        run_study(spec, evaluators=all_stages(), store=store, trials=18)
        assert summaries.status(store, "small").counts.ended == 18
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    Store.open(fresh).close()
    assert _columns(url) == _columns(fresh)


def test_every_schema_has_a_golden_database() -> None:
    versions = range(1, 2 + len(schema.MIGRATIONS))
    names = {path.name for path in _GOLDEN.glob("*.sql")}
    assert names == {f"schema_{version}.sql" for version in versions}


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
    released = schema.MIGRATIONS
    for steps in ((_add_birds,), (_add_birds, _add_colours)):
        monkeypatch.setattr(schema, "MIGRATIONS", (*released, *steps))
        for _ in range(2):  # each migration runs once
            with Store.open(url) as store:
                with store._database.read() as connection:
                    birds = connection.execute(sa.text("SELECT * FROM nas_birds")).all()
                assert len(birds) == 1
    assert len(birds[0]) == 2
    monkeypatch.setattr(schema, "MIGRATIONS", (*released, _add_birds))
    with pytest.raises(ValueError, match=f"has tables of version {len(released) + 3}"):
        Store.open(url)


def test_a_failing_migration_leaves_the_database_unchanged(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(url).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _add_birds, _fail))
        with pytest.raises(RuntimeError, match="half way"):
            Store.open(url)
    with Store.open(url) as store, store._database.read() as connection:
        tables = sa.inspect(connection).get_table_names()
        assert not {"nas_birds", "nas_stones"} & set(tables)
