"""Compare our training recipe with a plain AdamW setup at its best learning rate, on equal tokens.

    python benchmarks/against_plain_adamw.py [--layouts ccaccaca acacccsc] [--tokens 400000]

The plain setup initialises every weight at random and uses one learning rate for all weights, betas
of (0.9, 0.99) and a weight decay of 0.1. Its schedule warms up during the first tenth of the steps
and then follows a cosine down to a tenth of the rate. Its best learning rate is chosen with seed 0;
both setups are then trained with three seeds. Prints losses in bits per byte and times in seconds.
The last line is one JSON document.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from proxy_training import matched, text_of
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from evaluators.training.text_training import score, train
from evaluators.training.torch_device import precision
from evaluators.training.training_settings import TrainingSettings
from hardware.progress import ignore_text
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
SEEDS = (0, 1, 2)
WARM_UP, LOWEST_FACTOR = 0.1, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    loss: float
    seconds: float


def train_plainly(architecture: Architecture, settings: TrainingSettings, rate: float) -> Trained:
    text = text_of(settings.steps * settings.step_tokens + 1)
    started = time.perf_counter()
    model = LanguageModel(architecture)
    model.initialise(settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    tokens = torch.from_numpy(text.training.astype(np.int64))
    windows_NS = tokens.unfold(0, settings.context_length + 1, settings.context_length)
    order = np.random.default_rng(settings.seed).permutation(len(windows_NS))
    for step in range(settings.steps):
        window_BS = windows_NS[order[step * settings.batch_size :][: settings.batch_size]]
        optimizer.param_groups[0]["lr"] = rate * rate_factor((step + 1) / (settings.steps + 1))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision("cpu") == "bf16"):
            logits_BTV = model(window_BS[:, :-1])
        loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), window_BS[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    found = score(model, text, settings, ignore_text).whole
    return Trained(loss=found, seconds=time.perf_counter() - started)


def rate_factor(done: float) -> float:
    """Return the learning rate as a fraction of its maximum, after that fraction of the steps."""
    if done < WARM_UP:
        return done / WARM_UP
    cosine = 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP))
    return LOWEST_FACTOR + (1.0 - LOWEST_FACTOR) * cosine


def train_with_recipe(architecture: Architecture, settings: TrainingSettings) -> Trained:
    text = text_of(settings.steps * settings.step_tokens + 1)
    started = time.perf_counter()
    curve = train(architecture, text, settings, lambda _: None).curve
    return Trained(loss=curve[-1].loss, seconds=time.perf_counter() - started)


def summary(runs: list[Trained]) -> str:
    losses = [run.loss for run in runs]
    seconds = statistics.fmean(run.seconds for run in runs)
    return f"{statistics.fmean(losses):.4f} (sd {statistics.stdev(losses):.4f}), {seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layouts", nargs="+", default=["ccaccaca", "acacccsc", "cccccccc"])
    parser.add_argument("--tokens", type=int, default=400_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {}
    for layout in options.layouts:
        architecture = matched(layout)
        seeds = [TrainingSettings(token_budget=options.tokens, seed=seed) for seed in SEEDS]
        found = [train_plainly(architecture, seeds[0], rate) for rate in RATES]
        best = RATES[int(np.argmin([run.loss for run in found]))]
        plains = [train_plainly(architecture, settings, best) for settings in seeds]
        ours = [train_with_recipe(architecture, settings) for settings in seeds]
        tried = ", ".join(
            f"{rate:g}: {run.loss:.4f}" for rate, run in zip(RATES, found, strict=True)
        )
        print(f"{layout}  {tried}", flush=True)
        print(f"    plain at {best:g}: {summary(plains)}; recipe: {summary(ours)}", flush=True)
        result[layout] = {
            "rates": [run.loss for run in found],
            "plain": [run.loss for run in plains],
            "recipe": [run.loss for run in ours],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
