"""A store in every kind of database."""

from collections.abc import Iterator

import pytest

from studies.storage.store import Store


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with an empty study."""
    with Store.open(url) as store:
        store.add_study("ours", "{}")
        yield store
