"""Where candidates come from: the study's sampler, what it is told, and the space's rules."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search_space.architecture import Architecture
from search_space.space.encoding import draw, encode
from search_space.space.rules import RuleCheck
from search_space.space.space_definition import check_sizes
from studies.owner import is_lost, this_process
from studies.records import Trial
from studies.search.samplers import sampler
from studies.spec.budgets import excesses
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store

_MOST_REJECTIONS = 500

# The slowest sampler takes tens of seconds from Optuna's trial to ours.
_LONGEST_PROPOSAL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A legal architecture, and Optuna's trial that drew it.

    rejections: the draws before it that were refused, each under the rule that it broke most.
    """

    architecture: Architecture
    optuna_number: int
    rejections: Mapping[str, int]


class Proposals:
    """Optuna's study, of the same name and in the same database as ours.

    Each of its trials is a candidate of ours, a reference model of the space, or a draw that a rule
    of the space refused.
    """

    def __init__(self, spec: StudySpec, store: Store) -> None:
        # Optuna announces studies on stderr, where a live view may be.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._store = store
        self._storage = store.optuna_storage()
        self._study = optuna.create_study(
            study_name=spec.name,
            storage=self._storage,
            sampler=sampler(spec.sampler, spec.seed),
            directions=["minimize"] * len(spec.objectives),
            load_if_exists=True,
        )
        self._check_ours()
        with warnings.catch_warnings():
            # Names are for Optuna's own dashboards; nothing here depends on them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([objective.name for objective in spec.objectives])

    def propose(self) -> Proposal:
        """The next candidate. ValueError if the rules of the space refuse draw after draw."""
        rejections: Counter[str] = Counter()
        refused: dict[str, RuleCheck] = {}
        for _ in range(_MOST_REJECTIONS):
            asked = self._study.ask()
            architecture = draw(self._spec.space, asked)
            checks = self._checks(architecture)
            worst = max(checks, key=lambda check: check.excess, default=None)
            if worst is None or worst.excess <= 0:
                return Proposal(
                    architecture=architecture, optuna_number=asked.number, rejections=rejections
                )
            for check in checks:
                asked.set_constraint(check.rule, check.excess)
            self._study.tell(asked, state=TrialState.PRUNED)
            rejections[worst.rule] += 1
            refused[worst.rule] = worst
        rule, draws = rejections.most_common(1)[0]
        place = "space.matched" if rule == "matched" else f"space.rules.{rule}"
        raise ValueError(
            f"{place}: {refused[rule].value} is not {refused[rule].allowed}, and so it "
            f"went for {draws} of {_MOST_REJECTIONS} draws in a row, of which none was legal"
        )

    def learn(self, trial: Trial) -> None:
        """Tells the sampler how a candidate or a reference ended; once is as good as twice."""
        assert trial.model is not None
        assert trial.outcome is not None
        if trial.kind == "reference":
            self._learn_reference(trial)
            return
        # A process that caught up may have told it before.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._learn_candidate(trial)

    def catch_up(self) -> None:
        """Tells what processes that died did not come to tell."""
        for reference in self._store.trials(self._spec.name, "reference"):
            if reference.outcome is not None:
                self._learn_reference(reference)
        trials = {trial.optuna_number: trial for trial in self._store.trials(self._spec.name)}
        for asked in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = trials.get(asked.number)
            if trial is None:
                if _is_left_over(asked):
                    self._study.tell(asked.number, state=TrialState.FAIL)
            elif trial.outcome is not None and _teller_is_gone(trial):
                self.learn(trial)

    def _check_ours(self) -> None:
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        as_ours = len(self._study.directions) == len(self._spec.objectives)
        if not as_ours or any("nas" not in trial.user_attrs for trial in complete):
            name = self._spec.name
            raise ValueError(f"name: '{name}' is a study of another program in this database")

    def _learn_candidate(self, trial: Trial) -> None:
        assert trial.optuna_number is not None
        asked = self._trial(trial.optuna_number)
        known = asked.constraints
        for name, excess in self._constraints(trial).items():
            if name not in known:
                asked.set_constraint(name, excess)
        asked.set_user_attr("nas", _caption(trial))
        values, state = self._lesson(trial)
        self._study.tell(asked, values, state=state, skip_if_finished=True)

    def _learn_reference(self, trial: Trial) -> None:
        assert trial.model is not None
        architecture = self._store.architecture(trial.model.hash)
        parameters = encode(self._spec.space, architecture)
        values, state = self._lesson(trial)
        told = (known.user_attrs.get("nas", {}) for known in self._study.get_trials(deepcopy=False))
        if parameters is None or values is None or _caption(trial) in told:
            return
        fixed = FixedTrial(parameters)
        draw(self._spec.space, fixed)
        self._study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=fixed.params,
                distributions=fixed.distributions,
                constraints=self._constraints(trial),
                user_attrs={"nas": _caption(trial)},
            )
        )

    def _lesson(self, trial: Trial) -> tuple[list[float] | None, TrialState]:
        """The values and the state that Optuna is told.

        A stopped candidate is told as complete, with the loss it was on the way to. As a pruned one
        it would teach nothing: samplers for several objectives pass over the values of pruned
        trials, and would go on proposing the like. It is dominated by the candidate that stopped
        it, so it is on no front.
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

    def _constraints(self, trial: Trial) -> dict[str, float]:
        """At most 0 where a rule or a budget is kept; the same names for all complete trials."""
        assert trial.model is not None
        architecture = self._store.architecture(trial.model.hash)
        checks = {check.rule: check.excess for check in self._checks(architecture)}
        return checks | {
            f"{name}.max": excess for name, excess in excesses(self._spec, _values(trial)).items()
        }

    def _checks(self, architecture: Architecture) -> tuple[RuleCheck, ...]:
        return check_sizes(architecture, self._spec.space, self._spec.target.quantization)

    def _trial(self, number: int) -> optuna.Trial:
        """Optuna's trial of that number, to be told about."""
        study_id = self._storage.get_study_id_from_name(self._spec.name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.Trial(self._study, trial_id)


def _values(trial: Trial) -> dict[str, float]:
    assert trial.outcome is not None
    if trial.outcome.estimated_loss is None:
        return trial.values
    return trial.values | {"loss": trial.outcome.estimated_loss}


def _caption(trial: Trial) -> dict[str, str | int]:
    """What tells Optuna's trial apart for someone who looks at it there."""
    assert trial.model is not None
    assert trial.outcome is not None
    return {
        "trial": trial.name,
        "state": trial.outcome.state,
        "layout": trial.model.layout,
        "architecture": trial.model.hash,
    }


def _is_left_over(asked: FrozenTrial) -> bool:
    """Drawn, and its process died before it became a trial of ours."""
    assert asked.datetime_start is not None
    return datetime.now(UTC) - asked.datetime_start.astimezone() > _LONGEST_PROPOSAL


def _teller_is_gone(trial: Trial) -> bool:
    assert trial.owner is not None
    return trial.owner == this_process() or is_lost(trial.owner, trial.seen_at)
