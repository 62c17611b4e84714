"""Where the parts meet: the evaluators, in the order of their price, that a study file asks for."""

from typing import assert_never

from evaluators.evaluator import Evaluator
from evaluators.latency import LatencyEvaluator, LatencySettings
from evaluators.proxy_loss import ProxyLoss, ProxyTraining
from evaluators.static import StaticEvaluator
from evaluators.training import TrainingSettings
from hardware.fake import FakeRunner
from hardware.local import LocalRunner
from hardware.runner import Runner
from studies.spec import DeviceSettings, ProxySettings, StudySpec, Target


def evaluators_of(spec: StudySpec) -> tuple[Evaluator, ...]:
    """ValueError for what this machine lacks: cores, the corpus, CUDA."""
    return (
        StaticEvaluator(),
        latency_evaluator(spec),
        ProxyLoss(proxy_training(spec.proxy, spec.target, spec.seed)),
    )


def runner_of(device: DeviceSettings) -> Runner:
    match device.runner:
        case "local":
            return LocalRunner(threads=device.threads)
        case "fake":
            return FakeRunner()
        case _:
            assert_never(device.runner)


def latency_evaluator(spec: StudySpec) -> LatencyEvaluator:
    settings = LatencySettings(
        quantization=spec.target.quantization,
        prompt_length=spec.target.prompt_length,
        context_depth=spec.target.context_depth,
    )
    return LatencyEvaluator(runner_of(spec.device), settings)


def proxy_training(proxy: ProxySettings, target: Target, seed: int) -> ProxyTraining:
    return ProxyTraining(
        target_context=max(1, target.context_depth),
        corpus=proxy.corpus,
        width_share=proxy.width_share,
        training=TrainingSettings(
            context_length=proxy.context_length,
            batch_size=proxy.batch_size,
            token_budget=proxy.token_budget,
            rungs=proxy.rungs,
            device=proxy.device,
            threads=proxy.threads,
            seed=seed,
        ),
    )
