"""The studies that a dashboard shows, each with the open store that holds it."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from nas.study_place import StudyPlace
from studies.storage.store import Store


class OpenStudies:
    """Reads from as many databases as the studies are in, and never writes."""

    def __init__(self, places: Sequence[StudyPlace], storage: str) -> None:
        """places: what is shown, in this order; where there are none, all studies of `storage`.

        ValueError for a database that cannot be read, and for two studies of one name.
        """
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"study: '{name}' is named twice")
        self._places = tuple(places)
        self._storage = storage
        self._stores: dict[str, Store] = {}
        try:
            for url in {place.storage for place in places} or {storage}:
                self._stores[url] = Store.open_to_read(url)
        except BaseException:
            self.close()
            raise

    def places(self) -> tuple[StudyPlace, ...]:
        """Those that were named, begun or not; else those that the database holds by now."""
        if self._places:
            return self._places
        begun = self._stores[self._storage].studies()
        return tuple(StudyPlace(name=study.name, storage=self._storage) for study in begun)

    def place(self, name: str) -> StudyPlace:
        """ValueError for a study that is not shown."""
        for place in self.places():
            if place.name == name:
                return place
        raise ValueError(f"study: {name[:100]!r} is not one that this dashboard shows")

    def store(self, name: str) -> Store:
        """The store of a study; ValueError for one that is not shown."""
        return self._stores[self.place(name).storage]

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
