"""`nas profile` with cached times, so that nothing is measured."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hardware.local import LocalRunner
from hardware.processor_cache import largest_cache_bytes
from nas.workflows.profile_plan import QUICK, plan_profile
from nas.workflows.profile_timing import Profiling
from studies.storage.store import Store
from tests.nas.workflows.profile_parts import PartsRunner, at_once

WIDTH = 64


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that contains all times of `nas profile --quick --width 64`."""
    url = f"sqlite:///{tmp_path_factory.mktemp('profile')}/nas.db"
    plan = plan_profile(
        QUICK, widths=[WIDTH], depths=[], quantizations=[], threads=[], prompt=None, rounds=None
    )
    device = PartsRunner(noise=0.003, loading=0.003, fingerprint=LocalRunner().fingerprint)
    with Store.open(url) as store:
        run = Profiling(plan, {1: device}, store, cache_bytes=largest_cache_bytes(), quiet=at_once)
        run.run(lambda progress: None)
        assert run.done == run.total
    return url


@pytest.fixture
def profile(nas, storage: str):
    return lambda *more: nas("profile", "--quick", "--width", WIDTH, "--storage", storage, *more)


def test_the_table_shows_the_cost_of_each_mixer_in_80_columns(nas_process, storage: str) -> None:
    shown = nas_process("profile", "--quick", "--width", WIDTH, "--storage", storage)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "width 64, int4, 1 thread"
    for part in ("convolution 7", "attention", "window 512", "linear attention", "vocabulary"):
        row = next(line for line in lines if line[3:].startswith(part))
        assert row.count("±") == 4
    for word in (
        "@256",
        "@1,024",
        "@4,096",
        "of 128",
        "sum of parts / measured",
        "context depth",
    ):
        assert word in shown.stdout


def test_findings_are_computed_from_the_times(profile) -> None:
    said = " ".join(profile().stdout.split())
    # On this device a window costs what full attention does until it is full.
    assert "window 512 and attention do not differ significantly up to depth 256, but" in said
    assert "do at 1,024" in said
    assert "decode: attention costs" in said
    assert "often said to cost 3 to 4 short convolutions; here, attention costs more" in said
    assert "linear attention costs less at every depth up to 4,096" in said
    assert "the sum of the parts is" in said


def test_json_has_every_cost_with_its_interval(profile) -> None:
    (document,) = json.loads(profile("--json").stdout)
    assert (document["width"], document["quantization"], document["threads"]) == (64, "int4", 1)
    assert document["failures"] == []
    costs = {(cost["part"], cost["workload"]): cost for cost in document["costs"]}
    assert len(costs) == 7 * 4
    deep = costs["attention", "tg32@4096"]["short_convolutions"]
    assert deep["low"] < deep["value"] < deep["high"]
    assert costs["attention", "tg32@4096"]["ms"]["value"] > 0
    assert len(document["whole_models"]) == 2 * 3
    assert document["findings"]


def test_the_picture_is_an_svg_with_a_line_per_mixer(profile, tmp_path: Path) -> None:
    result = profile("--picture", "costs.svg")
    assert result.returncode == 0
    root = ElementTree.parse(tmp_path / "costs.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{name}polyline")) == 5
    texts = {text.text for text in root.iter(f"{name}text")}
    assert {"attention", "window 512", "linear attention", "4,096", "3 to 4 times"} <= texts


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--width", "100"], "width: 100 is not a multiple of 64 between 64 and 16,384"),
        (["--depth", "0"], "depth: 0 is not between 1 and 1,000,000"),
        (["--prompt", "0"], "prompt: 0 is not between 1 and 1,000,000"),
        (["--quantization", "int3"], "quantization: 'int3' is not one of fp32, int8, int4"),
        (["--threads", "999"], "threads: 999 is not between 1 and"),
        (["--rounds", "0"], "rounds: 0 is not between 1 and 100"),
        (["--picture", "costs.png"], "picture: 'costs.png' does not end in .svg"),
        (["--picture", "no/costs.svg"], "picture: 'no/costs.svg' is in a folder that does not"),
        (["--storage", "nas.db"], "storage: 'nas.db' is not a database URL"),
    ],
)
def test_an_error_is_one_sentence_and_nothing_is_timed(nas, arguments, sentence) -> None:
    result = nas("profile", "--quick", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"nas: {sentence}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
