"""The device that torch computes on."""

import pytest
import torch

from evaluators.training.torch_device import check_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_refused_on_a_machine_without_it():
    with pytest.raises(ValueError, match=r"^device: 'cuda' is not available"):
        check_device("cuda")
