"""What torch computes on: the device, its precision, its threads, and the memory it keeps."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch

Device: TypeAlias = Literal["cpu", "cuda"]


def check_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' is not available to torch on this machine; cpu is")


@functools.cache
def precision(device: Device) -> Literal["bf16", "fp32"]:
    """bf16 under autocast where the hardware multiplies it, otherwise float32."""
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return "bf16" if native else "fp32"


def autocast(device: Device) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=precision(device) == "bf16")


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Asks glibc to reuse large blocks rather than to return them to the kernel.

    A step allocates the same tensors as the one before. Mapped anew, each of their pages costs a
    page fault; all of them together are a tenth of the training time on a CPU.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 1 << 30)
