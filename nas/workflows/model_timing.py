"""Time models for `nas measure`, each interleaved with a reference model that stays loaded."""

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from evaluators.evaluator import EvaluationFailed
from evaluators.speed.built_model import build_and_load, unsupported_by_format
from evaluators.speed.calibrated_times import WITHIN_RUN
from evaluators.speed.latency import with_reservation
from hardware.measurement import Measurement
from hardware.progress import Say
from hardware.quiet import MachineOccupied, MeasurementSeries, Reservation
from hardware.runner import MOST_KILLS, LoadedModel, RunnerError
from hardware.stability import TimingBudget, measure_alone, measure_paired
from nas.inputs.device_argument import NamedDevice
from nas.inputs.model_argument import Measurable, ModelFile
from nas.workflows.comparison import Comparison, Failure, Measured, provisional_workloads
from nas.workflows.measuring_device import MeasuringDevice, open_device
from nas.workflows.timing_conditions import Conditions, format_of
from nas.workflows.work_progress import WorkListener, WorkProgress

_FAILURES = (RunnerError, EvaluationFailed)
# How often a provisional result is measured again.
_MOST_REPEATS = 2


def measure_models(
    models: Sequence[Measurable],
    against: Measurable | None,
    conditions: Conditions,
    listener: WorkListener,
    device: NamedDevice | None = None,
) -> Comparison:
    """Measure every workload of every model, interleaved with a reference model.

    The machine is reserved for one model at a time, so that other processes can measure and train
    in between. Models with provisional results are measured up to two more times, after all others.
    A model that fails is reported among the failures, and the others are still measured.

    Args:
        models: The models. A single model is measured alone unless `against` is given.
        against: The reference model; None takes the first of `models` that can be measured.
        conditions: How to measure.
        listener: Receives the progress; an item is a model.
        device: The device to measure on; None is this machine.

    Raises:
        MachineOccupied: Another process keeps the machine before the first model is measured, and
            `conditions` demand to stop.
        ValueError: The device lacks cores or a program.
    """
    everything = models if against is None else (*models, against)
    with open_device(device, conditions, everything) as opened:
        session = _Session(conditions, opened, everything, listener)
        session.measure_all(models, against)
        for _ in range(_MOST_REPEATS):
            provisional = session.provisional()
            if not provisional:
                break
            session.measure_again(provisional)
        return session.comparison()


