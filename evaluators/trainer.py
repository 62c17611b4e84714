"""The program of a trainer, which carries out jobs one after the other until its parent ends.

    python -P -m evaluators.trainer DESCRIPTOR

The descriptor is that of the connection to the parent.
"""

import ctypes
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import TypeAlias

from evaluators.evaluator import EvaluationFailed, Infeasible, Progress
from evaluators.job_messages import (
    Broken,
    Failed,
    Refused,
    Reply,
    Request,
    Start,
    Stop,
    receive,
    send,
)

ToParent: TypeAlias = "Connection[Reply, Request]"

_PR_SET_PDEATHSIG = 1  # in <linux/prctl.h>


class _StopRequested(BaseException):
    """Ends the running job, which does not catch it by mistake."""


def serve(parent: ToParent) -> None:
    """Carry out the jobs that arrive until the parent ends.

    A job that is stopped ends without a further message.
    """
    try:
        while True:
            request = receive(parent)
            if isinstance(request, Start):  # a Stop is about a job that has ended
                _carry_out(parent, request)
    except (EOFError, ConnectionError):
        return


def _carry_out(parent: ToParent, request: Start) -> None:
    number = request.number

    def report(progress: Progress) -> None:
        while parent.poll():
            # No other job starts before this one has ended or was asked to stop.
            if receive(parent) == Stop(number=number):
                raise _StopRequested
        send(parent, Reply(number=number, content=progress))

    try:
        evaluation = request.job.run(report)
    except _StopRequested:
        return
    except EvaluationFailed as failure:
        ending = Reply(number=number, content=Failed(kind=failure.kind, reason=failure.reason))
    except Infeasible as infeasible:
        ending = Reply(number=number, content=Refused(reason=str(infeasible)))
    except MemoryError as error:
        reason = str(error) or "no memory is left"
        ending = Reply(number=number, content=Failed(kind="out of memory", reason=reason))
    except (EOFError, ConnectionError):
        raise
    except Exception:
        ending = Reply(number=number, content=Broken(traceback=traceback.format_exc()))
    else:
        ending = Reply(number=number, content=evaluation)
    send(parent, ending)


def _end_with_parent() -> None:
    """Let Linux end this process as soon as its parent ends; elsewhere the next report does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _end_with_parent()
    serve(Connection(int(sys.argv[1])))
