"""The device that torch computes on, where this machine has it."""

import pytest
import torch

from evaluators.training.torch_device import check_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match=r"^device: 'cuda' is not available"):
        check_device("cuda")
