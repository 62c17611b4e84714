"""The schema of the document that says which choices matter; see `nas.dashboard.form`."""

from typing import TypedDict


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


class ComparisonDocument(TypedDict):
    """The difference between two values of a choice, all other choices being equal.

    Attributes:
        change: The two values, such as "8,192 -> 32,768".
        text: The difference and its interval, as in the terminal.
        architectures: The number of architectures over which the difference is averaged.
        difference: The predicted objective with the second value minus that with the first, in the
            unit of the objective.
        low: The lower bound of the 95 % interval, which is simultaneous for all comparisons of a
            choice.
        high: The upper bound.
    """

    change: str
    text: str
    architectures: int
    difference: float
    low: float
    high: float


class EffectDocument(TypedDict):
    """The effect of one choice on an objective.

    Attributes:
        choice: The name of the choice in the study file, or what about attention is varied.
        summary: The index of the comparison that summarises the effect.
        distinguishable: Whether the interval of that comparison excludes 0.
        comparisons: The pairs of values, at least one.
    """

    choice: str
    summary: int
    distinguishable: bool
    comparisons: list[ComparisonDocument]


class EffectsDocument(TypedDict):
    """The effects of the choices on an objective, predicted by a model of it.

    Attributes:
        objective: The name of the objective, such as "loss".
        unit: Its unit.
        method: How the effects were computed, in sentences.
        candidates: The number of candidates that the model is fitted to.
        correlation: Spearman's correlation of predicted and observed outcomes in cross-validation.
        effects: One entry per choice; empty if the correlation is too low.
    """

    objective: str
    unit: str
    method: str
    candidates: int
    correlation: float
    effects: list[EffectDocument]


class ExpectedLossesDocument(TypedDict):
    """The losses that layouts suggest, as columns with one entry per complete candidate.

    Attributes:
        explanation: How losses are expected, and what it means that one is not, in sentences.
        trial: The ids of the trials.
        expected: The loss that is expected from the losses of all other candidates, in bits per
            byte.
        half_width: Two standard deviations of the difference between the measured and the expected
            loss.
        text: The expected loss with `half_width`, as in the terminal.
        unexpected: Whether the measured loss differs by more than `half_width`.
    """

    explanation: str
    trial: list[int]
    expected: list[float]
    half_width: list[float]
    text: list[str]
    unexpected: list[bool]


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
        effects: In which direction the choices change the first objective that comes from training;
            null with too few trials, or without such an objective.
        findings: What follows, in sentences.
        expected_losses: The loss that is expected of each candidate, for the views of single
            trials; null with too few trials, or if a model predicts too little.
    """

    study: str
    trials: int
    note: str | None
    method: str
    objectives: list[str]
    importances: list[Importance]
    placement: PlacementDocument | None
    attention: list[AttentionCountDocument]
    effects: EffectsDocument | None
    findings: list[str]
    expected_losses: ExpectedLossesDocument | None
