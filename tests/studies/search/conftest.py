"""A fixture that makes simulated studies faster."""

from collections import defaultdict

import pytest
from optuna.storages import InMemoryStorage

from studies.storage.store import Store


@pytest.fixture
def proposals_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep in memory what Optuna stores, which takes half of the time of a simulated study.

    This is for tests of what happens to candidates after they have been proposed. It does not
    affect tests that run with every kind of database.
    """
    if "url" in request.fixturenames:
        return
    storages: defaultdict[str, InMemoryStorage] = defaultdict(InMemoryStorage)
    monkeypatch.setattr(Store, "optuna_storage", lambda store: storages[str(store._database.url)])
