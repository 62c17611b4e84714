"""Tests of the front for one of several devices, with trials that the test chooses."""

from collections.abc import Iterator

import pytest

from studies.analysis import study_front
from studies.spec.study_spec import to_json
from studies.spec.study_tables import Constraint, Objective, Target
from studies.storage.store import Store
from tests.studies.analysis.written_study import Written, numbers
from tests.studies.fakes import small_spec

OBJECTIVES = ("loss", "decode@one", "decode@two", "decode")


def begin(store: Store, url: str, *objectives: str, limit: str = "parameters") -> Written:
    spec = small_spec(
        url,
        objectives=tuple(Objective(name=name) for name in objectives),
        constraints=(Constraint(name="memory@two", max=100.0), Constraint(name=limit, max=1e9)),
        target=Target(devices=("one", "two", "three")),
    )
    store.add_study(spec.name, to_json(spec))
    return Written(store, spec)


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with Store.open(sqlite_url) as store:
        yield store


@pytest.fixture
def written(store: Store, sqlite_url: str) -> Written:
    """Four candidates, none of which is dominated in all four objectives."""
    written = begin(store, sqlite_url, *OBJECTIVES)
    for values in (
        (1.0, 9.0, 5.0, 1.0),
        (2.0, 3.0, 6.0, 9.0),
        (3.0, 4.0, 1.0, 9.0),
        (4.0, 5.0, 2.0, 0.5),
    ):
        written.trial(**dict(zip(OBJECTIVES, values, strict=True)))
    return written


def test_the_joint_front_has_every_objective(written: Written) -> None:
    front = study_front.front(written.store, "small")
    assert [axis.name for axis in front.axes] == [*OBJECTIVES]
    assert numbers(front.members) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("device", "members", "dominated"), [("one", [0, 1], [2, 3]), ("two", [0, 2], [1, 3])]
)
def test_a_device_has_a_front_of_its_own(
    written: Written, device: str, members: list[int], dominated: list[int]
) -> None:
    front = study_front.front(written.store, "small", device=device)
    assert [axis.name for axis in front.axes] == ["loss", f"decode@{device}"]
    assert numbers(front.members) == members
    assert numbers(front.dominated) == dominated
    kept = ["memory@two", "parameters"] if device == "two" else ["parameters"]
    assert [constraint.name for constraint in front.spec.constraints] == kept
    # The study that is stored keeps all of its objectives.
    assert len(study_front.front(written.store, "small").axes) == 4


def test_best_may_still_be_asked_for_a_score_of_another_device(written: Written) -> None:
    limits = {"decode@two": 4.0}
    front = study_front.front(written.store, "small", limits, "one")
    best = study_front.best(written.store, front, "loss", limits)
    assert best is not None
    assert best.number == 2


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("four", "^device: 'four' is not one of one, two, three$"),
        ("three", "^device: 'small' has too few objectives for a front of 'three'; it has loss, "),
    ],
)
def test_a_device_without_a_front_is_refused(written: Written, device: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        study_front.front(written.store, "small", device=device)


def test_a_study_without_devices_says_so(store: Store, sqlite_url: str) -> None:
    spec = small_spec(sqlite_url)
    store.add_study(spec.name, to_json(spec))
    with pytest.raises(ValueError, match=r"^device: 'one' is not named by this study$"):
        study_front.front(store, "small", device="one")


def test_sizes_and_losses_alone_are_no_front_of_a_device(store: Store, sqlite_url: str) -> None:
    begin(store, sqlite_url, "loss", "parameters", "decode@two", limit="recall_error")
    with pytest.raises(ValueError, match="too few objectives for a front of 'one'"):
        study_front.front(store, "small", device="one")
    front = study_front.front(store, "small", device="two")
    assert [axis.name for axis in front.axes] == ["loss", "parameters", "decode@two"]
