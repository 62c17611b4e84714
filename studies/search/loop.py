"""Runs a study: claim, propose, evaluate in stages, store, teach; resumable at any moment."""

import contextlib
from collections.abc import Iterator, Sequence

from evaluators.evaluator import Evaluator
from search_space.strict import one_of
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
    """Begins the study, or goes on with it, until `trials` candidates have ended in all.

    evaluators: the stages, cheap ones first; together they know every score that the spec names.
    trials: None for the spec's; interrupted candidates and refused draws do not count.

    Several processes may run one study at a time. Whatever a stage or the listener raises, and
    KeyboardInterrupt, passes on and leaves the trial to the next run, as does the death of the
    process. Raises ValueError for a spec other than the one the study was begun with, for a score
    that no evaluator knows, and for a space whose rules refuse draw after draw.
    """
    spec = with_reference(spec)
    _check_scores(spec, evaluators)
    wanted = spec.trials if trials is None else trials
    _open_study(spec, wanted, store)
    ended = len(store.numbers(spec.name, END_STATES))
    listener(StudyStarted(study=spec.name, wanted=wanted, ended=ended))
    interrupts = Interrupts()
    with interrupts.held_back():
        stages = Stages(spec, evaluators, store, listener, interrupts)
        proposals = Proposals(spec, store)
        proposals.catch_up()
        run = _Run(spec, stages, proposals, store, listener)
        for trial in _claimed(spec, wanted, store):
            run.carry_out(trial)
            interrupts.check()
        # For those who died beside this process meanwhile.
        proposals.catch_up()


def _claimed(spec: StudySpec, wanted: int, store: Store) -> Iterator[Trial]:
    """The trials that are left for this process, references first."""
    for name in spec.references:
        reference = store.claim_reference(spec.name, name)
        if reference is not None:
            yield reference
    while (candidate := store.claim(spec.name, wanted=wanted)) is not None:
        yield candidate


class _Run:
    """What one process needs at hand while it works on a study."""

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
        """Brings a claimed trial to its end; an exception that passes leaves it for later."""
        try:
            ended = self._evaluate(self._begin(trial))
            self._proposals.learn(ended)
            self._listener(TrialEnded(trial=ended))
        except TrialTaken:
            self._listener(TrialLost(trial=trial))
        except BaseException:
            with contextlib.suppress(TrialTaken):
                self._store.interrupt(trial)
            raise

    def _begin(self, trial: Trial) -> Trial:
        """The trial with its architecture: one that was interrupted has it already."""
        if trial.model is not None:
            return trial
        if trial.reference is not None:
            return self._store.begin(trial, model_of(self._spec, trial.reference))
        proposal = self._proposals.propose()
        return self._store.begin(
            trial,
            proposal.architecture,
            optuna_number=proposal.optuna_number,
            rejections=proposal.rejections,
        )

    def _evaluate(self, trial: Trial) -> Trial:
        """The trial as it ended, by way of the stages or of an earlier trial like it."""
        assert trial.model is not None
        earlier_duplicate = (
            self._store.earlier_duplicate(trial) if trial.kind == "candidate" else None
        )
        if earlier_duplicate is not None:
            assert earlier_duplicate.outcome is not None
            return self._store.end(
                trial, earlier_duplicate.outcome, earlier_duplicate=earlier_duplicate
            )
        self._listener(TrialStarted(trial=trial))
        outcome = self._stages.run(trial, self._store.architecture(trial.model.hash))
        return self._store.end(trial, outcome)


def _check_scores(spec: StudySpec, evaluators: Sequence[Evaluator]) -> None:
    known = [name for evaluator in evaluators for name in evaluator.score_names]
    for field, name in named_scores(spec).items():
        if name not in known:
            raise ValueError(f"{field}: '{name}' is not a score of an evaluator: {one_of(known)}")


def _open_study(spec: StudySpec, wanted: int, store: Store) -> None:
    # What is stored is shown to many, and the URL of a database may hold a password.
    nowhere = StudySpec.model_fields["storage"].default
    text = to_json(spec.model_copy(update={"storage": nowhere, "trials": wanted}))
    study = store.add_study(spec.name, text)
    changes = difference(with_reference(from_json(study.spec)), spec)
    if changes:
        raise ValueError(
            f"name: '{spec.name}' is a study that was begun with other settings: "
            f"{'; '.join(changes)}; give it another name, or begin it anew (nas run --anew)"
        )
    if study.spec != text:
        store.update_spec(spec.name, text)
