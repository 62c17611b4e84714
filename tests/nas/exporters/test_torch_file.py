"""The Python file of a model against the model itself, with the same weights."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from nas.exporters.torch_file import torch_source, write_torch
from search_space.architecture import Architecture
from search_space.preset_models import PRESETS
from search_space.proxy import proxy_of
from search_space.torch_model import LanguageModel
from tests.search_space.strategies import ATTENTION, CORNERS, LINEAR, architectures, stack

SMALL_PRESETS = {name: proxy_of(PRESETS[name], 0.02, window_share=0.02) for name in PRESETS}
# More than a chunk of linear attention, and not a multiple of it.
TOKENS = 45


def written(architecture: Architecture) -> type[torch.nn.Module]:
    """Return the class that the file defines."""
    names = {"__name__": "written"}
    exec(compile(torch_source(architecture, "some model"), "some_model.py", "exec"), names)
    return names["LanguageModel"]


def assert_parity(architecture: Architecture, bound: float) -> None:
    ours = LanguageModel(architecture)
    ours.initialise(0)
    theirs = written(architecture)()
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(
        architecture.vocab_size, (2, TOKENS), generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        expected = ours(tokens)
        worst = (theirs(tokens) - expected).abs().max() / expected.std()
    assert worst < bound


@pytest.mark.parametrize("name", ['"""\nraise SystemExit\n"""', "\\", 'a"', "\ud800", "a\nb"])
def test_no_name_escapes_from_the_docstring(name: str) -> None:
    def statements(name: str) -> list[str]:
        source = torch_source(stack(ATTENTION), name).encode()
        return [ast.dump(statement) for statement in ast.parse(source).body[1:]]

    assert statements(name) == statements("plain")


@pytest.mark.parametrize("name", [*CORNERS, *SMALL_PRESETS])
def test_the_same_weights_give_the_same_logits(name: str) -> None:
    assert_parity((CORNERS | SMALL_PRESETS)[name], bound=1e-6)


@settings(max_examples=15)
@given(architecture=architectures())
def test_random_architectures_give_the_same_logits(architecture: Architecture) -> None:
    # Norms of a few small numbers amplify rounding errors; mistakes are much larger.
    assert_parity(architecture, bound=1e-3)


def test_a_file_contains_only_what_the_layout_needs() -> None:
    plain = torch_source(stack(ATTENTION, ATTENTION), "plain")
    for absent in ("ShortConv", "LinearAttention", "band", "is not None", "sigmoid", "CHUNK"):
        assert absent not in plain
    assert "is_causal=True" in plain
    assert "rotate" not in torch_source(stack(LINEAR), "linear")


@pytest.mark.parametrize("name", ["every mixer", "no mixer at all", "biases", "lfm3-1.7b"])
def test_it_requires_only_torch(name: str) -> None:
    tree = ast.parse(torch_source((CORNERS | SMALL_PRESETS)[name], name))
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {module.partition(".")[0] for module in imported} <= {"torch", "math", "functools"}


def test_files_are_formatted_and_pass_the_linter(tmp_path: Path) -> None:
    for name, architecture in (CORNERS | SMALL_PRESETS).items():
        write_torch(architecture, tmp_path / f"{name}.py", name=name)
    for command in (["format", "--diff"], ["check", "--select=E,F,I,B,UP,RET"]):
        options = ["--isolated", "--line-length=100", "--target-version=py311"]
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_run_as_a_program_it_trains_a_few_steps(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    write_torch(CORNERS["every mixer"], path, name="small")
    result = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    losses = [float(line.split()[2]) for line in result.stdout.splitlines() if "step" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
