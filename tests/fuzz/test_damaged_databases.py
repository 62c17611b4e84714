"""Databases that are damaged at random: every command ends well or with one sentence."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nas.dashboard.open_studies import OpenStudies
from nas.inputs.study_argument import StudyLocation
from studies.search.loop import run_study
from studies.storage import schema
from studies.storage.store import Store
from tests.nas.conftest import run_nas
from tests.studies.fakes import all_stages
from tests.studies.storage.golden.write import golden_spec

_MOST_CHARACTERS = 500
_OPTUNA_TABLES = ("studies", "study_directions", "trials", "trial_params", "trial_values")
_TABLES = (*schema.METADATA.tables, *_OPTUNA_TABLES)
_CELLS = (
    None,
    -1,
    0,
    7,
    2**62,
    -2.5,
    1e308,
    float("inf"),
    "",
    "abc",
    "\x1b[31mred\x07",
    "complete",
    "running",
    "null",
    "[]",
    "{}",
    "[[1]]",
    '[[1, "x"]]',
    '{"loss": "x"}',
    "[" * 2_000,
    "9999-12-31 23:59:59.999999",
    b"\xff\xfe\x00",
)

Damage: TypeAlias = Callable[[Path], None]

# Each command gets the URL of the database.
_COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "small"),
    "status --json": ("status", "small", "--json"),
    "pareto": ("pareto", "small"),
    "pareto --json": ("pareto", "small", "--json"),
    "show": ("show", "small", "1"),
    "show --json": ("show", "small", "1", "--json"),
    "report": ("report", "small", "--force", "-o", "report.md"),
    "export": ("export", "small", "1", "--force", "-o", "model.json"),
    "db check": ("db", "check"),
    "db check --json": ("db", "check", "--json"),
    "db backup": ("db", "backup", "copy.db", "--force"),
}


def _sql(*statements: tuple[str, tuple[object, ...]]) -> Damage:
    def execute(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement, parameters in statements:
            # Some values are not accepted in some columns, and some columns cannot be dropped.
            with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
                connection.execute(statement, parameters)
        connection.close()

    return execute


@st.composite
def _cell(draw: st.DrawFn) -> Damage:
    table = draw(st.sampled_from(sorted(schema.METADATA.tables.values(), key=lambda t: t.name)))
    column = draw(st.sampled_from(table.c.keys()))
    value = draw(st.sampled_from(_CELLS))
    row = draw(st.one_of(st.none(), st.integers(0, 20)))
    where = (
        ""
        if row is None
        else f" WHERE rowid IN (SELECT rowid FROM {table.name} LIMIT 1 OFFSET {row})"
    )
    return _sql((f'UPDATE OR REPLACE {table.name} SET "{column}" = ?{where}', (value,)))


@st.composite
def _rows(draw: st.DrawFn) -> Damage:
    table = draw(st.sampled_from(_TABLES))
    row = draw(st.one_of(st.none(), st.integers(0, 20)))
    where = (
        "" if row is None else f" WHERE rowid IN (SELECT rowid FROM {table} LIMIT 1 OFFSET {row})"
    )
    return _sql((f"DELETE FROM {table}{where}", ()))


@st.composite
def _shape(draw: st.DrawFn) -> Damage:
    table = draw(st.sampled_from(_TABLES))
    kind = draw(st.sampled_from(["drop", "rename", "column", "foreign", "view"]))
    match kind:
        case "drop":
            return _sql((f"DROP TABLE {table}", ()))
        case "rename":
            return _sql((f"ALTER TABLE {table} RENAME TO nas_other", ()))
        case "column":
            columns = (
                list(schema.METADATA.tables[table].c.keys())
                if table in schema.METADATA.tables
                else ["number"]
            )
            return _sql(
                (
                    f'ALTER TABLE {table} RENAME COLUMN "{draw(st.sampled_from(columns))}" TO gone',
                    (),
                )
            )
        case "foreign":
            return _sql(("CREATE TABLE birds (name TEXT)", ()))
        case _:
            return _sql((f"DROP TABLE {table}", ()), (f"CREATE VIEW {table} AS SELECT 1 AS id", ()))


@st.composite
def _bytes(draw: st.DrawFn) -> Damage:
    kind = draw(st.sampled_from(["flip", "page", "cut", "head"]))
    place = draw(st.floats(0, 1, exclude_max=True))
    filling = draw(st.binary(min_size=1, max_size=8))

    def overwrite(path: Path) -> None:
        content = bytearray(path.read_bytes())
        match kind:
            case "flip":
                start = int(place * len(content))
                content[start : start + len(filling)] = filling
            case "page":
                start = int(place * len(content)) // 4096 * 4096
                content[start : start + 4096] = (filling * 4096)[:4096]
            case "cut":
                del content[int(place * len(content)) :]
            case "head":
                start = int(place * 100)
                content[start : start + len(filling)] = filling
        path.write_bytes(content)

    return overwrite


_DAMAGES = st.lists(
    st.one_of(_cell(), _cell(), _rows(), _shape(), _bytes()), min_size=1, max_size=3
)


@pytest.fixture(scope="module")
def sound_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a finished study of which every table has rows."""
    path = tmp_path_factory.mktemp("sound") / "study.db"
    connection = sqlite3.connect(path)
    golden = Path(__file__).parents[1] / "studies" / "storage" / "golden"
    connection.executescript(max(golden.glob("schema_*.sql")).read_text())
    connection.close()
    Store.open(f"sqlite:///{path}").close()
    return path


