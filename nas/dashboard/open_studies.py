"""The studies that a dashboard shows, each with the open store that holds it."""

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from nas.dashboard.document import StudyDocuments
from nas.dashboard.form import Why
from nas.dashboard.why import why_document
from nas.study_place import DEFAULT_STORAGE, StudyPlace
from studies.storage.schema import NotBegun
from studies.storage.store import Store


class OpenStudies:
    """Reads from as many databases as the studies are in, and never writes."""

    def __init__(self, places: Sequence[StudyPlace], storage: str) -> None:
        """places: what is shown, in this order; where there are none, all studies of `storage`.

        ValueError for a database that cannot be read, and for two studies of one name. That of a
        place may be made later; `storage` has to be there.
        """
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"study: '{name}' is named twice")
        self._places = tuple(places)
        self._storage = storage
        self._lock = threading.Lock()
        self._why_lock = threading.Lock()
        self._documents: dict[str, _Kept] = {}
        self._stores: dict[str, Store] = {}
        try:
            for place in places:
                with contextlib.suppress(NotBegun):
                    self._open(place.storage)
            if not places:
                self._open(storage)
        except BaseException:
            self.close()
            raise

    def places(self) -> tuple[StudyPlace, ...]:
        """Those that were named, begun or not; else those that the database holds by now."""
        if self._places:
            return self._places
        begun = self._open(self._storage).studies()
        return tuple(StudyPlace(name=study.name, storage=self._storage) for study in begun)

    def place(self, name: str) -> StudyPlace:
        """ValueError for a study that is not shown."""
        for place in self.places():
            if place.name == name:
                return place
        raise ValueError(f"study: {name[:100]!r} is not one that this dashboard shows")

    def store(self, name: str) -> Store:
        """The store of a study; ValueError for one that is not shown, or has no database yet."""
        return self._open(self.place(name).storage)

    def is_begun(self, name: str) -> bool:
        try:
            return name in [study.name for study in self.store(name).studies()]
        except NotBegun:
            return False

    def document(self, name: str, since: str | None) -> bytes | None:
        """See `StudyDocuments.answer`; ValueError for a study that is not begun, here and below.

        Callers are threads, and one waits for the other.
        """
        kept = self._kept(name)
        with kept.lock:
            return kept.documents.answer(since)

    def read_ahead(self) -> None:
        """Reads what will be asked for first; a mistake is told to whoever asks."""
        for place in self.places():
            with contextlib.suppress(ValueError):
                self.document(place.name, None)

    def why(self, name: str) -> Why:
        """One at a time: it keeps a core busy. Documents do not wait for it."""
        kept = self._kept(name)
        with self._why_lock:
            with kept.lock:
                followed = kept.documents.as_it_is()
            return why_document(followed)

    def _open(self, url: str) -> Store:
        with self._lock:
            if url not in self._stores:
                self._stores[url] = Store.open_to_read(url)
            return self._stores[url]

    def _kept(self, name: str) -> "_Kept":
        store = self.store(name)
        store.study(name)
        with self._lock:
            if name not in self._documents:
                self._documents[name] = _Kept(documents=StudyDocuments(store, name))
            return self._documents[name]

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


def storage_option(place: StudyPlace) -> str | None:
    """What `--storage` has to be for a command to find the study; without a password."""
    if place.storage == DEFAULT_STORAGE:
        return None
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1@", place.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is remembered of a study between two questions, for one thread at a time."""

    documents: StudyDocuments
    lock: threading.Lock = field(default_factory=threading.Lock)
