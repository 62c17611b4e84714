"""The table of scores: what each one measures, its unit and its workload.

This is the only place that knows the meaning of a score's name. A study file asks for scores by
these names, and everything else reads the table.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from evaluators.evaluator import Score
from hardware.measurement import Phase

ScoreKind: TypeAlias = Literal["quality", "time", "memory", "size"]

LOSS = "loss"
LOOKUP_LOSS = "lookup_loss"
OTHER_LOSS = "other_loss"
LATE_LOSS = "late_loss"
TASK = "task"
RECALL_ERROR = "recall_error"
PARAMETERS = "parameters"
PER_BYTE = ("decode_per_byte", "prefill_per_byte")

_DEEPER = re.compile(r"decode@(?P<depth>\d+)(?P<tail>_p95)?")

DEVICE_NAME = r"[a-z][a-z0-9_-]{0,31}"
"""The names that a device may have, as a regular expression."""

_ON_DEVICE = re.compile(rf"(?P<score>.+)@(?P<device>{DEVICE_NAME})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDefinition:
    """What a score measures. Smaller is better for every score.

    Attributes:
        name: The name in study files, tables and the database.
        unit: The unit of its values.
        kind: The quantity. Only a `time` has a confidence interval that longer timing narrows, and
            only a `quality` comes from training the narrow proxy.
        workload: The timed workload that it is computed from, such as `decode` or `decode@4096`;
            None where nothing is timed.
        phase: The phase of that workload; None for scores of the whole model.
        depth: The context depth at which decoding is timed; None for the target's own.
        device: The device that it is measured on, by the name in the user's file of devices; None
            for this machine, and for scores that are not measured on a device.
        is_additive: Whether it is a sum over the parts of a model, so that a linear model of those
            parts can predict it.
        meaning: The definition in a few words, for display.
    """

    name: str
    unit: str
    kind: ScoreKind
    workload: str | None = None
    phase: Phase | None = None
    depth: int | None = None
    device: str | None = None
    is_additive: bool = False
    meaning: str

    @property
    def on_any_device(self) -> str:
        """The name without that of the device."""
        suffix = "" if self.device is None else score_on_device("", self.device)
        return self.name.removesuffix(suffix)


def _timed(phase: Phase, unit: str, *, per: str) -> tuple[ScoreDefinition, ...]:
    median = ScoreDefinition(
        name=phase,
        unit=unit,
        kind="time",
        workload=phase,
        phase=phase,
        is_additive=True,
        meaning=f"median time per {per}",
    )
    return (
        median,
        replace(median, name=f"{phase}_p95", meaning=f"95th percentile of the time per {per}"),
        replace(
            median,
            name=f"{phase}_per_byte",
            unit="us/byte",
            is_additive=False,
            meaning="median time per byte of the text that the tokens represent",
        ),
    )


def _phase_memory(phase: Phase) -> ScoreDefinition:
    return ScoreDefinition(
        name=f"{phase}_memory",
        unit="MB",
        kind="memory",
        workload=phase,
        phase=phase,
        meaning=f"memory that {phase} needs in addition to the loaded model (1e6 bytes)",
    )


_DECODE, _DECODE_P95, _DECODE_PER_BYTE = _timed("decode", "ms/token", per="token")
_PREFILL, _PREFILL_P95, _PREFILL_PER_BYTE = _timed("prefill", "ms", per="prompt")

# In the order in which error messages list them.
SCORES: Mapping[str, ScoreDefinition] = MappingProxyType(
    {
        definition.name: definition
        for definition in (
            ScoreDefinition(
                name=LOSS, unit="bits/byte", kind="quality", meaning="loss on held-out text"
            ),
            ScoreDefinition(
                name=LOOKUP_LOSS,
                unit="bits/byte",
                kind="quality",
                meaning="loss on held-out tokens after a pair of tokens that occurred earlier in "
                "their window, where a model can look up what followed it",
            ),
            ScoreDefinition(
                name=OTHER_LOSS,
                unit="bits/byte",
                kind="quality",
                meaning="loss on the held-out tokens that lookup_loss leaves out",
            ),
            ScoreDefinition(
                name=LATE_LOSS,
                unit="bits/byte",
                kind="quality",
                meaning="loss on the second half of each window of held-out text",
            ),
            ScoreDefinition(
                name=TASK,
                unit="bits/byte",
                kind="quality",
                meaning="loss on the held-out completions of the user's own task",
            ),
            ScoreDefinition(
                name=RECALL_ERROR,
                unit="wrong",
                kind="quality",
                meaning="fraction of queries answered wrongly in the associative recall probe",
            ),
            _DECODE,
            _PREFILL,
            ScoreDefinition(
                name="memory",
                unit="MB",
                kind="memory",
                is_additive=True,
                meaning="peak memory of the running model, weights included (1e6 bytes)",
            ),
            ScoreDefinition(
                name=PARAMETERS, unit="parameters", kind="size", meaning="number of parameters"
            ),
            ScoreDefinition(
                name="size", unit="MB", kind="size", meaning="size of the model file (1e6 bytes)"
            ),
            _DECODE_P95,
            _PREFILL_P95,
            _phase_memory("decode"),
            _phase_memory("prefill"),
            _DECODE_PER_BYTE,
            _PREFILL_PER_BYTE,
        )
    }
)


def definition_of(name: str) -> ScoreDefinition | None:
    """Return the definition of a score, or None for a name that no evaluator produces.

    `decode@4096` is decoding at a context depth of 4,096 tokens. There is one such score for each
    of a target's additional depths. `decode@phone` and `decode@4096@phone` are measured on the
    device `phone`.
    """
    elsewhere = _ON_DEVICE.fullmatch(name)
    if elsewhere is not None:
        return _on_device(elsewhere["score"], elsewhere["device"])
    deeper = _DEEPER.fullmatch(name)
    if deeper is None:
        return SCORES.get(name)
    statistic = _DECODE_P95 if deeper["tail"] else _DECODE
    depth = int(deeper["depth"])
    return replace(
        statistic,
        name=name,
        workload=score_at_depth(depth),
        depth=depth,
        meaning=f"{statistic.meaning} at a context depth of {depth:,}",
    )


def _on_device(score: str, device: str) -> ScoreDefinition | None:
    definition = definition_of(score)
    if definition is None or definition.device is not None:
        return None
    depths = () if definition.depth is None else (definition.depth,)
    if score not in (*measured_names(depths), *PER_BYTE):
        return None
    return replace(
        definition,
        name=score_on_device(score, device),
        workload=None
        if definition.workload is None
        else score_on_device(definition.workload, device),
        device=device,
        meaning=f"{definition.meaning}, on {device}",
    )


def make_score(
    name: str, value: float, low: float | None = None, high: float | None = None
) -> Score:
    """Construct a score with the unit that the table gives it.

    Args:
        name: A name that `definition_of` knows.
        value: The score, in the unit of its definition.
        low: The lower bound of the 95 % confidence interval, if there is one.
        high: The upper bound of that interval.
    """
    definition = definition_of(name)
    assert definition is not None, name
    return Score(name=name, value=value, unit=definition.unit, low=low, high=high)


def score_names(more_depths: Sequence[int], devices: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names that a study may ask for.

    Args:
        more_depths: Context depths, in tokens, at which decoding is timed in addition to the
            target's own.
        devices: The names of the devices that are measured in addition to this machine.
    """
    measured = (*measured_names(more_depths), *PER_BYTE)
    return (
        *SCORES,
        *map(score_at_depth, more_depths),
        *(score_on_device(name, device) for device in devices for name in measured),
    )


