"""Tests of expected losses on studies whose losses follow from layouts, and on pure chance."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from search_space.architecture import Architecture, Layer, ShortConv, architecture_hash
from studies.analysis import expected_losses as expectations
from studies.analysis.choice_effects import LEAST_CORRELATION
from studies.analysis.choice_importance import FEWEST_TRIALS
from studies.analysis.expected_losses import (
    ExpectedLoss,
    expected_losses,
    read_expected_losses,
)
from studies.spec.study_spec import to_json
from studies.spec.study_tables import ProxySettings
from tests.studies.analysis.layout_losses import layout_loss, noisy_losses, random_layouts
from tests.studies.analysis.written_study import Written

_NOISE = 0.005


def test_a_shifted_loss_is_unexpected_and_its_true_loss_is_expected() -> None:
    layouts = random_layouts(60)
    losses = noisy_losses(layouts, _NOISE)
    shifted = list(layouts)[17]
    true = losses[shifted]
    for shift in (-0.15, 0.15):
        found = expected_losses(losses | {shifted: true + shift}, layouts.__getitem__)
        assert found is not None
        assert found.correlation > 0.9
        assert found.candidates == 60
        loss = found.losses[shifted]
        assert loss.is_unexpected
        assert loss.measured == true + shift
        assert loss.expected == pytest.approx(layout_loss(layouts[shifted]), abs=0.04)
        errors = {key: abs(each.measured - each.expected) for key, each in found.losses.items()}
        assert max(errors, key=errors.__getitem__) == shifted


def test_about_one_loss_in_twenty_is_unexpected_by_chance() -> None:
    unexpected, sds = [], []
    for seed in range(5):
        layouts = random_layouts(100, seed)
        found = expected_losses(noisy_losses(layouts, 0.02, seed), layouts.__getitem__)
        assert found is not None
        unexpected += [each.is_unexpected for each in found.losses.values()]
        sds += [each.sd for each in found.losses.values()]
    assert 0.03 < np.mean(unexpected) < 0.10
    assert 0.015 < np.median(sds) < 0.03  # the noise is included


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [FEWEST_TRIALS, 60])
def test_nothing_is_expected_of_pure_chance(count: int, seed: int) -> None:
    layouts = random_layouts(count, seed)
    generator = np.random.default_rng(seed)
    losses = {key: float(loss) for key, loss in zip(layouts, generator.random(count), strict=True)}
    found = expected_losses(losses, layouts.__getitem__)
    assert found is not None
    assert found.correlation < LEAST_CORRELATION
    assert found.losses == {}


def test_few_candidates_equal_losses_and_equal_layouts_state_nothing() -> None:
    layouts = random_layouts(FEWEST_TRIALS)
    few = noisy_losses(layouts, _NOISE)
    few.popitem()
    assert expected_losses(few, layouts.__getitem__) is None
    equal = expected_losses(dict.fromkeys(layouts, 2.0), layouts.__getitem__)
    assert equal is not None
    assert (equal.correlation, equal.losses) == (0.0, {})
    (same,) = random_layouts(1).values()
    alike = expected_losses(noisy_losses(layouts, _NOISE), lambda _: same)
    assert alike is not None
    assert alike.correlation < LEAST_CORRELATION
    assert alike.losses == {}


def test_architectures_of_one_layer_are_predicted_by_their_size() -> None:
    layers = [Layer(mixer=ShortConv(kernel=3), feed_forward_width=32 * n) for n in range(1, 31)]
    models = [
        Architecture(vocab_size=256, width=64, embedding_width=64, layers=(layer,))
        for layer in layers
    ]
    layouts = {architecture_hash(each): each for each in models}
    found = expected_losses(noisy_losses(layouts, 0.002), layouts.__getitem__)
    assert found is not None
    assert found.correlation > 0.9
    values = [(each.expected, each.sd) for each in found.losses.values()]
    assert np.isfinite(values).all()


def test_a_loss_is_unexpected_beyond_two_standard_deviations() -> None:
    loss = ExpectedLoss(measured=2.0, expected=1.75, sd=0.125)
    assert loss.half_width == 0.25
    assert not loss.is_unexpected
    assert replace(loss, measured=2.01).is_unexpected
    assert replace(loss, measured=1.49).is_unexpected


def test_only_complete_trainings_count_each_architecture_once(written: Written) -> None:
    layouts = random_layouts(FEWEST_TRIALS + 3)
    losses = noisy_losses(layouts, _NOISE)
    keys = list(layouts)
    for key in keys[:-3]:
        last = written.trial(architecture=layouts[key], loss=losses[key], decode=1.0)
    written.trial(earlier_duplicate=last)
    for key, outcome in zip(keys[-3:], ("stopped", "infeasible", "failed"), strict=True):
        written.trial(outcome, architecture=layouts[key], loss=9.0, decode=1.0)
    found = read_expected_losses(written.store, "small")
    assert found == expected_losses({key: losses[key] for key in keys[:-3]}, layouts.__getitem__)
    assert found is not None
    assert found.losses.keys() == set(keys[:-3])
    space = replace(
        written.spec.space, depth=(4,), width=(256,), feed_forward=(1.0,), vocab_size=(1_024,)
    )
    proxy = ProxySettings(method="shared", token_budget=40_000, rungs=())
    shared = written.spec.model_copy(update={"space": space, "proxy": proxy})
    written.store.update_spec("small", to_json(shared))
    assert read_expected_losses(written.store, "small") is None


def test_a_small_study_is_not_read(written: Written) -> None:
    for n in range(FEWEST_TRIALS - 1):
        written.trial(loss=1.0 + n, decode=1.0)
    assert read_expected_losses(written.store, "small") is None


def test_in_a_large_study_only_the_architectures_that_are_needed_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expectations, "MOST_CANDIDATES", 30)
    layouts = random_layouts(50)
    losses = noisy_losses(layouts, _NOISE)
    everything = expected_losses(losses, layouts.__getitem__)
    assert everything is not None
    assert everything.candidates == 30
    assert everything.losses.keys() == layouts.keys()
    for key in list(layouts)[::7]:
        read: list[str] = []

        def architecture(digest: str, read: list[str] = read) -> Architecture:
            read.append(digest)
            return layouts[digest]

        one = expected_losses(losses, architecture, {key})
        assert one is not None
        assert len(read) in (30, 31)
        assert one.correlation == pytest.approx(everything.correlation)
        assert one.losses[key].expected == pytest.approx(everything.losses[key].expected)
        assert one.losses[key].sd == pytest.approx(everything.losses[key].sd)


_SLOW_LIBRARIES = """
import sys
from studies.analysis.expected_losses import expected_losses
assert "scipy.optimize" not in sys.modules
from tests.studies.analysis.layout_losses import noisy_losses, random_layouts
layouts = random_layouts(20)
assert expected_losses(noisy_losses(layouts, 0.01), layouts.__getitem__) is not None
print([name for name in ("sklearn", "scipy.stats") if name in sys.modules])
"""


def test_slow_libraries_are_not_imported() -> None:
    """`nas show` would have to wait a second for them."""
    result = subprocess.run(
        [sys.executable, "-c", _SLOW_LIBRARIES], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
