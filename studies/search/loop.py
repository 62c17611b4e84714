"""The search loop: claim, propose, evaluate in stages, store and tell; resumable at any moment.

Several trials may be in training at the same time. Everything else happens one after the other.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from evaluators.evaluator import Evaluator
from evaluators.jobs import JobRunner
from evaluators.scores import device_of_stage
from search_space.architecture import Architecture
from studies.owner import LEASE_S
from studies.records import END_STATES, Trial
from studies.search.complete_trials import CompleteTrials
from studies.search.concurrency import Work, work_concurrently
from studies.search.events import (
    Listener,
    Remark,
    StudyStarted,
    TrialEnded,
    TrialLost,
    TrialStarted,
    ignore,
)
from studies.search.heartbeat import Heartbeat
from studies.search.interruptible import interruptible_evaluator
from studies.search.interrupts import Interrupts
from studies.search.latency_matching import LatencyMatching, device_matching
from studies.search.opening import check_scores, open_study
from studies.search.other_processes import await_others
from studies.search.proposals import Proposal, Proposals
from studies.search.rejudgement import rejudge
from studies.search.remeasurement import Remeasurements, machine_is_quiet
from studies.search.stages import DeviceLost, Stages
from studies.search.warm_start import WarmStart, warm_start
from studies.spec.limits import limits
from studies.spec.reference_models import model_of, with_reference
from studies.spec.start_files import first_candidates
from studies.spec.study_spec import StudySpec, from_json
from studies.storage.claims import TrialTaken
from studies.storage.store import Store


def run_study(
    spec: StudySpec,
    *,
    evaluators: Sequence[Evaluator],
    store: Store,
    runner: JobRunner | None = None,
    device_runners: Mapping[str, JobRunner] = MappingProxyType({}),
    listener: Listener = ignore,
    trials: int | None = None,
    remeasure: bool = False,
    lease_s: float = LEASE_S,
    is_quiet: Callable[[], bool] = machine_is_quiet,
) -> None:
    """Start or resume a study and run it until its candidates have ended.

    Several processes may run one study at the same time. An exception from a stage or from the
    listener, and KeyboardInterrupt, reach the caller and leave the trial to the next run, as does
    the death of the process.

    Args:
        spec: The study. If it was started before, only its limits, its number of trials, its
            database, `device.longest_wait`, `device.if_occupied` and `proxy.parallel` may have
            changed.
        evaluators: The stages, from cheap to expensive. Together they produce every score
            that the study asks for.
        store: The database.
        runner: Carries out the jobs of those evaluators that have any, as many at a time as it can;
            None evaluates one trial after the other in this process.
        device_runners: Carry out the measurements on devices, by the stage, next to everything
            else; the other measurements are made in this process.
        listener: Receives the events of the run.
        trials: The total number of candidates, including finished ones; None for that of the
            study. Interrupted candidates and rejected draws do not count.
        remeasure: Whether to first forget the reference model's earlier timings and measure the
            times of the front again.
        lease_s: Seconds without a sign of life of this process after which others that cannot look
            it up take over its trial.
        is_quiet: Returns whether the machine is quiet enough to measure provisional times again.

    Raises:
        DatabaseUnavailable: The database could not be reached for ten minutes.
        ValueError: The study was started with different settings, no evaluator produces one of
            its scores, or the rules of its space reject too many consecutive draws.
    """
    spec = with_reference(spec)
    check_scores(spec, evaluators)
    total = spec.trials if trials is None else trials
    start = warm_start(spec, evaluators, store)
    spec = open_study(start.spec, total, store)
    ended = len(store.numbers(spec.name, END_STATES))
    parallel = 1 if runner is None else runner.count
    listener(StudyStarted(study=spec.name, total=total, ended=ended, parallel=parallel))
    for remark in start.remarks:
        listener(Remark(text=remark))
    interrupts = Interrupts()

    def notify(text: str) -> None:
        listener(Remark(text=text))

    with (
        interrupts.deferred(),
        store.outages.waiting_long(notify, interrupts.check),
        Heartbeat(store, lease_s=lease_s) as heartbeat,
    ):
        interruptible = [interruptible_evaluator(each, interrupts) for each in evaluators]
        complete = CompleteTrials(spec.name, store)
        stages = Stages(
            spec, interruptible, store, complete, heartbeat, listener, runner, device_runners
        )
        remeasurements = Remeasurements(spec, interruptible, store, complete, listener, is_quiet)
        matching = device_matching(spec, evaluators, store)
        proposals = store.outages.survive(lambda: Proposals(spec, store, matching))
        run = _Run(spec, start, stages, matching, proposals, remeasurements, store, listener)
        run.judge_again()
        proposals.catch_up(apart_from=remeasurements.is_waiting)
        if remeasure:
            remeasurements.forget_reference_times()
            while measured := remeasurements.renew_front():
                run.use_new_times(measured)
                interrupts.check()
        is_left = True
        while is_left:
            # While some candidates are measured on devices, others are trained.
            run.search(total, parallel + len(device_runners), interrupts)
            # Candidates whose new times meet the limits are resumed, and so are those of processes
            # that died meanwhile.
            is_left = run.use_new_times(remeasurements.before_front()) or await_others(
                spec.name, store, listener, interrupts
            )
        # Another process may have died during this run.
        proposals.catch_up()


class _Run:
    """The parts of one process's run of a study.

    Attributes:
        lost: The device that no longer answers; None while all do. No further trial is then begun.
    """

    def __init__(
        self,
        spec: StudySpec,
        start: WarmStart,
        stages: Stages,
        matching: LatencyMatching,
        proposals: Proposals,
        remeasurements: Remeasurements,
        store: Store,
        listener: Listener,
    ) -> None:
        self._spec = spec
        self._first = [each for group in first_candidates(spec).values() for each in group]
        given = set(self._first)
        self._informing = [each for each in start.informing if each.architecture not in given]
        self._stages = stages
        self._matching = matching
        self._has_remarked = False
        self._proposals = proposals
        self._remeasurements = remeasurements
        self._store = store
        self._listener = listener
        self._judged: int | None = None
        self.lost: DeviceLost | None = None
        # The trials that this process works on, by id, each with the hash of its architecture.
        self._at_work: dict[int, str] = {}

    def search(self, total: int, most: int, interrupts: Interrupts) -> None:
        """Claim trials and run them until none is left for this process.

        Args:
            total: The total number of candidates, including finished ones.
            most: How many trials may be at work at the same time.
            interrupts: Decides when Ctrl-C is raised.

        Raises:
            ValueError: A device was lost; all trials that do not need it have ended.
        """
        references = iter(self._spec.references)

        def begin() -> Work[None] | None:
            interrupts.check()
            trial = None if self.lost else self._claim(references, total)
            return None if trial is None else self._carry_out(trial, interrupts)

        work_concurrently(begin, most, interrupts, closing=self._store.outages.not_waiting)
        if self.lost is not None:
            raise ValueError(
                f"the device '{device_of_stage(self.lost.stage)}' was lost: {self.lost.reason}; "
                "run the same command again to resume"
            )

    def _claim(self, references: Iterator[str], total: int) -> Trial | None:
        """Claim the trial of one of the reference models, or else the next candidate.

        Returns:
            The trial; None if none is left for now. The end of a trial at work may cause others to
            be resumed.
        """
        study = self._spec.name
        for name in references:
            reference = self._store.claim_reference(study, name, at_work=self._at_work)
            if reference is not None:
                return reference
        return self._store.claim(study, total=total, at_work=self._at_work)

    def _carry_out(self, trial: Trial, interrupts: Interrupts) -> Work[None]:
        """Run a claimed trial to its end, and then measure provisional times again.

        If an exception is raised, or the generator is closed, the trial is left for later.
        """
        self._at_work[trial.id] = ""
        try:
            yield from self._run(trial)
        finally:
            del self._at_work[trial.id]
        interrupts.check()
        self.use_new_times(self._remeasurements.between_trials())
        interrupts.check()

    def _run(self, trial: Trial) -> Work[None]:
        try:
            begun, architecture = self._begin(trial)
            ended = yield from self._evaluate(begun, architecture)
            # Provisional times become final when they are measured again, or when the search ends.
            if self._remeasurements.is_waiting(ended):
                self._proposals.tell_preliminary(ended)
            else:
                self._proposals.tell(ended, architecture)
            self._listener(TrialEnded(trial=ended))
        except TrialTaken:
            self._listener(TrialLost(trial=trial))
        except DeviceLost as lost:
            # The trial is left for a run that has the device, and others are finished if possible.
            if self.lost is None:
                device = device_of_stage(lost.stage)
                self._listener(
                    Remark(
                        text=f"{device} was lost and has not come back ({lost.reason}); what does "
                        "not need it is finished"
                    )
                )
            self.lost = lost
            with contextlib.suppress(TrialTaken):
                self._store.interrupt(trial)
        except BaseException:
            with contextlib.suppress(TrialTaken), self._store.outages.not_waiting():
                self._store.interrupt(trial)
            raise

    def use_new_times(self, measured: Sequence[Trial]) -> bool:
        """Judge the candidates again, and report settled ones to the sampler.

        Args:
            measured: The trials that were measured again, with their new scores.

        Returns:
            Whether a candidate is to be resumed.
        """
        is_resumed = self.judge_again()
        for measured_trial in measured:
            (trial,) = self._store.trials(
                self._spec.name, measured_trial.kind, numbers=[measured_trial.number]
            )
            if trial.outcome is not None and not self._remeasurements.is_waiting(trial):
                self._tell(trial)
        return is_resumed

    def judge_again(self) -> bool:
        """Judge all candidates by the present limits, if anything has changed.

        Returns:
            Whether a candidate is to be resumed.
        """
        revision = self._store.revision(self._spec.name)
        if revision == self._judged or not self._has_present_limits():
            return False
        self._judged = revision
        rejudgement = rejudge(self._spec, self._store)
        if str(rejudgement):
            self._listener(Remark(text=str(rejudgement)))
        for trial in rejudgement.refused:
            self._tell(trial)
        return bool(rejudgement.reopened)

    def _has_present_limits(self) -> bool:
        """Return False if another process has meanwhile resumed the study with other limits."""
        stored = from_json(self._store.study(self._spec.name).spec, self._spec.name)
        return limits(stored) == limits(self._spec)

    def _tell(self, trial: Trial) -> None:
        assert trial.model is not None
        self._proposals.tell(trial, self._store.architecture(trial.model.hash))

    def _begin(self, trial: Trial) -> tuple[Trial, Architecture]:
        """Return the trial with its architecture, which an interrupted one already has."""
        if trial.model is not None:
            return trial, self._store.architecture(trial.model.hash)
        if trial.reference is not None:
            architecture = model_of(self._spec, trial.reference)
            return self._store.begin(trial, architecture), architecture
        proposal = self._propose(trial)
        begun = self._store.begin(
            trial,
            proposal.architecture,
            optuna_number=proposal.optuna_number,
            predicted_latency=proposal.predicted_latency,
            rejections=proposal.rejections,
        )
        return begun, proposal.architecture

    def _propose(self, trial: Trial) -> Proposal:
        """Return the next candidate: a given one while there are any, then one of the sampler."""
        if trial.number == 0:
            # No other process can have the first candidate at the same time.
            for each in self._informing:
                self._proposals.tell(each.trial, each.architecture)
        if trial.number < len(self._first):
            return self._proposals.propose_given(self._first[trial.number])
        proposal = self._proposals.propose()
        remark = self._matching.remark
        if remark is not None and not self._has_remarked:
            self._has_remarked = True
            self._listener(Remark(text=remark))
        return proposal

    def _evaluate(self, trial: Trial, architecture: Architecture) -> Work[Trial]:
        """Return the ended trial, evaluated in stages or ended like an earlier duplicate."""
        assert trial.model is not None
        while trial.model.hash in self._at_work.values():
            yield None  # the same architecture is at work, and is not evaluated twice
        self._at_work[trial.id] = trial.model.hash
        earlier_duplicate = (
            self._store.earlier_duplicate(trial) if trial.kind == "candidate" else None
        )
        if earlier_duplicate is not None:
            assert earlier_duplicate.outcome is not None
            return self._store.end(
                trial, earlier_duplicate.outcome, earlier_duplicate=earlier_duplicate
            )
        self._listener(TrialStarted(trial=trial))
        outcome = yield from self._stages.run(trial, architecture)
        return self._store.end(trial, outcome)
