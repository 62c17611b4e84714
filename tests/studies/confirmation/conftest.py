"""An empty study with two objectives, for tests that choose its trials and confirmation runs."""

from collections.abc import Iterator

import pytest

from studies.spec.study_spec import to_json
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.confirmation.confirmed_study import ConfirmedStudy
from tests.studies.fakes import small_spec


@pytest.fixture
def written(sqlite_url: str) -> Iterator[ConfirmedStudy]:
    objectives = (Objective(name="loss"), Objective(name="decode"))
    spec = small_spec(sqlite_url, objectives=objectives)
    with Store.open(sqlite_url) as store:
        store.add_study(spec.name, to_json(spec))
        yield ConfirmedStudy(store)
