"""The loss of an architecture's proxy on held-out text after a short training."""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import tokenizers
import torch

from evaluators.evaluator import CurvePoint, Evaluation, Progress, Report, text_reporter
from evaluators.quality.completions import (
    Completions,
    completion_bits_per_byte,
    held_out_windows,
    training_ids,
)
from evaluators.quality.token_budgets import MOST_PASSES, OFTEN_READ
from evaluators.scores import LATE_LOSS, LOOKUP_LOSS, LOSS, OTHER_LOSS, TASK, make_score
from evaluators.text.corpus import Corpus, CorpusName, check_corpus, corpus_note, read_corpus
from evaluators.text.task import Task, read_task
from evaluators.text.tokenizer import TokenIds, Tokenizer, encode, encode_each, train_tokenizer
from evaluators.training.scoring import follows_repeated_pair, windows_of
from evaluators.training.step import UNSCORED
from evaluators.training.text_training import TrainingResult, train_model
from evaluators.training.tokenized_text import TokenizedText
from evaluators.training.torch_context import computing, memory_errors_as_results
from evaluators.training.torch_device import check_device, precision
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import Say, ignore_text
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel

# Increase this whenever the same settings would lead to another loss.
_VERSION = 3
# Blocks of 4 kB. With 256 of them, the difference between two models has a standard error of 0.0013
# bits/byte; with 24, of 0.004.
_MOST_BLOCKS = 256
_FEWEST_BLOCKS = 24
# Scoring then takes about a tenth of the time of the training.
_TOKENS_PER_BLOCK = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTraining:
    """The proxy, the text that it reads, and its training.

    Attributes:
        target_context: The context length of the deployed model, in tokens. An attention window
            is shortened so that it covers the same fraction of the proxy's context as of this one.
        corpus: `python` (the standard library's sources), a file, a folder, a pattern, a dataset,
            or several of these.
        task: The path of a file of prompts and completions, see `read_task`; None for no task.
        task_share: The fraction of the tokens read in training that come from the task.
        width_share: The width of the proxy as a fraction of the candidate's.
        training: The length of the training and its other settings.
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
    """A trained proxy.

    Attributes:
        model: The proxy with its trained weights.
        tokenizer: The tokenizer whose ids the proxy reads.
        curve: The validation losses during the training.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyJob:
    """The training of a proxy, and the scores that follow from it.

    Attributes:
        proxy: The proxy.
        text: The text to train on and to score.
        completions: Held-out completions of the task to score; None without a task.
        training: The length of the training and its other settings.
    """

    proxy: Architecture
    text: TokenizedText
    completions: Completions | None
    training: TrainingSettings

    def run(self, report: Report) -> Evaluation:
        """Train the proxy and score it; see `Job.run`."""
        started = time.perf_counter()
        model, result = self.train(report)
        values = {
            LOSS: result.loss.whole,
            LOOKUP_LOSS: result.loss.lookup,
            OTHER_LOSS: result.loss.other,
            LATE_LOSS: result.loss.late,
        }
        if self.completions is not None:
            values[TASK] = self._task_score(model, self.completions, report)
        return Evaluation(
            scores=tuple(make_score(name, value) for name, value in values.items()),
            seconds=time.perf_counter() - started,
            curve=result.curve,
        )

    def train(self, report: Report) -> tuple[LanguageModel, TrainingResult]:
        """Return the trained proxy, its learning curve and its losses."""
        with memory_errors_as_results():
            model = LanguageModel(self.proxy)
            return model, train_model(model, self.text, self.training, report)

    def _task_score(self, model: LanguageModel, completions: Completions, report: Report) -> float:
        say = text_reporter(report, done=1.0)
        with memory_errors_as_results(), computing(self.training, say) as yield_to_measurements:
            return completion_bits_per_byte(
                model, completions, self.training.device, yield_to_measurements
            )


