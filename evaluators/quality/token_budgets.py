"""Facts about token budgets: how often a text is worth reading, and how well short losses rank."""

from dataclasses import dataclass

MOST_PASSES = 4
"""Up to this number of passes, reading a text again is nearly as good as reading new text.

Muennighoff et al., Scaling data-constrained language models (2023).
"""

OFTEN_READ = f"a text teaches little after the first {MOST_PASSES} passes; use more text"
"""What a user should know about more passes, as a clause."""

# A measured correlation is stated for budgets up to this factor below or above.
_NEAR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRanking:
    """How well the losses after a short training rank layouts of one size (docs/log.md).

    Attributes:
        tokens: Tokens of the short training.
        factor: The length of the long training, as a multiple.
        spearman: The rank correlation of the two losses.
        layouts: The number of layouts.
    """

    tokens: int
    factor: int
    spearman: float
    layouts: int


_RANKINGS = (
    MeasuredRanking(tokens=400_000, factor=16, spearman=0.73, layouts=32),
    MeasuredRanking(tokens=1_600_000, factor=4, spearman=0.89, layouts=10),
)


def measured_ranking(token_budget: int) -> MeasuredRanking | None:
    """Return what was measured for a similar budget, on technical English; None if nothing was."""

    def distance(ranking: MeasuredRanking) -> float:
        return max(token_budget / ranking.tokens, ranking.tokens / token_budget)

    nearest = min(_RANKINGS, key=distance)
    return nearest if distance(nearest) <= _NEAR else None
