"""The archive that travels contains everything that it imports, and nothing else."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import hardware
from hardware.remote.archive import MODULES, agent_archive

FOLDER = Path(hardware.__file__).parent


def imported_by(module: str) -> set[str]:
    """Return the modules of `hardware` that a module imports, also inside functions."""
    path = FOLDER / f"{module.replace('.', '/')}.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{each.name}" for each in node.names] + [node.module]
        found |= {name.removeprefix("hardware.") for name in names if name.startswith("hardware.")}
    return {name for name in found if (FOLDER / f"{name.replace('.', '/')}.py").exists()}


def test_it_contains_what_the_agent_imports():
    needed, left = set(), {"remote.agent", "bench"}
    while left:
        needed |= left
        left = {name for module in left for name in imported_by(module)} - needed
    assert set(MODULES) == needed


def test_it_is_the_same_every_time():
    first = agent_archive()
    agent_archive.cache_clear()
    assert agent_archive() == first


def test_it_is_small():
    assert len(agent_archive().content) < 100_000


def test_python_imports_from_it(tmp_path):
    path = tmp_path / "agent.zip"
    path.write_bytes(agent_archive().content)
    program = "import hardware.remote.agent as agent; print(agent.__file__)"
    output = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == str(path / "hardware/remote/agent.py")


def test_it_contains_only_modules():
    with zipfile.ZipFile(io.BytesIO(agent_archive().content)) as archive:
        names = archive.namelist()
    assert all(name.startswith("hardware/") and name.endswith(".py") for name in names)
    assert len(names) == len(MODULES) + 2
