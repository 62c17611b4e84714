"""The loss of a trained proxy: scores, progress, failures, fingerprints and invalid settings."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluators.evaluator import EvaluationFailed, Progress
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.training.recipe import Recipe
from evaluators.training.tokenized_text import mixed_windows
from evaluators.training.training_settings import TrainingSettings
from search_space.preset_models import PRESETS
from tests.evaluators.conformance import JobEvaluatorConformance
from tests.search_space.strategies import ATTENTION, CONV, LINEAR, WINDOW, stack

SMALL = stack(CONV, ATTENTION, WINDOW, LINEAR)
BRIEF = TrainingSettings(context_length=32, batch_size=2, token_budget=640)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # torch creates this folder, by default among the temporary files, for the first optimizer.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randrange(2, 8))) for _ in range(300)]
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(30):
        text = " ".join(draw.choices(words, k=300))
        (folder / f"{number}.txt").write_text(f"{text}.\n\n{number}\n")
    return str(folder)


@pytest.fixture
def settings(corpus: str) -> ProxyTraining:
    return ProxyTraining(target_context=128, corpus=corpus, training=BRIEF)


def loss_of(settings: ProxyTraining) -> float:
    return ProxyLoss(settings).evaluate(SMALL, lambda _: None).scores[0].value


class TestProxyLoss(JobEvaluatorConformance):
    @pytest.fixture
    def evaluator(self, settings):
        return ProxyLoss(settings)

    def test_the_score_is_the_end_of_the_curve_and_is_reproducible(self, settings):
        evaluation = ProxyLoss(settings).evaluate(SMALL, lambda _: None)
        loss, lookup, other, late = evaluation.scores
        assert (loss.name, loss.unit) == ("loss", "bits/byte")
        assert loss.value == evaluation.curve[-1].loss
        assert (lookup.name, other.name, late.name) == ("lookup_loss", "other_loss", "late_loss")
        assert min(lookup.value, other.value) < loss.value < max(lookup.value, other.value)
        assert late.value == pytest.approx(loss.value, rel=0.1)
        assert [point.tokens for point in evaluation.curve] == [192, 320, 640]
        assert ProxyLoss(settings).evaluate(SMALL, lambda _: None).curve == evaluation.curve

    def test_a_longer_training_has_a_smaller_loss(self, settings):
        longer = replace(BRIEF, token_budget=4_000)
        assert loss_of(replace(settings, training=longer)) < loss_of(settings) - 0.2

    def test_preparations_are_reported_once(self, evaluator):
        reports: list[Progress] = []
        evaluator.evaluate(SMALL, reports.append)
        texts = [progress.text for progress in reports if progress.done == 0]
        assert [text for text in texts if not text.startswith("reading the corpus: ")] == [
            "reading the corpus",
            "training a tokenizer of 512 tokens",
            "encoding 641 tokens of text",
            "encoding the text",
        ]
        reports.clear()
        evaluator.evaluate(SMALL, reports.append)
        assert all(progress.done > 0 for progress in reports)

    def test_a_text_shorter_than_the_budget_is_reported(self, settings):
        reports: list[Progress] = []
        hungry = replace(settings, training=replace(BRIEF, batch_size=500, token_budget=200_000))

        def stop_at_training(progress: Progress) -> None:
            reports.append(progress)
            if progress.done > 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ProxyLoss(hungry).evaluate(SMALL, stop_at_training)
        assert any("tokens, which are read " in progress.text for progress in reports)

    def test_a_text_that_is_read_too_often_is_remarked_once_also_if_the_training_fails(
        self, settings
    ):
        wild = Recipe(matrix_rate=1e4, vector_rate=1e4, embedding_rate=1e4)
        hungry = replace(BRIEF, batch_size=500, token_budget=200_000, recipe=wild)
        evaluator = ProxyLoss(replace(settings, training=hungry))
        reports: list[Progress] = []
        for vocab_size in (SMALL.vocab_size, SMALL.vocab_size, 2 * SMALL.vocab_size):
            with pytest.raises(EvaluationFailed):
                evaluator.evaluate(replace(SMALL, vocab_size=vocab_size), reports.append)
        (remark,) = (progress.remark for progress in reports if progress.remark is not None)
        found = re.fullmatch(
            r"each training of 200,000 tokens reads the ([\d,]+) tokens of the corpus ([\d.]+) "
            r"times; a text teaches little after the first 4 passes; use more text",
            remark,
        )
        assert found is not None
        # 13 steps of 16,000 tokens, and the last target
        passes = 208_001 / int(found[1].replace(",", ""))
        assert passes > 4
        assert float(found[2]) == pytest.approx(passes, abs=0.05)

    def test_windows_that_leave_a_loss_without_tokens_are_refused(self, settings, corpus):
        for path in sorted(Path(corpus).iterdir())[12:]:
            path.unlink()
        long = replace(BRIEF, context_length=8_192, batch_size=1, token_budget=8_192)
        evaluator = ProxyLoss(replace(settings, training=long))
        for _ in range(2):  # the second time, too
            with pytest.raises(ValueError, match="8,192 tokens: no token counts for late_loss; "):
                evaluator.prepare(SMALL, lambda _: None)

    def test_a_divergence_is_a_failed_evaluation(self, settings):
        wild = Recipe(matrix_rate=1e4, vector_rate=1e4, embedding_rate=1e4)
        with pytest.raises(EvaluationFailed) as failure:
            loss_of(replace(settings, training=replace(BRIEF, recipe=wild)))
        assert failure.value.kind == "diverged"

    @pytest.mark.parametrize("kind", [RuntimeError, NotImplementedError, torch.AcceleratorError])
    def test_another_error_of_torch_is_not_mistaken_for_missing_memory(self, evaluator, kind):
        def broken(_: Progress) -> None:
            raise kind("not a memory error")

        with pytest.raises(kind, match="not a memory error"):
            evaluator.evaluate(SMALL, broken)

    def test_missing_memory_is_recognised_as_the_cause_of_another_error(self, evaluator):
        def broken(progress: Progress) -> None:
            if progress.done == 0:
                return
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            finally:
                raise torch.AcceleratorError("a recording that broke off")

        with pytest.raises(EvaluationFailed) as failure:
            evaluator.evaluate(SMALL, broken)
        assert failure.value.kind == "out of memory"


class TestTask(JobEvaluatorConformance):
    @pytest.fixture
    def with_task(self, settings, tmp_path) -> ProxyTraining:
        lines = (
            json.dumps({"prompt": f"{n} * 7 = ", "completion": f"{7 * n}"}) for n in range(500)
        )
        path = tmp_path / "task.jsonl"
        path.write_text("\n".join(lines))
        return replace(settings, task=str(path))

    @pytest.fixture
    def evaluator(self, with_task):
        return ProxyLoss(with_task)

    def test_one_training_gives_both_scores_and_the_curve_is_that_of_the_loss(self, evaluator):
        evaluation = evaluator.evaluate(SMALL, lambda _: None)
        loss, *_, task = evaluation.scores
        assert (loss.name, task.name) == ("loss", "task")
        assert loss.unit == task.unit == "bits/byte"
        assert loss.value == evaluation.curve[-1].loss
        assert [point.tokens for point in evaluation.curve] == [192, 320, 640]

    @pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 1.0])
    def test_the_task_has_its_fraction_of_the_windows(self, with_task, share):
        evaluator = ProxyLoss(replace(with_task, task_share=share))
        read: list[int] = []
        text = evaluator._text(512, lambda _: None)
        for batch in mixed_windows(text.training, BRIEF):
            read += batch.inputs_BT.flatten().tolist()
        assert len(read) == 640
        windows = max(1, round(share * 20))
        only_in_the_task = evaluator._tokenizers[512].bpe.token_to_id("=")
        of_task = [only_in_the_task in read[start : start + 32] for start in range(0, 640, 32)]
        assert sum(of_task) == windows
        # The windows of the task and of the corpus are shuffled.
        assert of_task != sorted(of_task) or windows in (1, 20)

    def test_a_larger_fraction_improves_the_task_score(self, with_task):
        def task_score(share: float) -> float:
            training = replace(BRIEF, token_budget=4_000)
            settings = replace(with_task, task_share=share, training=training)
            return ProxyLoss(settings).evaluate(SMALL, lambda _: None).scores[-1].value

        assert task_score(0.5) < task_score(0.005) - 0.5

    def test_the_fingerprint_depends_on_the_examples_and_not_on_the_path(
        self, with_task, settings, tmp_path
    ):
        fingerprint = ProxyLoss(with_task).fingerprint
        (tmp_path / "task.jsonl").rename(tmp_path / "moved.jsonl")
        moved = replace(with_task, task=str(tmp_path / "moved.jsonl"))
        assert ProxyLoss(moved).fingerprint == fingerprint
        with (tmp_path / "moved.jsonl").open("a") as file:
            file.write('\n{"prompt": "a", "completion": "b"}')
        assert ProxyLoss(moved).fingerprint != fingerprint
        assert ProxyLoss(replace(moved, task_share=0.5)).fingerprint != fingerprint
        # Without a task, its fraction has no effect.
        plain = ProxyLoss(settings).fingerprint
        assert ProxyLoss(replace(settings, task_share=0.5)).fingerprint == plain


class TestFingerprint:
    def test_it_changes_with_everything_that_can_change_the_loss(self, settings, tmp_path):
        text = (tmp_path / "corpus" / "0.txt").read_text()
        other = tmp_path / "other"
        other.mkdir()
        for number in range(10):
            numbers = " ".join(f"{number * factor}" for factor in range(1_000))
            (other / f"{number}.txt").write_text(text + numbers)
        changed = [
            settings,
            replace(settings, corpus=str(other)),
            replace(settings, width_share=0.5),
            replace(settings, target_context=64),
            *(
                replace(settings, training=replace(BRIEF, **{field: value}))
                for field, value in {
                    "seed": 1,
                    "context_length": 64,
                    "batch_size": 3,
                    "token_budget": 641,
                    "rungs": (0.25,),
                    "threads": 2,
                    "recipe": Recipe(decay=0.0),
                }.items()
            ),
        ]
        fingerprints = {ProxyLoss(one).fingerprint for one in changed}
        assert len(fingerprints) == len(changed)

    def test_the_same_text_elsewhere_has_the_same_fingerprint(self, settings, tmp_path):
        before = ProxyLoss(settings).fingerprint
        (tmp_path / "corpus").rename(tmp_path / "moved")
        moved = replace(settings, corpus=str(tmp_path / "moved"))
        assert ProxyLoss(moved).fingerprint == before


class TestConstruction:
    def test_no_text_is_read(self, tmp_path):
        (tmp_path / "binary").write_bytes(b"\xff")
        ProxyLoss(ProxyTraining(target_context=128, corpus=str(tmp_path / "binary")))

    def test_a_missing_corpus_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no file or folder has that name"):
            ProxyLoss(ProxyTraining(target_context=128, corpus=str(tmp_path / "absent")))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
    def test_a_missing_device_is_refused(self):
        on_gpu = ProxyTraining(target_context=128, training=TrainingSettings(device="cuda"))
        with pytest.raises(ValueError, match="'cuda' is not available"):
            ProxyLoss(on_gpu)

    @pytest.mark.parametrize("field", ["width_share", "target_context", "task_share"])
    def test_values_out_of_range_are_refused(self, field):
        with pytest.raises(ValueError, match=f"^{field}: 0 is not a"):
            ProxyTraining(**({"target_context": 128} | {field: 0}))


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from evaluators.evaluator import EvaluationFailed
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.training.training_settings import TrainingSettings
from search_space.preset_models import PRESETS

def limit(progress):
    if progress.done == 0:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        address_space = pages * resource.getpagesize() + 300_000_000
        resource.setrlimit(resource.RLIMIT_AS, (address_space, resource.RLIM_INFINITY))

settings = TrainingSettings(context_length=32, batch_size=4_096, token_budget=131_072)
try:
    ProxyLoss(
        ProxyTraining(target_context=128, corpus=sys.argv[1], width_share=0.02, training=settings)
    ).evaluate(PRESETS["lfm2-350m"], limit)
except EvaluationFailed as failure:
    print(failure)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is specific to Linux")
def test_missing_memory_is_a_failed_evaluation(corpus):
    command = [sys.executable, "-c", SHORT_OF_MEMORY, corpus]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    assert child.stdout.startswith("out of memory: ")
    assert child.stdout.count("\n") == 1


def test_the_standard_library_teaches_a_small_proxy_something():
    settings = ProxyTraining(
        target_context=1_024,
        width_share=0.03,
        training=TrainingSettings(token_budget=40_960),
    )
    evaluation = ProxyLoss(settings).evaluate(
        replace(PRESETS["lfm2-350m"], layers=PRESETS["lfm2-350m"].layers[:3]), lambda _: None
    )
    # Each of 2,048 tokens has about 3 bytes, so that a uniform guess costs 3.6 bits per byte.
    assert evaluation.curve[-1].loss < 3.0
    assert evaluation.curve[-1].loss < evaluation.curve[0].loss
