"""Compare the tokens per second of our training step with those of a plain loop, on one core.

    python benchmarks/training_speed.py [--layouts ccacca cccccc aaaaaa] [--windows 12]

Both train a model of width 96 with a vocabulary of 1,024 on batches of 4 x 256 tokens. The plain
loop is a careful first version: bf16 autocast over float32 weights, attention in float32, the
depthwise convolution as shifted multiply-adds, AdamW. Each side is a process of its own on the same
core. Their windows of steps are interleaved, so that drift of the machine affects both alike. The
last line is one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.evaluator import Progress
from evaluators.training.text_training import train
from evaluators.training.tokenized_text import TokenizedText
from evaluators.training.training_settings import TrainingSettings
from hardware.environment import read_environment
from search_space.architecture import Architecture, Attention, Layer, Mixer, ShortConv

WIDTH, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 96, 256, 6, 3, 1_024
BATCH, CONTEXT = 4, 256
STEPS_PER_WINDOW = 16
SIDES = ("ours", "plain")


class PlainConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.kernel = nn.Parameter(torch.randn(3, WIDTH) / 3)
        self.out_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate_in, gate_out, u = self.in_proj(x).chunk(3, dim=-1)
        padded = F.pad(gate_in * u, (0, 0, 2, 0))
        y = sum(padded[:, tap : tap + x.shape[1]] * self.kernel[tap] for tap in range(3))
        return self.out_proj(gate_out * y)


class PlainAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        head = WIDTH // HEADS
        self.q_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.kv_proj = nn.Linear(WIDTH, 2 * KV_HEADS * head, bias=False)
        self.out_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(head), nn.RMSNorm(head)
        angles = torch.outer(torch.arange(CONTEXT), 1e6 ** (-torch.arange(0, head, 2) / head))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x: Tensor) -> Tensor:
        q = self.q_proj(x).float().unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k, v = self.kv_proj(x).float().unflatten(-1, (2 * KV_HEADS, -1)).transpose(1, 2).chunk(2, 1)
        with torch.autocast("cpu", enabled=False):
            q, k = self.rotate(self.q_norm(q)), self.rotate(self.k_norm(k))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def rotate(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        return torch.cat(
            [left * self.cos - right * self.sin, right * self.cos + left * self.sin], -1
        )


class PlainLayer(nn.Module):
    def __init__(self, letter: str) -> None:
        super().__init__()
        self.mixer = PlainConv() if letter == "c" else PlainAttention()
        self.mixer_norm, self.feed_forward_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.gate = nn.Linear(WIDTH, FEED_FORWARD, bias=False)
        self.up = nn.Linear(WIDTH, FEED_FORWARD, bias=False)
        self.down = nn.Linear(FEED_FORWARD, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.mixer_norm(x))
        y = self.feed_forward_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class PlainModel(nn.Module):
    def __init__(self, layout: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.Sequential(*(PlainLayer(letter) for letter in layout))
        self.norm = nn.RMSNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(self.norm(self.layers(self.embedding(tokens))), self.embedding.weight)


def run_plain(layout: str, steps: int, window_done: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    model = PlainModel(layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    for step in range(1, steps + 1):
        tokens = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1))
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % STEPS_PER_WINDOW == 0:
            window_done()


def run_ours(layout: str, steps: int, window_done: Callable[[], None]) -> None:
    head = WIDTH // HEADS
    mixers: dict[str, Mixer] = {
        "c": ShortConv(kernel=3),
        "a": Attention(heads=HEADS, kv_heads=KV_HEADS, head_dim=head),
    }
    architecture = Architecture(
        vocab_size=VOCABULARY,
        width=WIDTH,
        embedding_width=WIDTH,
        layers=tuple(
            Layer(mixer=mixers[letter], feed_forward_width=FEED_FORWARD) for letter in layout
        ),
    )
    ids = np.random.default_rng(0).integers(VOCABULARY, size=200_000).astype(np.uint16)
    text = TokenizedText(
        training=ids, validation=ids[:257], token_bytes=np.ones(VOCABULARY, dtype=np.int64)
    )
    settings = TrainingSettings(
        context_length=CONTEXT, batch_size=BATCH, token_budget=steps * BATCH * CONTEXT
    )
    windows = 0

    def report(progress: Progress) -> None:
        nonlocal windows
        if round(progress.done * steps) // STEPS_PER_WINDOW > windows:
            windows += 1
            window_done()

    train(architecture, text, settings, report)


def run_side(side: str, layout: str, windows: int) -> None:
    """Run one window of steps per line of input, and print the seconds of each (child process)."""
    started = 0.0

    def window_done() -> None:
        nonlocal started
        now = time.perf_counter()
        print(now - started, flush=True)
        sys.stdin.readline()
        started = time.perf_counter()

    sys.stdin.readline()
    started = time.perf_counter()
    # One more window, so that no window that counts includes the end of the training.
    steps = (windows + 1) * STEPS_PER_WINDOW
    (run_ours if side == "ours" else run_plain)(layout, steps, window_done)


def compare(layout: str, windows: int) -> dict[str, list[float]]:
    """Return the tokens per second of every window except the first, by side."""
    arguments = ["--layouts", layout, "--windows", str(windows)]
    children = {
        side: subprocess.Popen(
            [sys.executable, __file__, "--child", side, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in SIDES
    }
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    try:
        for window in range(windows):
            for side, child in children.items():
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write("go\n")
                child.stdin.flush()
                seconds = float(child.stdout.readline())
                if window:
                    rates[side].append(STEPS_PER_WINDOW * BATCH * CONTEXT / seconds)
    finally:
        for child in children.values():
            child.kill()
            child.communicate()
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layouts", nargs="+", default=["ccacca", "cccccc", "aaaaaa"])
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_side(options.child, options.layouts[0], options.windows)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    environment = read_environment(f"torch {torch.__version__}")
    print(f"{environment.cpu}, one core, {environment.runtime_version}")
    print(f"{'layout':8}{'side':>8}{'tokens/s':>12}{'quartiles of the windows':>32}")
    summary = {}
    for layout in options.layouts:
        rates = compare(layout, options.windows)
        for side in SIDES:
            low, middle, high = statistics.quantiles(rates[side], n=4)
            print(f"{layout:8}{side:>8}{middle:12,.0f}{f'{low:,.0f} to {high:,.0f}':>32}")
        ratios = [ours / plain for ours, plain in zip(rates["ours"], rates["plain"], strict=True)]
        print(f"{layout:8}{'ratio':>8}{statistics.median(ratios):12.2f}")
        summary[layout] = rates | {"ratio": statistics.median(ratios)}
    print(json.dumps({"environment": asdict(environment), "tokens_per_second": summary}))


if __name__ == "__main__":
    main()
