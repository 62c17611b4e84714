"""The schema of the JSON documents that the dashboard page and the report draw from.

A trial is identified by its `id`, which never changes. The columns of `Trials` have one entry per
trial, in no particular order; everything else refers to a trial by its id.

A document is either whole or an update. In an update, three keys hold only what is new or has
changed since the revision `since`, and are merged into what the reader has: `trials` (replace the
row with that id, or append it), `architectures` (append; the indices in `Trials.architecture` count
from the first architecture of the update) and `curves` (replace or append by trial). All other keys
are small: they are sent in full and replace the previous value. A trial may change after its end,
for example when it is measured again. A trial that has been sent is never withdrawn; if a study is
deleted and started again, a whole document is sent.

Texts (names, reasons, hosts, paths) come from a database that anyone may have written. Treat them
as text, never as HTML. Numbers are finite, and unknown values are null. For every score, smaller is
better.
"""

from typing import Literal, TypeAlias, TypedDict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
State: TypeAlias = Literal["complete", "infeasible", "stopped", "failed", "running", "interrupted"]


class MixerDocument(TypedDict):
    """A kind of mixer. The list also has an entry for layers without a mixer.

    Attributes:
        letter: The letter that stands for the mixer in a layout.
        name: The name shown to people, such as "short convolution".
        colour: The colour behind the letter, such as "#56b4e9"; black text is legible on it.
        attention: Whether layers with this mixer count as attention layers.
    """

    letter: str
    name: str
    colour: str
    attention: bool


class ExportFormatDocument(TypedDict):
    """A format that trials can be exported in.

    Attributes:
        name: The name, as `nas export --format` takes it.
        summary: What is written, such as "one Python file".
    """

    name: str
    summary: str


class AxisDocument(TypedDict):
    """A score of the study. Objectives come first, in the order of the study file.

    Attributes:
        name: The name of the score, such as "decode".
        unit: The unit of its values; empty for a score without a unit or without values yet.
        objective: Whether the study minimises this score. False for scores that are only recorded.
        max: The limit of an objective or a constraint, in `unit`; null where there is none.
        timed: Whether the score is a timing, whose confidence interval a longer run would narrow.
    """

    name: str
    unit: str
    objective: bool
    max: float | None
    timed: bool


