"""The loss of weights that an architecture inherits from one network shared by all candidates."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluators.evaluator import CurvePoint, Infeasible, Report, text_reporter
from evaluators.quality.proxy_loss import ProxyJob, ProxyLoss, ProxyTraining
from evaluators.quality.shared_network import SharedNetwork, balanced_layouts, train_shared
from evaluators.text.corpus import Corpus
from evaluators.training.text_training import TrainingResult, score
from evaluators.training.torch_context import memory_errors_as_results
from search_space.architecture import Architecture
from search_space.space.encoding import draw
from search_space.space.layout_space import check_layouts_only
from search_space.space.matching import MatchedLatency
from search_space.space.space_definition import Space
from search_space.torch_model import LanguageModel

# Increase this whenever the same settings would lead to another loss.
_VERSION = 2
# Blocks of 4 kB. They are all that a candidate costs, so there are fewer than after a training.
_SCORED_BLOCKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedJob(ProxyJob):
    """The scoring of a proxy with given weights.

    Attributes:
        model: The proxy with its weights.
    """

    model: LanguageModel

    def train(self, report: Report) -> tuple[LanguageModel, TrainingResult]:
        """Return the proxy and its losses, with a learning curve that has a single point."""
        training = self.training
        with memory_errors_as_results():
            loss = score(self.model, self.text, training, text_reporter(report))
        point = CurvePoint(tokens=training.steps * training.step_tokens, loss=loss.whole)
        return self.model, TrainingResult(curve=(point,), loss=loss)


class InheritedLoss(ProxyLoss):
    """The JobEvaluator of the losses that trains one network for all candidates, not each of them.

    The network is trained on the whole token budget before the first candidate is scored, because
    losses from different states of the network are not comparable.
    """

    def __init__(
        self, settings: ProxyTraining, space: Space, folder: Path, corpus: Corpus | None = None
    ) -> None:
        """Check the settings and the space; nothing is trained yet.

        Args:
            settings: The proxy and its training. The token budget is that of the network.
            space: The space that the candidates are drawn from.
            folder: The folder that the trained network is stored in.
            corpus: The corpus that the settings name, if it has been read already.

        Raises:
            ValueError: More than the layout varies in the space, the corpus does not exist, or
                torch cannot use the device.
        """
        super().__init__(settings, corpus)
        check_layouts_only(space)
        self._space = space
        self._folder = folder
        self._network: SharedNetwork | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the space and of everything that the loss of a proxy depends on."""
        facts = [super().fingerprint, asdict(self._space), _VERSION]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def prepare(self, architecture: Architecture, report: Report) -> ProxyJob:
        """Return the scoring of the architecture's proxy with the weights that it inherits.

        The first call trains the network. The learning curve of the scoring has a single point, at
        the end of that training.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The network's loss diverged, or memory ran out.
            Infeasible: The architecture is not a part of the network.
        """
        network = self._trained_network(report)
        mismatch = network.mismatch(self._proxy(architecture))
        if mismatch is not None:
            raise Infeasible(f"its loss cannot be inherited: {mismatch}")
        job = super().prepare(architecture, report)
        return InheritedJob(
            proxy=job.proxy,
            text=job.text,
            completions=job.completions,
            training=job.training,
            model=network.extract(job.proxy),
        )

    @property
    def _scored_blocks(self) -> int:
        return _SCORED_BLOCKS

    def _trained_network(self, report: Report) -> SharedNetwork:
        if self._network is None:
            pure = [self._proxy(each) for each in _pure(self._space)]
            text = self._text(pure[0].vocab_size, report)
            network = SharedNetwork(pure)
            with memory_errors_as_results():
                train_shared(
                    network,
                    self._candidate,
                    text,
                    self._settings.training,
                    self._folder / f"shared-network-{self.fingerprint}.safetensors",
                    report,
                )
            self._network = network
        return self._network

    def _candidate(self, step: int) -> Architecture:
        """Return the proxy that a step trains; mixers are equally frequent if rules allow it."""
        letters = self._space.mixers
        turn, place = divmod(step, len(letters))
        generator = np.random.default_rng((self._settings.training.seed, turn))
        layouts = balanced_layouts(letters, self._space.depth[0], generator)
        return self._proxy(draw(self._space, _Layout(layouts[place])))


class _Layout:
    """A Suggester that returns one given layout, in a space with no other choice."""

    def __init__(self, layout: str) -> None:
        self._letters = iter(layout)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        assert low == high, f"{name} has more than one choice"
        return low

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        return next(self._letters)


def _pure(space: Space) -> list[Architecture]:
    """Return an architecture for each mixer that has no other mixer, even if rules forbid that."""
    rules = replace(
        space.rules,
        attention_layers=None,
        longest_run_without_attention=None,
        first=None,
        last=None,
    )
    free = replace(space, rules=rules)
    if isinstance(space.matched, MatchedLatency):
        # The network must contain the widest feed-forward that a candidate may have.
        free = replace(free, matched=None, feed_forward=space.feed_forward[-1:])
    return [draw(free, _Layout(letter * space.depth[0])) for letter in space.mixers]