def _check(database: Path, damages: list[Damage], command: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(database, folder / "study.db")
        for damage in damages:
            damage(folder / "study.db")
        for suffix in ("-wal", "-shm"):
            (folder / f"study.db{suffix}").unlink(missing_ok=True)
        sentence = _sentence(folder, command)
        if any(words in sentence for words in ("is damaged:", "is a damaged", "has no score")):
            assert (
                run_nas(folder, *_COMMANDS["db check"], "--storage", _url(folder)).returncode == 2
            )
        assert "Traceback" not in sentence
        assert "\n" not in sentence
        assert len(sentence) <= _MOST_CHARACTERS + len("nas: ")
        assert sentence.isprintable()


def _sentence(folder: Path, command: str) -> str:
    """Return what a command says on standard error if it fails, without the line break."""
    url = _url(folder)
    if command in _COMMANDS:
        done = run_nas(folder, *_COMMANDS[command], "--storage", url)
        assert done.returncode in (0, 2)
        assert "\x1b" not in done.stdout
        return done.stderr.removesuffix("\n") if done.returncode == 2 else ""
    try:
        if command == "dashboard":
            with OpenStudies([StudyLocation(name="small", storage=url)], url) as studies:
                studies.document("small", None)
                studies.why("small")
        else:
            with Store.open(url) as store:
                spec = golden_spec(url).model_copy(update={"trials": 18})
                run_study(spec, evaluators=all_stages(), store=store)
    except ValueError as error:
        return str(error)
    return ""


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/study.db"


_FEW = settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)


@_FEW
@given(damages=_DAMAGES, command=st.sampled_from([*_COMMANDS, "dashboard", "run"]))
def test_a_damaged_database_is_reported_in_one_sentence(
    sound_database: Path, damages: list[Damage], command: str
) -> None:
    _check(sound_database, damages, command)


@pytest.mark.slow
@settings(_FEW, max_examples=300, derandomize=False)
@given(damages=_DAMAGES, command=st.sampled_from([*_COMMANDS, "dashboard", "run"]))
def test_hundreds_of_damaged_databases_are_reported_in_one_sentence(
    sound_database: Path, damages: list[Damage], command: str
) -> None:
    _check(sound_database, damages, command)


@pytest.mark.parametrize("command", [*_COMMANDS, "dashboard"])
def test_a_sound_database_is_not_reported(sound_database: Path, command: str) -> None:
    assert _sentence(sound_database.parent, command) == ""
