"""Fingerprints of stored results: a database of an earlier release must lead to cache hits.

The expected values of trainings were written by release 0.1.0. Those of timings are those of this
release, because it times differently: its times and those of 0.1.0 are not comparable. A change to
one of them makes every stored evaluation of that kind invisible, so it must be deliberate: increase
the evaluator's version.
"""

import json
from types import SimpleNamespace

import pytest

from evaluators.cache import Remeasured
from evaluators.calibration import CalibrationsInMemory
from evaluators.quality import proxy_loss, recall
from evaluators.quality.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.quality.recall import Recall, RecallSettings
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_settings import LatencySettings
from evaluators.speed.operators.paired_timer import PairedTimer, ProfileBudget
from evaluators.speed.operators.probe_times import Setting
from evaluators.training.training_settings import TrainingSettings
from hardware.fake import FakeRunner
from hardware.measurement import Workload
from search_space.preset_models import preset
from search_space.probes import Kinds

_LATENCY = (
    "latency 3 "
    + json.dumps(
        {
            "efforts": {
                "decode": {
                    "fewest": 3,
                    "precision": 0.025,
                    "seconds": 10.0,
                    "share": 0.95,
                    "workload": {"depth": 128, "phase": "decode", "tokens": 64},
                },
                "decode@512": {
                    "fewest": 1,
                    "precision": 0.5,
                    "seconds": 1.0,
                    "share": 0.5,
                    "workload": {"depth": 512, "phase": "decode", "tokens": 64},
                },
                "prefill": {
                    "fewest": 3,
                    "precision": 0.025,
                    "seconds": 10.0,
                    "share": 0.5,
                    "workload": {"depth": 0, "phase": "prefill", "tokens": 64},
                },
            },
            "quantization": "int4",
            "reference": "32531f6cba4e6485",
        }
    )
    + " fake"
)


@pytest.fixture(autouse=True)
def fixed_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix the facts that depend on the installation instead of this program."""
    monkeypatch.setattr("torch.__version__", "T")
    monkeypatch.setattr("tokenizers.__version__", "K")
    for module in (proxy_loss, recall):
        monkeypatch.setattr(module, "precision", lambda device: "P")


def test_a_training():
    training = TrainingSettings(token_budget=50_000, rungs=(0.5,))
    settings = ProxyTraining(target_context=1024, corpus="python", training=training)
    corpus = SimpleNamespace(identity="text")
    assert ProxyLoss(settings, corpus).fingerprint == "c7e6b99cf23ca4a9"


def test_the_recall_probe():
    assert Recall(RecallSettings(target_context=1024)).fingerprint == "e30735ea55c922ab"


def test_a_latency_and_its_remeasurement():
    settings = LatencySettings(
        quantization="int4",
        prompt_length=64,
        context_depth=128,
        more_depths=(512,),
        asked=frozenset({"decode", "decode_p95", "prefill"}),
    )
    reference = preset("hybrid-20m")
    with LatencyEvaluator(FakeRunner(), settings, reference, CalibrationsInMemory()) as evaluator:
        assert evaluator.fingerprint == _LATENCY
        assert Remeasured(evaluator=evaluator).fingerprint == f"again {_LATENCY}"


def test_a_profile():
    setting = Setting(
        width=256,
        layers=4,
        quantization="int4",
        threads=1,
        kinds=Kinds(kernels=(3,), windows=(64,)),
    )
    budget = ProfileBudget(precision=0.005, seconds=1.5, rounds=2)
    timer = PairedTimer(FakeRunner(), setting, budget, 0, 1024)
    workload = Workload(phase="decode", tokens=32, depth=128)
    assert timer.fingerprint(workload) == (
        'paired 2 tg32@128 {"precision": 0.005, "quantization": "int4", '
        '"reference": "aff50a8483bb9325", "rounds": 0, "seconds": 1.5} fake'
    )
