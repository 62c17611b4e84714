"""Studies that start from other studies and from architectures of files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search_space.architecture import Architecture, architecture_hash
from search_space.space.encoding import FixedSuggester, draw
from search_space.space.matching import MatchedLatency
from search_space.space.space_definition import Space
from studies.analysis.study_front import front
from studies.records import Trial
from studies.samplers.earlier_trials import earlier_trials
from studies.samplers.known_costs import KnownCostsSampler
from studies.search.architecture_problem import study_problem
from studies.search.events import Event, Remark, TrialStarted
from studies.search.loop import run_study
from studies.search.proposals import Proposals
from studies.search.warm_start import warm_start
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective, SamplerSettings
from studies.storage.store import Store
from tests.studies.fakes import (
    RefinableFake,
    Stages,
    all_stages,
    run_with_fakes,
    small_spec,
    static,
    training,
    unlucky,
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the study `edge-a`, which has ended."""
    path = tmp_path_factory.mktemp("ended") / "study.db"
    url = f"sqlite:///{path}"
    with Store.open(url) as store:
        run_with_fakes(small_spec(url, name="edge-a", trials=14), store)
    return path


@pytest.fixture
def store(ended: Path, sqlite_url: str) -> Iterator[Store]:
    """A copy of this database."""
    shutil.copy(ended, sqlite_url.removeprefix("sqlite:///"))
    with Store.open(sqlite_url) as store:
        yield store


@pytest.fixture
def first(store: Store) -> tuple[Trial, ...]:
    """The candidates of `edge-a`, in the order of their numbers."""
    return store.trials("edge-a")


@pytest.fixture
def empty_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/empty.db") as store:
        yield store


def second(spec: StudySpec, *names: str, **changes: object) -> StudySpec:
    """Return a study of another seed that starts from these names."""
    sampler = changes.pop("sampler", spec.sampler)
    assert isinstance(sampler, SamplerSettings)
    sampler = sampler.model_copy(update={"start_from": names or ("edge-a",)})
    new = {"name": "edge-b", "seed": 7, "trials": 8, "sampler": sampler} | changes
    return spec.model_copy(update=new)


def hashes(trials: Sequence[Trial]) -> list[str]:
    return [trial.model.hash for trial in trials if trial.model is not None]


def front_of(store: Store, study: str) -> list[Trial]:
    """Return the front in the order of the numbers."""
    return sorted(front(store, study).members, key=lambda trial: trial.number)


def optuna_trials(store: Store, study: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name=study, storage=store.optuna_storage()).trials


def told(store: Store, study: str) -> dict[int, FrozenTrial]:
    """Return what the sampler was told of candidates of `edge-a`, by their numbers there."""
    found = [
        each
        for each in optuna_trials(store, study)
        if each.user_attrs.get("nas", {}).get("study") == "edge-a"
    ]
    by_number = {each.user_attrs["nas"]["trial"]: each for each in found}
    assert len(by_number) == len(found)
    return by_number


