"""One training step: forward pass, cross-entropy, backward pass and the optimizer's update.

B batch, T time, V vocabulary, N targets.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.training.torch_device import Device, autocast
from search_space.torch_model import LanguageModel

UNSCORED = -100
"""A target that is ignored; torch's default `ignore_index`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs and targets of one training step or forward pass.

    Attributes:
        inputs_BT: The token ids to read.
        targets_BT: The id of the token that follows each input, or UNSCORED.
    """

    inputs_BT: Tensor
    targets_BT: Tensor


class TrainingStep:
    """A training step. Each call takes one and returns the loss in nats per target, on the device.

    A small model leaves a GPU waiting for Python. On CUDA the fourth step is therefore recorded as
    a CUDA graph, which is replayed from then on.
    """

    _EAGER_STEPS = 3

    def __init__(
        self,
        model: LanguageModel,
        optimizer: torch.optim.Optimizer,
        device: Device,
        largest_gradient: float,
    ) -> None:
        """Prepare the steps of one training.

        Args:
            model: The model to train, on `device`.
            optimizer: The optimizer of the model's weights.
            device: The device to compute on.
            largest_gradient: The norm above which gradients are scaled down.
        """
        self._model = model
        self._optimizer = optimizer
        self._device = device
        self._largest_gradient = largest_gradient
        self._taken = 0
        if device == "cuda":
            self._graph = torch.cuda.CUDAGraph()
            self._stream = torch.cuda.Stream()

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step and return its loss."""
        if self._device == "cpu":
            return self._step(batch)
        self._taken += 1
        if self._taken <= self._EAGER_STEPS:
            # CUDA requires some steps on a side stream before the recording.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._step(batch)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._taken == self._EAGER_STEPS + 1:
            self._batch = Batch(
                inputs_BT=batch.inputs_BT.clone(), targets_BT=batch.targets_BT.clone()
            )
            self._optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph):
                self._loss = self._step(self._batch)
        self._batch.inputs_BT.copy_(batch.inputs_BT)
        self._batch.targets_BT.copy_(batch.targets_BT)
        self._graph.replay()
        return self._loss.clone()

    def _step(self, batch: Batch) -> Tensor:
        with autocast(self._device):
            logits_BTV = self._model(batch.inputs_BT)
        loss = mean_cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._largest_gradient)
        self._optimizer.step()
        return loss.detach()


def mean_cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the mean of -log softmax(logits)[target] over the targets that are not UNSCORED.

    Args:
        logits_NV: The logits of N predictions.
        targets_N: The index of each target, or UNSCORED.
    """
    loss: Tensor = _MeanCrossEntropy.apply(logits_NV, targets_N)
    return loss


class _MeanCrossEntropy(torch.autograd.Function):
    """Cross-entropy whose gradient is computed in the forward pass.

    The gradient is (softmax(x) - onehot(target)) / N. It takes one exponential, where log_softmax
    and its backward pass take two, and it is stored in the precision of the logits. This halves the
    time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        p_NV = torch.softmax(logits_NV, dim=-1, dtype=torch.float32)
        scored_N = targets_N != UNSCORED
        # Dividing by infinity removes unscored targets from the loss and the gradient.
        divisors_N = torch.where(scored_N, scored_N.sum(), torch.inf)
        targets_N1 = targets_N.clamp_min(0)[:, None]
        p_N1 = p_NV.gather(1, targets_N1)
        # A probability below e^-87 is 0 in float32, and its logarithm would be infinite.
        nats_N = -p_N1[:, 0].clamp_min(torch.finfo(torch.float32).tiny).log()
        p_NV.scatter_(1, targets_N1, p_N1 - 1.0)
        ctx.save_for_backward(p_NV.div_(divisors_N[:, None]).to(logits_NV.dtype))
        return (nats_N / divisors_N).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * grads[0], None
