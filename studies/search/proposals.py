"""Candidates from the study's sampler, the rules of the space, and the results told to Optuna."""

import contextlib
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search_space.architecture import Architecture
from search_space.space.encoding import draw, encode
from search_space.space.matching import Cost, feed_forward_blocks
from search_space.space.rules import RuleCheck
from search_space.space.space_definition import check_sizes
from studies.owner import this_process
from studies.records import Trial
from studies.search.architecture_problem import PRELIMINARY_SCORES, study_problem
from studies.search.given_point import ask_for
from studies.search.latency_matching import (
    FEED_FORWARD_BLOCKS,
    LatencyMatching,
    record_feed_forward,
)
from studies.search.optuna_tables import contradictions_reported
from studies.search.samplers import make_sampler
from studies.search.told_results import (
    told_constraints,
    told_identity,
    told_result,
    told_scores,
)
from studies.spec.study_spec import StudySpec
from studies.storage.outages import Outages, retried
from studies.storage.store import Store

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_MOST_REJECTIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An architecture that keeps every rule of the space.

    Attributes:
        architecture: The architecture.
        optuna_number: The number of the Optuna trial that drew it.
        rejections: The number of rejected draws before it, by the rule that each violated most.
        predicted_latency: The predicted latency, if it was matched to that of the space.
    """

    architecture: Architecture
    optuna_number: int
    rejections: Mapping[str, int]
    predicted_latency: float | None = None


def _with_optuna_tables(
    method: Callable[Concatenate["Proposals", _Parameters], _Result],
) -> Callable[Concatenate["Proposals", _Parameters], _Result]:
    """Decorate a method so that it reports contradictions in Optuna's tables as damage."""

    @functools.wraps(method)
    def report(
        proposals: "Proposals", /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        with contradictions_reported(proposals._store):
            return method(proposals, *args, **kwargs)

    return report


class Proposals:
    """The Optuna study that belongs to a study, with the same name and in the same database.

    Each of its trials is a candidate, a reference model that lies in the space, a candidate of
    another study that informs the sampler, or a draw that a rule of the space rejected.

    Args:
        spec: The study.
        store: The database.
        matching: Predicts the latency that candidates are matched to, if the space has one; None if
            nothing is predicted.
    """

    def __init__(
        self, spec: StudySpec, store: Store, matching: LatencyMatching | None = None
    ) -> None:
        # Optuna logs new studies and failed queries to stderr, where a live view may be shown.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._store = store
        self._storage = store.optuna_storage()
        self._matching = matching or LatencyMatching(spec)
        self._open()

    @_with_optuna_tables
    def _open(self) -> None:
        spec = self._spec
        self._study = optuna.create_study(
            study_name=spec.name,
            storage=self._storage,
            sampler=make_sampler(
                spec.sampler_kind,
                startup_trials=spec.sampler.startup_trials,
                seed=spec.seed,
                problem=study_problem(spec, self._matching),
            ),
            directions=["minimize"] * len(spec.objectives),
            load_if_exists=True,
        )
        self._check_is_ours()
        with warnings.catch_warnings():
            # Metric names serve Optuna's own dashboards; nothing here depends on them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([objective.name for objective in spec.objectives])

    @property
    def outages(self) -> Outages:
        """How this process waits while the database cannot be reached."""
        return self._store.outages

    @retried
    @_with_optuna_tables
    def propose(self) -> Proposal:
        """Draw the next candidate.

        Raises:
            ValueError: The rules of the space rejected 500 consecutive draws.
        """
        self._matching.refit()
        rejections: Counter[str] = Counter()
        rejected: dict[str, RuleCheck] = {}
        for _ in range(_MOST_REJECTIONS):
            try:
                number, architecture, worst = self._draw()
            except optuna.exceptions.UpdateFinishedTrialError:
                # Another process considered this one dead and discarded its draw. If it has also
                # taken the trial over, this process notices it when the trial begins.
                continue
            if worst is None or worst.excess <= 0:
                return Proposal(
                    architecture=architecture,
                    optuna_number=number,
                    rejections=rejections,
                    predicted_latency=self._matching.predicted(architecture),
                )
            rejections[worst.rule] += 1
            rejected[worst.rule] = worst
        rule, draws = rejections.most_common(1)[0]
        place = "space.matched" if rule == "matched" else f"space.rules.{rule}"
        raise ValueError(
            f"{place}: {rejected[rule].value} is not {rejected[rule].allowed}; {draws} of "
            f"{_MOST_REJECTIONS} consecutive draws violated this rule, and none was legal"
        )

    @retried
    @_with_optuna_tables
    def propose_given(self, architecture: Architecture) -> Proposal:
        """Return an architecture of the space that the study starts from as the next candidate."""
        asked = ask_for(self._study, self._spec.space, architecture)
        record_feed_forward(asked, self._spec.space, architecture)
        return Proposal(architecture=architecture, optuna_number=asked.number, rejections={})

    def _draw(self) -> tuple[int, Architecture, RuleCheck | None]:
        """Draw an architecture, and tell the sampler at once if it violates a rule.

        Returns:
            The number of the Optuna trial, the architecture, and the check of the rule that it
            exceeds most, or comes closest to; None without rules.
        """
        asked = self._study.ask()
        latency = self._matching.latency
        architecture = draw(self._spec.space, asked, latency)
        checks = self._checks(architecture, latency)
        worst = max(checks, key=lambda check: check.excess, default=None)
        if worst is not None and worst.excess > 0:
            for check in checks:
                asked.set_constraint(check.rule, check.excess)
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            record_feed_forward(asked, self._spec.space, architecture)
        return asked.number, architecture, worst

    @retried
    @_with_optuna_tables
    def tell(self, trial: Trial, architecture: Architecture) -> None:
        """Tell the sampler how a trial ended. Telling it a second time changes nothing.

        Args:
            trial: A candidate or a reference model that has ended, or a candidate of another study
                with all objectives of this one.
            architecture: The architecture of the trial.
        """
        if trial.kind == "reference" or trial.study != self._spec.name:
            self._tell_other(trial, architecture)
            return
        assert trial.optuna_number is not None
        told = self._study.get_trials(deepcopy=False)[trial.optuna_number]
        if told.state.is_finished():
            self._tell_change(trial, told, architecture)
            return
        # Another process that caught up may have told it meanwhile.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._tell_candidate(trial, architecture)

    @retried
    @_with_optuna_tables
    def tell_preliminary(self, trial: Trial) -> None:
        """Tell the sampler the scores of an ended candidate whose times are to be measured again.

        Optuna does not change the values of finished trials, so this one stays unfinished until
        `tell`. Only samplers of this project know these scores.
        """
        if trial.optuna_number is not None:
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                asked = self._trial(trial.optuna_number)
                asked.set_user_attr(PRELIMINARY_SCORES, told_scores(trial))

    @retried
    @_with_optuna_tables
    def catch_up(self, apart_from: Callable[[Trial], bool] = lambda _: False) -> None:
        """Tell the sampler about the ended trials that it was not told about.

        They are those whose process died before it could do so, and those whose times were to be
        measured again first. Draws of processes that died before using them are told as failed.

        Args:
            apart_from: Returns whether the sampler is to learn of a trial later.
        """
        for reference in self._store.trials(self._spec.name, "reference"):
            if reference.outcome is not None and not apart_from(reference):
                self._tell_other(reference, self._architecture(reference))
        # A process claims a trial before it draws an architecture for it. Since the draws are read
        # first, each of them belongs to one of the trials unless its process has died.
        draws = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        candidates = self._store.trials(self._spec.name)
        trials = {trial.optuna_number: trial for trial in candidates}
        owners = {each.owner for each in candidates if each.model is None and each.owner}
        are_drawing = any(self._store.judge(owner) != "lost" for owner in owners)
        for asked in draws:
            trial = trials.get(asked.number)
            if trial is None:
                if not are_drawing:
                    self._tell_failed(asked.number)
            elif trial.outcome is not None and self._is_left(trial):
                if apart_from(trial):
                    self.tell_preliminary(trial)
                else:
                    self.tell(trial, self._architecture(trial))

    def _is_left(self, trial: Trial) -> bool:
        """Return whether no other process is about to tell the sampler of an ended trial."""
        assert trial.owner is not None
        return trial.owner == this_process() or self._store.judge(trial.owner) == "lost"

    def _check_is_ours(self) -> None:
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        as_ours = len(self._study.directions) == len(self._spec.objectives)
        if not as_ours or any("nas" not in trial.user_attrs for trial in complete):
            name = self._spec.name
            raise ValueError(f"name: '{name}' is a study of another program in this database")

    def _architecture(self, trial: Trial) -> Architecture:
        assert trial.model is not None
        return self._store.architecture(trial.model.hash)

    def _tell_candidate(self, trial: Trial, architecture: Architecture) -> None:
        assert trial.optuna_number is not None
        asked = self._trial(trial.optuna_number)
        known = asked.constraints
        for name, excess in told_constraints(self._spec, trial, architecture).items():
            if name not in known:
                asked.set_constraint(name, excess)
        asked.set_user_attr("nas", told_identity(trial))
        values, state = told_result(self._spec, trial)
        self._study.tell(asked, values, state=state, skip_if_finished=True)

    def _tell_failed(self, number: int) -> None:
        # Another process that catches up may have told it meanwhile.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _tell_change(self, trial: Trial, told: FrozenTrial, architecture: Architecture) -> None:
        """Tell the sampler that a trial has ended differently from what it was told before.

        Optuna does not change finished trials, so it gets a second one with the same parameters.
        """
        values, state = told_result(self._spec, trial)
        if told.state == state and told.values == values:
            return
        with_same = [
            each for each in self._study.get_trials(deepcopy=False) if each.params == told.params
        ]
        if any(each.state == state and each.values == values for each in with_same):
            return
        self._study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=told.params,
                distributions=told.distributions,
                constraints=told_constraints(self._spec, trial, architecture),
                user_attrs={"nas": told_identity(trial)},
            )
        )

    def _tell_other(self, trial: Trial, architecture: Architecture) -> None:
        """Tell the sampler of a trial that it did not propose, unless it was told before."""
        parameters = encode(self._spec.space, architecture)
        source = {} if trial.study == self._spec.name else {"study": trial.study}
        identity = told_identity(trial) | source
        values, state = told_result(self._spec, trial)
        known = (
            asked.user_attrs.get("nas", {}) for asked in self._study.get_trials(deepcopy=False)
        )
        if parameters is None or values is None or identity in known:
            return
        fixed = FixedTrial({**parameters, FEED_FORWARD_BLOCKS: feed_forward_blocks(architecture)})
        draw(self._spec.space, fixed)
        record_feed_forward(fixed, self._spec.space, architecture)
        self._study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=fixed.params,
                distributions=fixed.distributions,
                constraints=told_constraints(self._spec, trial, architecture),
                user_attrs={"nas": identity},
            )
        )

    def _checks(
        self, architecture: Architecture, latency: Cost | None = None
    ) -> tuple[RuleCheck, ...]:
        quantization = self._spec.target.quantization
        return check_sizes(architecture, self._spec.space, quantization, latency)

    def _trial(self, number: int) -> optuna.Trial:
        """Return the unfinished Optuna trial of this number."""
        study_id = self._storage.get_study_id_from_name(self._spec.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.Trial(self._study, trial_id)
