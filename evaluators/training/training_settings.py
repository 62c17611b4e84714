"""The settings of a training of any kind: its length, batches, device, seed and optimizer."""

import math
from dataclasses import dataclass, field

from evaluators.training.recipe import Recipe
from evaluators.training.torch_device import Device
from hardware.machine_lock import LONGEST_WAIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The length of a training, its batches and the device.

    Attributes:
        context_length: Tokens per window.
        batch_size: Windows per step.
        token_budget: Tokens to read, rounded up to whole steps.
        rungs: Fractions of the budget after which the validation loss is computed, in addition to
            a quarter, a half and the whole.
        device: The device to train on.
        threads: torch's threads on a CPU; the previous number is restored afterwards.
        seed: The seed of the initial weights and of the order of the windows.
        recipe: The optimizer's settings.
        longest_pause: Seconds after which the training continues although the measurement that it
            pauses for has not ended. No score depends on it.
    """

    context_length: int = 256
    batch_size: int = 4
    token_budget: int = 400_000
    rungs: tuple[float, ...] = (0.5,)
    device: Device = "cpu"
    threads: int = 1
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    longest_pause: float = LONGEST_WAIT_S

    def __post_init__(self) -> None:
        for name in ("context_length", "batch_size", "token_budget", "threads"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name}: {value} is not at least 1")
        for rung in self.rungs:
            if not 0.0 < rung <= 1.0:
                raise ValueError(f"rungs: {rung} is not above 0 and at most 1")

    @property
    def step_tokens(self) -> int:
        """Tokens per step."""
        return self.batch_size * self.context_length

    @property
    def steps(self) -> int:
        """Steps that read the whole budget."""
        return math.ceil(self.token_budget / self.step_tokens)
