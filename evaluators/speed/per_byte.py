"""Latency a byte of text: a token of a larger vocabulary stands for more of it."""

import time
from functools import cached_property

import tokenizers

from evaluators.evaluator import Evaluation, Evaluator, Progress, Report, Score
from evaluators.text.corpus import Corpus
from evaluators.text.tokenizer import Say, encode, train_tokenizer
from search_space.architecture import Architecture

# To be raised whenever this code would come to other figures.
_VERSION = 1
# The bytes themselves are the smallest vocabulary. Token ids are kept in 16 bits, and a few
# megabytes of text fill fewer tokens than these: a larger vocabulary has no use for more there.
_FEWEST_TOKENS, _MOST_TOKENS = 256, 65_536


class PerByteEvaluator:
    """decode_per_byte and prefill_per_byte, in microseconds a byte of the corpus's held-out text.

    The text is cut by a tokenizer of the architecture's vocabulary size, trained on the rest of the
    corpus. Intervals are those of the latency; that of the text is the same for all architectures.
    """

    stage = "text"
    score_names = ("decode_per_byte", "prefill_per_byte")

    def __init__(self, latency: Evaluator, corpus: Corpus, prompt_length: int) -> None:
        """latency: an evaluator of `decode` and `prefill`, which remembers what it found."""
        self._latency = latency
        self._corpus = corpus
        self._prompt_length = prompt_length
        self._bytes_per_token: dict[int, float] = {}

    @cached_property
    def fingerprint(self) -> str:
        text = f"{self._corpus.identity} tokenizers {tokenizers.__version__}"
        return f"per byte {_VERSION} {text} {self._latency.fingerprint}"

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Raises what the latency evaluator raises."""
        start = time.monotonic()
        found = self._latency.evaluate(architecture, report)
        scores = {score.name: score for score in found.scores}
        in_a_token = self._bytes(
            architecture.vocab_size, lambda said: report(Progress(done=0.0, text=said))
        )
        return Evaluation(
            scores=(
                _per_byte(scores["decode"], in_a_token),
                _per_byte(scores["prefill"], in_a_token * self._prompt_length),
            ),
            seconds=time.monotonic() - start,
        )

    def _bytes(self, vocab_size: int, say: Say) -> float:
        """That a token stands for, on average."""
        size = min(max(vocab_size, _FEWEST_TOKENS), _MOST_TOKENS)
        if size not in self._bytes_per_token:
            tokenizer = train_tokenizer(self._corpus.training, size, say)
            ids = encode(tokenizer, self._corpus.held_out, say)
            self._bytes_per_token[size] = float(tokenizer.token_bytes[ids].mean())
        return self._bytes_per_token[size]


def _per_byte(score: Score, count: float) -> Score:
    """The score in ms for so many bytes."""
    return Score(
        name=f"{score.name}_per_byte",
        value=1e3 * score.value / count,
        unit="us/byte",
        low=None if score.low is None else 1e3 * score.low / count,
        high=None if score.high is None else 1e3 * score.high / count,
    )
