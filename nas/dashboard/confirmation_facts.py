"""The part of a study's document about its confirmation."""

from evaluators.scores import LOSS
from nas.dashboard.form import ConfirmationDocument
from nas.findings.confirmation_findings import confirmation_findings
from nas.findings.time_wording import precision_legend
from studies.analysis.study_front import is_provisional
from studies.confirmation.confirmation_results import Confirmation
from studies.spec.study_spec import StudySpec


def confirmation_facts(spec: StudySpec, confirmation: Confirmation) -> ConfirmationDocument:
    """Return the results of a confirmation as the part of a document.

    Args:
        spec: The study.
        confirmation: Its results so far.
    """
    remeasured_scores = {name for each in confirmation.candidates for name in each.remeasured}
    remeasured = [each.name for each in spec.objectives if each.name in remeasured_scores]
    seeds = sorted({seed for each in confirmation.candidates for seed in each.fresh})
    provisional = {
        each.trial.id: [
            name
            for name in remeasured
            if name in each.remeasured and is_provisional(spec, each.remeasured[name])
        ]
        for each in confirmation.candidates
    }
    return {
        "short_tokens": confirmation.short_tokens,
        "inherited": confirmation.inherited,
        "long_tokens": confirmation.long_tokens,
        "seeds": seeds,
        "remeasured": remeasured,
        "candidates": [
            {
                "trial": each.trial.id,
                "on_front": each.on_front,
                "short_loss": each.trial.values[LOSS],
                "seed_losses": [each.fresh.get(seed) for seed in seeds],
                "long_loss": each.long,
                "remeasured_values": [
                    each.remeasured[name].value if name in each.remeasured else None
                    for name in remeasured
                ],
                "provisional": provisional[each.trial.id],
                "probability": each.probability,
            }
            for each in confirmation.candidates
        ],
        "notes": [precision_legend(spec.device.precision)] if any(provisional.values()) else [],
        "findings": list(confirmation_findings(confirmation)),
    }
