"""A folder like /proc, in which tests describe processes."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def write_process(
    proc: Path,
    pid: int,
    *,
    name: bytes = b"program",
    parent: int = 1,
    used_s: float = 0.0,
    threads: int = 1,
    started_s: float = 0.0,
    core: int = 0,
    command: bytes = b"",
) -> None:
    """Write the files of one process; proc(5) lists the fields of its `stat`."""
    used = round(used_s * TICKS_PER_S)
    kernel = used // 3
    fields = [b"0"] * 52
    fields[0] = str(pid).encode()
    fields[1] = b"(" + name + b")"
    fields[2] = b"R"
    numbers = {4: parent, 14: used - kernel, 15: kernel, 20: threads, 39: core}
    numbers[22] = round(started_s * TICKS_PER_S)
    for number, value in numbers.items():
        fields[number - 1] = str(value).encode()
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_bytes(b" ".join(fields) + b"\n")
    (folder / "comm").write_bytes(name + b"\n")
    (folder / "cmdline").write_bytes(command)


def write_pressure(proc: Path, waited_us: int) -> None:
    """Write how long programs have waited for a core, as the kernel does."""
    (proc / "pressure").mkdir(exist_ok=True)
    (proc / "pressure" / "cpu").write_text(
        f"some avg10=66.82 avg60=72.81 avg300=44.65 total={waited_us}\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
