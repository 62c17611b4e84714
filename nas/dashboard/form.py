"""The exact form of the JSON documents that the page and the report draw from.

A trial is named by its `id`, which stays its own for good: the columns of `Trials` have one entry a
trial, in no order that means anything, and everything else that speaks of a trial gives its id.

A document is whole or an update. In an update these hold only what is new or has changed since
`since`, and are merged: `trials` (replace the row of that id, or append it), `architectures`
(append them; `Trials.architecture` counts from the update's own first) and `curves` (replace or
append by trial). Everything else is small, is sent anew, and replaces what was there. A trial that
has been sent is never taken back, unless the study was begun anew: then a whole document comes.

Texts (names, reasons, hosts, paths) come out of a database that anybody may have written: they are
never HTML. Numbers are finite; what is not known is null. Every score is better when smaller.
"""

from typing import Literal, TypeAlias, TypedDict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
State: TypeAlias = Literal["complete", "infeasible", "stopped", "failed", "running", "interrupted"]


class Axis(TypedDict):
    """A score of the study. Objectives come first, in the study's order.

    objective: False for a score that is only known beside them.
    max: the budget of an objective or a constraint; null where there is none.
    timed: it has an interval that a longer timing would narrow.
    """

    name: str
    unit: str
    objective: bool
    max: float | None
    timed: bool


class Column(TypedDict):
    """One score of every trial; low and high: its 95 % interval, null where no trial has one."""

    value: list[float | None]
    low: list[float | None] | None
    high: list[float | None] | None


class Trials(TypedDict):
    """One entry a trial in every column; trials without an architecture yet are not among them.

    name: what a person asks for it by: the number of a candidate, the preset of a reference.
    stage: where it is, or which one settled it; null for a complete one.
    reason: why it is not complete, in words.
    failure: the kind of failure of a failed one.
    duplicate_of: the number of the candidate whose outcome it shares.
    architecture: an index into `architectures` of the same document.
    scores: by name. One that no trial of the document has is not there.
    estimated_loss: of a stopped one, what its loss would have come to.
    trained: the share of the token budget that its curve reaches; null without a curve.
    unsettled: whether an objective or a constraint is known less well than the study asks for; null
        without a timing.
    disturbed: the most that others had of the measuring cores while it was timed (0 to 1).
    waited: seconds that the timing waited for a quiet machine.
    seconds: of all stages together.
    ended_at: seconds since 1970; null while it runs or is interrupted.
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
    unsettled: list[bool | None]
    disturbed: list[float | None]
    waited: list[float | None]
    seconds: list[float]
    ended_at: list[float | None]


class Architectures(TypedDict):
    """One entry an architecture in every column; what its mixers do not have is null.

    feed_forward, heads, kv_heads, head_dim, kernel, window: those of the first layer that has them.
    embedding_share: the part of the parameters that is the embedding (0 to 1).
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
    """Learning curves that were read at the same tokens.

    loss: one list a trial, bits per byte after tokens[0], tokens[1], ...; shorter than `tokens`
        where the training was stopped.
    """

    tokens: list[int]
    trial: list[int]
    loss: list[list[float]]


class Hypervolume(TypedDict):
    """How the front grew: one entry for every candidate that made it larger.

    ended: how many candidates had ended then, this one included. seconds: since the study began.
    """

    trial: list[int]
    ended: list[int]
    seconds: list[float]
    volume: list[float]


class StageTime(TypedDict):
    """What a stage has taken of the trials that are in that state now."""

    stage: str
    state: State
    trials: int
    seconds: float


class Drift(TypedDict):
    """The median time of the paired reference model beside trials, by when that was.

    at: seconds since 1970. ms: a prompt's or a token's. Of very long studies some are left out.
    """

    workload: str
    trial: list[int]
    at: list[float]
    ms: list[float]


class EnvironmentSeen(TypedDict):
    """A machine that trials were timed on; trials: how many."""

    host: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    runtime: str
    governor: str | None
    trials: int


class Running(TypedDict):
    """What some process does now. done: 0 to 1 of its stage; trial is null before it is drawn."""

    trial: int | None
    title: str
    host: str
    pid: int
    stage: str | None
    done: float | None
    text: str
    since: float


