"""The device that torch computes on, its precision, its threads and its memory."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch

Device: TypeAlias = Literal["cpu", "cuda"]


def check_device(device: Device) -> None:
    """Check that torch can use a device on this machine.

    Raises:
        ValueError: It cannot.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' is not available to torch on this machine; use 'cpu'")


@functools.cache
def precision(device: Device) -> Literal["bf16", "fp32"]:
    """Return the precision of matrix products: bf16 if the hardware supports it, else float32."""
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return "bf16" if native else "fp32"


def autocast(device: Device) -> torch.autocast:
    """Return a context in which matrix products have the device's `precision`."""
    return torch.autocast(device, torch.bfloat16, enabled=precision(device) == "bf16")


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use a number of threads until the context ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of returning them to the kernel.

    Each training step allocates the same tensors as the one before. If their memory were mapped
    again each time, the page faults would take a tenth of the training time on a CPU.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 1 << 30)
