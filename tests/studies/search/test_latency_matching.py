"""Candidates of one predicted latency, in whole studies with known times."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from evaluators.speed.cost_estimate import CostEstimate
from evaluators.speed.workload_parts import Deployment, parts_of
from search_space.architecture import Architecture, architecture_hash
from search_space.space.encoding import FixedSuggester, RandomSuggester, draw
from search_space.space.layout_features import layout_features
from search_space.space.matching import Matched, MatchedLatency, with_feed_forward_blocks
from search_space.space.space_definition import Space
from studies.search.architecture_problem import study_problem
from studies.search.events import Event, Remark, TrialStarted
from studies.search.latency_matching import (
    FEED_FORWARD_BLOCKS,
    LatencyMatching,
    device_matching,
    recorded_architecture,
)
from studies.search.loop import run_study
from studies.search.proposals import Proposals
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, SamplerKind, SamplerSettings
from studies.storage.store import Store
from tests.studies.fakes import all_stages, busy_at_first, decode_ms, latency, small_spec

TARGET = 2.0
KINDS: tuple[SamplerKind, ...] = ("known-costs", "tpe", "front-mutation")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


def matched_spec(storage: str, **changes: object) -> StudySpec:
    space = Space(
        depth=(4,),
        width=(256, 384),
        mixers=("c", "a", "l"),
        feed_forward=(0.5, 8.0),
        vocab_size=(1_024, 4_096),
        matched=MatchedLatency(latency=TARGET),
    )
    spec = small_spec(
        storage,
        space=space,
        trials=8,
        objectives=(Objective(name="loss"), Objective(name="decode")),
        sampler=SamplerSettings(kind="random", startup_trials=4),
    )
    return spec.model_copy(update=changes)


def told(store: Store, spec: StudySpec) -> list[FrozenTrial]:
    return optuna.load_study(study_name=spec.name, storage=store.optuna_storage()).trials


def architectures(store: Store, spec: StudySpec) -> list[Architecture]:
    trials = store.trials(spec.name)
    return [store.architecture(each.model.hash) for each in trials if each.model is not None]


def predicted_from(measured: Mapping[Architecture, float], architecture: Architecture) -> float:
    """Predict a decode time from others, without any code of the search."""
    deployment = Deployment(quantization="int4", prompt_length=512, context_depth=1_024)
    known = sorted(measured, key=architecture_hash)
    parts = [parts_of("decode", each, deployment) for each in known]
    estimate = CostEstimate(parts, [measured[each] for each in known])
    return float(estimate.predict([parts_of("decode", architecture, deployment)])[0][0])


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_matched_from_the_fifth_measurement_on(
    url: str, store: Store, kind: SamplerKind
) -> None:
    spec = matched_spec(url, sampler=SamplerSettings(kind=kind, startup_trials=4))
    events: list[Event] = []
    run_study(spec, evaluators=all_stages(), store=store, listener=events.append)
    trials, drawn = store.trials(spec.name), architectures(store, spec)
    assert [trial.predicted_latency is None for trial in trials] == [True] * 4 + [False] * 4
    for number in range(4, 8):
        measured = {each: decode_ms(each) for each in drawn[:number]}
        predicted = predicted_from(measured, drawn[number])
        assert predicted == pytest.approx(TARGET, rel=0.01)
        assert trials[number].predicted_latency == pytest.approx(predicted, rel=1e-9)
    # Before that, the widths differ, so that their effect on the latency can be learned.
    assert len({each.layers[0].feed_forward_width / each.width for each in drawn[:4]}) > 2
    assert all(len({layer.feed_forward_width for layer in each.layers}) == 1 for each in drawn[:4])
    remarks = [event.text for event in events if isinstance(event, Remark)]
    assert remarks == [
        "candidates are matched to a decode of 2 ms/token as soon as it can be predicted, from at "
        "least 4 measured models; until then, the widths of their feed-forwards are random"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_study_draws_the_same_architectures(
    kind: SamplerKind, url: str, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = matched_spec(url, sampler=SamplerSettings(kind=kind, startup_trials=4))
    for trials in (2, 5, 7):
        run_study(spec, evaluators=all_stages(), store=store, trials=trials)
    other = f"sqlite:///{tmp_path_factory.mktemp('whole')}/study.db"
    with Store.open(other) as whole:
        run_study(spec, evaluators=all_stages(), store=whole, trials=7)
        assert architectures(whole, spec) == architectures(store, spec)
        assert told(whole, spec)[-1].params == told(store, spec)[-1].params


def test_an_interrupted_candidate_keeps_its_feed_forwards(
    url: str, store: Store, tmp_path: Path
) -> None:
    spec = matched_spec(url, trials=6)

    def interrupt(event: Event) -> None:
        if isinstance(event, TrialStarted) and event.trial.number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(spec, evaluators=all_stages(), store=store, listener=interrupt)
    interrupted = store.trials(spec.name)[4]
    run_study(spec, evaluators=all_stages(), store=store)
    with Store.open(f"sqlite:///{tmp_path}/whole.db") as whole:
        run_study(spec, evaluators=all_stages(), store=whole)
        assert architectures(whole, spec) == architectures(store, spec)
        assert whole.trials(spec.name)[4].predicted_latency == interrupted.predicted_latency


def test_a_given_candidate_is_recorded_but_not_called_matched(url: str, store: Store) -> None:
    spec = matched_spec(url, trials=5)
    run_study(spec, evaluators=all_stages(), store=store)
    proposals = Proposals(spec, store, device_matching(spec, all_stages(), store))
    assert proposals.propose().predicted_latency is not None
    point = dict.fromkeys(_names(spec), 0) | _layout("ccla")
    given = with_feed_forward_blocks(draw(spec.space, FixedSuggester(point)), 37)
    proposal = proposals.propose_given(given)
    assert (proposal.architecture, proposal.predicted_latency) == (given, None)
    params = told(store, spec)[proposal.optuna_number].params
    assert recorded_architecture(spec.space, params) == given


class TestRecords:
    """The sampler learns about the architectures that were actually built."""

    @pytest.fixture
    def ran(self, url: str, store: Store) -> StudySpec:
        spec = matched_spec(url, trials=7)
        run_study(spec, evaluators=all_stages(), store=store)
        return spec

    def test_the_parameters_of_a_trial_lead_to_its_architecture(
        self, ran: StudySpec, store: Store
    ) -> None:
        candidates = {trial.optuna_number: trial for trial in store.trials(ran.name)}
        problem = study_problem(ran)
        for frozen in told(store, ran):
            if frozen.number not in candidates:
                assert frozen.state == TrialState.PRUNED
                assert FEED_FORWARD_BLOCKS not in frozen.params
                continue
            model = candidates[frozen.number].model
            assert model is not None
            built = store.architecture(model.hash)
            assert recorded_architecture(ran.space, frozen.params) == built
            assert problem.features(frozen.params) == layout_features(built)
            assert "matched" not in frozen.constraints

    def test_the_costs_are_learned_from_what_was_built(self, ran: StudySpec, store: Store) -> None:
        finished = [each for each in told(store, ran) if each.state == TrialState.COMPLETE]
        matching = LatencyMatching(ran, Known(dict.fromkeys(architectures(store, ran), 1.0)))
        matching.refit()
        # Whatever the present prediction is, the costs are fitted to the built architectures.
        problem = study_problem(ran, matching)
        points = [each.params for each in finished]
        built = [recorded_architecture(ran.space, each.params) for each in finished]
        measured = {each: decode_ms(each) for each in built}
        values, _ = problem.costs[1](points, finished)
        assert values == pytest.approx([predicted_from(measured, each) for each in built], rel=1e-6)

    def test_trials_that_differ_only_in_the_width_are_one_point(
        self, ran: StudySpec, store: Store
    ) -> None:
        problem = study_problem(ran)
        params = next(
            each.params for each in told(store, ran) if FEED_FORWARD_BLOCKS in each.params
        )
        wider = {**params, FEED_FORWARD_BLOCKS: params[FEED_FORWARD_BLOCKS] + 4}
        assert problem.legal(params) == problem.legal(wider)
        assert problem.legal(params) is not None
        assert problem.features(params) != problem.features(wider)

    def test_a_finished_study_is_told_again_without_change(
        self, ran: StudySpec, store: Store
    ) -> None:
        before = told(store, ran)
        proposals = Proposals(ran, store)
        for trial, architecture in zip(
            store.trials(ran.name), architectures(store, ran), strict=True
        ):
            proposals.tell(trial, architecture)
        proposals.catch_up()
        assert told(store, ran) == before


def test_a_reference_model_in_the_space_is_told_with_its_own_feed_forwards(
    url: str, store: Store
) -> None:
    spec = matched_spec(url, trials=1)
    matched = draw(spec.space, FixedSuggester(dict.fromkeys(_names(spec), 0) | _layout("ccca")))
    model = with_feed_forward_blocks(matched, 33)
    spec = spec.model_copy(update={"references": ("mine",), "models": {"mine": model}})
    run_study(spec, evaluators=all_stages(), store=store)
    first = told(store, spec)[0]
    assert first.user_attrs["nas"]["trial"] == "mine"
    assert first.params[FEED_FORWARD_BLOCKS] == 33
    assert recorded_architecture(spec.space, first.params) == model
    (reference,) = store.trials(spec.name, "reference")
    assert reference.predicted_latency is None


def test_reference_models_and_other_studies_count_as_measurements(url: str, store: Store) -> None:
    references = ("hybrid-20m", "lfm2-350m", "gemma-3-270m")
    first = matched_spec(url, trials=2, references=references)
    run_study(first, evaluators=all_stages(), store=store)
    assert [each.predicted_latency is None for each in store.trials(first.name)] == [True, False]
    second = first.model_copy(update={"name": "second", "references": (), "seed": 1})
    events: list[Event] = []
    run_study(second, evaluators=all_stages(), store=store, listener=events.append)
    assert all(each.predicted_latency is not None for each in store.trials(second.name))
    assert not any(isinstance(event, Remark) and "matched" in event.text for event in events)
    # Measurements on another device do not count.
    elsewhere = latency()
    elsewhere.fingerprint = "another device"
    costs, _, loss = all_stages()
    third = second.model_copy(update={"name": "third"})
    run_study(third, evaluators=(costs, elsewhere, loss), store=store)
    assert all(each.predicted_latency is None for each in store.trials(third.name))


def test_provisional_times_do_not_count(url: str, store: Store) -> None:
    costs, _, loss = all_stages()
    spec = matched_spec(url, trials=6)
    busy = busy_at_first()
    run_study(spec, evaluators=(costs, busy, loss), store=store, is_quiet=lambda: False)
    assert all(each.predicted_latency is None for each in store.trials(spec.name))


def test_a_latency_that_no_layout_reaches_is_reported(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.proposals._MOST_REJECTIONS", 10)
    spec = matched_spec(url, trials=14)
    space = replace(spec.space, matched=MatchedLatency(latency=50.0))
    spec = spec.model_copy(update={"space": space})
    with pytest.raises(
        ValueError,
        match=r"^space\.matched: a predicted decode of [\d.]+ \(with feed_forward = 8\) is not "
        r"between 49\.5 and 50\.5; 10 of 10 consecutive draws violated this rule",
    ):
        run_study(spec, evaluators=all_stages(), store=store)
    # The first predictions may be far off, so they do not end the search.
    assert [each.predicted_latency for each in store.trials(spec.name)] == [None] * 12


@pytest.mark.parametrize("kind", ["known-costs", "front-mutation"])
def test_samplers_of_whole_points_report_it_as_well(
    url: str, store: Store, kind: SamplerKind
) -> None:
    sampler = SamplerSettings(kind=kind, startup_trials=12)
    spec = matched_spec(url, trials=14, sampler=sampler)
    space = replace(spec.space, matched=MatchedLatency(latency=0.01))
    spec = spec.model_copy(update={"space": space})
    with pytest.raises(ValueError, match=r"the last one violated: matched: a predicted decode of"):
        run_study(spec, evaluators=all_stages(), store=store)


def test_a_draw_that_cannot_reach_the_latency_is_rejected_and_counted(
    url: str, store: Store
) -> None:
    spec = matched_spec(url, trials=6)
    # Layouts with two or more layers of attention take longer.
    space = replace(spec.space, matched=MatchedLatency(latency=1.5))
    spec = spec.model_copy(update={"space": space})
    run_study(spec, evaluators=all_stages(), store=store)
    rejected = [each for each in told(store, spec) if each.state == TrialState.PRUNED]
    assert store.rejections(spec.name) == {"matched": len(rejected)}
    assert rejected
    assert all(each.constraints["matched"] > 0 for each in rejected)


class Known:
    """Measured models whose values can be changed."""

    def __init__(self, measured: Mapping[Architecture, float]) -> None:
        self.by_hash = {architecture_hash(each): each for each in measured}
        self.known = {architecture_hash(each): value for each, value in measured.items()}

    def values(self, score: str) -> Mapping[str, float]:
        assert score == "decode"
        return self.known

    def architecture(self, digest: str) -> Architecture:
        return self.by_hash[digest]


class TestPrediction:
    @pytest.fixture
    def spec(self, url: str) -> StudySpec:
        return matched_spec(url)

    def test_there_is_none_before_four_measurements(self, spec: StudySpec) -> None:
        models = _models(spec, 4)
        for count in (0, 3, 4):
            matching = LatencyMatching(
                spec, Known({each: decode_ms(each) for each in models[:count]})
            )
            matching.refit()
            assert (matching.latency is None) == (count < 4)
            assert (matching.remark is None) == (count == 4)

    def test_there_is_none_if_wider_models_are_not_slower(self, spec: StudySpec) -> None:
        falling = {model: 50.0 - number for number, model in enumerate(_models(spec, 30))}
        matching = LatencyMatching(spec, Known(falling))
        matching.refit()
        (model, *_) = falling
        (wide,) = (with_feed_forward_blocks(model, 900),)
        assert predicted_from(falling, wide) == pytest.approx(predicted_from(falling, model))
        assert matching.latency is None
        assert matching.remark is not None

    def test_an_early_one_by_which_few_layouts_reach_the_latency_is_not_used(
        self, spec: StudySpec
    ) -> None:
        wide = replace(spec.space, matched=None, feed_forward=spec.space.feed_forward[-1:])
        suggester = RandomSuggester(np.random.default_rng(1))
        slowest = [draw(wide, suggester) for _ in range(400)]
        for count, reached, is_used in ((6, 0.5, True), (6, 0.005, False), (30, 0.005, True)):
            known = Known({each: decode_ms(each) for each in _models(spec, count)})
            usual = LatencyMatching(spec, known)
            usual.refit()
            latency = float(np.quantile([usual.predicted(each) for each in slowest], 1 - reached))
            space = replace(spec.space, matched=MatchedLatency(latency=latency))
            matching = LatencyMatching(spec.model_copy(update={"space": space}), known)
            matching.refit()
            assert (matching.latency is not None) == is_used

    def test_it_changes_only_with_the_measurements(self, spec: StudySpec) -> None:
        models = _models(spec, 6)
        known = Known({each: decode_ms(each) for each in models})
        matching = LatencyMatching(spec, known)
        matching.refit()
        version, before = matching.version, matching.predicted(models[0])
        matching.refit()
        assert matching.version == version
        known.known = {digest: 0.9 * value for digest, value in known.known.items()}
        matching.refit()
        assert matching.version == version + 1
        assert matching.predicted(models[0]) == pytest.approx(0.9 * (before or 0.0))

    def test_a_failed_read_changes_nothing(self, spec: StudySpec) -> None:
        models = _models(spec, 6)
        known, broken = (Known({each: decode_ms(each) for each in models}) for _ in range(2))
        (lost,) = broken.by_hash.keys() - dict(list(known.by_hash.items())[:-1]).keys()
        model = broken.by_hash.pop(lost)
        whole, repeated = LatencyMatching(spec, known), LatencyMatching(spec, broken)
        whole.refit()
        with pytest.raises(KeyError):
            repeated.refit()
        assert (repeated.version, repeated.latency) == (0, None)
        broken.by_hash[lost] = model
        repeated.refit()
        assert repeated.predicted(models[0]) == whole.predicted(models[0]) is not None

    def test_points_are_solved_again_when_it_changes(self, spec: StudySpec) -> None:
        models = _models(spec, 8)
        known = Known({each: decode_ms(each) for each in models})
        matching = LatencyMatching(spec, known)
        matching.refit()
        problem = study_problem(spec, matching)
        point = {**dict.fromkeys(_names(spec), 0), **_layout("clcl")}
        recorded = {**point, FEED_FORWARD_BLOCKS: 100}
        before, built = problem.features(point), problem.features(recorded)
        known.known = {digest: 1.3 * value for digest, value in known.known.items()}
        matching.refit()
        solved = draw(spec.space, FixedSuggester(point), matching.latency)
        assert problem.features(point) == layout_features(solved) != before
        assert problem.features(recorded) == built

    def test_nothing_is_predicted_for_other_spaces(self, spec: StudySpec) -> None:
        for matched in (None, Matched(parameters=3_000_000)):
            space = replace(spec.space, matched=matched)
            known = Known({each: decode_ms(each) for each in _models(spec, 6)})
            matching = LatencyMatching(spec.model_copy(update={"space": space}), known)
            matching.refit()
            assert (matching.latency, matching.remark) == (None, None)


def _names(spec: StudySpec) -> list[str]:
    """Return the names of the choices of the whole model."""
    return [name for name in ("width", "vocab_size") if len(getattr(spec.space, name)) > 1]


def _layout(letters: str) -> dict[str, str]:
    return {f"mixer_{place:02}": letter for place, letter in enumerate(letters)}


def _models(spec: StudySpec, count: int) -> list[Architecture]:
    layouts = ("caal", "cccc", "alcl", "clca", "aaaa", "lllc", "acca", "llaa", "ccla", "lcla")
    found = []
    for number in range(count):
        width = {"width": number % 2, "vocab_size": number // 2 % 2}
        point = {**width, **_layout(layouts[number % len(layouts)])}
        found.append(
            with_feed_forward_blocks(draw(spec.space, FixedSuggester(point)), 40 + 30 * number)
        )
    return found
