"""Wait until a device has cooled down, so that heat does not slow the model that is timed."""

import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from hardware.progress import Say
from hardware.remote.device_state import DeviceState

_LOOK_S = 2.0


class Cooling(BaseModel):
    """The key `cool` of a device: when it is cool enough for a model to be timed.

    Attributes:
        below_c: The temperature in degrees Celsius, above 0 and at most 150, that all sensors must
            be below.
        patience_s: Seconds, 0 to 86,400, after which the model is timed regardless.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    below_c: float = Field(gt=0, le=150)
    patience_s: float = Field(default=600, ge=0, le=86_400)


def cool_down(
    read_state: Callable[[], DeviceState],
    cooling: Cooling,
    say: Say,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until every sensor of a device is below a temperature, or patience is over.

    A device without sensors is taken to be cool.

    Args:
        read_state: Returns the state of the device.
        cooling: The temperature and the patience.
        say: Receives the temperature every two seconds.
        clock: Measures the time, in seconds.
        sleep: Waits for that many seconds.

    Returns:
        The seconds waited.
    """
    start = clock()
    while True:
        hottest_c, waited_s = read_state().hottest_c, clock() - start
        if hottest_c is None or hottest_c < cooling.below_c:
            return waited_s
        left_s = cooling.patience_s - waited_s
        if left_s <= 0:
            say(f"still at {hottest_c:.0f} °C, but the patience is over; measuring anyway")
            return waited_s
        say(f"cooling from {hottest_c:.0f} to {cooling.below_c:.0f} °C, for up to {left_s:.0f} s")
        sleep(min(_LOOK_S, left_s))
