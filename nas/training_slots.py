"""The processes that train candidates and measure on devices at the same time."""

from collections.abc import Sequence

from evaluators.evaluator import Evaluator
from evaluators.jobs import MeasuringEvaluator
from evaluators.trainers import Trainers
from hardware.cores import available_cores
from hardware.local import available_memory_bytes
from studies.spec.study_spec import StudySpec

# The largest proxies of edge-350m need 0.9 GB for their training, and most need half of that.
_TRAINING_BYTES = 1_000_000_000


def trainers_of(spec: StudySpec) -> Trainers:
    """Return the processes that train the candidates of a study, as many as it asks for.

    By default, there are as many as the cores and the free memory allow.
    """
    return Trainers(parallel_trainings(spec))


def measurers_of(evaluators: Sequence[Evaluator]) -> dict[str, Trainers]:
    """Return a process for each device that evaluators measure on, by the stage.

    Args:
        evaluators: The evaluators of a study.
    """
    return {each.stage: Trainers(1) for each in evaluators if isinstance(each, MeasuringEvaluator)}


def parallel_trainings(spec: StudySpec) -> int:
    """Return how many candidates of a study are trained at the same time on this machine."""
    proxy = spec.proxy
    if proxy.parallel is not None:
        return proxy.parallel
    if proxy.device == "cuda":
        return 1
    return min(trainings_by_cores(spec), trainings_by_memory())


def trainings_by_cores(spec: StudySpec) -> int:
    """Return how many trainings of a study have cores of their own on this machine; at least 1."""
    return max(1, available_cores() // spec.proxy.threads)


def trainings_by_memory() -> int:
    """Return for how many trainings the free memory of this machine suffices; at least 1."""
    return max(1, available_memory_bytes() // _TRAINING_BYTES)


def crowding_remark(spec: StudySpec) -> str | None:
    """Return a sentence if a study asks for more trainings at a time than this machine supports.

    Such a study runs nevertheless, because its file may have been written for another machine. None
    if `proxy.parallel` is not given, or if the study trains with CUDA.
    """
    proxy = spec.proxy
    if proxy.parallel is None or proxy.device == "cuda":
        return None
    clauses = []
    if proxy.parallel > trainings_by_cores(spec):
        threads = "1 thread" if proxy.threads == 1 else f"{proxy.threads:,} threads"
        cores = "the only core" if available_cores() == 1 else f"the {available_cores():,} cores"
        clauses.append(f"with {threads} each compete for {cores} of this machine")
    if proxy.parallel > trainings_by_memory():
        clauses.append(
            f"may need more memory than is free, which suffices for about {trainings_by_memory():,}"
        )
    if not clauses:
        return None
    return f"proxy.parallel: {proxy.parallel:,} trainings {' and '.join(clauses)}"
