"""Scores an architecture by a short training of its proxy: bits per byte of held-out text."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property

import tokenizers
import torch

from evaluators.corpus import Corpus, check_corpus, read_corpus
from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    EvaluationFailed,
    Progress,
    Report,
    Score,
)
from evaluators.tokenizer import Say, Tokenizer, encode, train_tokenizer
from evaluators.training import (
    TokenizedText,
    TrainingSettings,
    check_device,
    precision,
    train_model,
)
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel

# To be raised whenever this code would give the same settings another loss.
_VERSION = 1
# 100 kB: the difference of two models is then known to 0.004 bits/byte (one standard error).
_VALIDATION_BLOCKS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTraining:
    """What stands for quality.

    corpus: `python` (the standard library's sources) or the path of a text file or folder.
    width_share: the proxy's width as a share of the candidate's.
    target_context: tokens that the deployed model sees; a window covers the same share of the
        proxy's context as of these.
    """

    target_context: int
    corpus: str = "python"
    width_share: float = 0.125
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if not 0.0 < self.width_share <= 1.0:
            raise ValueError(f"width_share: {self.width_share} is not above 0 and at most 1")
        if self.target_context < 1:
            raise ValueError(f"target_context: {self.target_context} is not at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedProxy:
    """A proxy as its training left it, the tokenizer that it reads by, and its learning curve."""

    model: LanguageModel
    tokenizer: Tokenizer
    curve: tuple[CurvePoint, ...]


class ProxyLoss:
    """The Evaluator of quality. Text is read, and tokenizers are trained, when first needed."""

    stage = "training"
    score_names = ("loss",)

    def __init__(self, settings: ProxyTraining) -> None:
        """ValueError for a corpus that is not there and for a device that torch does not have."""
        check_corpus(settings.corpus)
        check_device(settings.training.device)
        self._settings = settings
        self._texts: dict[int, TokenizedText] = {}
        self._tokenizers: dict[int, Tokenizer] = {}

    @cached_property
    def fingerprint(self) -> str:
        facts = asdict(self._settings) | {
            "version": _VERSION,
            "corpus": self._corpus.identity,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
            "precision": precision(self._settings.training.device),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Raises EvaluationFailed when the loss diverges or memory runs out."""
        started = time.perf_counter()
        curve = self.train(architecture, report).curve
        return Evaluation(
            scores=(Score(name="loss", value=curve[-1].loss, unit="bits/byte"),),
            seconds=time.perf_counter() - started,
            curve=curve,
        )

    def train(self, architecture: Architecture, report: Report) -> TrainedProxy:
        """The architecture's proxy, trained; raises as `evaluate`."""
        training = self._settings.training
        window_share = min(1.0, training.context_length / self._settings.target_context)
        proxy = proxy_of(architecture, self._settings.width_share, window_share)
        text = self._text(proxy.vocab_size, lambda said: report(Progress(done=0.0, text=said)))
        with _memory_errors_as_results():
            model = LanguageModel(proxy)
            curve = train_model(model, text, training, report)
        tokenizer = self._tokenizers[proxy.vocab_size]
        return TrainedProxy(model=model, tokenizer=tokenizer, curve=curve)

    @cached_property
    def _corpus(self) -> Corpus:
        return read_corpus(self._settings.corpus)

    def _text(self, vocab_size: int, say: Say) -> TokenizedText:
        if vocab_size not in self._texts:
            training = self._settings.training
            tokenizer = train_tokenizer(self._corpus.training, vocab_size, say)
            # A window's targets reach one token further than the window.
            wanted = training.steps * training.step_tokens + 1
            ids = encode(tokenizer, self._corpus.training, say, at_least=wanted)
            if len(ids) < wanted:
                say(f"the corpus holds {len(ids):,} tokens, read {wanted / len(ids):.1f} times")
            self._tokenizers[vocab_size] = tokenizer
            self._texts[vocab_size] = TokenizedText(
                training=ids,
                validation=encode(tokenizer, self._corpus.held_out[:_VALIDATION_BLOCKS], say),
                token_bytes=tokenizer.token_bytes,
            )
        return self._texts[vocab_size]


@contextlib.contextmanager
def _memory_errors_as_results() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
        raise EvaluationFailed("out of memory", reason) from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Also where it is the cause: a recording that breaks off ends with an error of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if "DefaultCPUAllocator" in str(error):  # a plain RuntimeError on a CPU
        return True
    return error.__context__ is not None and _is_out_of_memory(error.__context__)
