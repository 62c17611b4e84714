"""Scores an architecture by what it inherits from a network that it shares with all the others."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluators.evaluator import CurvePoint, Infeasible, Progress, Report
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining, TrainedProxy
from evaluators.quality.shared_network import SharedNetwork, balanced_layouts, train_shared
from evaluators.text.corpus import Corpus
from evaluators.training.fit import bits_per_byte, computing, memory_errors_as_results
from search_space.architecture import Architecture
from search_space.space.encoding import draw
from search_space.space.space_definition import Space, check_layouts_only

# To be raised whenever this code would give the same settings another loss.
_VERSION = 1


class InheritedLoss(ProxyLoss):
    """The Evaluator of quality that trains one network for all candidates, and each one no more.

    The network is trained on the whole token budget before the first candidate is scored, since
    scores from different states of it do not compare.
    """

    def __init__(
        self, settings: ProxyTraining, space: Space, folder: Path, corpus: Corpus | None = None
    ) -> None:
        """The budget of `settings` is the network's, which is kept in `folder`.

        corpus: as for ProxyLoss. Raises ValueError for a space that offers more than layouts, and
        as ProxyLoss.
        """
        super().__init__(settings, corpus)
        check_layouts_only(space)
        self._space = space
        self._folder = folder
        self._network: SharedNetwork | None = None

    @cached_property
    def fingerprint(self) -> str:
        facts = [super().fingerprint, asdict(self._space), _VERSION]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def train(self, architecture: Architecture, report: Report) -> TrainedProxy:
        """The architecture's proxy as it is inherited; its curve has the end alone.

        Raises Infeasible for an architecture that has no place in the network, and as ProxyLoss.
        """
        training = self._settings.training
        proxy = self._proxy(architecture)
        network = self._trained_network(report)
        misfit = network.misfit(proxy)
        if misfit is not None:
            raise Infeasible(f"its loss cannot be inherited: {misfit}")
        text = self._text(proxy.vocab_size, lambda said: report(Progress(done=0.0, text=said)))
        model = network.inherited(proxy)
        with computing(
            training, lambda said: report(Progress(done=1.0, text=said))
        ) as yield_to_measurements:
            loss = bits_per_byte(model, text, training, yield_to_measurements)
        return TrainedProxy(
            model=model,
            tokenizer=self._tokenizers[proxy.vocab_size],
            curve=(CurvePoint(tokens=training.steps * training.step_tokens, loss=loss),),
        )

    def _trained_network(self, report: Report) -> SharedNetwork:
        if self._network is None:
            pure = [self._proxy(each) for each in _pure(self._space)]
            text = self._text(
                pure[0].vocab_size, lambda said: report(Progress(done=0.0, text=said))
            )
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
        """The proxy that a step improves: every mixer is drawn alike, as far as the rules allow."""
        letters = self._space.mixers
        turn, place = divmod(step, len(letters))
        generator = np.random.default_rng((self._settings.training.seed, turn))
        layouts = balanced_layouts(letters, self._space.depth[0], generator)
        return self._proxy(draw(self._space, _Layout(layouts[place])))


class _Layout:
    """A Suggester that knows one layout; there is nothing else to choose."""

    def __init__(self, layout: str) -> None:
        self._letters = iter(layout)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        assert low == high, f"{name} has more than one choice"
        return low

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        return next(self._letters)


def _pure(space: Space) -> list[Architecture]:
    """For each mixer on offer the architecture that has no other, whatever the rules ask."""
    rules = replace(
        space.rules,
        attention_layers=None,
        longest_run_without_attention=None,
        first=None,
        last=None,
    )
    free = replace(space, rules=rules)
    return [draw(free, _Layout(letter * space.depth[0])) for letter in space.mixers]
