"""The complete candidates of a study, from all processes that run it."""

from collections.abc import Collection

from studies.records import Trial
from studies.storage.store import Store


class CompleteTrials:
    """Reads each complete candidate once, and again when it has changed.

    Args:
        study: The name of the study.
        store: The database.
    """

    def __init__(self, study: str, store: Store) -> None:
        self._study = study
        self._store = store
        self._by_number: dict[int, Trial] = {}
        self._revision = 0

    def read(self) -> Collection[Trial]:
        """Return the complete candidates as they are now, in the order of their numbers."""
        revision = self._store.revision(self._study)
        changed: set[int] = set()
        if revision != self._revision:
            changed.update(self._store.changed_trials(self._study, self._revision))
            self._revision = revision
        numbers = self._store.numbers(self._study, ["complete"])
        known = {
            number: trial for number, trial in self._by_number.items() if trial.id not in changed
        }
        new = [number for number in numbers if number not in known]
        if new:
            found = self._store.trials(self._study, numbers=new if known else None)
            known |= {trial.number: trial for trial in found if trial.state == "complete"}
        self._by_number = {number: known[number] for number in numbers if number in known}
        return self._by_number.values()
