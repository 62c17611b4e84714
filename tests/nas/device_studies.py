"""Studies of a few seconds on simulated devices, whose agents are processes of this machine."""

import sys
from pathlib import Path

from tests.nas.tiny_study import STUDY, write_study

DEVICES = f"""
[one]
channel = "local"
python = "{sys.executable}"
runtime = "fake"

[two]
channel = "command"
run = ["env", "--"]
python = "{sys.executable}"
runtime = "fake"
patience_s = 2
"""

# Without the reference model, whose training is half of a run.
_WITHOUT_REFERENCES = STUDY.replace('references = ["lfm2.5-230m"]\n', "")


def device_study(
    *objectives: str, devices: tuple[str, ...] = ("one", "two"), more: str = ""
) -> str:
    """Return the text of a study.

    Args:
        *objectives: The names of its objectives.
        devices: The devices that it names.
        more: Further tables.
    """
    top, _, rest = _WITHOUT_REFERENCES.partition("[[objectives]]")
    tables = "".join(f'[[objectives]]\nname = "{name}"\n' for name in objectives)
    named = ", ".join(f'"{name}"' for name in devices)
    return f"{top}devices = [{named}]\n{tables}{more}\n[space]{rest.partition('[space]')[2]}"


def write_device_study(folder: Path, text: str, devices: str | None = DEVICES) -> Path:
    """Write a study file and, next to it, the text that it trains on and the file of devices."""
    if devices is not None:
        (folder / "devices.toml").write_text(devices)
    return write_study(folder, text)
