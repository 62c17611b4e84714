"""Scores an architecture by a short training of its proxy: bits per byte of held-out text."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import tokenizers
import torch

from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    Progress,
    Report,
    Score,
)
from evaluators.quality.completions import (
    Completions,
    completion_bits_per_byte,
    held_out_windows,
    training_ids,
)
from evaluators.text.corpus import Corpus, CorpusName, check_corpus, overlap_note, read_corpus
from evaluators.text.task import Task, read_task
from evaluators.text.tokenizer import Say, TokenIds, Tokenizer, encode, train_tokenizer
from evaluators.training.fit import (
    TokenizedText,
    TrainingSettings,
    computing,
    memory_errors_as_results,
    train_model,
)
from evaluators.training.torch_device import check_device, precision
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel

# To be raised whenever this code would give the same settings another loss.
_VERSION = 2
# 100 kB: the difference of two models is then known to 0.004 bits/byte (one standard error).
_VALIDATION_BLOCKS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTraining:
    """What stands for quality.

    corpus: `python` (the standard library's sources), a file, a folder, a pattern, or several.
    width_share: the proxy's width as a share of the candidate's.
    task: the path of a file of prompts and completions, see `read_task`; None for no task.
    task_share: of the tokens that are read, those of the task.
    target_context: tokens that the deployed model sees; a window covers the same share of the
        proxy's context as of these.
    """

    target_context: int
    corpus: CorpusName = "python"
    task: str | None = None
    task_share: float = 0.25
    width_share: float = 0.125
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if not 0.0 < self.width_share <= 1.0:
            raise ValueError(f"width_share: {self.width_share} is not above 0 and at most 1")
        if not 0.0 < self.task_share <= 1.0:
            raise ValueError(f"task_share: {self.task_share} is not above 0 and at most 1")
        if self.target_context < 1:
            raise ValueError(f"target_context: {self.target_context} is not at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedProxy:
    """A proxy as its training left it, the tokenizer that it reads by, and its learning curve."""

    model: LanguageModel
    tokenizer: Tokenizer
    curve: tuple[CurvePoint, ...]


class ProxyLoss:
    """The Evaluator of quality: `loss`, and where there is a task, `task`, of the same training.

    Both are in bits per byte, `task` of the completions that are held out alone. Text is read, and
    tokenizers are trained, when first needed. Tokenizers are those of the corpus.
    """

    stage = "training"

    def __init__(self, settings: ProxyTraining, corpus: Corpus | None = None) -> None:
        """corpus: what the settings name, where it has been read already, as for another of these.

        ValueError for a corpus that is not there and for a device that torch does not have.
        """
        check_corpus(settings.corpus)
        check_device(settings.training.device)
        self._settings = settings
        self._given_corpus = corpus
        self._texts: dict[int, TokenizedText] = {}
        self._tokenizers: dict[int, Tokenizer] = {}
        self._completions: dict[int, Completions] = {}

    @property
    def score_names(self) -> tuple[str, ...]:
        return ("loss",) if self._settings.task is None else ("loss", "task")

    @cached_property
    def fingerprint(self) -> str:
        facts = asdict(self._settings)
        if self._task is None:
            del facts["task"], facts["task_share"]
        else:
            facts["task"] = self._task.identity
        facts |= {
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
        trained = self.train(architecture, report)
        values = {"loss": trained.curve[-1].loss}
        if self._task is not None:
            values["task"] = self._task_score(trained.model, report)
        return Evaluation(
            scores=tuple(
                Score(name=name, value=value, unit="bits/byte") for name, value in values.items()
            ),
            seconds=time.perf_counter() - started,
            curve=trained.curve,
        )

    def train(self, architecture: Architecture, report: Report) -> TrainedProxy:
        """The architecture's proxy, trained; raises as `evaluate`."""
        training = self._settings.training
        proxy = self._proxy(architecture)
        text = self._text(proxy.vocab_size, lambda said: report(Progress(done=0.0, text=said)))
        with memory_errors_as_results():
            model = LanguageModel(proxy)
            curve = train_model(model, text, training, report)
        tokenizer = self._tokenizers[proxy.vocab_size]
        return TrainedProxy(model=model, tokenizer=tokenizer, curve=curve)

    def _proxy(self, architecture: Architecture) -> Architecture:
        window_share = self._settings.training.context_length / self._settings.target_context
        return proxy_of(architecture, self._settings.width_share, min(1.0, window_share))

    @cached_property
    def _corpus(self) -> Corpus:
        return self._given_corpus or read_corpus(self._settings.corpus)

    @cached_property
    def _task(self) -> Task | None:
        return None if self._settings.task is None else read_task(self._settings.task)

    def _task_score(self, model: LanguageModel, report: Report) -> float:
        training = self._settings.training
        completions = self._completions[model.architecture.vocab_size]

        def say(sentence: str) -> None:
            report(Progress(done=1.0, text=sentence))

        with memory_errors_as_results(), computing(training, say) as yield_to_measurements:
            return completion_bits_per_byte(
                model, completions, training.device, yield_to_measurements
            )

    def _text(self, vocab_size: int, say: Say) -> TokenizedText:
        if vocab_size not in self._texts:
            training = self._settings.training
            if not self._texts and (note := overlap_note(self._corpus)) is not None:
                say(note)
            tokenizer = train_tokenizer(self._corpus.training, vocab_size, say)
            self._tokenizers[vocab_size] = tokenizer
            self._texts[vocab_size] = TokenizedText(
                training=self._training_ids(tokenizer, say),
                validation=encode(tokenizer, self._corpus.held_out[:_VALIDATION_BLOCKS], say),
                token_bytes=tokenizer.token_bytes,
            )
            if self._task is not None:
                self._completions[vocab_size] = held_out_windows(
                    tokenizer, self._task.held_out, training.context_length
                )
        return self._texts[vocab_size]

    def _training_ids(self, tokenizer: Tokenizer, say: Say) -> TokenIds:
        """Of the corpus, then of the task: whole windows, which training puts in random order."""
        training = self._settings.training
        windows = training.steps * training.batch_size
        of_task = 0
        if self._task is not None:
            of_task = max(1, round(self._settings.task_share * windows))
        # A window's targets reach one token further than the window.
        wanted = (windows - of_task) * training.context_length + 1
        ids = encode(tokenizer, self._corpus.training, say, at_least=wanted)
        if len(ids) < wanted:
            say(f"the corpus holds {len(ids):,} tokens, read {wanted / len(ids):.1f} times")
        if self._task is None:
            return ids
        more = of_task * training.context_length
        return np.concatenate(
            [np.resize(ids, wanted), training_ids(tokenizer, self._task.training, more, say)]
        )
