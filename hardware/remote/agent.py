"""The program on a device: it carries out the requests of one host, and ends with it.

See `messages` for the requests. Those about models require numpy and a runtime; for the others,
Python is enough, so that a host can say what is missing.
"""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.machine_lock import LockWait
from hardware.quiet import MachineOccupied, measuring
from hardware.remote.bootstrap import FOLDER_VARIABLE
from hardware.remote.device_state import read_state
from hardware.remote.host_pipe import Answers, RequestRefused, Requests
from hardware.remote.identity import read_identity
from hardware.remote.run_folder import make_run_folder

if TYPE_CHECKING:
    from hardware.remote.device_models import DeviceModels

_RUNS = "runs"


class Agent:
    """What a host has asked of this device so far: its reservation, and the loaded models.

    Args:
        folder: A folder for the files of models.
        say: Sends a text for the user.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._models: DeviceModels | None = None
        self._reservation = contextlib.ExitStack()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request and return the answer.

        Raises:
            RequestRefused: It cannot be carried out.
            MachineOccupied: Another process did not release the device in time.
            ImportError: A package that measures is missing.
            ValueError: A value is not allowed, or a program is missing.
        """
        if "failure" in request:
            raise RequestRefused("refused", request["failure"])
        match request["do"]:
            case "echo" | "file":
                return {}
            case "identify":
                return asdict(read_identity())
            case "state":
                return asdict(read_state(self._folder))
            case "reserve":
                return self._reserve(request)
            case "release":
                self._reservation.close()
                return {}
            case "use":
                # These need numpy, which a host is told if it is missing.
                from hardware.remote.device_models import DeviceModels

                if self._models is not None:
                    self._models.close()
                self._models = DeviceModels(self._folder, request)
                return self._models.facts()
            case _:
                if self._models is None:
                    raise ValueError(f"do: {request['do']!r} is not possible before 'use'")
                return self._models.answer(request)

    def _reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        lock_wait = LockWait(
            longest_wait=request["longest_wait"], if_occupied=request["if_occupied"]
        )
        self._reservation.close()
        reservation = self._reservation.enter_context(
            measuring(self._say, patience_s=request["patience_s"], lock_wait=lock_wait)
        )
        return asdict(reservation)


def main() -> None:
    """Answer the requests of the host until it is gone.

    The argument of the program is the number of seconds without a sign of life after which it is.
    """
    silence_s = float(sys.argv[1])
    try:
        folder = make_run_folder(Path(os.environ[FOLDER_VARIABLE], _RUNS))
    except OSError as error:
        sys.exit(f"no folder for the files of models can be created ({error.strerror})")
    source, target = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nothing else must read the requests
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    answers = Answers(target, folder, silence_s)
    agent = Agent(folder, answers.say)
    for request in Requests(source, folder, silence_s):
        answers.begin(request)
        answers.send(*_outcome(agent, request))


def _outcome(agent: Agent, request: dict[str, Any]) -> tuple[str, object]:
    """Carry out a request; return `answer` or `error` with its content, which JSON can express."""
    try:
        return "answer", json.loads(json.dumps(agent.answer(request)))
    except RequestRefused as error:
        return "error", {"kind": error.kind, "reason": error.reason}
    except MachineOccupied as error:
        return "error", {"kind": "occupied", "reason": str(error)}
    except ImportError as error:
        return "error", {"kind": "missing", "reason": str(error)}
    except ValueError as error:
        return "error", {"kind": "refused", "reason": str(error)}
    except Exception as error:  # the host decides, and the agent goes on
        last = traceback.format_exception_only(error)[-1].strip()
        return "error", {"kind": "crashed", "reason": f"the agent failed: {last}"}


if __name__ == "__main__":
    main()
