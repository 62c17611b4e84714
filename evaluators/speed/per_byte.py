"""Latency per byte of text, which makes models with different vocabularies comparable."""

import time
from dataclasses import replace
from functools import cached_property

import tokenizers

from evaluators.evaluator import Evaluation, Evaluator, Report, Score, text_reporter
from evaluators.scores import make_score
from evaluators.text.corpus import Corpus
from evaluators.text.tokenizer import encode, train_tokenizer
from hardware.progress import Say
from search_space.architecture import Architecture

# Increase this whenever this code would lead to other scores.
_VERSION = 1
# The bytes themselves are the smallest vocabulary. The upper limit is that of 16-bit token ids; a
# few megabytes of text do not fill it, so a larger vocabulary would make no difference here.
_FEWEST_TOKENS, _MOST_TOKENS = 256, 65_536


class PerByteEvaluator:
    """The Evaluator of `decode_per_byte` and `prefill_per_byte`, in microseconds per UTF-8 byte.

    The text is the corpus's held-out text. It is encoded with a tokenizer of the architecture's
    vocabulary size, which is trained on the rest of the corpus. Confidence intervals are those of
    the latency; the error due to the text is the same for all architectures.
    """

    stage = "text"
    score_names = ("decode_per_byte", "prefill_per_byte")

    def __init__(self, latency: Evaluator, corpus: Corpus, prompt_length: int) -> None:
        """Choose the latency and the text.

        Args:
            latency: An evaluator of `decode` and `prefill`; a cached one, so that nothing is timed
                twice.
            corpus: The text.
            prompt_length: The prompt length of `prefill`, in tokens.
        """
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
        return Evaluation(
            scores=(
                _per_byte(scores["decode"], bytes_per_token),
                _per_byte(scores["prefill"], bytes_per_token * self._prompt_length),
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


def _per_byte(score: Score, count: float) -> Score:
    """Convert a score in ms for `count` bytes to us per byte."""
    factor = 1e3 / count
    measured = score.measured
    converted = make_score(
        f"{score.name}_per_byte",
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
