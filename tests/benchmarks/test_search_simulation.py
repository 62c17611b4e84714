"""Simulated searches, and the program that compares them."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import check_sizes
from studies.spec.study_file import read_spec, spec_text

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """The modules of the benchmark, which import each other as programs do."""
    monkeypatch.syspath_prepend(str(PROGRAMS))
    import search_simulation
    import search_truth

    return search_simulation, search_truth


class LossOfDepth:
    def of(self, architectures):
        return np.array([3.0 - len(each.layers) / 10 for each in architectures])


def write_study(path: Path, *changes: tuple[str, str]) -> Path:
    text = spec_text("quickstart")
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path.write_text(text)
    return path


def search(modules, spec, kind="random", seed=0, trials=12):
    simulation, truths = modules
    names = [*(each.name for each in spec.objectives), *(each.name for each in spec.constraints)]
    truth = truths.Truth(names, LossOfDepth(), 0.01, spec.target.deployment)
    return truth, simulation.simulate(spec, truth, kind, seed, trials)


def test_true_values_are_kept_and_only_those_within_the_limits(modules, tmp_path):
    simulation, _ = modules
    spec = read_spec(write_study(tmp_path / "study.toml", ("max = 60.0", "max = 64.0")))
    truth, run = search(modules, spec, trials=60)
    complete = np.isfinite(run.values).all(axis=1)
    assert len(run.values) == len(run.seconds) == 60
    assert 0 < complete.sum() <= 60 - run.infeasible < 60
    # The losses are those of the depths, without noise.
    assert set(run.values[complete, 0].round(9)) <= {2.4, 2.2, 2.0}
    sample = simulation.legal_architectures(spec, 100)
    memory = truth.true_scores(sample)["memory"]
    finite = np.isfinite(simulation.true_objectives(spec, truth, sample)).all(axis=1)
    assert finite.tolist() == (memory <= 64.0).tolist()


def test_candidates_above_a_limit_count_as_trials(modules, tmp_path):
    spec = read_spec(write_study(tmp_path / "study.toml", ("max = 60.0", "max = 1.0")))
    for kind in ("random", "tpe"):
        _, run = search(modules, spec, kind)
        assert run.infeasible == 12
        assert np.isinf(run.values).all()


def test_draws_that_break_rules_are_counted_but_are_no_trials(modules, tmp_path):
    bounds = "parameters = [10_000_000, 40_000_000]"
    path = write_study(
        tmp_path / "study.toml", (f"\n{bounds}", "\nparameters = [12_000_000, 14_000_000]")
    )
    spec = read_spec(path)
    suggester = RandomSuggester(np.random.default_rng(1))
    draws = [draw(spec.space, suggester) for _ in range(500)]
    legal = np.mean(
        [
            all(check.excess <= 0 for check in check_sizes(each, spec.space, "int4"))
            for each in draws
        ]
    )
    _, run = search(modules, spec, trials=40)
    assert len(run.values) == 40
    # The number of failures before the 40th success, within four standard deviations.
    expected, deviation = 40 * (1 - legal) / legal, math.sqrt(40 * (1 - legal)) / legal
    assert abs(run.rejected - expected) < 4 * deviation
    assert run.rejected > 0


def test_equal_architectures_are_duplicates_with_equal_values(modules, tmp_path):
    path = write_study(
        tmp_path / "study.toml",
        ("\ndepth = [6, 8, 10]", "\ndepth = [6]"),
        ("\nwidth = [256, 320, 384, 448]", "\nwidth = [320]"),
        ('mixers = ["c", "a", "s", "l", "-"]', 'mixers = ["a"]'),
        ("feed_forward = [2.0, 2.5, 3.0, 4.0]", "feed_forward = [4.0]"),
        ("vocab_size = [8192, 16384, 32768]", "vocab_size = [16384]"),
        ("embedding_share = [0.5, 1.0]", "embedding_share = [1.0]"),
        ("head_dim = [32, 64]", "head_dim = [32]"),
        ("attention_layers = [1, 5]", "attention_layers = [1, 6]"),
        ("max = 60.0", "max = 600.0"),
    )
    _, run = search(modules, read_spec(path))
    # Only the key/value heads vary, among three values.
    assert run.duplicates == 12 - len(np.unique(run.values, axis=0))
    assert run.duplicates >= 9


def test_runs_with_the_same_seed_are_equal(modules, tmp_path):
    spec = read_spec(write_study(tmp_path / "study.toml", ("max = 60.0", "max = 90.0")))
    _, one = search(modules, spec, "tpe", seed=3)
    _, same = search(modules, spec, "tpe", seed=3)
    _, other = search(modules, spec, "tpe", seed=4)
    assert one.values.tolist() == same.values.tolist()
    assert one.values.tolist() != other.values.tolist()


@pytest.mark.parametrize(
    ("name", "equal"),
    # The trials before the first that explores; before the second random one, which differs from
    # the first in its features; and before the first for which costs could be known.
    [("never-explores", 8), ("plain-features", 1), ("random-start", 1), ("learned-costs", 4)],
)
def test_variants_differ_only_where_they_lack_something(modules, tmp_path, name, equal):
    limit = ('[[constraints]]\nname = "memory"\nmax = 60.0\n', "")
    spec = read_spec(write_study(tmp_path / "study.toml", limit))
    whole, variant = (search(modules, spec, kind)[1].values for kind in ("known-costs", name))
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[:equal], variant[:equal])
    assert not np.array_equal(whole, variant)


def test_the_program_compares_samplers(tmp_path):
    result = tmp_path / "result.json"
    command = [sys.executable, PROGRAMS / "search_efficiency.py", "--samplers", "random,tpe"]
    command += ["--seeds", "2", "--trials", "12", "--processes", "1", "--json", result]
    done = subprocess.run(
        [*command, "--without-limits"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "tpe" in done.stdout
    found = json.loads(result.read_text())
    assert found["within_limits"] == 1.0
    assert found["rank_correlation"] > 0.7
    assert [np.shape(each) for each in found["seconds"].values()] == [(2, 12), (2, 12)]
    curves = {name: np.array(table) for name, table in found["curves"].items()}
    assert [each.shape for each in curves.values()] == [(2, 12), (2, 12)]
    for table in curves.values():
        assert (np.diff(table, axis=1) >= 0).all()
    assert 0.5 < max(table.max() for table in curves.values()) <= 1.0
    for line in found["samplers"]:
        medians = np.median(curves[line["sampler"]], axis=0)
        fractions = line["comparison"]["fractions"]
        assert list(fractions) == ["10", "12"]
        assert fractions["10"]["median"] == pytest.approx(medians[9], abs=1e-4)
        assert list(line["surfaces"]) == ["25", "50", "75"]


def test_ctrl_c_keeps_the_seeds_with_which_every_sampler_has_run(tmp_path):
    result = tmp_path / "result.json"
    command = [sys.executable, PROGRAMS / "search_efficiency.py", "--samplers", "random,tpe"]
    command += ["--seeds", "900", "--trials", "12", "--processes", "1", "--json", result]
    # One process runs the samplers in turn, so that two runs are one seed and three are no second.
    with subprocess.Popen(
        [*command, "--without-limits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        begun = [process.stderr.readline() for _ in range(3)]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    *more, last = errors.splitlines()
    seeds = (len(begun) + len(more)) // 2
    assert last == f"stopped after {seeds} of 900 seeds"
    found = json.loads(result.read_text())
    assert [np.shape(each) for each in found["curves"].values()] == [(seeds, 12), (seeds, 12)]


def test_the_program_refuses_a_study_without_a_loss(tmp_path):
    path = write_study(tmp_path / "study.toml", ('name = "loss"', 'name = "size"'))
    done = subprocess.run(
        [sys.executable, PROGRAMS / "search_efficiency.py", "--space", path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr == "error: objectives: 'loss' is not among them\n"


def test_candidates_of_one_latency_are_matched_to_what_was_measured_so_far(
    modules, tmp_path, monkeypatch
):
    simulation, _ = modules
    study = write_study(
        tmp_path / "study.toml",
        ("feed_forward = [2.0, 2.5, 3.0, 4.0]", "feed_forward = [1.0, 6.0]"),
        (
            '# matched = { parameters = 20_000_000, count = "total" }',
            "matched = { latency = 1.4 }",
        ),
        ("max = 60.0", "max = 6000.0"),
    )
    matchings = []

    class Watched(simulation.LatencyMatching):
        def refit(self):
            super().refit()
            matchings.append((len(self._values), self.latency is not None))

    monkeypatch.setattr(simulation, "LatencyMatching", Watched)
    _, run = search(modules, read_spec(study), kind="front-mutation", trials=12)
    assert [count for count, _ in matchings] == list(range(12))
    assert [is_known for _, is_known in matchings] == [count >= 4 for count in range(12)]
    assert run.infeasible == 0
    decode = run.values[:, 1]
    assert np.max(np.abs(decode[8:] / 1.4 - 1)) < 0.1
    assert np.max(np.abs(decode[:4] / 1.4 - 1)) > 0.2
