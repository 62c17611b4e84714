"""The recall probe: its questions, its error rate and the confidence interval."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.evaluator import Progress
from evaluators.quality.recall import Recall, RecallSettings, error_rate, recall_score
from evaluators.quality.recall_probe import NO_QUERY, RecallProbe, draw_questions
from evaluators.training.step import UNSCORED, Batch
from tests.evaluators.conformance import JobEvaluatorConformance
from tests.search_space.strategies import CORNERS

TINY = RecallSettings(
    target_context=128,
    probe=RecallProbe(pairs=2, vocabulary=8, length=8, token_budget=4_096),
)


@pytest.fixture(autouse=True)
def no_torch_folder_among_temporary_files(tmp_path, monkeypatch) -> None:
    """Move the folder that torch creates for the first optimizer."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))


@st.composite
def probes(draw: st.DrawFn) -> RecallProbe:
    pairs = draw(st.integers(1, 6))
    return RecallProbe(
        pairs=pairs,
        vocabulary=draw(st.integers(2 * pairs, 40)),
        length=draw(st.integers(2 * pairs + 1, 40)),
    )


class LookUp(nn.Module):
    """A model that looks up values in the sequence, but knows only the first `known` pairs."""

    def __init__(self, pairs: int, vocabulary: int, known: int) -> None:
        super().__init__()
        self.pairs, self.vocabulary, self.known = pairs, vocabulary, known

    def forward(self, tokens_BT: Tensor) -> Tensor:
        logits_BTV = torch.zeros(*tokens_BT.shape, self.vocabulary)
        for row, tokens in enumerate(tokens_BT.tolist()):
            shown = tokens[: 2 * self.pairs]
            values = dict(zip(shown[: 2 * self.known : 2], shown[1::2], strict=False))
            for place, token in enumerate(tokens):
                logits_BTV[row, place, values.get(token, 0)] = 1.0
        return logits_BTV


def batch(probe: RecallProbe, count: int) -> Batch:
    drawn = draw_questions(probe, count, np.random.default_rng(0))
    answers = torch.from_numpy(drawn.answers_BT)
    return Batch(
        inputs_BT=torch.from_numpy(drawn.tokens_BT),
        targets_BT=answers.where(answers != NO_QUERY, UNSCORED),
    )


class TestQuestions:
    @given(probes(), st.integers(1, 5))
    def test_each_query_asks_for_a_shown_pair(self, probe, count):
        drawn = draw_questions(probe, count, np.random.default_rng(0))
        assert drawn.tokens_BT.shape == (count, probe.length)
        half = probe.vocabulary // 2
        for tokens, answers in zip(drawn.tokens_BT, drawn.answers_BT, strict=True):
            keys, values = tokens[: 2 * probe.pairs : 2], tokens[1 : 2 * probe.pairs : 2]
            assert len(set(keys)) == probe.pairs
            assert ((keys >= 0) & (keys < half)).all()
            assert ((values >= half) & (values < probe.vocabulary)).all()
            value_of = dict(zip(keys, values, strict=True))
            assert (answers[: 2 * probe.pairs] == NO_QUERY).all()
            queries = tokens[2 * probe.pairs :]
            assert answers[2 * probe.pairs :].tolist() == [value_of[query] for query in queries]

    def test_sequences_differ_and_depend_on_the_seed_alone(self):
        first, again, other = (
            draw_questions(RecallProbe(), 2, np.random.default_rng(seed)).tokens_BT
            for seed in (0, 0, 1)
        )
        assert (first == again).all()
        assert (first != other).any()
        assert (first[0] != first[1]).any()

    @pytest.mark.parametrize(
        ("field", "value"), [("pairs", 0), ("vocabulary", 7), ("length", 8), ("token_budget", 15)]
    )
    def test_a_probe_without_a_query_is_refused(self, field, value):
        possible = {"pairs": 4, "vocabulary": 8, "length": 16, "token_budget": 1_000}
        with pytest.raises(ValueError, match=f"^{field}: {value} is not between "):
            RecallProbe(**(possible | {field: value}))


class TestErrorRate:
    @given(probes())
    def test_a_model_that_looks_up_every_pair_is_never_wrong(self, probe):
        model = LookUp(probe.pairs, probe.vocabulary, known=probe.pairs)
        assert error_rate(model, batch(probe, 3), "cpu", lambda: 0.0) == 0.0

    @pytest.mark.parametrize("known", [0, 1, 3])
    def test_it_is_the_fraction_of_queries_for_unknown_pairs(self, known):
        probe = RecallProbe(pairs=4, vocabulary=16, length=40)
        asked = batch(probe, 50)
        unknown = 0
        for tokens in asked.inputs_BT.tolist():
            unknown += sum(query not in tokens[: 2 * known : 2] for query in tokens[8:])
        model = LookUp(probe.pairs, probe.vocabulary, known)
        assert error_rate(model, asked, "cpu", lambda: 0.0) == unknown / (50 * 32)


class TestInterval:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    @pytest.mark.parametrize(
        ("wrong", "trials", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_it_equals_published_values(self, wrong, trials, low, high):
        score = recall_score(wrong / trials, trials)
        assert (score.low, score.high) == pytest.approx((low, high), abs=5e-5)

    @given(st.floats(0, 1), st.integers(1, 10_000))
    def test_it_contains_the_error_rate(self, wrong, trials):
        score = recall_score(wrong, trials)
        assert 0 <= score.low <= score.value <= score.high <= 1


class TestRecall(JobEvaluatorConformance):
    @pytest.fixture
    def evaluator(self):
        return Recall(replace(TINY, probe=replace(TINY.probe, token_budget=2_048)))

    def test_two_equal_trainings_have_equal_scores(self, evaluator, architecture):
        first, second = (evaluator.evaluate(architecture, lambda _: None) for _ in range(2))
        assert first.scores == second.scores

    @pytest.mark.parametrize("name", CORNERS)
    def test_every_layout_has_a_score(self, name):
        brief = replace(TINY, probe=replace(TINY.probe, token_budget=1_024))
        (score,) = Recall(brief).evaluate(CORNERS[name], lambda _: None).scores
        assert (score.name, score.unit) == ("recall_error", "wrong")
        assert 0 <= score.low <= score.value <= score.high <= 1

    def test_there_is_no_learning_curve(self, evaluator, architecture):
        reports: list[Progress] = []
        assert evaluator.evaluate(architecture, reports.append).curve == ()
        assert all(progress.point is None for progress in reports)

    def test_another_probe_has_another_fingerprint(self):
        changed = [
            TINY,
            replace(TINY, seed=1),
            replace(TINY, width_share=0.5),
            replace(TINY, target_context=64),
            *(
                replace(TINY, probe=replace(TINY.probe, **{field: value}))
                for field, value in {
                    "pairs": 3,
                    "vocabulary": 10,
                    "length": 9,
                    "token_budget": 2_048,
                }.items()
            ),
        ]
        assert len({Recall(each).fingerprint for each in changed}) == len(changed)
