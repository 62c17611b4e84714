"""The shared network: inherited weights, drawn layouts, and its training with interruptions."""

import contextlib
import functools
import itertools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.quality import shared_network
from evaluators.quality.shared_network import SharedNetwork, balanced_layouts, train_shared
from evaluators.training import torch_context
from evaluators.training.recipe import Recipe
from evaluators.training.text_training import score
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import ignore_text
from hardware.quiet import yielding_to_measurements
from search_space.architecture import Architecture, Mixer
from search_space.torch_model import LanguageModel
from tests.evaluators.training.texts import TEXT
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

MIXERS: dict[str, Mixer | None] = {
    "c": CONV, "a": ATTENTION, "s": WINDOW, "l": LINEAR, "-": None
}  # fmt: skip
SETTINGS = TrainingSettings(context_length=16, batch_size=2, token_budget=480)
LAYOUTS = ("casl", "aaaa", "cccc", "llll", "ssss", "----", "a-c-", "acac")


def candidate(layout: str, feed_forward_width: int = 48, **options: object) -> Architecture:
    model = stack(*(MIXERS[letter] for letter in layout), **options)
    layers = tuple(replace(layer, feed_forward_width=feed_forward_width) for layer in model.layers)
    return replace(model, layers=layers)


def network_of(depth: int = 4, **options: object) -> SharedNetwork:
    network = SharedNetwork([candidate(letter * depth, **options) for letter in MIXERS])
    network.initialise(1)
    return network


def expected_weight(
    network: SharedNetwork, name: str, layout: str, shape: torch.Size
) -> torch.Tensor:
    root, _, rest = name.partition(".")
    number, _, part = rest.partition(".")
    if root == "layers" and part.startswith("mixer"):
        return network.mixers[int(number)][layout[int(number)]].get_parameter(part)
    whole = network.get_parameter(name)
    return whole[: shape[0]] if whole.ndim == 1 else whole[: shape[0], : shape[1]]


def draw_candidate(step: int) -> Architecture:
    turn, place = divmod(step, len(MIXERS))
    layouts = balanced_layouts(tuple(MIXERS), 4, np.random.default_rng((0, turn)))
    return candidate(layouts[place])


