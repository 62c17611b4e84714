"""The search loop: claim, propose, evaluate in stages, store and tell; resumable at any moment."""

import contextlib
from collections.abc import Iterator, Sequence

from evaluators.evaluator import Evaluator
from search_space.architecture import Architecture
from search_space.input_errors import one_of
from studies.records import END_STATES, Trial
from studies.search.events import (
    Listener,
    StudyStarted,
    TrialEnded,
    TrialLost,
    TrialStarted,
    ignore,
)
from studies.search.interrupts import Interrupts
from studies.search.proposals import Proposals
from studies.search.stages import Stages
from studies.spec.difference import difference
from studies.spec.reference_models import model_of, with_reference
from studies.spec.study_spec import StudySpec, from_json, named_scores, to_json
from studies.storage.claims import TrialTaken
from studies.storage.store import Store


def run_study(
    spec: StudySpec,
    *,
    evaluators: Sequence[Evaluator],
    store: Store,
    listener: Listener = ignore,
    trials: int | None = None,
) -> None:
    """Start or resume a study and run it until its candidates have ended.

    Several processes may run one study at the same time. An exception from a stage or from the
    listener, and KeyboardInterrupt, reach the caller and leave the trial to the next run, as does
    the death of the process.

    Args:
        spec: The study. If it was started before, its settings must be unchanged.
        evaluators: The stages, from cheap to expensive. Together they produce every score
            that the study asks for.
        store: The database.
        listener: Receives the events of the run.
        trials: The total number of candidates, including finished ones; None for that of the
            study. Interrupted candidates and rejected draws do not count.

    Raises:
        ValueError: The study was started with different settings, no evaluator produces one of
            its scores, or the rules of its space reject too many consecutive draws.
    """
    spec = with_reference(spec)
    _check_scores(spec, evaluators)
    total = spec.trials if trials is None else trials
    _open_study(spec, total, store)
    ended = len(store.numbers(spec.name, END_STATES))
    listener(StudyStarted(study=spec.name, total=total, ended=ended))
    interrupts = Interrupts()
    with interrupts.deferred():
        stages = Stages(spec, evaluators, store, listener, interrupts)
        proposals = Proposals(spec, store)
        proposals.catch_up()
        run = _Run(spec, stages, proposals, store, listener)
        for trial in _claimed(spec, total, store):
            run.carry_out(trial)
            interrupts.check()
        # Another process may have died during this run.
        proposals.catch_up()


def _claimed(spec: StudySpec, total: int, store: Store) -> Iterator[Trial]:
    """Yield the trials that are left for this process, reference models first."""
    for name in spec.references:
        reference = store.claim_reference(spec.name, name)
        if reference is not None:
            yield reference
    while (candidate := store.claim(spec.name, total=total)) is not None:
        yield candidate


class _Run:
    """The parts of one process's run of a study."""

    def __init__(
        self,
        spec: StudySpec,
        stages: Stages,
        proposals: Proposals,
        store: Store,
        listener: Listener,
    ) -> None:
        self._spec = spec
        self._stages = stages
        self._proposals = proposals
        self._store = store
        self._listener = listener

    def carry_out(self, trial: Trial) -> None:
        """Run a claimed trial to its end; if an exception is raised, it is left for later."""
        try:
            begun, architecture = self._begin(trial)
            ended = self._evaluate(begun, architecture)
            self._proposals.tell(ended, architecture)
            self._listener(TrialEnded(trial=ended))
        except TrialTaken:
            self._listener(TrialLost(trial=trial))
        except BaseException:
            with contextlib.suppress(TrialTaken):
                self._store.interrupt(trial)
            raise

    def _begin(self, trial: Trial) -> tuple[Trial, Architecture]:
        """Return the trial with its architecture, which an interrupted one already has."""
        if trial.model is not None:
            return trial, self._store.architecture(trial.model.hash)
        if trial.reference is not None:
            architecture = model_of(self._spec, trial.reference)
            return self._store.begin(trial, architecture), architecture
        proposal = self._proposals.propose()
        begun = self._store.begin(
            trial,
            proposal.architecture,
            optuna_number=proposal.optuna_number,
            rejections=proposal.rejections,
        )
        return begun, proposal.architecture

    def _evaluate(self, trial: Trial, architecture: Architecture) -> Trial:
        """Return the ended trial, evaluated in stages or ended like an earlier duplicate."""
        earlier_duplicate = (
            self._store.earlier_duplicate(trial) if trial.kind == "candidate" else None
        )
        if earlier_duplicate is not None:
            assert earlier_duplicate.outcome is not None
            return self._store.end(
                trial, earlier_duplicate.outcome, earlier_duplicate=earlier_duplicate
            )
        self._listener(TrialStarted(trial=trial))
        return self._store.end(trial, self._stages.run(trial, architecture))


def _check_scores(spec: StudySpec, evaluators: Sequence[Evaluator]) -> None:
    known = [name for evaluator in evaluators for name in evaluator.score_names]
    for field, name in named_scores(spec).items():
        if name not in known:
            raise ValueError(
                f"{field}: '{name}' is not {one_of(known)}, which the evaluators produce"
            )


def _open_study(spec: StudySpec, total: int, store: Store) -> None:
    # Stored specifications are shown to many, and the URL of a database may contain a password.
    nowhere = StudySpec.model_fields["storage"].default
    text = to_json(spec.model_copy(update={"storage": nowhere, "trials": total}))
    study = store.add_study(spec.name, text)
    changes = difference(with_reference(from_json(study.spec)), spec)
    if changes:
        raise ValueError(
            f"name: '{spec.name}' is a study that was started with other settings: "
            f"{'; '.join(changes)}; choose another name, or start it again with nas run --restart"
        )
    if study.spec != text:
        store.update_spec(spec.name, text)
