"""Estimates in which direction each choice changes the loss, and what attention contributes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from evaluators.scores import is_trained
from evaluators.speed.cost_estimate import FEWEST_MEASUREMENTS, CostEstimate
from evaluators.speed.workload_parts import Parts, parts_of
from search_space.architecture import Architecture
from search_space.space.layout_features import layout_features
from search_space.space.matching import Cost, MatchedLatency
from studies.analysis.architecture_variants import Contrast, VariantMaker, attention_layers
from studies.analysis.predicted_effects import Effect, EffectModel, predicted_effect
from studies.samplers.outcome_model import OutcomeModel
from studies.spec.study_spec import StudySpec

_T = TypeVar("_T")

LEAST_CORRELATION = 0.5
# More candidates would take a long time and change little.
MOST_CANDIDATES = 300
EFFECT_METHOD = (
    "An effect is the difference in the predicted loss of the same architectures with one choice "
    "changed, averaged over architectures of the study. The prediction is a Gaussian process that "
    "is fitted to the complete candidates; 95 % intervals cover its uncertainty."
)
POSITION = "position of attention"
MORE_ATTENTION = "attention at equal latency"
# The two values of that comparison, for any number n of attention layers.
ANY_NUMBER = ("n", "n + 1 layers")

_DECODE = "decode"
# The largest number of architectures that effects are averaged over.
_MOST_ARCHITECTURES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectCandidate:
    """A complete candidate whose scores are all settled.

    Attributes:
        architecture: The architecture.
        values: Its scores, by name.
    """

    architecture: Architecture
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceEffects:
    """The estimated effects of the choices on an objective.

    Attributes:
        objective: The name of the objective, such as "loss".
        unit: Its unit.
        candidates: The number of candidates that the model is fitted to.
        correlation: Spearman's correlation of predicted and observed outcomes in cross-validation.
        effects: The effect of each choice and of the position of attention; empty if the
            correlation is below `LEAST_CORRELATION`.
        more_attention: The effect of one more attention layer at equal estimated decoding time, for
            any number of attention layers (`ANY_NUMBER`) and for each number; None if the data do
            not allow it.
    """

    objective: str
    unit: str
    candidates: int
    correlation: float
    effects: tuple[Effect, ...]
    more_attention: Effect | None

    @property
    def is_predictable(self) -> bool:
        """Whether the model predicts well enough for its effects to be meaningful."""
        return self.correlation >= LEAST_CORRELATION

    @property
    def all_effects(self) -> tuple[Effect, ...]:
        """All effects, of which that of one more attention layer is the last."""
        return self.effects if self.more_attention is None else (*self.effects, self.more_attention)


def trained_objective(spec: StudySpec) -> str | None:
    """Return the first objective that comes from training; None if there is none."""
    names = (objective.name for objective in spec.objectives)
    return next((name for name in names if is_trained(name)), None)


def choice_effects(
    spec: StudySpec,
    candidates: Sequence[EffectCandidate],
    objective: str,
    unit: str,
    generator: np.random.Generator,
) -> ChoiceEffects:
    """Estimate the effects of all choices on an objective.

    Args:
        spec: The settings of the study.
        candidates: Complete candidates; more than `MOST_CANDIDATES` take a long time. Do not pass
            candidates that were stopped early, because the errors of their estimated losses are as
            large as the differences between candidates.
        objective: The name of an objective that comes from training.
        unit: Its unit.
        generator: The source of randomness.
    """
    # The matrices are small. Several threads would wait for each other, and disturb measurements.
    with threadpool_limits(limits=1):
        return _choice_effects(spec, candidates, objective, unit, generator)


def _choice_effects(
    spec: StudySpec,
    candidates: Sequence[EffectCandidate],
    objective: str,
    unit: str,
    generator: np.random.Generator,
) -> ChoiceEffects:
    features = np.array([layout_features(each.architecture) for each in candidates])
    outcomes = np.array([each.values[objective] for each in candidates])
    whole = OutcomeModel(features, outcomes, np.zeros(len(candidates)), generator)
    correlation = whole.rank_correlation
    effects: list[Effect] = []
    more = None
    if correlation >= LEAST_CORRELATION:
        model = EffectModel(features, outcomes, generator)
        architectures = [
            each.architecture for each in random_subset(candidates, _MOST_ARCHITECTURES, generator)
        ]
        names = {_DECODE}
        if isinstance(spec.space.matched, MatchedLatency):
            names.add(spec.space.matched.score)
        costs = {
            name: cost for name in names if (cost := _cost(spec, name, candidates)) is not None
        }
        maker = _maker(spec, costs)
        if maker is not None:
            effects = list(_effects(maker, architectures, model, generator))
        if maker is not None and _DECODE in costs:
            more = _more_attention(maker, architectures, costs[_DECODE], model, generator)
    return ChoiceEffects(
        objective=objective,
        unit=unit,
        candidates=len(candidates),
        correlation=correlation,
        effects=tuple(effects),
        more_attention=more,
    )


def _effects(
    maker: VariantMaker,
    architectures: Sequence[Architecture],
    model: EffectModel,
    generator: np.random.Generator,
) -> Iterator[Effect]:
    contrasts = [*maker.of_choices(architectures), (POSITION, maker.of_positions(architectures))]
    for choice, pairs in contrasts:
        effect = predicted_effect(choice, pairs, model, generator)
        if effect is not None:
            yield effect


def _more_attention(
    maker: VariantMaker,
    architectures: Sequence[Architecture],
    decode_time: Cost,
    model: EffectModel,
    generator: np.random.Generator,
) -> Effect | None:
    pairs: dict[int, list[tuple[Architecture, Architecture]]] = defaultdict(list)
    for architecture in architectures:
        more = maker.with_more_attention(architecture, decode_time, generator)
        if more is not None:
            pairs[attention_layers(architecture)].append((architecture, more))
    one, other = ANY_NUMBER
    every = tuple(pair for number in sorted(pairs) for pair in pairs[number])
    contrasts = [
        Contrast(one=one, other=other, pairs=every),
        *(
            Contrast(one=f"{number}", other=f"{number + 1} layers", pairs=tuple(pairs[number]))
            for number in sorted(pairs)
        ),
    ]
    effect = predicted_effect(MORE_ATTENTION, contrasts, model, generator)
    return None if effect is None else replace(effect, first_is_summary=True)


def _maker(spec: StudySpec, costs: Mapping[str, Cost]) -> VariantMaker | None:
    """Return the maker of variants; None if they must match a latency without an estimate."""
    latency, matched = None, spec.space.matched
    if isinstance(matched, MatchedLatency):
        latency = costs.get(matched.score)
        if latency is None:
            return None
    return VariantMaker(spec.space, spec.target.quantization, latency)


def _cost(spec: StudySpec, score: str, candidates: Sequence[EffectCandidate]) -> Cost | None:
    """Return the estimate of a time or of memory; None without enough measurements."""
    known = [each for each in candidates if score in each.values]
    if len(known) < FEWEST_MEASUREMENTS:
        return None

    def parts(architecture: Architecture) -> Parts:
        return parts_of(score, architecture, spec.target.deployment)

    estimate = CostEstimate(
        [parts(each.architecture) for each in known], [each.values[score] for each in known]
    )
    return lambda architecture: float(estimate.predict([parts(architecture)])[0][0])


def random_subset(items: Sequence[_T], most: int, generator: np.random.Generator) -> list[_T]:
    """Return at most `most` random items, in their order."""
    if len(items) <= most:
        return list(items)
    chosen = generator.choice(len(items), most, replace=False)
    return [items[index] for index in sorted(chosen)]
