"""A loss in seconds for every layout of one size, from a network that is trained once."""

import functools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Infeasible, Progress
from evaluators.quality.inherited_loss import InheritedLoss
from evaluators.quality.proxy_loss import ProxyTraining
from evaluators.training import fit as training
from evaluators.training.fit import TrainingSettings
from hardware.quiet import yielding_to_measurements
from search_space.architecture import Architecture
from search_space.space.encoding import draw
from search_space.space.matching import Matched
from search_space.space.rules import Rules
from search_space.space.space_definition import Space
from tests.evaluators.conformance import EvaluatorConformance

BRIEF = TrainingSettings(context_length=32, batch_size=2, token_budget=1_280)
SPACE = Space(
    depth=(3,),
    width=(128,),
    mixers=("c", "a", "l", "-"),
    feed_forward=(2.0,),
    vocab_size=(512,),
    head_dim=(32,),
    kv_heads=(2,),
)


class Layout:
    """Suggests one layout."""

    def __init__(self, layout: str) -> None:
        self._letters = iter(layout)

    def suggest_int(self, name, low, high):
        return low

    def suggest_categorical(self, name, choices):
        return next(self._letters)


def candidate(layout: str, space: Space = SPACE) -> Architecture:
    return draw(space, Layout(layout))


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # torch makes this folder with the first optimizer, by default among the temporary files.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    monkeypatch.setattr(
        training, "making_way", functools.partial(yielding_to_measurements, folder=tmp_path)
    )


@pytest.fixture
def settings(tmp_path: Path) -> ProxyTraining:
    draw_word = random.Random(0)
    words = ["".join(draw_word.choices("abcdefghij", k=4)) for _ in range(300)]
    text = tmp_path / "corpus.txt"
    text.write_text("\n\n".join(" ".join(draw_word.choices(words, k=300)) for _ in range(40)))
    return ProxyTraining(target_context=128, corpus=str(text), width_share=0.25, training=BRIEF)


class TestInheritedLoss(EvaluatorConformance):
    @pytest.fixture
    def architecture(self):
        return candidate("cal")

    @pytest.fixture
    def evaluator(self, settings, tmp_path):
        return InheritedLoss(settings, SPACE, tmp_path / "networks")

    def test_one_training_serves_all_and_every_later_process(self, settings, tmp_path):
        first = InheritedLoss(settings, SPACE, tmp_path)
        told: list[Progress] = []
        found = {
            layout: first.evaluate(candidate(layout), told.append).scores[0].value
            for layout in ("cal", "ccc", "---")
        }
        trained = [progress for progress in told if "shared network: " in progress.text]
        assert trained[-1].done == 1.0
        assert len(trained) == BRIEF.steps
        assert len(set(found.values())) == 3
        told.clear()
        again = InheritedLoss(settings, SPACE, tmp_path)
        for layout, value in found.items():
            assert again.evaluate(candidate(layout), told.append).scores[0].value == value
        assert not any("shared network: " in progress.text for progress in told)

    def test_the_proxy_that_is_scored_is_there_to_be_exported(self, evaluator):
        trained = evaluator.train(candidate("cal"), lambda _: None)
        assert trained.model.architecture.layout == "cal"
        assert [point.tokens for point in trained.curve] == [1_280]

    def test_rules_of_layouts_keep_what_is_trained_legal(self, settings, tmp_path):
        ruled = replace(SPACE, rules=Rules(attention_layers=(1, 1), first=("c",)))
        loss = InheritedLoss(settings, ruled, tmp_path)
        assert loss.evaluate(candidate("cal", ruled), lambda _: None).scores[0].name == "loss"

    def test_layouts_of_matched_size_share_feed_forwards(self, settings, tmp_path):
        matched = replace(SPACE, feed_forward=(1.0, 4.0), matched=Matched(parameters=700_000))
        loss = InheritedLoss(settings, matched, tmp_path)
        for layout in ("---", "lll", "cal"):
            assert loss.evaluate(candidate(layout, matched), lambda _: None).scores

    def test_what_has_no_place_in_the_network_is_refused_with_its_reason(self, evaluator):
        stranger = candidate("call", replace(SPACE, depth=(4,)))
        with pytest.raises(Infeasible, match="cannot be inherited: it has 4 layers, the network 3"):
            evaluator.evaluate(stranger, lambda _: None)

    def test_its_fingerprint_tells_spaces_apart_and_is_not_that_of_a_loss_from_scratch(
        self, settings, tmp_path
    ):
        fingerprints = {
            InheritedLoss(settings, SPACE, tmp_path).fingerprint,
            InheritedLoss(settings, replace(SPACE, depth=(4,)), tmp_path).fingerprint,
            super(InheritedLoss, InheritedLoss(settings, SPACE, tmp_path)).fingerprint,
        }
        assert len(fingerprints) == 3

    def test_a_choice_of_sizes_is_refused(self, settings, tmp_path):
        wide = replace(SPACE, width=(128, 160))
        with pytest.raises(ValueError, match=r"width: \[128, 160\] is not one size"):
            InheritedLoss(settings, wide, tmp_path)
