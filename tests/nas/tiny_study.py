"""A study of a few seconds, with real training on a small text and simulated latencies."""

import os
import subprocess
import sys
from pathlib import Path

STUDY = """
name = "tiny"
trials = 4
seed = 1
references = ["lfm2.5-230m"]

[target]
context_depth = 64
prompt_length = 16

[[objectives]]
name = "loss"

[[objectives]]
name = "decode"

[space]
depth = [2, 3]
width = [64, 128]
mixers = ["c", "a", "s", "l", "-"]
feed_forward = [1.0, 2.0]
vocab_size = [4096, 16384]
head_dim = [32]
kv_heads = [1, 2]
window = [16]

[proxy]
corpus = "text.txt"
width_share = 0.125
context_length = 16
batch_size = 4
token_budget = 1280

[device]
runner = "fake"

[sampler]
startup_trials = 2
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write the study file and, next to it, the text that the study trains on."""
    sentences = (f"Sentence {n} tells of {n * n} things and {n % 7} more.\n" for n in range(2000))
    (folder / "text.txt").write_text("".join(sentences))
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def start_nas(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `nas ARGUMENTS` in a folder, for tests that stop the process before it ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "nas.cli", *arguments],
        cwd=folder,
        env=os.environ | {"TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
