"""Waiting until a device has cooled down, with a clock, a sensor and a sleep of the test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import ValidationError

from evaluators.speed.cooling import Cooling, cool_down
from hardware.remote.device_state import DeviceState, ThermalZone
from hardware.runner import RunnerError


@dataclass
class Device:
    """A device whose sensors show given temperatures at given times.

    Attributes:
        celsius: The temperatures of its sensors as a function of the time in seconds.
        now: The time.
        said: The texts of the wait.
    """

    celsius: Callable[[float], Sequence[float]]
    now: float = 0.0
    said: list[str] = field(default_factory=list)

    def state(self) -> DeviceState:
        zones = tuple(
            ThermalZone(name="cpu-thermal", celsius=each) for each in self.celsius(self.now)
        )
        return DeviceState(
            zones=zones, clocks_mhz=(), free_memory_bytes=None, free_disk_bytes=0, packages={}
        )

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def cool_down(self, cooling: Cooling) -> float:
        return cool_down(
            self.state, cooling, self.said.append, clock=lambda: self.now, sleep=self.sleep
        )


def test_a_cool_device_is_measured_at_once() -> None:
    device = Device(lambda now: [37.9, 20.0])
    assert device.cool_down(Cooling(below_c=38)) == 0.0
    assert device.said == []


def test_a_device_without_sensors_is_taken_to_be_cool() -> None:
    device = Device(lambda now: [])
    assert device.cool_down(Cooling(below_c=1)) == 0.0


def test_every_sensor_must_be_below_the_temperature() -> None:
    """The first is cool from the beginning, and the second loses a degree per second from 45."""
    device = Device(lambda now: [30.0, 45.0 - now])
    assert device.cool_down(Cooling(below_c=38, patience_s=600)) == 8.0
    assert device.said[0] == "cooling from 45 to 38 °C, for up to 600 s"
    assert device.said[-1] == "cooling from 39 to 38 °C, for up to 594 s"


def test_the_temperature_itself_is_not_below_it() -> None:
    device = Device(lambda now: [38.0 if now == 0 else 37.0])
    assert device.cool_down(Cooling(below_c=38)) > 0


def test_after_its_patience_the_device_is_measured_regardless() -> None:
    device = Device(lambda now: [60.0])
    assert device.cool_down(Cooling(below_c=38, patience_s=5)) == 5.0
    assert device.said[-1] == "still at 60 °C, but the patience is over; measuring anyway"


def test_without_patience_nothing_is_waited_for() -> None:
    device = Device(lambda now: [60.0])
    assert device.cool_down(Cooling(below_c=38, patience_s=0)) == 0.0
    assert device.now == 0.0


def test_a_device_that_is_lost_while_it_cools_ends_the_wait() -> None:
    device = Device(lambda now: [60.0])

    def state() -> DeviceState:
        if device.now > 3:
            raise RunnerError("lost", "no cable")
        return device.state()

    with pytest.raises(RunnerError, match="no cable"):
        cool_down(state, Cooling(below_c=38), str, clock=lambda: device.now, sleep=device.sleep)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"below_c": 0},
        {"below_c": 151},
        {"below_c": float("nan")},
        {"below_c": 38, "patience_s": -1},
        {"below_c": 38, "patience_s": 86_401},
        {"below_c": "38"},
        {"below_c": 38, "patience": 600},
    ],
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cooling(**values)