class Remarks:
    """A listener that keeps the texts of the remarks."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Remark):
            self.texts.append(event.text)


def test_the_front_of_another_study_costs_nothing(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    members = front_of(store, "edge-a")
    assert 2 <= len(members) < 8
    stages, remarks = all_stages(), Remarks()
    trials = run_with_fakes(second(spec), store, stages, listener=remarks)
    count = len(members)
    assert hashes(trials[:count]) == hashes(members)
    assert [trial.state for trial in trials[:count]] == ["complete"] * count
    for trial, member in zip(trials[:count], members, strict=True):
        assert trial.scores == member.scores
        assert trial.curve == member.curve
    for stage in stages:
        assert set(stage.asked).isdisjoint(hashes(members))
    assert set(hashes(front_of(store, "edge-b"))) <= set(hashes(trials))
    informing = len(first) - count
    assert remarks.texts == [
        f"start_from: the first {count} candidates are the front of 'edge-a' (already evaluated: "
        f"{count}); {informing} more of its candidates inform the sampler"
    ]


def test_times_that_were_measured_against_a_reference_cost_nothing(
    spec: StudySpec, empty_store: Store
) -> None:

    def run(study: StudySpec) -> RefinableFake:
        device = RefinableFake(calibrations=empty_store)
        stages = static(), device, training()
        run_study(study, evaluators=stages, store=empty_store, is_quiet=lambda: False)
        return device

    measured = run(spec.model_copy(update={"name": "edge-a", "trials": 10}))
    members = front_of(empty_store, "edge-a")
    calibration = empty_store.calibration(measured.key)
    device = run(second(spec, trials=len(members)))
    assert device.asked == device.refined == []
    assert empty_store.calibration(measured.key) == calibration
    times = [trial.values["decode"] for trial in empty_store.trials("edge-b")]
    assert times == [trial.values["decode"] for trial in members]


def test_the_other_candidates_inform_the_sampler_and_are_no_candidates(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    objectives = (Objective(name="decode", max=2.5), Objective(name="loss"))
    constraints = (Constraint(name="memory", max=1e6),)
    study = second(spec, objectives=objectives, constraints=constraints)
    trials = run_with_fakes(study, store)
    added = told(store, "edge-b")
    assert {trial.state for trial in first} == {"complete", "stopped"}
    candidates = set(hashes(trials))
    above = 0
    for trial in first:
        assert trial.model is not None
        assert trial.outcome is not None
        if trial.number not in added:
            assert trial.model.hash in candidates
            continue
        frozen = added[trial.number]
        loss = trial.outcome.estimated_loss or trial.values["loss"]
        assert frozen.state == TrialState.COMPLETE
        assert frozen.values == [trial.values["decode"], loss]
        assert frozen.constraints.keys() == {"decode.max", "memory.max"}
        excess = trial.values["decode"] / 2.5 - 1
        assert frozen.constraints["decode.max"] == pytest.approx(excess)
        above += excess > 0
        parameters = FixedSuggester(frozen.params)
        assert architecture_hash(draw(spec.space, parameters)) == trial.model.hash
        assert frozen.user_attrs["nas"]["state"] == trial.state
    assert above
    assert len(added) + len(trials) == len(optuna_trials(store, "edge-b"))
    # Those above the limit of this study are not even candidates.
    given = trials[: len(first) - len(added)]
    assert all(trial.values["decode"] <= 2.5 for trial in given)
    assert {trial.state for trial in given} == {"complete"}


def test_the_front_is_that_of_the_objectives_of_this_study(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    """A candidate that the sampler only learns of could never become a member of the front."""
    study = second(spec, objectives=(Objective(name="parameters"), Objective(name="decode")))
    count = len(first) - len(warm_start(study, all_stages(), store).informing)
    trials = run_with_fakes(study, store)[:count]
    complete = [trial for trial in first if trial.state == "complete"]

    def dominates(one: Trial, other: Trial) -> bool:
        pairs = [(one.values[name], other.values[name]) for name in ("parameters", "decode")]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    expected = [
        trial for trial in complete if not any(dominates(other, trial) for other in complete)
    ]
    assert hashes(trials) == hashes(expected)


def test_the_sampler_never_learns_provisional_times(spec: StudySpec, empty_store: Store) -> None:

    def run(study: StudySpec) -> tuple[Trial, ...]:
        device = RefinableFake(is_busy=lambda architecture, runs: unlucky(architecture, 0.6))
        stages = static(), device, training()
        run_study(study, evaluators=stages, store=empty_store, is_quiet=lambda: False)
        return empty_store.trials(study.name)

    ended = run(spec.model_copy(update={"name": "edge-a", "trials": 14}))
    members = {trial.number for trial in front_of(empty_store, "edge-a")}
    provisional = {trial.number for trial in ended if trial.provisional(["decode"])}
    assert provisional - members
    study = second(spec)
    start = warm_start(study, (static(), RefinableFake(), training()), empty_store)
    informing = {each.trial.number for each in start.informing}
    assert informing.isdisjoint(provisional)
    assert informing
    count = len(provisional - members)
    are = "1 is" if count == 1 else f"{count} are"
    assert start.remarks[0].endswith(f"; {are} not used: {count} with provisional times")
    run(study)
    assert told(empty_store, "edge-b").keys() == informing


def test_candidates_that_were_evaluated_with_other_settings_only_start_the_search(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    members = front_of(store, "edge-a")
    stages, remarks = all_stages(), Remarks()
    stages[2].fingerprint = "another training"
    trials = run_with_fakes(second(spec), store, stages, listener=remarks)
    assert hashes(trials[: len(members)]) == hashes(members)
    assert set(hashes(members)) <= set(stages[2].asked)
    assert set(stages[1].asked).isdisjoint(hashes(members))
    assert told(store, "edge-b") == {}
    others = len(first) - len(members)
    assert remarks.texts == [
        f"start_from: the first {len(members)} candidates are the front of 'edge-a' (already "
        f"evaluated: 0); {others} are not used: {others} evaluated with other settings (loss)"
    ]


def test_only_candidates_of_the_space_are_used(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    remarks = Remarks()
    study = second(spec, space=replace(spec.space, depth=(6,)))
    trials = run_with_fakes(study, store, listener=remarks)
    inside = [trial for trial in first if trial.model and len(trial.model.layout) == 6]
    added = told(store, "edge-b")
    assert 0 < len(inside) < len(first)
    given = [trial for trial in inside if trial.number not in added]
    assert hashes(trials)[: len(given)] == hashes(given)
    assert added.keys() <= {trial.number for trial in inside}
    outside = len(first) - len(inside)
    (text,) = remarks.texts
    assert text.endswith(f"; {outside} are not used: {outside} outside the space")


def test_a_search_at_one_latency_starts_from_candidates_of_about_this_latency(
    spec: StudySpec, empty_store: Store
) -> None:
    space = replace(spec.space, feed_forward=(0.5, 4.0))
    objectives = (Objective(name="loss"), Objective(name="decode"))
    proxy = spec.proxy.model_copy(update={"rungs": ()})
    changes = {"trials": 14, "space": space, "objectives": objectives, "proxy": proxy}
    free = spec.model_copy(update={"name": "edge-a"} | changes)
    earlier = run_with_fakes(free, empty_store)
    target = sorted(trial.values["decode"] for trial in earlier)[5]
    matched = replace(space, matched=MatchedLatency(latency=target))
    trials = run_with_fakes(second(free, space=matched, trials=8), empty_store)
    added = told(empty_store, "edge-b")
    given = trials[: len(earlier) - len(added)]
    assert given
    for trial in given:
        assert trial.values["decode"] == pytest.approx(target, rel=0.1)
    assert set(hashes(given)) <= set(hashes(earlier))
    # The prediction rests on the measurements of the other study from the first proposal on.
    assert all(trial.predicted_latency is not None for trial in trials[len(given) :])


def test_architectures_of_files_are_candidates_once_and_in_their_order(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    member, *others = front_of(store, "edge-a")
    dominated = next(trial for trial in first if trial.number not in {t.number for t in others})
    mine = tuple(
        store.architecture(digest) for digest in dict.fromkeys(hashes([dominated, member]))
    )
    new = _other_architecture(spec.space, first)
    study = second(spec, "mine.json", "edge-a", "list.jsonl")
    study = study.model_copy(update={"starts": {"mine.json": mine, "list.jsonl": (mine[0], new)}})
    remarks = Remarks()
    trials = run_with_fakes(study, store, listener=remarks)
    rest = [digest for digest in hashes(others) if digest not in map(architecture_hash, mine)]
    expected = [*map(architecture_hash, mine), *rest, architecture_hash(new)]
    assert hashes(trials)[: len(expected)] == expected
    given = {*expected}
    assert given.isdisjoint(hashes([first[number] for number in told(store, "edge-b")]))
    count = len(mine)
    files = f"the first {count} candidates are" if count > 1 else "the first candidate is"
    assert remarks.texts[0] == f"start_from: {files} from 'mine.json' (already evaluated: {count})"
    assert remarks.texts[2] == (
        "start_from: the next candidate is from 'list.jsonl' (already evaluated: 0)"
    )


def _other_architecture(space: Space, trials: Sequence[Trial]) -> Architecture:
    """Return an architecture of the space that no trial has."""
    shared = {"width": 1, "feed_forward": 0, "vocab_size": 0}
    for letter in space.mixers:
        layers = dict.fromkeys((f"mixer_{layer:02}" for layer in range(6)), letter)
        found = draw(space, FixedSuggester({"depth": 0} | shared | layers))
        if architecture_hash(found) not in hashes(trials):
            return found
    raise AssertionError("all were drawn")


def test_more_architectures_than_trials(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    remarks = Remarks()
    members = front_of(store, "edge-a")
    trials = run_with_fakes(second(spec, trials=1), store, listener=remarks)
    assert hashes(trials) == hashes(members[:1])
    assert remarks.texts[1] == (
        f"start_from: only the first 1 of these {len(members)} architectures become candidates, "
        "because trials is 1"
    )


def test_a_candidate_that_is_a_reference_model_here_is_told_once(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    study = second(spec)
    (one, *rest) = warm_start(study, all_stages(), store).informing
    study = study.model_copy(update={"references": ("mine",), "models": {"mine": one.architecture}})
    run_with_fakes(study, store)
    assert told(store, "edge-b").keys() == {each.trial.number for each in rest}
    names = [each.user_attrs["nas"]["trial"] for each in optuna_trials(store, "edge-b")]
    assert names.count("mine") == 1


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "gp", "known-costs"])
def test_a_warm_study_that_is_run_in_parts_equals_one_that_is_run_at_once(
    kind: str, tmp_path: Path
) -> None:
    found = []
    for name, totals in (("whole", (9,)), ("parts", (2, 6, 9))):
        with Store.open(f"sqlite:///{tmp_path}/{name}.db") as store:
            spec = small_spec("sqlite:///nas.db")
            earlier = spec.model_copy(update={"name": "edge-a", "trials": 10})
            run_with_fakes(earlier, store)
            study = second(spec, sampler=SamplerSettings(kind=kind, startup_trials=4))
            for total in totals:
                run_study(study, evaluators=all_stages(), store=store, trials=total)
                # What the other study finds later does not matter any more.
                run_study(earlier, evaluators=all_stages(), store=store, trials=10 + total)
            trials = store.trials("edge-b")
            frozen = optuna_trials(store, "edge-b")
            found.append((hashes(trials), [(each.params, each.values) for each in frozen]))
            assert len(frozen) == len(trials) + len(told(store, "edge-b"))
    assert found[0] == found[1]


def test_what_a_killed_process_has_told_is_not_told_again(
    spec: StudySpec, store: Store, first: tuple[Trial, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = second(spec)
    informing = warm_start(study, all_stages(), store).informing
    assert len(informing) > 3
    tell = Proposals.tell
    left = iter(range(3))

    def tell_or_die(self: Proposals, trial: Trial, architecture: Architecture) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        tell(self, trial, architecture)

    with monkeypatch.context() as patch:
        patch.setattr(Proposals, "tell", tell_or_die)
        with pytest.raises(KeyboardInterrupt):
            run_with_fakes(study, store)
    assert len(told(store, "edge-b")) == 3
    remarks = Remarks()
    trials = run_with_fakes(study, store, listener=remarks)
    assert told(store, "edge-b").keys() == {each.trial.number for each in informing}
    assert len(optuna_trials(store, "edge-b")) == len(trials) + len(informing)
    assert remarks.texts[0].startswith("start_from: the first ")


def test_the_remarks_are_made_once(spec: StudySpec, store: Store, first: tuple[Trial, ...]) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TrialStarted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_fakes(second(spec), store, listener=stop)
    remarks = Remarks()
    run_with_fakes(second(spec), store, listener=remarks)
    assert remarks.texts == []


class TestKnownCosts:
    """The sampler that estimates costs from finished trials."""

    SAMPLER = SamplerSettings(kind="known-costs", startup_trials=8)

    def test_learns_from_the_first_proposal_on(
        self,
        spec: StudySpec,
        store: Store,
        first: tuple[Trial, ...],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        modelled: list[int] = []
        propose = KnownCostsSampler.propose

        def noted(self, study, trial, earlier):
            modelled.append(trial.number)
            return propose(self, study, trial, earlier)

        monkeypatch.setattr(KnownCostsSampler, "propose", noted)
        count = len(front_of(store, "edge-a"))
        study = second(spec, sampler=self.SAMPLER, trials=count + 2)
        trials = run_with_fakes(study, store)
        numbers = [trial.optuna_number for trial in trials]
        assert set(numbers[count:]) <= set(modelled)
        assert set(hashes(trials[count:])).isdisjoint(hashes(first))

    def test_estimates_the_costs_from_candidates_of_the_other_study(
        self, spec: StudySpec, store: Store, first: tuple[Trial, ...]
    ) -> None:
        study = second(spec, sampler=self.SAMPLER, trials=1)
        run_with_fakes(study, store)
        problem = study_problem(study)
        optuna_study = optuna.load_study(study_name="edge-b", storage=store.optuna_storage())
        asked = optuna_study.ask()
        earlier = earlier_trials(optuna_study, optuna_study.trials[asked.number], problem)
        added = told(store, "edge-b")
        assert len(earlier.finished) == len(added) + 1
        decode = [first[number].values["decode"] for number in added]
        rows = [each.number for each in earlier.finished]
        costs = [earlier.costs[rows.index(each.number), 0] for each in added.values()]
        assert costs == decode
        means, _ = earlier.predicted_costs([each.params for each in added.values()])
        assert means[:, 0] == pytest.approx(decode, rel=0.3)
        stopped = [each for each in added.values() if each.user_attrs["nas"]["state"] == "stopped"]
        assert stopped
        assert all(problem.noise(each) > 0 for each in stopped)


def test_nsga2_counts_the_first_candidates_as_its_first_generation(
    spec: StudySpec, store: Store, first: tuple[Trial, ...]
) -> None:
    study = second(spec, sampler=SamplerSettings(kind="nsga2", startup_trials=4))
    trials = run_with_fakes(study, store)
    frozen = {each.number: each for each in optuna_trials(store, "edge-b")}
    for trial in trials[: len(front_of(store, "edge-a"))]:
        assert trial.optuna_number is not None
        attributes = frozen[trial.optuna_number].system_attrs
        assert any("generation" in name for name in attributes)


class TestSuggestion:
    """The remark about another study that would have been of use."""

    def test_names_the_study_with_the_most_candidates(
        self, spec: StudySpec, store: Store, first: tuple[Trial, ...]
    ) -> None:
        run_with_fakes(spec.model_copy(update={"name": "smaller", "trials": 3}), store)
        remarks = Remarks()
        run_with_fakes(spec.model_copy(update={"name": "edge-b"}), store, listener=remarks)
        assert remarks.texts == [
            f"'edge-a' in this database has {len(first)} candidates with the same corpus, proxy "
            'and device; sampler.start_from = ["edge-a"] would use them'
        ]

    def test_is_not_made_without_a_reason(
        self, spec: StudySpec, store: Store, first: tuple[Trial, ...]
    ) -> None:
        stages: Stages = all_stages()
        stages[1].fingerprint = "another device"
        for other, evaluators in (
            (spec.model_copy(update={"name": "other-device"}), stages),
            (
                spec.model_copy(
                    update={"name": "other-space", "space": replace(spec.space, width=(128,))}
                ),
                all_stages(),
            ),
            (spec.model_copy(update={"name": "edge-a", "trials": 14}), all_stages()),
        ):
            assert warm_start(other, evaluators, store).remarks == ()

    def test_a_study_that_cannot_be_read_does_not_matter(
        self, spec: StudySpec, store: Store, first: tuple[Trial, ...]
    ) -> None:
        other = spec.model_copy(update={"name": "edge-b"})
        assert len(warm_start(other, all_stages(), store).remarks) == 1
        store.update_spec("edge-a", '{"written": "by a later release"}')
        assert warm_start(other, all_stages(), store).remarks == ()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "edge-c",
            "sampler.start_from[0]: 'edge-c' is not a study of this program in the database, which "
            "holds edge-a; a file contains a slash or ends with .json or .jsonl",
        ),
        ("edge-a", "sampler.start_from[0]: the study 'edge-a' has no complete candidate"),
    ],
)
def test_a_mistake_is_reported_before_anything_starts(
    name: str, sentence: str, spec: StudySpec, empty_store: Store
) -> None:
    stages = all_stages()
    stages[1].failing = lambda architecture: True
    run_with_fakes(spec.model_copy(update={"name": "edge-a", "trials": 2}), empty_store, stages)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared whole
        run_with_fakes(second(spec, name), empty_store)
    assert str(caught.value) == sentence
    assert [study.name for study in empty_store.studies()] == ["edge-a"]


_PROGRAM = """
import sys
from studies.search.events import TrialEnded
from studies.search.loop import run_study
from studies.spec.study_tables import SamplerSettings
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec

stages = all_stages()
for stage in stages:
    stage.seconds = 0.1
sampler = SamplerSettings(kind="random", start_from=("edge-a",))
spec = small_spec(sys.argv[1], name="edge-b", seed=7, trials=10, sampler=sampler)
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    run_study(spec, evaluators=stages, store=store, lease_s=3.0)
for stage in stages:
    for digest in stage.asked:
        print("asked", stage.stage, digest)
"""


def test_processes_that_start_a_study_at_once_add_everything_once(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        run_with_fakes(small_spec(url, name="edge-a", trials=14), store)
        members = front_of(store, "edge-a")
        informing = 14 - len(members)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            env=os.environ,
        )
        for _ in range(3)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:  # all of them are ready now
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    with Store.open(url) as store:
        trials = store.trials("edge-b")
        assert [trial.number for trial in trials] == list(range(10))
        assert hashes(trials[: len(members)]) == hashes(members)
        assert len(told(store, "edge-b")) == informing
        assert len(optuna_trials(store, "edge-b")) == 10 + informing
    asked = {line.split()[2] for output in outputs for line in output.splitlines()}
    assert asked.isdisjoint(hashes(members))
