"""Batches of windows of a text."""

import numpy as np
import torch

from evaluators.training.tokenized_text import mixed_windows
from evaluators.training.training_settings import TrainingSettings


class TestBatches:
    def test_every_token_is_read_once_before_any_is_read_again(self):
        ids = np.arange(16 * 10 + 1, dtype=np.uint16)
        settings = TrainingSettings(context_length=16, batch_size=2, token_budget=16 * 20)
        batches = list(mixed_windows(ids, settings))
        inputs = torch.cat([batch.inputs_BT for batch in batches])
        targets = torch.cat([batch.targets_BT for batch in batches])
        assert inputs.shape == (20, 16)
        assert torch.equal(targets, inputs + 1)
        for once in (inputs[:10], inputs[10:]):
            assert torch.equal(once.flatten().sort().values, torch.arange(160))
        assert not torch.equal(inputs[:10], inputs[10:])
