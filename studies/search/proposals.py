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

from evaluators.scores import LOSS
from search_space.architecture import Architecture
from search_space.space.encoding import draw, encode
from search_space.space.rules import RuleCheck
from search_space.space.space_definition import check_sizes
from studies.damage import DamagedDatabase
from studies.owner import this_process
from studies.records import Trial
from studies.search.architecture_problem import study_problem
from studies.search.samplers import make_sampler
from studies.spec.limits import excesses
from studies.spec.study_spec import StudySpec
from studies.storage.outages import Outages, database_error, outage_reason, retried
from studies.storage.store import Store

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_MOST_REJECTIONS = 500

# What Optuna raises if its rows contradict each other.
_CONTRADICTIONS = (AssertionError, AttributeError, LookupError, TypeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An architecture that keeps every rule of the space.

    Attributes:
        architecture: The architecture.
        optuna_number: The number of the Optuna trial that drew it.
        rejections: The number of rejected draws before it, by the rule that each violated most.
    """

    architecture: Architecture
    optuna_number: int
    rejections: Mapping[str, int]


def _with_optuna_tables(
    method: Callable[Concatenate["Proposals", _Parameters], _Result],
) -> Callable[Concatenate["Proposals", _Parameters], _Result]:
    """Decorate a method so that it reports contradictions in Optuna's tables as damage."""

    @functools.wraps(method)
    def report(
        proposals: "Proposals", /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        with proposals._store.translated():
            try:
                return method(proposals, *args, **kwargs)
            except (optuna.exceptions.StorageInternalError, *_CONTRADICTIONS) as error:
                if outage_reason(error) is not None:
                    raise
                if (failed := database_error(error)) is not None:
                    raise failed from None
                raise DamagedDatabase(
                    "storage: the tables of Optuna in the database contradict those of the study "
                    f"({type(error).__name__}); `nas db check` lists what is damaged"
                ) from error

    return report


class Proposals:
    """The Optuna study that belongs to a study, with the same name and in the same database.

    Each of its trials is a candidate, a reference model that lies in the space, or a draw that a
    rule of the space rejected.
    """

    def __init__(self, spec: StudySpec, store: Store) -> None:
        # Optuna logs new studies and failed queries to stderr, where a live view may be shown.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._store = store
        self._storage = store.optuna_storage()
        self._open()

    @_with_optuna_tables
    def _open(self) -> None:
        spec = self._spec
        self._study = optuna.create_study(
            study_name=spec.name,
            storage=self._storage,
            sampler=make_sampler(spec.sampler, spec.seed, study_problem(spec)),
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
                    architecture=architecture, optuna_number=number, rejections=rejections
                )
            rejections[worst.rule] += 1
            rejected[worst.rule] = worst
        rule, draws = rejections.most_common(1)[0]
        place = "space.matched" if rule == "matched" else f"space.rules.{rule}"
        raise ValueError(
            f"{place}: {rejected[rule].value} is not {rejected[rule].allowed}; {draws} of "
            f"{_MOST_REJECTIONS} consecutive draws violated this rule, and none was legal"
        )

    def _draw(self) -> tuple[int, Architecture, RuleCheck | None]:
        """Draw an architecture, and tell the sampler at once if it violates a rule.

        Returns:
            The number of the Optuna trial, the architecture, and the check of the rule that it
            exceeds most, or comes closest to; None without rules.
        """
        asked = self._study.ask()
        architecture = draw(self._spec.space, asked)
        checks = self._checks(architecture)
        worst = max(checks, key=lambda check: check.excess, default=None)
        if worst is not None and worst.excess > 0:
            for check in checks:
                asked.set_constraint(check.rule, check.excess)
            self._study.tell(asked, state=TrialState.PRUNED)
        return asked.number, architecture, worst

    @retried
    @_with_optuna_tables
    def tell(self, trial: Trial, architecture: Architecture) -> None:
        """Tell the sampler how a trial ended. Telling it a second time changes nothing.

        Args:
            trial: A candidate or a reference model that has ended.
            architecture: The architecture of the trial.
        """
        if trial.kind == "reference":
            self._tell_reference(trial, architecture)
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
    def catch_up(self, apart_from: Callable[[Trial], bool] = lambda _: False) -> None:
        """Tell the sampler about the ended trials that it was not told about.

        They are those whose process died before it could do so, and those whose times were to be
        measured again first. Draws of processes that died before using them are told as failed.

        Args:
            apart_from: Returns whether the sampler is to learn of a trial later.
        """
        for reference in self._store.trials(self._spec.name, "reference"):
            if reference.outcome is not None and not apart_from(reference):
                self._tell_reference(reference, self._architecture(reference))
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
            elif trial.outcome is not None and self._is_left(trial) and not apart_from(trial):
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
        for name, excess in self._constraints(trial, architecture).items():
            if name not in known:
                asked.set_constraint(name, excess)
        asked.set_user_attr("nas", _identity(trial))
        values, state = self._result(trial)
        self._study.tell(asked, values, state=state, skip_if_finished=True)

    def _tell_failed(self, number: int) -> None:
        # Another process that catches up may have told it meanwhile.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _tell_change(self, trial: Trial, told: FrozenTrial, architecture: Architecture) -> None:
        """Tell the sampler that a trial has ended differently from what it was told before.

        Optuna does not change finished trials, so it gets a second one with the same parameters.
        """
        values, state = self._result(trial)
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
                constraints=self._constraints(trial, architecture),
                user_attrs={"nas": _identity(trial)},
            )
        )

    def _tell_reference(self, trial: Trial, architecture: Architecture) -> None:
        parameters = encode(self._spec.space, architecture)
        values, state = self._result(trial)
        known = (
            asked.user_attrs.get("nas", {}) for asked in self._study.get_trials(deepcopy=False)
        )
        if parameters is None or values is None or _identity(trial) in known:
            return
        fixed = FixedTrial(parameters)
        draw(self._spec.space, fixed)
        self._study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=fixed.params,
                distributions=fixed.distributions,
                constraints=self._constraints(trial, architecture),
                user_attrs={"nas": _identity(trial)},
            )
        )

    def _result(self, trial: Trial) -> tuple[list[float] | None, TrialState]:
        """Return the values and the state that Optuna is told.

        A candidate that was stopped early is told as complete, with its estimated loss. If it were
        told as pruned, the sampler would learn nothing from it and keep proposing similar ones,
        because samplers for several objectives ignore the values of pruned trials. The candidate
        that stopped it dominates it, so it is never on the front.
        """
        assert trial.outcome is not None
        match trial.outcome.state:
            case "complete" | "stopped":
                values = _values(trial)
                names = [objective.name for objective in self._spec.objectives]
                return [values[name] for name in names], TrialState.COMPLETE
            case "infeasible":
                return None, TrialState.PRUNED
            case "failed":
                return None, TrialState.FAIL

    def _constraints(self, trial: Trial, architecture: Architecture) -> dict[str, float]:
        """Return the excess over each rule and limit: at most 0 where it is kept.

        All complete trials have the same names.
        """
        checks = {check.rule: check.excess for check in self._checks(architecture)}
        return checks | {
            f"{name}.max": excess for name, excess in excesses(self._spec, _values(trial)).items()
        }

    def _checks(self, architecture: Architecture) -> tuple[RuleCheck, ...]:
        return check_sizes(architecture, self._spec.space, self._spec.target.quantization)

    def _trial(self, number: int) -> optuna.Trial:
        """Return the unfinished Optuna trial of this number."""
        study_id = self._storage.get_study_id_from_name(self._spec.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.Trial(self._study, trial_id)


def _values(trial: Trial) -> dict[str, float]:
    assert trial.outcome is not None
    if trial.outcome.estimated_loss is None:
        return trial.values
    return trial.values | {LOSS: trial.outcome.estimated_loss}


def _identity(trial: Trial) -> dict[str, str | int]:
    """Return the attributes by which users of Optuna's own tools recognise the trial."""
    assert trial.model is not None
    assert trial.outcome is not None
    return {
        "trial": trial.name,
        "state": trial.outcome.state,
        "layout": trial.model.layout,
        "architecture": trial.model.hash,
    }