def measured_names(more_depths: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the scores of a timing on a device, without the device.

    Args:
        more_depths: Context depths, in tokens, at which decoding is timed in addition to the
            target's own.
    """
    deeper = map(score_at_depth, more_depths)
    return (
        *("decode", "decode_p95", "prefill", "prefill_p95", *deeper),
        *("memory", "decode_memory", "prefill_memory", "size"),
    )


def score_on_device(name: str, device: str) -> str:
    """Return the name of a score that is measured on a device, such as `decode@phone`."""
    return f"{name}@{device}"


def device_of(name: str) -> str | None:
    """Return the device that a score is measured on; None for this machine or for none."""
    definition = definition_of(name)
    return None if definition is None else definition.device


def device_of_stage(stage: str) -> str | None:
    """Return the device that a stage measures on, such as `phone` for `latency@phone`."""
    return stage.partition("@")[2] or None


def score_at_depth(depth: int) -> str:
    """Return the name of the decoding score at an additional context depth, in tokens."""
    return f"{_DECODE.name}@{depth}"


def is_measured(name: str) -> bool:
    """Return whether a score depends on the device that a model runs on."""
    definition = definition_of(name)
    return definition is not None and definition.kind in ("time", "memory")


def is_trained(name: str) -> bool:
    """Return whether a score comes from a short training of the narrow proxy."""
    definition = definition_of(name)
    return definition is not None and definition.kind == "quality"


def is_further_loss(name: str) -> bool:
    """Return whether a score is a loss that the training for `loss` gives in addition to it."""
    definition = definition_of(name)
    return definition is not None and definition.unit == SCORES[LOSS].unit and name != LOSS


def is_predictable(name: str) -> bool:
    """Return whether a score can be estimated from the architecture and a few measurements."""
    definition = definition_of(name)
    return definition is not None and (definition.kind == "size" or definition.is_additive)


def is_size(name: str) -> bool:
    """Return whether a score follows from the architecture and the format of its weights alone."""
    definition = definition_of(name)
    return definition is not None and definition.kind == "size"


def is_timed(name: str) -> bool:
    """Return whether a score is a time, whose interval narrows the longer it is timed."""
    definition = definition_of(name)
    return definition is not None and definition.kind == "time"


def is_additive(name: str) -> bool:
    """Return whether a score is a sum over the parts of a model; see `ScoreDefinition`."""
    definition = definition_of(name)
    return definition is not None and definition.is_additive
