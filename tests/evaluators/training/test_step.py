"""The training loss: its value, its gradient and unscored targets."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.training.step import UNSCORED, mean_cross_entropy


class TestMeanCrossEntropy:
    @pytest.mark.parametrize("scale", [1.0, 10.0])
    @pytest.mark.parametrize(
        "targets",
        [[0, 10, 3, 3, 5, 1, 7], [UNSCORED, 10, UNSCORED, 3, 5, 1, UNSCORED], [UNSCORED] * 6 + [2]],
    )
    def test_loss_and_gradient_equal_those_of_torch(self, scale, targets):
        logits = scale * torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
        targets = torch.tensor(targets)
        ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        loss, reference = mean_cross_entropy(ours, targets), F.cross_entropy(theirs, targets)
        (3.0 * loss).backward()
        (3.0 * reference).backward()
        torch.testing.assert_close(loss, reference)
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_a_target_of_probability_zero_has_a_finite_loss(self):
        logits = torch.tensor([[0.0, 1_000.0]], requires_grad=True)
        loss = mean_cross_entropy(logits, torch.tensor([0]))
        loss.backward()
        assert 80 < loss.item() < math.inf
        torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 1.0]]))