class ProxyLoss:
    """The JobEvaluator of the losses and, if there is a task, of `task`; one training gives all.

    `loss` is the bits per byte of held-out text, of which `lookup_loss`, `other_loss` and
    `late_loss` are parts (see `HeldOutLoss`). `task` is the bits per byte of held-out completions.
    Text is read and tokenizers are trained when they are first needed. Tokenizers are trained on
    the corpus alone.
    """

    stage = "training"

    def __init__(self, settings: ProxyTraining, corpus: Corpus | None = None) -> None:
        """Check the settings; nothing is read or trained yet.

        Args:
            settings: The proxy, its text and its training.
            corpus: The corpus that the settings name, if it has been read already.

        Raises:
            ValueError: The corpus does not exist, or torch cannot use the device.
        """
        check_corpus(settings.corpus)
        check_device(settings.training.device)
        self._settings = settings
        self._corpus = corpus
        self._texts: dict[int, TokenizedText] = {}
        self._tokenizers: dict[int, Tokenizer] = {}
        self._completions: dict[int, Completions] = {}
        self._has_remarked = False

    @property
    def score_names(self) -> tuple[str, ...]:
        """The losses on held-out text, and `task` if the settings name one."""
        losses = (LOSS, LOOKUP_LOSS, OTHER_LOSS, LATE_LOSS)
        return losses if self._settings.task is None else (*losses, TASK)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the settings, the texts and the versions that the scores depend on."""
        facts = asdict(self._settings)
        del facts["training"]["longest_pause"]
        if self._task is None:
            del facts["task"], facts["task_share"]
        else:
            facts["task"] = self._task.identity
        facts |= {
            "version": _VERSION,
            "corpus": self._read_corpus(ignore_text).identity,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
            "precision": precision(self._settings.training.device),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Train the architecture's proxy and score it on held-out text.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The loss diverged, or memory ran out.
        """
        return self.prepare(architecture, report).run(report)

    def prepare(self, architecture: Architecture, report: Report) -> ProxyJob:
        """Return the training of the architecture's proxy, with the text as token ids."""
        proxy = self._proxy(architecture)
        text = self._text(proxy.vocab_size, report)
        return ProxyJob(
            proxy=proxy,
            text=text,
            completions=self._completions.get(proxy.vocab_size),
            training=self._settings.training,
        )

    def train(self, architecture: Architecture, report: Report) -> TrainedProxy:
        """Return the architecture's proxy after its training; see `evaluate`."""
        job = self.prepare(architecture, report)
        model, result = job.train(report)
        tokenizer = self._tokenizers[job.proxy.vocab_size]
        return TrainedProxy(model=model, tokenizer=tokenizer, curve=result.curve)

    def _proxy(self, architecture: Architecture) -> Architecture:
        window_share = self._settings.training.context_length / self._settings.target_context
        return proxy_of(architecture, self._settings.width_share, min(1.0, window_share))

    def _read_corpus(self, say: Say) -> Corpus:
        """Return the corpus, which is read once."""
        if self._corpus is None:
            settings = self._settings
            self._corpus = read_corpus(settings.corpus, say, settings.training.token_budget)
        return self._corpus

    @cached_property
    def _task(self) -> Task | None:
        return None if self._settings.task is None else read_task(self._settings.task)

    def _text(self, vocab_size: int, report: Report) -> TokenizedText:
        if vocab_size not in self._texts:
            say = text_reporter(report)
            training, corpus = self._settings.training, self._read_corpus(say)
            if not self._texts and (note := corpus_note(corpus)) is not None:
                say(note)
            tokenizer = train_tokenizer(corpus.training, vocab_size, say)
            text = TokenizedText(
                training=self._training_ids(tokenizer, corpus, report),
                validation=encode(tokenizer, corpus.held_out[: self._scored_blocks], say),
                token_bytes=tokenizer.token_bytes,
                early=sum(map(len, encode_each(tokenizer, corpus.held_out[:_FEWEST_BLOCKS]))),
            )
            self._check_parts(text)
            if self._task is not None:
                self._completions[vocab_size] = held_out_windows(
                    tokenizer, self._task.held_out, training.context_length
                )
            self._tokenizers[vocab_size] = tokenizer
            self._texts[vocab_size] = text
        return self._texts[vocab_size]

    @property
    def _scored_blocks(self) -> int:
        """How many blocks of held-out text are scored at the end of a training."""
        in_proportion = self._settings.training.token_budget // _TOKENS_PER_BLOCK
        return max(_FEWEST_BLOCKS, min(_MOST_BLOCKS, in_proportion))

    def _check_parts(self, text: TokenizedText) -> None:
        """Raise ValueError if one of the losses has no tokens to be computed on."""
        length = self._settings.training.context_length
        windows = windows_of(text.validation, length)
        is_lookup_NT = follows_repeated_pair(windows.inputs_BT.numpy())
        is_scored_NT = windows.targets_BT.numpy() != UNSCORED
        scored = {
            LOOKUP_LOSS: is_scored_NT & is_lookup_NT,
            OTHER_LOSS: is_scored_NT & ~is_lookup_NT,
            LATE_LOSS: is_scored_NT[:, math.ceil(length / 2) :],
        }
        for name, is_scored in scored.items():
            if not is_scored.any():
                raise ValueError(
                    f"corpus: the held-out text is too short for windows of {length:,} tokens: no "
                    f"token counts for {name}; use a larger corpus or a smaller context_length"
                )

    def _training_ids(self, tokenizer: Tokenizer, corpus: Corpus, report: Report) -> TokenIds:
        """Return the ids of the corpus and then of the task, in whole windows.

        Training reads the windows in random order.
        """
        training = self._settings.training
        windows = training.steps * training.batch_size
        task_windows = 0
        if self._task is not None:
            task_windows = max(1, round(self._settings.task_share * windows))
        # The targets of a window extend one token beyond it.
        wanted = (windows - task_windows) * training.context_length + 1
        say = text_reporter(report)
        ids = encode(tokenizer, corpus.training, say, at_least=wanted)
        passes = wanted / len(ids)
        if passes > 1:
            say(f"the corpus has {len(ids):,} tokens, which are read {passes:.1f} times")
        if passes > MOST_PASSES and not self._has_remarked:
            text = (
                f"each training of {training.token_budget:,} tokens reads the {len(ids):,} tokens "
                f"of the corpus {passes:.1f} times"
            )
            report(Progress(done=0.0, text=text, remark=f"{text}; {OFTEN_READ}"))
            self._has_remarked = True
        if self._task is None:
            return ids
        more = task_windows * training.context_length
        return np.concatenate(
            [np.resize(ids, wanted), training_ids(tokenizer, self._task.training, more, say)]
        )
