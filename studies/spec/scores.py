"""The scores that a study may ask for, by name; units come with their values."""

from collections.abc import Sequence

# loss: bits per byte of held-out text. task: bits per byte of the completions that are held out of
# the user's own task. recall_error: share of queries answered wrongly in the probe of [recall].
# decode: ms a token, behind the target's context depth.
# prefill: ms a prompt. Both are medians; `_p95` is what 95 of 100 stay below, `_per_byte` is in
# microseconds a byte of text that the tokens stand for.
# memory: MB (1e6 bytes) while the model works, weights included; `decode_memory` and
# `prefill_memory` are what each phase takes beside them. size: MB of the model file.
_SCORES = (
    "loss",
    "task",
    "recall_error",
    "decode",
    "prefill",
    "memory",
    "parameters",
    "size",
    "decode_p95",
    "prefill_p95",
    "decode_memory",
    "prefill_memory",
    "decode_per_byte",
    "prefill_per_byte",
)


def score_names(more_depths: Sequence[int]) -> tuple[str, ...]:
    """more_depths: where decoding is timed beside the target's context depth."""
    return (*_SCORES, *(f"decode@{depth}" for depth in more_depths))


def is_trained(name: str) -> bool:
    """Whether the score is that of the narrow copy after a short training."""
    return name in ("loss", "task", "recall_error")


def is_timed(name: str) -> bool:
    """Whether the score is a time, which is known as well as there was patience for."""
    return name.startswith(("decode", "prefill")) and not name.endswith("_memory")
