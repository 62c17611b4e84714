"""The size of a processor's caches, which decides whether weights come from memory."""

from pathlib import Path

_PROCESSORS = Path("/sys/devices/system/cpu")
# Where the system does not say: as large as a laptop's.
_SUPPOSED_BYTES = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def largest_cache_bytes(processors: Path = _PROCESSORS) -> int:
    """What one core reaches, shared caches whole (Linux); elsewhere a guess.

    The C library does not serve: it adds up what different cores of one processor reach.
    """
    sizes = processors.glob("cpu[0-9]*/cache/index*/size")
    return max((_bytes(size.read_text().strip()) for size in sizes), default=_SUPPOSED_BYTES)


def _bytes(text: str) -> int:
    return int(text.rstrip("KM")) * _UNITS.get(text[-1:], 1)