class Counts(TypedDict):
    """Candidates by state, duplicates among them. rejected: draws that a rule refused."""

    wanted: int
    complete: int
    infeasible: int
    stopped: int
    failed: int
    running: int
    interrupted: int
    duplicates: int
    rejected: dict[str, int]


class ConfirmedCandidate(TypedDict):
    """A candidate that was trained again. trial: its id.

    short: the loss that the study knows. fresh: one loss for each of `seeds` at the study's own
        token budget. long: the loss of the long training. Each is null where it is not there.
    again: the objectives of `anew` as they were measured anew, the task's by the long training.
    probability: of being on the front of those that were trained for long (0 to 1).
    """

    trial: int
    on_front: bool
    short: float
    fresh: list[float | None]
    long: float | None
    again: list[float | None]
    probability: float | None


class Confirmation(TypedDict):
    """What longer trainings say; candidates by their long loss. findings: sentences for people.

    short_tokens: the study's own token budget. inherited: whether its losses are those of a shared
        network instead, and not of trainings on so many.
    anew: the objectives that were measured once more for any candidate, in the study's order.
    """

    short_tokens: int
    inherited: bool
    long_tokens: int | None
    seeds: list[int]
    anew: list[str]
    candidates: list[ConfirmedCandidate]
    findings: list[str]


class Document(TypedDict):
    """A study as it is now, or what has changed; see the top of this module.

    since: the revision that an update goes on from; null in a whole document.
    revision: what to ask for an update with; it means nothing else.
    created_at: seconds since 1970.
    spec: the study file with every default filled in.
    reference: the preset that every model was timed in alternation with.
    front: ids of the candidates on the front, by the first objective; each architecture once. The
        other complete ones that are no duplicates are dominated.
    reference_point: the corner of the hypervolume, one number an objective; empty without a front.
    findings, unproven: sentences for people.
    confirmation: what longer trainings say of the front; null where none was asked for.
    """

    study: str
    since: str | None
    revision: str
    created_at: float
    spec: dict[str, Json]
    reference: str
    axes: list[Axis]
    counts: Counts
    running: list[Running]
    trials: Trials
    architectures: Architectures
    curves: list[Curves]
    front: list[int]
    knee: int | None
    reference_point: list[float]
    hypervolume: Hypervolume
    stages: list[StageTime]
    drift: list[Drift]
    environments: list[EnvironmentSeen]
    findings: list[str]
    unproven: list[str]
    confirmation: Confirmation | None


class Choice(TypedDict):
    """How much of an objective hangs on one choice; the shares of all choices add up to 1.

    low, high: the spread of the share over resampled studies (95 %).
    """

    choice: str
    share: float
    low: float
    high: float


class Importance(TypedDict):
    """Of one objective. explained: the share of its variance that the choices foretell (R²)."""

    objective: str
    explained: float
    choices: list[Choice]


class Places(TypedDict):
    """What stands at each tenth of the depth, first layers first, in good layouts and the others.

    best, rest: for each letter of `letters` ten shares of the layers there (0 to 1).
    """

    letters: list[str]
    best: list[list[float]]
    rest: list[list[float]]
    best_trials: int
    rest_trials: int


class AttentionCount(TypedDict):
    """Candidates with so many attention layers (`a` or `s`) against the others of their speed.

    difference: the mean of their first objective above what is usual at their second; low, high:
        its 95 % interval, null for fewer than three.
    """

    layers: int
    trials: int
    difference: float
    low: float | None
    high: float | None


class Why(TypedDict):
    """Which choices matter. It takes seconds to make, so that the page asks for it by itself.

    trials: complete candidates that it is made from.
    said: why something is not there, such as too few trials; null where all is.
    method: how importances were found, in a sentence.
    equal: the names of the first and second objective, which 'at equal speed' is about.
    """

    study: str
    trials: int
    said: str | None
    method: str
    equal: list[str]
    importances: list[Importance]
    places: Places | None
    attention: list[AttentionCount]
    findings: list[str]
