"""The size of a processor's caches, which decides whether weights come from memory."""

from pathlib import Path

# Where the system does not say: as large as a laptop's.
_SUPPOSED_BYTES = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def largest_cache_bytes() -> int:
    """Of any core of this machine, shared ones whole (Linux); elsewhere a guess."""
    sizes = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index*/size")
    return max((_bytes(size) for size in sizes), default=_SUPPOSED_BYTES)


def _bytes(path: Path) -> int:
    text = path.read_text().strip()
    return int(text.rstrip("KM")) * _UNITS.get(text[-1:], 1)
