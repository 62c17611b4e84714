"""The true scores of simulated searches."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from benchmarks.search_truth import (
    ChanceLosses,
    ForestLosses,
    RecordedLosses,
    Truth,
    fixed_normal,
    forest_features,
    read_losses,
    repeat_deviation,
)
from evaluators.speed.workload_parts import Deployment
from search_space.architecture import MIXERS, Architecture, to_json
from search_space.space.encoding import RandomSuggester, draw
from studies.spec.study_file import read_spec

DEPLOYMENT = Deployment(quantization="int4", prompt_length=128, context_depth=256)


@pytest.fixture(scope="module")
def architectures() -> list[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    space = read_spec("quickstart").space
    return list(dict.fromkeys(draw(space, suggester) for _ in range(60)))


def write(path: Path, rows: list[tuple[Architecture, float]]) -> Path:
    lines = [
        json.dumps({"architecture": json.loads(to_json(each)), "loss": loss, "seed": 0})
        for each, loss in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_trainings_of_one_architecture_belong_together(tmp_path, architectures):
    one, other = architectures[:2]
    table = read_losses(write(tmp_path / "t.jsonl", [(one, 2.0), (other, 3.0), (one, 2.2)]))
    assert table.losses == {one: [2.0, 2.2], other: [3.0]}
    assert table.rows == 3
    # Two values that differ by d have the sample standard deviation d / sqrt(2).
    assert table.seed_noise == pytest.approx(0.2 / np.sqrt(2))
    assert table.is_recorded
    assert RecordedLosses(table).of([other, one]).tolist() == [3.0, 2.1]


def test_without_repeated_trainings_the_seed_noise_is_assumed(tmp_path, architectures):
    table = read_losses(write(tmp_path / "t.jsonl", [(each, 2.0) for each in architectures[:2]]))
    assert not table.is_recorded
    assert table.seed_noise == 0.01


@pytest.mark.parametrize("line", ["[]", "{}", "not JSON", '{"architecture": {}, "loss": "high"}'])
def test_a_row_that_is_not_valid_is_named(tmp_path, architectures, line):
    path = write(tmp_path / "t.jsonl", [(architectures[0], 2.0)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"line 2: it is not an object with"):
        read_losses(path)


def test_an_empty_table_is_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    path.touch()
    with pytest.raises(ValueError, match="it has no rows"):
        read_losses(path)


def test_a_table_without_an_architecture_cannot_be_the_truth(tmp_path, architectures):
    losses = RecordedLosses(read_losses(write(tmp_path / "t.jsonl", [(architectures[0], 2.0)])))
    with pytest.raises(ValueError, match="--truth forest"):
        losses.of([architectures[1]])


def test_variances_are_pooled_by_degrees_of_freedom():
    # The sums of squares are 2 and 8, with 2 and 1 degrees of freedom; single values have none.
    assert repeat_deviation([[1.0, 2.0, 3.0], [0.0, 4.0], [9.0]]) == pytest.approx(np.sqrt(10 / 3))
    assert repeat_deviation([[1.0], [2.0]]) is None


def test_the_forest_sees_the_mixer_at_every_tenth_of_the_depth(architectures):
    ten = next(each for each in architectures if len(each.layers) == 10)
    six = next(each for each in architectures if len(each.layers) == 6)
    for architecture, places in ((ten, range(10)), (six, (0, 0, 1, 1, 2, 3, 3, 4, 4, 5))):
        codes = np.array(forest_features(architecture)[-10 * len(MIXERS) :]).reshape(10, -1)
        assert codes.sum(axis=1).tolist() == [1.0] * 10
        letters = [list(MIXERS)[index] for index in codes.argmax(axis=1)]
        assert letters == [architecture.layout[place] for place in places]


def test_the_forest_learns_a_loss_that_depends_on_the_layout(tmp_path, architectures):
    rows = [(each, 2.0 + each.layout.count("a") / len(each.layout)) for each in architectures]
    forest = ForestLosses(read_losses(write(tmp_path / "t.jsonl", rows)))
    assert forest.rank_correlation() > 0.6
    fitted = forest.of(architectures)
    assert np.corrcoef(fitted, [loss for _, loss in rows])[0, 1] > 0.9


def test_losses_of_chance_have_the_distribution_of_the_table(tmp_path, architectures):
    rows = [(each, 2.0 + 0.1 * (number % 2)) for number, each in enumerate(architectures)]
    chance = ChanceLosses(read_losses(write(tmp_path / "t.jsonl", rows)))
    losses = chance.of(architectures)
    margin = 4 * 0.05 / np.sqrt(len(losses))
    assert losses.mean() == pytest.approx(2.05, abs=margin)
    assert losses.std() == pytest.approx(0.05, abs=margin)
    assert np.array_equal(chance.of(architectures), losses)
    assert abs(np.corrcoef(losses, [loss for _, loss in rows])[0, 1]) < 4 / np.sqrt(len(losses))


def test_a_forest_requires_ten_architectures(tmp_path, architectures):
    table = read_losses(write(tmp_path / "t.jsonl", [(each, 2.0) for each in architectures[:9]]))
    with pytest.raises(ValueError, match="9 architectures are fewer than the 10"):
        ForestLosses(table)


def test_deviations_of_architectures_are_standard_normal_and_fixed(architectures):
    numbers = [fixed_normal(f"score{n}", each) for each in architectures for n in range(10)]
    assert kstest(numbers, "norm").pvalue > 0.01
    assert fixed_normal("score3", architectures[7]) == numbers[73]


def make_truth(*names: str) -> Truth:
    class Constant:
        def of(self, architectures):
            return np.full(len(architectures), 2.5)

    return Truth(names, Constant(), seed_noise=0.02, deployment=DEPLOYMENT)


def test_measurements_have_the_noise_that_is_stated(architectures):
    truth = make_truth("loss", "decode", "memory", "parameters")
    true = {name: float(value[0]) for name, value in truth.true_scores(architectures[:1]).items()}
    generator = np.random.default_rng(0)
    measured = [truth.measure(true, generator) for _ in range(2_000)]
    loss, decode, memory, parameters = (
        np.array([scores[index].value for scores in measured]) for index in range(4)
    )
    assert loss.mean() == pytest.approx(2.5, abs=0.002)
    assert loss.std() == pytest.approx(0.02, rel=0.1)
    for values, name in ((decode, "decode"), (memory, "memory")):
        assert values.mean() == pytest.approx(true[name], rel=0.001)
        assert values.std() == pytest.approx(0.01 * true[name], rel=0.1)
    assert set(parameters) == {true["parameters"]}
    within = [scores[1].low <= true["decode"] <= scores[1].high for scores in measured]
    assert np.mean(within) == pytest.approx(0.95, abs=0.02)
    assert all(scores[2].low is None for scores in measured)


def test_true_scores_are_fixed_and_differ_from_the_regression(architectures):
    truth = make_truth("decode", "decode@4096")
    one, other = make_truth("decode").true_scores(architectures), truth.true_scores(architectures)
    assert one["decode"].tolist() == other["decode"].tolist()
    assert 0.01 < truth.cost_errors["decode"] < 0.1
    # A longer context takes longer, although each score deviates on its own.
    assert np.mean(other["decode@4096"] > other["decode"]) > 0.8


def test_scores_that_cannot_be_simulated_are_refused():
    with pytest.raises(ValueError, match="decode_per_byte: only loss, parameters, size and"):
        make_truth("loss", "decode_per_byte")
