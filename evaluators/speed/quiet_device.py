"""Reserve a named device for a measurement, and wait until it is quiet and cool."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from evaluators.speed.built_model import evaluation_failure
from evaluators.speed.cooling import Cooling, cool_down
from evaluators.speed.latency import Quiet
from hardware.machine_lock import LockWait
from hardware.progress import Say
from hardware.quiet import Reservation
from hardware.remote.remote_runner import RemoteRunner
from hardware.runner import RunnerError


def reserving(
    runner: RemoteRunner, patience_s: float, lock_wait: LockWait, cooling: Cooling | None = None
) -> Quiet:
    """Return a `Quiet` that reserves a device, and fails an evaluation if it is lost.

    Args:
        runner: The device.
        patience_s: Seconds to wait for other programs there.
        lock_wait: How long to wait for other measurements and training there.
        cooling: When the device is cool enough; None does not wait for that.
    """

    @contextlib.contextmanager
    def reserve(say: Say) -> Iterator[Reservation]:
        with contextlib.ExitStack() as reserved:
            measuring = runner.measuring(say, patience_s=patience_s, lock_wait=lock_wait)
            try:
                reservation = reserved.enter_context(measuring)
                cooled_s = 0.0 if cooling is None else cool_down(runner.state, cooling, say)
            except RunnerError as error:
                raise evaluation_failure(error) from error
            yield replace(reservation, waited_s=reservation.waited_s + cooled_s, cooled_s=cooled_s)

    return reserve
