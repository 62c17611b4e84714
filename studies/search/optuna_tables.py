"""Reports contradictions in Optuna's tables as a damaged database."""

import contextlib
from collections.abc import Iterator

import optuna

from studies.damage import DamagedDatabase
from studies.storage.outages import database_error, outage_reason
from studies.storage.store import Store

# What Optuna raises if its rows contradict each other.
_CONTRADICTIONS = (AssertionError, AttributeError, LookupError, TypeError)


@contextlib.contextmanager
def contradictions_reported(store: Store) -> Iterator[None]:
    """Report contradictions in Optuna's tables as damage, while the context uses them.

    Args:
        store: The database.

    Raises:
        DamagedDatabase: The tables contradict those of the study.
    """
    with store.translated():
        try:
            yield
        except (optuna.exceptions.StorageInternalError, *_CONTRADICTIONS) as error:
            if outage_reason(error) is not None:
                raise
            if (failed := database_error(error)) is not None:
                raise failed from None
            raise DamagedDatabase(
                "storage: the tables of Optuna in the database contradict those of the study "
                f"({type(error).__name__}); `nas db check` lists what is damaged"
            ) from error
