"""The program of a trainer: carries out one job after the other until its parent ends.

    python -P -m evaluators.trainer DESCRIPTOR

The descriptor is that of the connection to the parent.
"""

import sys
import traceback
from multiprocessing.connection import Connection
from typing import TypeAlias

from evaluators.evaluator import EvaluationFailed, Infeasible, Progress
from evaluators.job_messages import (
    Broken,
    Failed,
    Refused,
    Request,
    Said,
    Start,
    Stop,
    receive,
    send,
)

ToParent: TypeAlias = "Connection[Said, Request]"


class _Stopped(BaseException):
    """Ends the job at work. No job catches it by mistake."""


def serve(parent: ToParent) -> None:
    """Carry out the jobs that arrive until the parent ends.

    A job that is stopped ends without a further message.
    """
    try:
        while True:
            request = receive(parent)
            if isinstance(request, Start):  # the others are about jobs that have ended
                _carry_out(parent, request)
    except (EOFError, ConnectionError):
        return


def _carry_out(parent: ToParent, request: Start) -> None:
    number = request.number

    def report(progress: Progress) -> None:
        while parent.poll():
            # A job is not followed by another one before it has ended or is to be stopped.
            if receive(parent) == Stop(number=number):
                raise _Stopped
        send(parent, Said(number=number, content=progress))

    try:
        evaluation = request.job.run(report)
    except _Stopped:
        return
    except EvaluationFailed as failure:
        ending = Said(number=number, content=Failed(kind=failure.kind, reason=failure.reason))
    except Infeasible as infeasible:
        ending = Said(number=number, content=Refused(reason=str(infeasible)))
    except MemoryError as error:
        reason = str(error) or "no memory is left"
        ending = Said(number=number, content=Failed(kind="out of memory", reason=reason))
    except (EOFError, ConnectionError):
        raise
    except Exception:
        ending = Said(number=number, content=Broken(traceback=traceback.format_exc()))
    else:
        ending = Said(number=number, content=evaluation)
    send(parent, ending)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
