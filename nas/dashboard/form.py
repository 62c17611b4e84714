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

from typing import TypeAlias, TypedDict

from nas.dashboard.device_form import CalibrationDocument, Drift, EnvironmentSeen
from nas.dashboard.trial_form import Architectures, Curves, State, Trials

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


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
        provisional: The names of the objectives whose new value is provisional; see
            `Column.provisional`.
        probability: The probability that the candidate is on the front of the candidates with a
            longer training (0 to 1); null if unknown.
    """

    trial: int
    on_front: bool
    short_loss: float
    seed_losses: list[float | None]
    long_loss: float | None
    remeasured_values: list[float | None]
    provisional: list[str]
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
        notes: Explanations of the marks of provisional values; empty if there are none.
        findings: What the confirmation shows, in sentences.
    """

    short_tokens: int
    inherited: bool
    long_tokens: int | None
    seeds: list[int]
    remeasured: list[str]
    candidates: list[ConfirmedCandidate]
    notes: list[str]
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
        reference: The reference model that is timed interleaved with every candidate: the name
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