class Column(TypedDict):
    """The values of one score, with one entry per trial.

    Attributes:
        value: The score in the unit of its axis; null for a trial that lacks it.
        low: The lower bounds of the 95 % confidence intervals, in the same unit. An entry is null
            for a trial without an interval; the whole list is null if no trial has one.
        high: The upper bounds, with the same rules. An interval may be lopsided: show it by its
            ends, or by half its width if both sides are about equal.
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


class Hypervolume(TypedDict):
    """The growth of the hypervolume, with one entry for every candidate that increased it.

    Attributes:
        trial: The id of the candidate.
        ended: The number of candidates that had ended by then, including this one.
        seconds: The time since the study started, in seconds.
        volume: The hypervolume with this candidate, in the product of the units of the objectives.
    """

    trial: list[int]
    ended: list[int]
    seconds: list[float]
    volume: list[float]


class StageTime(TypedDict):
    """The time that a stage has spent on the trials that are in a given state now.

    Attributes:
        stage: The name of the stage.
        state: The state of the trials.
        trials: The number of trials.
        seconds: The time spent, in seconds, summed over all processes.
    """

    stage: str
    state: State
    trials: int
    seconds: float


class Drift(TypedDict):
    """The single times of the reference model that is timed in alternation with the trials.

    For a long study, entries are thinned out evenly.

    Attributes:
        workload: The workload that was timed, such as "pp512".
        trial: The ids of the trials that the reference model was interleaved with.
        at: When each timing was made, in seconds since 1970 (UTC).
        ms: The median time of the reference model, in milliseconds: for a whole prompt in a prefill
            workload, for one token in a decode workload.
    """

    workload: str
    trial: list[int]
    at: list[float]
    ms: list[float]


class CalibrationDocument(TypedDict):
    """The time of the reference model at one workload, which times in milliseconds are based on.

    Attributes:
        workload: The workload, such as "pp512".
        ms: The time per prompt or per token, in milliseconds, estimated from all its timings.
        low: The lower bound of the 95 % confidence interval, in milliseconds.
        high: The upper bound.
        settled: Whether it is certain enough for limits in milliseconds to be enforced.
        timings: The number of timings behind it.
        latest_at: When the latest of them was made, in seconds since 1970 (UTC).
    """

    workload: str
    ms: float
    low: float
    high: float
    settled: bool
    timings: int
    latest_at: float


class EnvironmentSeen(TypedDict):
    """A machine on which trials were timed.

    Attributes:
        host: The host name.
        system: The operating system.
        cpu: The model of the processor.
        cores: The number of cores.
        memory_bytes: The size of the memory, in bytes.
        runtime: The version of the runtime that executed the models.
        governor: The frequency governor of the processor; null if unknown.
        trials: The number of trials that were timed on this machine.
    """

    host: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    runtime: str
    governor: str | None
    trials: int


class Running(TypedDict):
    """A trial that a process is working on.

    Attributes:
        trial: The id of the trial; null before its architecture is drawn.
        title: The trial as people call it, such as "trial 7".
        host: The host of the process.
        pid: The process id.
        stage: The stage that is running; null before the architecture is drawn.
        done: The completed fraction of the stage (0 to 1); null if unknown.
        text: The progress in words; may be empty.
        since: When the trial started, in seconds since 1970 (UTC).
    """

    trial: int | None
    title: str
    host: str
    pid: int
    stage: str | None
    done: float | None
    text: str
    since: float


class CountsDocument(TypedDict):
    """The numbers of candidates by state, duplicates included.

    Attributes:
        total: The number of candidates that the study asks for, finished ones included.
        complete: Candidates that passed every stage.
        infeasible: Candidates that exceed a limit.
        stopped: Candidates whose training was stopped early.
        failed: Candidates that could not be built, trained or timed.
        running: Candidates that a process is working on.
        interrupted: Candidates whose process ended before they did.
        duplicates: Candidates with the architecture of an earlier one; they share its result.
        rejected: The numbers of proposals that the rules of the space refused, by rule.
    """

    total: int
    complete: int
    infeasible: int
    stopped: int
    failed: int
    running: int
    interrupted: int
    duplicates: int
    rejected: dict[str, int]


class ConfirmedCandidate(TypedDict):
    """A candidate that was trained or measured again.

    Attributes:
        trial: The id of the candidate.
        on_front: Whether the candidate is on the front of the study; runners-up are not.
        short_loss: The loss that the study found, in bits per byte.
        seed_losses: The losses of training runs with the study's own token budget, in bits per
            byte, one for each seed of `ConfirmationDocument.seeds`; null where a run is missing.
        long_loss: The loss of the longer training, in bits per byte; null if it is missing.
        remeasured_values: The new value of each objective of `ConfirmationDocument.remeasured`, in
            the unit of its axis; null where it is missing. The score of the user's own task is that
            of the longer training.
        probability: The probability that the candidate is on the front of the candidates with a
            longer training (0 to 1); null if unknown.
    """

    trial: int
    on_front: bool
    short_loss: float
    seed_losses: list[float | None]
    long_loss: float | None
    remeasured_values: list[float | None]
    probability: float | None


class ConfirmationDocument(TypedDict):
    """The result of retraining and remeasuring the front.

    Attributes:
        short_tokens: The study's own token budget.
        inherited: Whether the study's losses come from a shared network instead of training runs
            with `short_tokens` tokens.
        long_tokens: The token budget of the longer training runs; null before the first of them.
        seeds: The seeds of the additional training runs with the study's own token budget.
        remeasured: The objectives that were measured again for at least one candidate, in the order
            of the study file.
        candidates: The candidates, sorted by the loss of the longer training.
        findings: What the confirmation shows, in sentences.
    """

    short_tokens: int
    inherited: bool
    long_tokens: int | None
    seeds: list[int]
    remeasured: list[str]
    candidates: list[ConfirmedCandidate]
    findings: list[str]


class Document(TypedDict):
    """The current state of a study, or what has changed; see the top of this module.

    Attributes:
        study: The name of the study.
        since: The revision that an update starts from; null in a whole document.
        revision: An opaque token to request the next update with.
        created_at: When the study was created, in seconds since 1970 (UTC).
        spec: The study file with every default filled in, without the database URL.
        mixers: The kinds of mixers that layouts consist of, in the order of legends.
        export_formats: The formats that trials can be exported in; the first is the default.
        reference: The reference model that is timed in alternation with every candidate: the name
            of a preset, or a file.
        axes: The scores of the study.
        counts: The numbers of candidates by state.
        running: What processes are working on now.
        trials: The trials.
        architectures: The architectures of the trials.
        curves: The learning curves of the trials.
        front: The ids of the non-dominated complete candidates, sorted by the first objective, each
            architecture once. All other complete candidates that are not duplicates are dominated.
        provisional_front: The ids of the members of the front that are on it only provisionally,
            because an objective is provisional.
        knee: The id of the member of the front that is farthest from the line between the extremes;
            null if the front is empty.
        reference_point: The reference point of the hypervolume, one number per objective; empty
            while the front is empty.
        hypervolume: The growth of the hypervolume.
        stages: Where the time was spent.
        drift: The times of the reference model over the study, one entry per workload.
        calibrations: The estimated times of the reference model, one entry per workload and device.
        environments: The machines that trials were timed on.
        findings: What the study shows, in sentences.
        limitations: What the study does not show, in sentences.
        confirmation: The result of retraining the front; null if nothing has been retrained.
    """

    study: str
    since: str | None
    revision: str
    created_at: float
    spec: dict[str, Json]
    mixers: list[MixerDocument]
    export_formats: list[ExportFormatDocument]
    reference: str
    axes: list[AxisDocument]
    counts: CountsDocument
    running: list[Running]
    trials: Trials
    architectures: Architectures
    curves: list[Curves]
    front: list[int]
    provisional_front: list[int]
    knee: int | None
    reference_point: list[float]
    hypervolume: Hypervolume
    stages: list[StageTime]
    drift: list[Drift]
    calibrations: list[CalibrationDocument]
    environments: list[EnvironmentSeen]
    findings: list[str]
    limitations: list[str]
    confirmation: ConfirmationDocument | None


class Choice(TypedDict):
    """The importance of one choice of the search space for an objective.

    Attributes:
        choice: The name of the choice, such as "width".
        share: The importance as a fraction of the total; all choices of an objective add up to 1.
        low: The 2.5 % quantile of the importance over random splits of the candidates.
        high: The upper bound.
    """

    choice: str
    share: float
    low: float
    high: float


class Importance(TypedDict):
    """The importance of the choices for one objective.

    Attributes:
        objective: The name of the objective.
        explained: The fraction of the variance of the objective that a model predicts from the
            choices for candidates that it was not fitted to (R²; 0 to 1).
        choices: The choices, most important first; empty if they do not predict the objective.
    """

    objective: str
    explained: float
    choices: list[Choice]


class PlacementDocument(TypedDict):
    """Which mixers are used at each tenth of the depth, in the best layouts and in the others.

    Attributes:
        letters: The letters of the mixers.
        best: One list per letter: the fraction of the layers with that mixer in each tenth of the
            depth (ten values from 0 to 1, first layers first), in the layouts whose first objective
            is best at their value of the second.
        rest: The same for all other layouts.
        best_trials: The number of candidates behind `best`.
        rest_trials: The number of candidates behind `rest`.
    """

    letters: list[str]
    best: list[list[float]]
    rest: list[list[float]]
    best_trials: int
    rest_trials: int


class AttentionCountDocument(TypedDict):
    """Candidates with a given number of attention layers, compared at equal second objective.

    Attributes:
        layers: The number of attention layers, full or sliding-window.
        trials: The number of candidates.
        difference: The mean difference between their first objective and its typical value at their
            second objective, in the unit of the first objective. Negative is better.
        low: The lower bound of the 95 % confidence interval of `difference`; null for fewer than
            three candidates.
        high: The upper bound, with the same rule.
    """

    layers: int
    trials: int
    difference: float
    low: float | None
    high: float | None


class Why(TypedDict):
    """Which choices matter. Computing it takes seconds, so the page requests it separately.

    Attributes:
        study: The name of the study.
        trials: The number of complete candidates that the results are based on.
        note: Why results are missing, such as too few trials, as a sentence; null if none are.
        method: How the importances were computed, in sentences.
        objectives: The names of the first and the second objective, which `placement` and
            `attention` compare.
        importances: The importance of the choices, one entry per objective.
        placement: Where each mixer is used; null with too few trials.
        attention: The effect of the number of attention layers, sorted by that number.
        findings: What follows, in sentences.
    """

    study: str
    trials: int
    note: str | None
    method: str
    objectives: list[str]
    importances: list[Importance]
    placement: PlacementDocument | None
    attention: list[AttentionCountDocument]
    findings: list[str]
