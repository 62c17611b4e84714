"""The loss that layouts of one size inherit from a network that is trained once."""

import functools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Infeasible, Progress
from evaluators.quality.inherited_loss import InheritedLoss
from evaluators.quality.proxy_loss import ProxyTraining
from evaluators.training import torch_context
from evaluators.training.training_settings import TrainingSettings
from hardware.quiet import yielding_to_measurements
from search_space.architecture import Architecture
from search_space.space.encoding import draw
from search_space.space.matching import Matched, MatchedLatency, with_feed_forward_blocks
from search_space.space.rules import Rules
from search_space.space.space_definition import Space
from tests.evaluators.conformance import JobEvaluatorConformance

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
    """A suggester of one given layout."""

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
    # torch creates this folder, by default among the temporary files, for the first optimizer.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    monkeypatch.setattr(
        torch_context,
        "yielding_to_measurements",
        functools.partial(yielding_to_measurements, folder=tmp_path),
    )


@pytest.fixture
def settings(tmp_path: Path) -> ProxyTraining:
    draw_word = random.Random(0)
    words = ["".join(draw_word.choices("abcdefghij", k=4)) for _ in range(300)]
    text = tmp_path / "corpus.txt"
    text.write_text("\n\n".join(" ".join(draw_word.choices(words, k=300)) for _ in range(40)))
    return ProxyTraining(target_context=128, corpus=str(text), width_share=0.25, training=BRIEF)


class TestInheritedLoss(JobEvaluatorConformance):
    @pytest.fixture
    def architecture(self):
        return candidate("cal")

    @pytest.fixture
    def evaluator(self, settings, tmp_path):
        return InheritedLoss(settings, SPACE, tmp_path / "networks")

    def test_one_training_serves_all_candidates_and_later_processes(self, settings, tmp_path):
        first = InheritedLoss(settings, SPACE, tmp_path)
        reports: list[Progress] = []
        found = {
            layout: first.evaluate(candidate(layout), reports.append).scores[0].value
            for layout in ("cal", "ccc", "---")
        }
        trained = [progress for progress in reports if "shared network: " in progress.text]
        assert trained[-1].done == 1.0
        assert len(trained) == BRIEF.steps
        assert len(set(found.values())) == 3
        reports.clear()
        second = InheritedLoss(settings, SPACE, tmp_path)
        for layout, value in found.items():
            assert second.evaluate(candidate(layout), reports.append).scores[0].value == value
        assert not any("shared network: " in progress.text for progress in reports)

    def test_the_scored_proxy_can_be_exported(self, evaluator):
        trained = evaluator.train(candidate("cal"), lambda _: None)
        assert trained.model.architecture.layout == "cal"
        assert [point.tokens for point in trained.curve] == [1_280]

    def test_only_layouts_that_the_rules_allow_are_trained(self, settings, tmp_path):
        ruled = replace(SPACE, rules=Rules(attention_layers=(1, 1), first=("c",)))
        loss = InheritedLoss(settings, ruled, tmp_path)
        assert loss.evaluate(candidate("cal", ruled), lambda _: None).scores[0].name == "loss"

    def test_layouts_of_matched_size_share_feed_forward_weights(self, settings, tmp_path):
        matched = replace(SPACE, feed_forward=(1.0, 4.0), matched=Matched(parameters=700_000))
        loss = InheritedLoss(settings, matched, tmp_path)
        for layout in ("---", "lll", "cal"):
            assert loss.evaluate(candidate(layout, matched), lambda _: None).scores

    def test_layouts_of_one_latency_share_a_network_of_the_widest(self, settings, tmp_path):
        matched = replace(SPACE, feed_forward=(1.0, 4.0), matched=MatchedLatency(latency=2.0))
        loss = InheritedLoss(settings, matched, tmp_path)
        for layout, share in (("---", 0.0), ("cal", 0.5), ("lll", 1.0)):
            model = candidate(layout, matched)
            blocks = round(len(layout) * (1.0 + 3.0 * share) * model.width / 32)
            assert loss.evaluate(with_feed_forward_blocks(model, blocks), lambda _: None).scores

    def test_a_layout_that_is_not_in_the_network_is_infeasible(self, evaluator):
        stranger = candidate("call", replace(SPACE, depth=(4,)))
        with pytest.raises(Infeasible, match="inherited: it has 4 layers, the network has 3"):
            evaluator.evaluate(stranger, lambda _: None)

    def test_a_remark_on_the_text_is_not_lost_with_an_infeasible_layout(
        self, evaluator, monkeypatch
    ):
        monkeypatch.setattr("evaluators.quality.proxy_loss.MOST_PASSES", 0.0)
        reports: list[Progress] = []
        with pytest.raises(Infeasible):
            evaluator.evaluate(candidate("call", replace(SPACE, depth=(4,))), reports.append)
        evaluator.evaluate(candidate("cal"), reports.append)
        (remark,) = (progress.remark for progress in reports if progress.remark is not None)
        assert remark.startswith(f"each training of {BRIEF.token_budget:,} tokens reads the ")

    def test_the_fingerprint_depends_on_the_space_and_differs_from_that_of_a_training_from_scratch(
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
        with pytest.raises(ValueError, match=r"width: \[128, 160\] is not a single value"):
            InheritedLoss(settings, wide, tmp_path)
