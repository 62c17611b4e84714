"""The size of a processor's caches, which decides whether weights are read from memory."""

from pathlib import Path

_PROCESSORS = Path("/sys/devices/system/cpu")
# Assumed where the system does not say: about that of a laptop.
_ASSUMED_BYTES = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def largest_cache_bytes(processors: Path = _PROCESSORS) -> int:
    """Return the size of the largest cache that one core can use, in bytes.

    Shared caches count in full. Systems other than Linux get an assumed size. `sysconf` is no
    alternative: it adds up caches that different cores of one processor use.
    """
    sizes = processors.glob("cpu[0-9]*/cache/index*/size")
    return max((_bytes(size.read_text().strip()) for size in sizes), default=_ASSUMED_BYTES)


def _bytes(text: str) -> int:
    return int(text.rstrip("KM")) * _UNITS.get(text[-1:], 1)
