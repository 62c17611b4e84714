"""What a study with several devices shows: how alike they rank candidates, and who differs."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from evaluators.scores import definition_of
from nas.findings.wording import number
from studies.confirmation.confirmation_statistics import FEWEST_RANKED, rank_correlation
from studies.records import Trial
from studies.spec.study_spec import StudySpec, asked_scores

# A candidate is unlike the others if the ratio of its times on two devices differs from their
# median ratio by more than this factor.
_UNLIKE = 1.1


def device_findings(spec: StudySpec, complete: Sequence[Trial]) -> Iterator[str]:
    """Yield how alike devices rank the candidates by each time that is measured on both.

    Args:
        spec: The study.
        complete: Its complete candidates. Those with provisional times are left out.
    """
    by_time: dict[str, list[str]] = {}
    for name in asked_scores(spec):
        definition = definition_of(name)
        if definition is not None and definition.kind == "time":
            by_time.setdefault(definition.on_any_device, []).append(name)
    for names in by_time.values():
        for one, other in itertools.combinations(names, 2):
            settled = [trial for trial in complete if not trial.provisional([one, other])]
            known = [trial for trial in settled if {one, other} <= trial.values.keys()]
            if len(known) >= FEWEST_RANKED:
                yield from _compared(one, other, known)


def _compared(one: str, other: str, trials: Sequence[Trial]) -> Iterator[str]:
    pairs = [(trial.values[one], trial.values[other]) for trial in trials]
    found = rank_correlation([first for first, _ in pairs], [second for _, second in pairs])
    if found is not None:
        yield (
            f"{one} and {other} rank {len(trials)} candidates with a Spearman correlation of "
            f"{found.value:.2f} (95 % confidence interval: {found.low:.2f} to {found.high:.2f})."
        )
    logs = [math.log(first / second) for first, second in pairs]
    middle = statistics.median(logs)
    for sign, word in ((-1, "fast"), (1, "slow")):
        extreme = max(range(len(trials)), key=lambda index: sign * (logs[index] - middle))
        factor = math.exp(abs(logs[extreme] - middle))
        if sign * (logs[extreme] - middle) > math.log(_UNLIKE):
            trial = trials[extreme]
            assert trial.model is not None
            yield (
                f"Relatively {word} in {one}: {trial.title} ({trial.model.layout}), whose ratio to "
                f"{other} is {number(factor)} times {'below' if sign < 0 else 'above'} the median."
            )
