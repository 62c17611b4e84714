"""What a study would start from, found without running it."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluators.text.corpus import Corpus
from nas.assembly import evaluators_of
from nas.inputs.device_argument import NamedDevice
from nas.workflows.resumed_conditions import check_same_text
from studies.search.warm_start import WarmStart, warm_start
from studies.spec.study_spec import StudySpec
from studies.storage.migrations import NotBegun
from studies.storage.store import Store


def planned_start(
    spec: StudySpec, corpus: Corpus, devices: Sequence[NamedDevice] = ()
) -> WarmStart:
    """Return what a study would start from. Nothing is written to its database.

    Args:
        spec: The study, with the architectures of files.
        corpus: The study's corpus.
        devices: The devices that the study names.

    Raises:
        ValueError: A study in `sampler.start_from` is not in the database or has no complete
            candidate, this machine lacks something that the study needs, or the study was started
            with another text.
    """
    with (
        _database(spec.storage) as store,
        evaluators_of(spec, store, corpus, devices) as evaluators,
    ):
        check_same_text(spec, store, corpus)
        return warm_start(spec, evaluators, store)


@contextlib.contextmanager
def _database(url: str) -> Iterator[Store]:
    """Open a database for reading, or an empty one if it does not exist yet."""
    with contextlib.ExitStack() as stack:
        try:
            store = Store.open_to_read(url)
        except NotBegun:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            store = Store.open(f"sqlite:///{Path(folder) / 'empty.db'}")
        yield stack.enter_context(store)
