"""The schema of the columns of a study's document: trials, architectures and learning curves.

A column has one entry per trial or per architecture; see `nas.dashboard.form`.
"""

from typing import Literal, TypeAlias, TypedDict

State: TypeAlias = Literal["complete", "infeasible", "stopped", "failed", "running", "interrupted"]


class Column(TypedDict):
    """The values of one score, with one entry per trial.

    Attributes:
        value: The score in the unit of its axis; null for a trial that lacks it.
        low: The lower bounds of the 95 % confidence intervals, in the same unit. An entry is null
            for a trial without an interval; the whole list is null if no trial has one.
        high: The upper bounds, with the same rules. Show an interval by half its width if both
            sides are about equal, and by its ends if it is lopsided.
        half_width: Half the width of the interval of the measured ratio to the reference model, as
            a fraction on a log scale. The study requests at most `device.precision` for a timed
            objective or constraint. The rules are those of `low`; only timings have it.
        provisional: Whether the value is too uncertain to decide anything, and is to be measured
            again. A trial whose objective is provisional dominates no other. The whole list is null
            if no value of the column is provisional.
    """

    value: list[float | None]
    low: list[float | None] | None
    high: list[float | None] | None
    half_width: list[float | None] | None
    provisional: list[bool] | None


class Trials(TypedDict):
    """The trials as columns with one entry per trial.

    Trials whose architecture has not been drawn yet are left out.

    Attributes:
        id: The identifier of the trial.
        kind: Whether the trial is a candidate or a reference model.
        number: The number of the trial among the trials of its kind.
        name: What commands call the trial: the number of a candidate, or the name of a reference
            (a preset or a file).
        state: The state of the trial.
        stage: The stage that is running, or the one that settled the trial; null for a complete
            trial.
        reason: Why the trial is not complete, as a sentence; null otherwise.
        failure: The kind of failure; null for a trial that has not failed.
        duplicate_of: The number of the earlier candidate with the same architecture, whose result
            this trial shares; null for an original.
        architecture: An index into `architectures` of the same document.
        scores: The columns of scores, by name. A score that no trial of the document has is absent.
        estimated_loss: The loss, in bits per byte, predicted at the full token budget for a trial
            that was stopped early; null otherwise.
        trained: The fraction of the token budget that the learning curve reaches (0 to 1); null
            without a curve.
        unsure_limits: The names of the scores of a complete candidate that may exceed their limits.
            It was kept, because that is not certain.
        disturbed: The largest fraction of the measuring cores' time that other processes used
            during a timing (0 to 1); null if unknown.
        waited: The time that the timings waited for a quiet machine, in seconds; null without a
            timing.
        seconds: The time spent on all stages together, in seconds.
        ended_at: When the trial ended, in seconds since 1970 (UTC); null while it is running or
            interrupted.
    """

    id: list[int]
    kind: list[Literal["candidate", "reference"]]
    number: list[int]
    name: list[str]
    state: list[State]
    stage: list[str | None]
    reason: list[str | None]
    failure: list[str | None]
    duplicate_of: list[int | None]
    architecture: list[int]
    scores: dict[str, Column]
    estimated_loss: list[float | None]
    trained: list[float | None]
    unsure_limits: list[list[str]]
    disturbed: list[float | None]
    waited: list[float | None]
    seconds: list[float]
    ended_at: list[float | None]


class Architectures(TypedDict):
    """The distinct architectures of the trials as columns with one entry per architecture.

    Properties that belong to a mixer are those of the first layer that has them, and null if no
    layer does.

    Attributes:
        hash: The hash of the architecture.
        layout: One letter per layer, first layer first; `mixers` lists the letters.
        width: The width of the residual stream.
        depth: The number of layers.
        feed_forward: The number of hidden channels of the feed-forward block of the first layer.
        heads: The number of attention heads.
        kv_heads: The number of key/value heads.
        head_dim: The size of an attention head.
        kernel: The kernel size of the short convolution, in tokens.
        window: The window of sliding-window attention, in tokens.
        vocab_size: The size of the vocabulary, in tokens.
        embedding_width: The width of the token embedding.
        embedding_share: The fraction of all parameters that belongs to the embedding (0 to 1).
        parameters: The number of parameters.
    """

    hash: list[str]
    layout: list[str]
    width: list[int]
    depth: list[int]
    feed_forward: list[int]
    heads: list[int | None]
    kv_heads: list[int | None]
    head_dim: list[int | None]
    kernel: list[int | None]
    window: list[int | None]
    vocab_size: list[int]
    embedding_width: list[int]
    embedding_share: list[float]
    parameters: list[int]


class Curves(TypedDict):
    """Learning curves that were evaluated after the same numbers of tokens.

    Attributes:
        tokens: The numbers of training tokens at which the curves have values.
        trial: The ids of the trials.
        loss: One list per trial: the loss in bits per byte after tokens[0], tokens[1], ... The list
            is shorter than `tokens` if the training was stopped early or is still running.
    """

    tokens: list[int]
    trial: list[int]
    loss: list[list[float]]
