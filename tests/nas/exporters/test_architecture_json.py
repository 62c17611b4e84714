"""The architecture file: reading it back, and its schema."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from evaluators.evaluator import Score
from hardware.environment import read_environment
from nas.exporters.architecture_json import (
    ArchitectureFile,
    Timing,
    architecture_schema,
    provenance_of,
    write_architecture,
)
from search_space.architecture import architecture_hash, to_json
from search_space.architecture_file import read_architecture
from search_space.preset_models import PRESETS, preset
from search_space.strict import parse_json
from tests.nas.calibrated import calibrated
from tests.search_space.strategies import CORNERS

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "architecture.schema.json"


def test_the_shipped_schema_is_that_of_the_types() -> None:
    shipped = json.loads(SCHEMA_FILE.read_text())
    assert shipped == architecture_schema(), (
        "python -m nas.exporters.architecture_json > docs/architecture.schema.json"
    )


@pytest.mark.parametrize("name", [*CORNERS, *PRESETS])
def test_a_file_fits_the_schema_and_is_read_back(name: str, tmp_path: Path) -> None:
    architecture = (CORNERS | PRESETS)[name]
    path = tmp_path / "model.json"
    write_architecture(architecture, path, provenance_of(None, made_from=preset("lfm2-350m")))
    jsonschema.validate(json.loads(path.read_text()), architecture_schema())
    assert read_architecture(path) == architecture
    assert parse_json(ArchitectureFile, path.read_text(), "model.json").provenance.made_from == (
        architecture_hash(preset("lfm2-350m"))
    )


def test_a_file_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """Scores had no ratio then, and it was not recorded how long a model waited for a core."""
    path = tmp_path / "model.json"
    provenance = provenance_of(None, made_from=None)
    decode = calibrated(Score(name="decode", value=12.0, unit="ms/token"), provisional=True)
    timing = Timing(
        workload="tg64@1024",
        runtime="onnxruntime",
        threads=1,
        samples=64,
        median_ms=12.1,
        low_ms=12.0,
        high_ms=12.3,
        environment=read_environment("onnxruntime 1"),
        waiting_share=0.25,
    )
    write_architecture(
        preset("lfm2-350m"), path, replace(provenance, scores=(decode,), timings=(timing,))
    )
    jsonschema.validate(json.loads(path.read_text()), architecture_schema())
    written = parse_json(ArchitectureFile, path.read_text(), "model.json").provenance
    assert (written.scores, written.timings) == ((decode,), (timing,))

    document = json.loads(path.read_text())
    for name in ("provisional", "measured"):
        del document["provenance"]["scores"][0][name]
    del document["provenance"]["timings"][0]["waiting_share"]
    path.write_text(json.dumps(document))
    earlier = parse_json(ArchitectureFile, path.read_text(), "model.json").provenance
    assert earlier.scores == (replace(decode, provisional=False, measured=None),)
    assert earlier.timings == (replace(timing, waiting_share=None),)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"width": 3}},
        {"hash": 12},
        {"provenance": {}},
        {"surplus": 1},
    ],
)
def test_the_schema_refuses_other_content(change: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_architecture(CORNERS["one layer"], path, provenance_of(None, made_from=None))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(path.read_text()) | change, architecture_schema())


def test_an_edited_architecture_with_its_old_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_architecture(preset("lfm2-350m"), path, provenance_of(None, made_from=None))
    path.write_text(path.read_text().replace('"width": 1024', '"width": 2048'))
    refused = r"model.json: hash: '275223524ee892ea' is not [0-9a-f]{16}, the hash of the arch"
    with pytest.raises(ValueError, match=refused):
        read_architecture(path)
    path.write_text(to_json(preset("lfm2-700m")))
    assert read_architecture(path) == preset("lfm2-700m")


def test_an_error_in_a_wrapped_architecture_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_architecture(CORNERS["one layer"], path, provenance_of(None, made_from=None))
    path.write_text(path.read_text().replace('"kernel": 3', '"kernel": 0'))
    with pytest.raises(ValueError, match=r"architecture.layers\[0\].mixer.kernel: 0 is not"):
        read_architecture(path)
