"""A study whose trials a test chooses."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture, Layer, ShortConv
from search_space.preset_models import preset
from studies.analysis import summaries
from studies.analysis.followed_study import FollowedStudy
from studies.records import Outcome, ScoredPoint, StageRun, Trial
from studies.spec.study_spec import StudySpec
from studies.storage.store import Store
from tests.studies.storage.timed_trials import replace_stored

_UNITS = {"loss": "bits/byte", "decode": "ms", "memory": "MB"}


@dataclass
class Written:
    """A study whose trials a test chooses."""

    store: Store
    spec: StudySpec
    _count: int = field(default=0)

    def trial(
        self,
        outcome: str = "complete",
        *,
        earlier_duplicate: Trial | None = None,
        provisional: Collection[str] = (),
        architecture: Architecture | None = None,
        **values: float,
    ) -> Trial:
        trial = self.store.claim(self.spec.name, total=10_000)
        assert trial is not None
        self._count += 1
        architecture = architecture or numbered_architecture(self._count)
        if earlier_duplicate is not None:
            assert earlier_duplicate.model is not None
            architecture = self.store.architecture(earlier_duplicate.model.hash)
        begun = self.store.begin(trial, architecture)
        if earlier_duplicate is None:
            self.evaluate(begun, architecture, values, provisional)
        end = Outcome(
            state=outcome,
            stage=None if outcome == "complete" else "all",
            reason=None if outcome == "complete" else "chosen by the test",
            failure="diverged" if outcome == "failed" else None,
        )
        return self.store.end(begun, end, earlier_duplicate=earlier_duplicate)

    def reference(self, name: str, **values: float) -> Trial:
        trial = self.store.claim_reference(self.spec.name, name)
        assert trial is not None
        begun = self.store.begin(trial, preset(name))
        self.evaluate(begun, preset(name), values)
        return self.store.end(begun, Outcome(state="complete"))

    def settle(self, trial: Trial, **values: float) -> None:
        """Replace the scores of a trial by settled ones."""
        assert trial.model is not None
        architecture = self.store.architecture(trial.model.hash)
        replace_stored(self.store, "all 1", architecture, _evaluation(values, ()))

    def evaluate(
        self,
        trial: Trial,
        architecture: Architecture,
        values: Mapping[str, float],
        provisional: Collection[str] = (),
    ) -> None:
        self.store.save_evaluation("all 1", architecture, _evaluation(values, provisional))
        run = StageRun(stage="all", fingerprint="all 1", seconds=0.5)
        self.store.leave(trial, run, finished=True)


def numbered_architecture(number: int) -> Architecture:
    layer = Layer(mixer=ShortConv(kernel=1), feed_forward_width=number)
    return Architecture(vocab_size=256, width=64, embedding_width=64, layers=(layer,))


def numbers(trials: tuple[Trial, ...] | tuple[ScoredPoint, ...]) -> list[int]:
    return [trial.number for trial in trials]


def summary_of(written: Written) -> summaries.StudySummary:
    followed = FollowedStudy(written.store, "small")
    followed.catch_up()
    return summaries.study_summary(followed)


def _evaluation(values: Mapping[str, float], provisional: Collection[str]) -> Evaluation:
    scores = tuple(
        Score(
            name=name,
            value=value,
            unit=_UNITS[name.partition("@")[0]],
            provisional=name in provisional,
        )
        for name, value in values.items()
    )
    return Evaluation(scores=scores, seconds=1.0)
