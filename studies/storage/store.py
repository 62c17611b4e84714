"""The only access to the database of a study: it takes and returns dataclasses."""

import contextlib
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from studies.storage.calibrations import DatabaseCalibrations
from studies.storage.confirmation_jobs import DatabaseConfirmations
from studies.storage.database import Database, open_database, open_to_read
from studies.storage.evaluation_cache import DatabaseCache
from studies.storage.outages import retried
from studies.storage.refusals import translated
from studies.storage.studies import delete_study
from studies.storage.study_reader import StudyReader
from studies.storage.study_writer import StudyWriter

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Store(StudyReader, StudyWriter, DatabaseCache, DatabaseCalibrations, DatabaseConfirmations):
    """A database of studies, their trials and confirmations, and a cache of every evaluation.

    Every method is one transaction. Except for `add_study` and `update_spec`, a method that takes
    the name of a study raises ValueError if the database has no such study. A method that updates a
    running trial raises `claims.TrialTaken` if this process does not own the trial any more. A
    store is also an `EvaluationCache` and a `CalibrationStore`, and a context manager that closes
    itself.

    Example:
        >>> with Store.open("sqlite:///study.db") as store:
        ...     store.add_study("edge", to_json(spec))
        ...     trial = store.claim("edge", total=200)
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._optuna: RDBStorage | None = None

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open a database for reading and writing; see `database.open_database`.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
            create: Whether to create a missing file and missing tables.

        Raises:
            ValueError: The database cannot be opened.
        """
        return cls(open_database(url, create=create))

    @classmethod
    def open_to_read(cls, url: str, *, update: bool = False) -> Self:
        """Open a database only for reading; see `database.open_to_read`.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
            update: Whether to bring tables of an older release up to date first.

        Raises:
            NotBegun: There is no file yet, or it is empty.
            ValueError: The database cannot be opened, or its tables are not up to date.
        """
        return cls(open_to_read(url, update=update))

    def close(self) -> None:
        """Close all connections, those of Optuna's storage included."""
        if self._optuna is not None:
            self._optuna.remove_session()
            self._optuna.engine.dispose()
        self._database.close()

    def is_replaced(self) -> bool:
        """Return whether the SQLite file that is open for reading was deleted or replaced."""
        return self._database.is_replaced()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def optuna_storage(self) -> "RDBStorage":
        """Return Optuna's storage in the same database."""
        if self._optuna is None:
            self._optuna = self._database.optuna_storage()
        return self._optuna

    def translated(self) -> AbstractContextManager[None]:
        """Report what fails in Optuna's transactions as one sentence; see `refusals.translated`."""
        return translated(self._database.url)

    @retried
    def delete_study(self, name: str) -> None:
        """Delete a study with its trials, Optuna's included; evaluations stay in the cache."""
        storage = self.optuna_storage()
        with contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(name))
        with self._database.write() as connection:
            delete_study(connection, name)