@pytest.fixture(autouse=True)
def locks(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(
        torch_context,
        "yielding_to_measurements",
        functools.partial(yielding_to_measurements, folder=tmp_path),
    )


@contextlib.contextmanager
def locking(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that holds the lock of a file."""
    program = "import fcntl, time; fcntl.flock(0, 2); print(flush=True); time.sleep(3600)"
    with path.open("w") as lock:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=lock, stdout=subprocess.PIPE
        )
    with process:
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def weights_after(
    file: Path, settings: TrainingSettings = SETTINGS, report=lambda _: None
) -> dict[str, torch.Tensor]:
    network = network_of()
    train_shared(network, draw_candidate, TEXT, settings, file, report)
    return {name: weight.clone() for name, weight in network.named_parameters()}


class TestInheritance:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"sandwich_norm": True},
            {"embedding_width": 16, "tied_head": False},
            {"activation": "gelu_tanh", "embedding_multiplier": 5.5},
        ],
    )
    def test_a_candidate_equals_a_model_built_from_its_weights(self, options):
        network = network_of(**options)
        tokens_BT = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(0))
        for layout, feed_forward_width in itertools.product(LAYOUTS, (48, 20)):
            architecture = candidate(layout, feed_forward_width, **options)
            built = LanguageModel(architecture)
            with torch.no_grad():
                for name, weight in built.named_parameters():
                    weight.copy_(expected_weight(network, name, layout, weight.shape))
                expected_BTV = built(tokens_BT)
                found_BTV = network.candidate_logits(architecture, tokens_BT)
                torch.testing.assert_close(found_BTV, expected_BTV, rtol=0, atol=1e-6)
                copied_BTV = network.extract(architecture)(tokens_BT)
                torch.testing.assert_close(copied_BTV, expected_BTV, rtol=0, atol=1e-6)

    def test_only_the_weights_of_a_candidate_get_a_gradient(self):
        network = network_of()
        network.candidate_logits(
            candidate("a-a-", 20), torch.zeros(1, 8, dtype=torch.long)
        ).sum().backward()
        assert network.mixers[0]["a"].get_parameter("mixer.q_proj.weight").grad is not None
        assert network.mixers[1]["a"].get_parameter("mixer.q_proj.weight").grad is None
        assert network.mixers[0]["c"].get_parameter("mixer.in_proj.weight").grad is None
        hidden = network.layers[0].feed_forward.up_proj.weight.grad.abs().sum(dim=1)
        assert (hidden[:20] > 0).all()
        assert (hidden[20:] == 0).all()

    def test_an_extracted_model_does_not_change_with_the_network(self):
        network = network_of()
        model = network.extract(candidate("casl"))
        before = model.embedding.weight.clone()
        network.initialise(2)
        assert torch.equal(model.embedding.weight, before)

    def test_one_layer_and_one_mixer_are_enough(self):
        network = SharedNetwork([candidate("c")])
        network.initialise(0)
        assert network.mismatch(candidate("c")) is None
        assert network.extract(candidate("c")).architecture == candidate("c")

    @pytest.mark.parametrize(
        ("stranger", "reason"),
        [
            (candidate("cas"), "it has 3 layers, the network has 4"),
            (candidate("casl", 64), "the feed-forward of layer 0 is wider than the network's"),
            (candidate("casl", vocab_size=128), "its width, vocabulary or norms differ"),
            (
                stack(CONV, CONV, CONV, replace(CONV, kernel=5)),
                "the mixer of layer 3 is not one of",
            ),
        ],
    )
    def test_an_architecture_that_is_no_subnetwork_has_a_reason(self, stranger, reason):
        assert network_of().mismatch(stranger).startswith(reason)
        assert network_of().mismatch(candidate("casl", 20)) is None


class TestBalancedLayouts:
    @pytest.mark.parametrize("letters", ["c", "ca", "casl-"])
    @pytest.mark.parametrize("depth", [1, 4, 12])
    def test_every_layer_has_every_letter_once(self, letters, depth):
        for seed in range(20):
            layouts = balanced_layouts(tuple(letters), depth, np.random.default_rng(seed))
            assert len(layouts) == len(letters)
            for layer in zip(*layouts, strict=True):
                assert sorted(layer) == sorted(letters)

    def test_layouts_of_one_letter_and_of_many_both_occur(self):
        kinds = Counter(
            len(set(layout))
            for seed in range(100)
            for layout in balanced_layouts(tuple("casl"), 8, np.random.default_rng(seed))
        )
        assert set(kinds) == {1, 2, 3, 4}
        assert min(kinds.values()) >= 20


class TestTraining:
    def test_a_candidate_learns_from_the_training_of_others(self, tmp_path):
        network = network_of()
        settings = replace(SETTINGS, batch_size=8, token_budget=10_000)
        before = score(network.extract(candidate("aclc")), TEXT, settings, ignore_text).whole
        train_shared(network, draw_candidate, TEXT, settings, tmp_path / "network", lambda _: None)
        after = score(network.extract(candidate("aclc")), TEXT, settings, ignore_text).whole
        assert after < 0.7 * before

    def test_a_training_that_was_interrupted_ends_with_the_same_weights(
        self, tmp_path, monkeypatch
    ):
        expected = weights_after(tmp_path / "without interruption")
        monkeypatch.setattr(shared_network, "_SAVE_SECONDS", 0.0)

        def interrupt(progress: Progress) -> None:
            if progress.done > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            weights_after(tmp_path / "in two parts", report=interrupt)
        begun_at: list[float] = []
        found = weights_after(
            tmp_path / "in two parts", report=lambda progress: begun_at.append(progress.done)
        )
        assert begun_at[0] > 0.5
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    def test_a_finished_network_is_loaded_without_training(self, tmp_path):
        expected = weights_after(tmp_path / "network")
        reports: list[Progress] = []
        found = weights_after(tmp_path / "network", report=reports.append)
        assert not reports
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    def test_a_damaged_file_is_reported_and_rebuilt(self, tmp_path):
        file = tmp_path / "network"
        expected = weights_after(file)
        file.write_bytes(file.read_bytes()[:1_000])
        reports: list[Progress] = []
        found = weights_after(file, report=reports.append)
        assert reports[0].text == f"{file} is damaged and will be rebuilt"
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    def test_a_stopped_process_that_trains_the_network_is_named_and_not_waited_for_without_end(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(shared_network, "_LOOK_SECONDS", 0.05)
        file = tmp_path / "network"
        reports: list[Progress] = []
        with locking(file.with_suffix(".lock")) as other:
            other.send_signal(signal.SIGSTOP)
            settings = replace(SETTINGS, longest_pause=0.2)
            with pytest.raises(EvaluationFailed) as failure:
                weights_after(file, settings, report=reports.append)
        assert failure.value.kind == "timed out"
        assert failure.value.reason.startswith("the process that trains the shared network is sto")
        assert f"pid {other.pid}" in failure.value.reason
        waiting = [each.text for each in reports]
        assert waiting[0].startswith("waiting for the process that trains the shared network (")
        assert waiting[-1].endswith(", stopped)")

    @pytest.mark.parametrize("state", ["running", "continued"])
    def test_a_process_that_trains_the_network_is_waited_for(self, tmp_path, monkeypatch, state):
        monkeypatch.setattr(shared_network, "_LOOK_SECONDS", 0.05)
        file = tmp_path / "network"
        reports: list[Progress] = []

        def report(progress: Progress) -> None:
            reports.append(progress)
            if len(reports) == 5:
                other.send_signal(signal.SIGCONT)
            if len(reports) == 10:
                other.kill()

        with locking(file.with_suffix(".lock")) as other:
            if state == "continued":
                other.send_signal(signal.SIGSTOP)
            longest_pause = 0.0 if state == "running" else 60.0
            settings = replace(SETTINGS, longest_pause=longest_pause)
            assert weights_after(file, settings, report=report)
        assert all("waiting for the process" in each.text for each in reports[:10])

    def test_a_divergence_is_a_failure(self, tmp_path):
        wild = Recipe(matrix_rate=1e6, vector_rate=1e6, embedding_rate=1e6)
        with pytest.raises(EvaluationFailed) as failure:
            weights_after(tmp_path / "network", replace(SETTINGS, recipe=wild))
        assert failure.value.kind == "diverged"
