import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Use one thread: for tiny models, threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
