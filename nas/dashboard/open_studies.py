"""The studies that a dashboard shows, and their open stores."""

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from nas.dashboard.document import StudyDocuments
from nas.dashboard.why import why_document
from nas.dashboard.why_form import Why
from nas.inputs.study_argument import DEFAULT_STORAGE, StudyLocation
from studies.storage.migrations import NotBegun
from studies.storage.store import Store


class OpenStudies:
    """The studies that a dashboard shows, from one or more databases, which are only read.

    Use it as a context manager, or call `close`. Methods may be called from several threads.
    """

    def __init__(self, places: Sequence[StudyLocation], storage: str) -> None:
        """Open the databases.

        Args:
            places: The studies to show, in this order. Their databases may be created later. If
                empty, all studies in `storage` are shown.
            storage: A database URL; the database must exist if `places` is empty.

        Raises:
            ValueError: A database cannot be read, or two studies have the same name.
        """
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"study: '{name}' is given twice")
        self._places = tuple(places)
        self._storage = storage
        self._lock = threading.Lock()
        self._why_lock = threading.Lock()
        self._documents: dict[str, _LockedDocuments] = {}
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

    def places(self) -> tuple[StudyLocation, ...]:
        """Return the studies to show: those that were given, else all in the database now."""
        if self._places:
            return self._places
        stored = self._open(self._storage).studies()
        return tuple(StudyLocation(name=study.name, storage=self._storage) for study in stored)

    def place(self, name: str) -> StudyLocation:
        """Return the study with this name.

        Raises:
            ValueError: The dashboard does not show it.
        """
        for place in self.places():
            if place.name == name:
                return place
        raise ValueError(f"study: {name[:100]!r} is not shown by this dashboard")

    def store(self, name: str) -> Store:
        """Return the store of a study.

        Raises:
            ValueError: The dashboard does not show the study, or its database does not exist
                yet.
        """
        return self._open(self.place(name).storage)

    def exists(self, name: str) -> bool:
        """Return whether the study exists in its database.

        Raises:
            ValueError: The dashboard does not show the study.
        """
        try:
            return name in [study.name for study in self.store(name).studies()]
        except NotBegun:
            return False

    def document(self, name: str, since: str | None) -> bytes | None:
        """Return the document of a study; see `StudyDocuments.answer`.

        Threads that request the same study wait for each other.

        Raises:
            ValueError: The study does not exist.
        """
        locked = self._locked_documents(name)
        with locked.lock:
            return locked.documents.answer(since)

    def read_ahead(self) -> None:
        """Read the first documents in advance; errors are left to the request that needs them."""
        for place in self.places():
            with contextlib.suppress(ValueError):
                self.document(place.name, None)

    def why(self, name: str) -> Why:
        """Return which choices of a study matter.

        Only one such computation runs at a time, because it occupies a core. Requests for documents
        do not wait for it.

        Raises:
            ValueError: The study does not exist.
        """
        locked = self._locked_documents(name)
        with self._why_lock:
            with locked.lock:
                followed = locked.documents.frozen_copy()
            return why_document(followed)

    def _open(self, url: str) -> Store:
        with self._lock:
            if url in self._stores and self._stores[url].is_replaced():
                self._stores.pop(url).close()
            if url not in self._stores:
                self._stores[url] = Store.open_to_read(url)
            return self._stores[url]

    def _locked_documents(self, name: str) -> "_LockedDocuments":
        store = self.store(name)
        store.study(name)
        with self._lock:
            if name not in self._documents or self._documents[name].store is not store:
                documents = StudyDocuments(store, name)
                self._documents[name] = _LockedDocuments(store=store, documents=documents)
            return self._documents[name]

    def close(self) -> None:
        """Close all databases."""
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


def storage_option(place: StudyLocation) -> str | None:
    """Return the `--storage` option with which a command finds the study.

    Returns:
        The database URL without its password, or None for the default database.
    """
    if place.storage == DEFAULT_STORAGE:
        return None
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1@", place.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LockedDocuments:
    """The cached documents of a study, and the lock that a thread must hold to use them."""

    store: Store
    documents: StudyDocuments
    lock: threading.Lock = field(default_factory=threading.Lock)
