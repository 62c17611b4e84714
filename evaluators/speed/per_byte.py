"""Latency per byte of text, which makes models with different vocabularies comparable."""

import time
from dataclasses import replace
from functools import cached_property

import tokenizers

from evaluators.evaluator import Evaluation, Evaluator, Report, Score, text_reporter
from evaluators.scores import PER_BYTE, make_score, score_on_device
from evaluators.text.corpus import Corpus
from evaluators.text.tokenizer import encode, train_tokenizer
from hardware.progress import Say
from search_space.architecture import Architecture

# Increase this whenever this code would lead to other scores.
_VERSION = 1
# The bytes themselves are the smallest vocabulary. The upper limit is that of 16-bit token ids; a
# few megabytes of text do not fill it, so a larger vocabulary would make no difference here.
_FEWEST_TOKENS, _MOST_TOKENS = 256, 65_536


TEXT_STAGE = "text"


class PerByteEvaluator:
    """The Evaluator of `decode_per_byte` and `prefill_per_byte`, in microseconds per UTF-8 byte.

    On a named device, they are `decode_per_byte@phone` and so on.

    The text is the corpus's held-out text. It is encoded with a tokenizer of the architecture's
    vocabulary size, which is trained on the rest of the corpus. Confidence intervals are those of
    the latency; the error due to the text is the same for all architectures.
    """

    def __init__(
        self, latency: Evaluator, corpus: Corpus, prompt_length: int, device: str | None = None
    ) -> None:
        """Choose the latency and the text.

        Args:
            latency: An evaluator of `decode` and `prefill`; a cached one, so that nothing is timed
                twice.
            corpus: The text.
            prompt_length: The prompt length of `prefill`, in tokens.
            device: The name of the device of `latency`; None for this machine.
        """
        self.stage = _named(TEXT_STAGE, device)
        self.score_names = tuple(_named(name, device) for name in PER_BYTE)
        self._device = device
        self._latency = latency
        self._corpus = corpus
        self._prompt_length = prompt_length
        self._bytes_per_token: dict[int, float] = {}

    @cached_property
    def fingerprint(self) -> str:
        """The latency's fingerprint with the identity of the text and the version of tokenizers."""
        text = f"{self._corpus.identity} tokenizers {tokenizers.__version__}"
        return f"per byte {_VERSION} {text} {self._latency.fingerprint}"

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Divide the architecture's latency by the mean bytes per token of its vocabulary.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The latency evaluator failed.
            Infeasible: The latency evaluator found the architecture infeasible.
        """
        start = time.monotonic()
        latency = self._latency.evaluate(architecture, report)
        scores = {score.name: score for score in latency.scores}
        bytes_per_token = self._mean_bytes(architecture.vocab_size, text_reporter(report))
        decode, prefill = (scores[_named(name, self._device)] for name in ("decode", "prefill"))
        decode_name, prefill_name = self.score_names
        return Evaluation(
            scores=(
                _per_byte(decode_name, decode, bytes_per_token),
                _per_byte(prefill_name, prefill, bytes_per_token * self._prompt_length),
            ),
            seconds=time.monotonic() - start,
        )

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Divide the latency again, which has become more precise; see `Refinable.refine`."""
        return self.evaluate(architecture, report)

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Divide the latency as it is now; see `Refinable.rescore`."""
        return self.evaluate(architecture, report)

    def _mean_bytes(self, vocab_size: int, say: Say) -> float:
        size = min(max(vocab_size, _FEWEST_TOKENS), _MOST_TOKENS)
        if size not in self._bytes_per_token:
            tokenizer = train_tokenizer(self._corpus.training, size, say)
            ids = encode(tokenizer, self._corpus.held_out, say)
            self._bytes_per_token[size] = float(tokenizer.token_bytes[ids].mean())
        return self._bytes_per_token[size]


def is_text_stage(stage: str) -> bool:
    """Return whether a stage is that of a `PerByteEvaluator`."""
    return stage == TEXT_STAGE or stage.startswith(score_on_device(TEXT_STAGE, ""))


def _named(name: str, device: str | None) -> str:
    return name if device is None else score_on_device(name, device)


def _per_byte(name: str, score: Score, count: float) -> Score:
    """Convert a score in ms for `count` bytes to us per byte."""
    factor = 1e3 / count
    measured = score.measured
    converted = make_score(
        name,
        factor * score.value,
        low=None if score.low is None else factor * score.low,
        high=None if score.high is None else factor * score.high,
    )
    if measured is not None:
        measured = replace(
            measured,
            ratio=factor * measured.ratio,
            low=None if measured.low is None else factor * measured.low,
            high=None if measured.high is None else factor * measured.high,
        )
    return replace(converted, provisional=score.provisional, measured=measured)