class _Session:
    """The runners of a comparison, and its measurements so far."""

    def __init__(
        self,
        conditions: Conditions,
        device: MeasuringDevice,
        models: Sequence[Measurable],
        listener: WorkListener,
    ) -> None:
        self._measured: list[Measured] = []
        self._failures: list[Failure] = []
        self._reference: Measurable | None = None
        self._waited_s = 0.0
        self._remarks: list[str] = []
        self._conditions = conditions
        self._device = device
        self._series = self._new_series()
        self._listener = listener
        self._total = len(set(models))
        # The models that are still to be measured again; None during the first measurements.
        self._left: int | None = None

    def comparison(self) -> Comparison:
        """Return what has been measured so far."""
        return Comparison(
            timing_budgets=self._conditions.timing_budgets,
            quantization=self._conditions.quantization,
            reference=self._reference if self._measured else None,
            measured=tuple(self._measured),
            failures=tuple(self._failures),
            waited_s=self._waited_s,
            remarks=tuple(dict.fromkeys(self._remarks)),
        )

    def measure_all(self, models: Sequence[Measurable], against: Measurable | None) -> None:
        """Measure every model once, interleaved with the reference model or alone.

        Args:
            models: The models.
            against: The reference model; None takes the first model that can be measured.

        Raises:
            MachineOccupied: Nothing was measured before another process kept the machine.
        """
        queue, kills = deque(models), 0
        if against is not None and against in queue and len(queue) > 1:
            queue.remove(against)
        while True:
            reference = self._reference = against or queue.popleft()
            try:
                if queue:
                    self._measure_interleaved(reference, queue)
                if self._measured or reference not in models:
                    return
                self._reference = None
                self._measure_once(reference, None)
                return
            except _FAILURES as failure:
                if _is_killed(failure) and kills < MOST_KILLS:
                    kills += 1
                    self._note_kill(reference.name, failure)
                    if against is None:
                        queue.appendleft(reference)
                    continue
                self._fail_with(reference, failure)
            except MachineOccupied as occupied:
                if not self._measured:
                    raise
                for model in queue:
                    self._fail(model, f"not measured: {occupied}")
                return
            if self._measured or against is not None or not queue:
                for model in queue:
                    self._fail(model, f"not measured, because {reference.name} failed")
                return

    def provisional(self) -> dict[int, tuple[TimingBudget, ...]]:
        """Return what can be measured again; see `provisional_workloads`."""
        failed = [failure.model for failure in self._failures]
        if self._reference in failed:
            return {}
        return {
            position: timing_budgets
            for position, timing_budgets in provisional_workloads(self.comparison()).items()
            if self._measured[position].model not in failed
        }

    def measure_again(self, provisional: Mapping[int, Sequence[TimingBudget]]) -> None:
        """Load models again, and measure some of their workloads again.

        Args:
            provisional: What to measure, by the position of the model among those measured.
        """
        self._left = len(provisional)
        self._series = self._new_series()
        reference = self._reference
        with contextlib.ExitStack() as stack:
            loaded_reference = None
            try:
                if reference is not None:
                    loaded_reference = stack.enter_context(self._loaded_reference(reference))
                for position, timing_budgets in provisional.items():
                    self._repeat(position, timing_budgets, loaded_reference)
            except _FAILURES as failure:
                assert reference is not None, "other failures do not end the repeats"
                self._fail(reference, f"not measured again: {failure}")
            except MachineOccupied as occupied:
                self._remarks.append(f"provisional results were not measured again: {occupied}")

    def _repeat(
        self,
        position: int,
        timing_budgets: Sequence[TimingBudget],
        loaded_reference: LoadedModel | None,
    ) -> None:
        """Measure a model again; raise if the reference model fails."""
        assert self._left is not None, "it is measured for the second time"
        known = self._measured[position]
        subject = f"{known.model.name}, run {max(map(len, known.runs)) + 1}"
        try:
            found = self._timed(known.model, timing_budgets, loaded_reference, subject)
        except _FAILURES as failure:
            if loaded_reference is not None:
                loaded_reference.snapshot()  # raises if it was the reference model that failed
            self._fail(known.model, f"not measured again: {failure}")
            self._left -= 1
            return
        again = {each.workload: (each,) for each in found}
        runs = tuple((*runs, *again.get(runs[0].workload, ())) for runs in known.runs)
        self._measured[position] = replace(known, runs=runs)
        self._left -= 1

    def _measure_interleaved(self, reference: Measurable, queue: deque[Measurable]) -> None:
        """Remove models from the queue once they are measured or fail; raise if `reference` fails.

        A model that was being measured when the reference model failed remains in the queue.
        """
        with self._loaded_reference(reference) as loaded_reference:
            while queue:
                model = queue[0]
                try:
                    self._measure_once(model, loaded_reference)
                except _FAILURES as failure:
                    loaded_reference.snapshot()  # raises if it was the reference model that failed
                    self._fail_with(model, failure)
                queue.popleft()

    def _measure_once(self, model: Measurable, loaded_reference: LoadedModel | None) -> None:
        timing_budgets = self._conditions.timing_budgets
        found = self._timed(model, timing_budgets, loaded_reference, model.name)
        self._measured.append(Measured(model=model, runs=tuple((each,) for each in found)))

    def _timed(
        self,
        model: Measurable,
        timing_budgets: Sequence[TimingBudget],
        loaded_reference: LoadedModel | None,
        subject: str,
    ) -> tuple[Measurement, ...]:
        """Load and time a model; alone, if there is no reference model.

        This is repeated a few times if another program kills its process.
        """
        for _ in range(MOST_KILLS):
            try:
                return self._timed_once(model, timing_budgets, loaded_reference, subject)
            except RunnerError as failure:
                if not _is_killed(failure):
                    raise
                if loaded_reference is not None:
                    loaded_reference.snapshot()  # raises if the reference model was killed instead
                self._note_kill(model.name, failure)
        return self._timed_once(model, timing_budgets, loaded_reference, subject)

    def _timed_once(
        self,
        model: Measurable,
        timing_budgets: Sequence[TimingBudget],
        loaded_reference: LoadedModel | None,
        subject: str,
    ) -> tuple[Measurement, ...]:
        within_run = [
            replace(timing_budget, precision=WITHIN_RUN * timing_budget.precision)
            for timing_budget in timing_budgets
        ]
        say = self._say_about(subject)
        with self._quiet_machine() as reservation, self._loaded(model, subject) as loaded_model:
            if loaded_reference is None:
                found = measure_alone(loaded_model, within_run, say)
            else:
                found = measure_paired(loaded_model, loaded_reference, within_run, say)
        return tuple(with_reservation(each, reservation) for each in found)

    def _say_about(self, subject: str) -> Say:
        """Return a callback for texts about a model; without a subject, about the machine."""

        def say(text: str) -> None:
            # The reference model ends with the last of the others.
            done = len(self._measured) + len(self._failures)
            effortless = 0 if self._reference is None else 1
            if self._left is not None:
                done, effortless = self._total - self._left, 0
            self._listener(
                WorkProgress(
                    subject=subject,
                    text=text,
                    done=done,
                    total=self._total,
                    effortless=min(effortless, self._total - done),
                )
            )

        return say

    def _new_series(self) -> MeasurementSeries:
        """Return measurements that wait for other programs for as long as one workload may take."""
        patience_s = max(each.seconds for each in self._conditions.timing_budgets)
        return MeasurementSeries(patience_s, self._conditions.lock_wait, self._device.reserve)

    @contextlib.contextmanager
    def _quiet_machine(self) -> Iterator[Reservation]:
        """Reserve the machine for one model."""
        with self._series.measuring(self._say_about("")) as reservation:
            self._waited_s += reservation.waited_s
            if reservation.remark is not None:
                self._remarks.append(reservation.remark)
            yield reservation

    @contextlib.contextmanager
    def _loaded_reference(self, reference: Measurable) -> Iterator[LoadedModel]:
        """Load the reference model on a quiet machine, which is then released."""
        with contextlib.ExitStack() as stack:
            with self._quiet_machine():
                loaded = stack.enter_context(self._loaded(reference, reference.name))
            yield loaded

    @contextlib.contextmanager
    def _loaded(self, model: Measurable, subject: str) -> Iterator[LoadedModel]:
        """Load a model, or raise RunnerError or EvaluationFailed."""
        conditions = self._conditions
        runner = self._device.runners[format_of(model, conditions)]
        self._say_about(subject)("loading")
        if isinstance(model.source, ModelFile):
            with runner.load(model.source.path, conditions.capacity) as loaded_model:
                yield loaded_model
            return
        reason = unsupported_by_format(model.source, runner.model_format)
        if reason is not None:
            raise EvaluationFailed("build error", reason)
        with build_and_load(
            runner, model.source, conditions.quantization, conditions.capacity
        ) as loaded_model:
            yield loaded_model

    def _fail_with(self, model: Measurable, failure: Exception) -> None:
        """Record why a model was not measured, and whether its file is the reason."""
        if (
            isinstance(model.source, ModelFile)
            and isinstance(failure, RunnerError)
            and failure.kind == "refused"
        ):
            reason = f"this file cannot be measured: {failure.reason}"
            self._failures.append(Failure(model=model, reason=reason, is_file_refused=True))
        else:
            self._fail(model, str(failure))

    def _fail(self, model: Measurable, reason: str) -> None:
        self._failures.append(Failure(model=model, reason=reason))

    def _note_kill(self, name: str, failure: Exception) -> None:
        self._remarks.append(f"{name} was measured again, because its process was {failure}")


def _is_killed(failure: Exception) -> bool:
    return isinstance(failure, RunnerError) and failure.kind == "killed"
