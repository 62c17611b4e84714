"""A study of complete trials with confirmation runs that a test chooses."""

from dataclasses import dataclass, field

from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture, Layer, ShortConv
from studies.analysis import study_front
from studies.records import ConfirmationKey, Outcome, StageRun, Trial
from studies.storage.store import Store

BUDGET = 40_000


@dataclass
class ConfirmedStudy:
    """A study of complete trials, with confirmation runs that a test chooses."""

    store: Store
    count: int = 0
    architectures: dict[int, Architecture] = field(default_factory=dict)

    def trial(self, loss: float, decode: float, architecture: Architecture | None = None) -> Trial:
        trial = self.store.claim("small", total=1_000)
        assert trial is not None
        self.count += 1
        self.architectures[self.count] = architecture or _architecture(self.count)
        begun = self.store.begin(trial, self.architectures[self.count])
        self._keep("all", self.count, loss=loss, decode=decode)
        self.store.leave(
            begun, StageRun(stage="all", fingerprint="all", seconds=1.0), finished=True
        )
        return self.store.end(begun, Outcome(state="complete"))

    def training(self, trial: Trial, seed: int, tokens: int, loss: float, **others: float) -> None:
        fingerprint = f"training {seed} {tokens} {loss}"
        self._confirm(trial, fingerprint, "training", seed, tokens, loss=loss, **others)

    def timing(self, trial: Trial, decode: float) -> None:
        self._confirm(trial, "again", "latency", None, None, decode=decode, prefill=1.0)

    def failure(self, trial: Trial, tokens: int) -> None:
        job = ConfirmationKey(
            trial=trial.id, stage="training", fingerprint="f", seed=7, token_budget=tokens
        )
        assert self.store.claim_confirmation(job)
        self.store.end_confirmation(job, seconds=1.0, failure="diverged", reason="loss nan")

    @property
    def front(self) -> study_front.Front:
        return study_front.front(self.store, "small")

    def _confirm(
        self,
        trial: Trial,
        fingerprint: str,
        stage: str,
        seed: int | None,
        tokens: int | None,
        **scores: float,
    ) -> None:
        job = ConfirmationKey(
            trial=trial.id, stage=stage, fingerprint=fingerprint, seed=seed, token_budget=tokens
        )
        assert self.store.claim_confirmation(job)
        self._keep(fingerprint, trial.number + 1, **scores)
        self.store.end_confirmation(job, seconds=1.0)

    def _keep(self, fingerprint: str, number: int, **values: float) -> None:
        scores = tuple(
            Score(name=name, value=value, unit="", low=value - 0.1, high=value + 0.1)
            if name == "decode"
            else Score(name=name, value=value, unit="")
            for name, value in values.items()
        )
        evaluation = Evaluation(scores=scores, seconds=1.0)
        self.store.save_evaluation(fingerprint, self.architectures[number], evaluation)


def _architecture(number: int) -> Architecture:
    """Return an architecture whose number of parameters grows with the number."""
    layer = Layer(mixer=ShortConv(kernel=1), feed_forward_width=32 * number)
    return Architecture(vocab_size=256, width=64, embedding_width=64, layers=(layer,))
