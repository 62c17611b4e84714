"""What `nas profile` times: the default plans, and the options that change them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from evaluators.speed.operators.paired_timer import ProfileBudget
from evaluators.speed.operators.probe_times import Setting
from search_space.onnx_graph import GraphQuantization
from search_space.probes import Kinds, make_probes

_MOST_TOKENS = 1_000_000
_MOST_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlan:
    """A profile for each combination of width, quantisation and number of threads.

    Attributes:
        widths: Widths of the models.
        depths: Context depths at which decoding is timed, in tokens.
        quantizations: Quantisations of the weights.
        threads: Numbers of threads, each on a core of its own.
        prompt: Length of the prompt with which prefill is timed, in tokens.
        models: Number of whole models that the sum of the parts is compared with.
        kinds: The variants of mixers to time.
        profile_budget: How often and how precisely each model is timed.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    quantizations: tuple[GraphQuantization, ...]
    threads: tuple[int, ...]
    prompt: int
    models: int
    kinds: Kinds
    profile_budget: ProfileBudget


QUICK = ProfilePlan(
    widths=(1_024,),
    depths=(256, 1_024, 4_096),
    quantizations=("int4",),
    threads=(1,),
    prompt=128,
    models=2,
    kinds=Kinds(kernels=(3, 7), windows=(512,)),
    profile_budget=ProfileBudget(precision=0.005, seconds=1.5, rounds=2),
)
FULL = ProfilePlan(
    widths=(512, 1_024, 2_048),
    depths=(128, 512, 2_048, 8_192),
    quantizations=("int4", "int8"),
    threads=(1,),
    prompt=512,
    models=3,
    kinds=Kinds(kernels=(3, 7, 15), windows=(512,)),
    profile_budget=ProfileBudget(precision=0.005, seconds=5.0, rounds=3),
)


def plan_profile(
    default: ProfilePlan,
    *,
    widths: Sequence[int],
    depths: Sequence[int],
    quantizations: Sequence[str],
    threads: Sequence[int],
    prompt: int | None,
    rounds: int | None,
) -> ProfilePlan:
    """Return a default plan in which the given values replace those of the default.

    Args:
        default: The plan to start from.
        widths: Widths of the models; an empty sequence keeps the default, as for the following.
        depths: Context depths in tokens.
        quantizations: Quantisations of the weights.
        threads: Numbers of threads.
        prompt: Length of the prompt in tokens; None keeps the default.
        rounds: Number of times that each model is loaded and timed; None keeps the default.

    Raises:
        ValueError: A value is not allowed.
    """
    for depth in depths:
        _check_tokens("depth", depth)
    if prompt is not None:
        _check_tokens("prompt", prompt)
    if rounds is not None and not 1 <= rounds <= _MOST_ROUNDS:
        raise ValueError(f"rounds: {rounds} is not between 1 and {_MOST_ROUNDS}")
    for width in widths:
        make_probes(width, 1, default.kinds)
    return replace(
        default,
        widths=_ascending(widths) or default.widths,
        depths=_ascending(depths) or default.depths,
        quantizations=tuple(map(_quantization, dict.fromkeys(quantizations)))
        or default.quantizations,
        threads=_ascending(threads) or default.threads,
        prompt=prompt or default.prompt,
        profile_budget=replace(
            default.profile_budget, rounds=rounds or default.profile_budget.rounds
        ),
    )


def setting_title(setting: Setting) -> str:
    """Return the title of a setting, such as `width 1,024, int4, 1 thread`."""
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"width {setting.width:,}, {setting.quantization}, {threads}"


def _ascending(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _check_tokens(name: str, tokens: int) -> None:
    if not 1 <= tokens <= _MOST_TOKENS:
        raise ValueError(f"{name}: {tokens} is not between 1 and {_MOST_TOKENS:,}")


def _quantization(text: str) -> GraphQuantization:
    for known in get_args(GraphQuantization):
        if text == known:
            quantization: GraphQuantization = known
            return quantization
    raise ValueError(
        f"quantization: '{text}' is not one of {', '.join(get_args(GraphQuantization))}"
    )
