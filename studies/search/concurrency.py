"""Several trials at the same time: each waits for a job while this process works on the others.

The work on a trial is a generator. It yields whenever it has to wait, and everything between two
yields happens without interruption, in one thread. Only the jobs themselves run in parallel.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from multiprocessing.connection import wait
from typing import TypeAlias, TypeVar

from evaluators.evaluator import Evaluation, Progress, Report
from evaluators.jobs import Job, JobRunner, RunningJob
from studies.search.interrupts import Interrupts

_Result = TypeVar("_Result")

Work: TypeAlias = Generator[RunningJob | None, None, _Result]
"""Work that yields a job before it receives a message from it, or None to wait for other work."""


def carried_out(job: Job, runner: JobRunner, report: Report) -> Work[Evaluation]:
    """Have a job carried out, as soon as the runner is free, and return its evaluation.

    Args:
        job: The job.
        runner: Carries it out.
        report: Receives its progress. An exception that it raises stops the job.

    Raises:
        EvaluationFailed: The job failed.
        Infeasible: The architecture violates a requirement of the study.
    """
    if runner.is_full:
        report(Progress(done=0.0, text="waiting for its turn"))
    while runner.is_full:
        yield None
    running = runner.start(job)
    try:
        while True:
            yield running
            message = running.receive()
            match message:
                case Evaluation():
                    return message
                case Progress():
                    report(message)
                case None:
                    pass
    finally:
        running.stop()


def work_concurrently(
    begin: Callable[[], Work[None] | None],
    most: int,
    interrupts: Interrupts,
    closing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Do work until there is none left.

    If some of it raises an exception, the rest is closed: GeneratorExit is raised where it waits.

    Args:
        begin: Returns the next work, or None if there is none for now. It is called while fewer
            than `most` are unfinished: at first, and again whenever work has ended.
        most: How much work may be unfinished at the same time.
        interrupts: Lets Ctrl-C interrupt the waiting for jobs.
        closing: Returns the context in which unfinished work is closed.
    """
    waiting: dict[Work[None], RunningJob | None] = {}

    def advance(work: Work[None]) -> bool:
        """Continue until the work waits again; return whether it has ended."""
        waiting.pop(work, None)
        try:
            waiting[work] = next(work)
        except StopIteration:
            return True
        return False

    has_ended = True
    try:
        while True:
            while has_ended and len(waiting) < most and (work := begin()) is not None:
                advance(work)
            if not waiting:
                return
            jobs = {job.fileno(): work for work, job in waiting.items() if job is not None}
            assert jobs, "work waits for other work only while that waits for a job"
            with interrupts.immediate():
                ready = wait(jobs)
            ended = [advance(work) for job, work in jobs.items() if job in ready]
            # What they wait for may have happened, such as the end of a job.
            ended += [advance(work) for work in [each for each, job in waiting.items() if not job]]
            has_ended = any(ended)
    finally:
        with closing(), ExitStack() as unfinished:
            for work in waiting:
                unfinished.callback(work.close)
