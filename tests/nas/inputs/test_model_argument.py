"""Arguments of commands that name a model: presets, files, folders and trials."""

import json
from pathlib import Path

import pytest

from nas.inputs.model_argument import Measurable, ModelFile, find_measurables, find_model
from search_space.architecture import to_json
from search_space.huggingface.configuration import config_of
from search_space.onnx_model import write_onnx
from search_space.preset_models import PRESETS
from studies.analysis import trial_detail
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.search_space.strategies import CONV, CORNERS, stack
from tests.studies.fakes import all_stages, small_spec


def find(*texts: str | Path) -> tuple[Measurable, ...]:
    return find_measurables(list(map(str, texts)), None)


def write_graph(folder: Path) -> Path:
    folder.mkdir()
    return write_onnx(stack(CONV), folder, quantization="int4", context_length=32)


def test_a_preset_goes_by_its_name() -> None:
    assert find_model("lfm2-350m").architecture == PRESETS["lfm2-350m"]


def test_a_file_goes_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "winner.json"
    path.write_text(to_json(PRESETS["lfm3-1.7b"], indent=2))
    found = find_model(str(path))
    assert (found.name, found.architecture) == ("winner", PRESETS["lfm3-1.7b"])


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"model: 'lfm9' is neither a preset \(expected one of lfm2.5-230m, "
    ):
        find_model("lfm9")


def test_a_mistake_in_a_file_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"vocab_size": 10, "width": "wide", "embedding_width": 8, "layers": []}')
    with pytest.raises(ValueError, match=r"wrong.json: width: 'wide' is not a whole number"):
        find_model(str(path))


def test_a_file_that_is_too_large_to_build_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    path.write_text(to_json(PRESETS["lfm2-350m"]).replace('"width":1024', '"width":1000000000'))
    with pytest.raises(ValueError, match=r"width: 1000000000 is not between 1 and 65,536"):
        find_model(str(path))


def test_a_text_that_is_not_a_path_is_not_found() -> None:
    with pytest.raises(ValueError, match="is neither a preset"):
        find_model("{" * 5000)


def test_a_folder_of_transformers_goes_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(PRESETS["qwen3-0.6b"])))
    for text in (folder, folder / "config.json"):
        found = find_model(str(text))
        assert (found.name, found.architecture) == ("qwen", PRESETS["qwen3-0.6b"])


def test_a_folder_of_another_export_resolves_to_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "architecture.json").write_text(to_json(PRESETS["lfm3-1.7b"]))
    assert find_model(str(tmp_path)).architecture == PRESETS["lfm3-1.7b"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds neither config\.json nor architecture\.json"):
        find_model(str(tmp_path))


def test_architectures_are_measurable(tmp_path: Path) -> None:
    (tmp_path / "winner.json").write_text(to_json(CORNERS["every mixer"]))
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen/config.json").write_text(json.dumps(config_of(PRESETS["qwen3-0.6b"])))
    found = find("lfm2-350m", tmp_path / "winner.json", tmp_path / "qwen")
    assert [(model.name, model.source) for model in found] == [
        ("lfm2-350m", PRESETS["lfm2-350m"]),
        ("winner", CORNERS["every mixer"]),
        ("qwen", PRESETS["qwen3-0.6b"]),
    ]


def test_model_files_are_measurable_as_they_are(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "exported")
    gguf = tmp_path / "small.gguf"
    gguf.touch()
    onnx_file = ModelFile(path=graph, model_format="onnx", context_length=32)
    assert find(graph) == find(graph.parent) == (Measurable(name="exported", source=onnx_file),)
    gguf_file = ModelFile(path=gguf, model_format="gguf")
    assert find(gguf) == (Measurable(name="small.gguf", source=gguf_file),)


def test_models_with_the_same_name_are_named_by_their_arguments(tmp_path: Path) -> None:
    texts = []
    for folder, corner in (("a", "one layer"), ("b", "kernel 1"), ("c", "one layer")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "winner.json").write_text(to_json(CORNERS[corner]))
        texts.append(str(tmp_path / folder / "winner.json"))
    assert [model.name for model in find(*texts)] == texts
    assert [model.name for model in find(texts[0], texts[2])] == ["winner", "winner"]


def test_a_trial_is_named_by_its_study_and_its_number_or_name(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"
    spec = small_spec(storage, trials=1, references=("lfm2-350m",))
    with Store.open(storage) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        candidate = trial_detail.detail(store, "small", "0").architecture
    found = find_measurables(["small:0", "small:lfm2-350m"], storage)
    assert [(model.name, model.source) for model in found] == [
        ("small-0", candidate),
        ("small-lfm2-350m", PRESETS["lfm2-350m"]),
    ]
    for text, sentence in (
        (
            "small:7",
            "trial: '7' is neither a candidate number nor a reference model of 'small', which has "
            "0 and lfm2-350m",
        ),
        (
            "smal:0",
            "study: 'smal' is not in this database, which holds small; nas run starts a study",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            find_measurables([text], storage)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lfm9", r"model: 'lfm9' is neither a preset \(.*nor a trial of a study \(STUDY:TRIAL\)$"),
        ("missing.json", r"missing\.json: no such file"),
        ("missing.gguf", r"missing\.gguf: no such file"),
        ("missing/model.onnx", r"missing/model\.onnx: no such file"),
        ("quickstart", r"model: 'quickstart' is a study; .* such as quickstart:0"),
        ("mine.toml", r"model: 'mine\.toml' is a study; .* such as mine\.toml:0"),
        (":3", r"model: ':3' is neither a preset"),
        ("lfm9:", r"model: 'lfm9:' is neither a preset"),
        ("quickstart:0", r"storage: .*nas\.db"),
        (
            "foreign",
            r"model: 'foreign/model\.onnx' is not a model\.onnx with a model\.json next to",
        ),
        ("damaged/genai.onnx", r"model: 'damaged/genai\.onnx' is not a model\.onnx with a"),
        ("damaged", r"damaged/model\.json: not a model description"),
    ],
)
def test_what_does_not_exist_is_refused_with_one_sentence(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/model.onnx").touch()
    write_graph(tmp_path / "damaged")
    (tmp_path / "damaged/genai.onnx").touch()
    (tmp_path / "damaged/model.json").write_text("[]")
    with pytest.raises(ValueError, match=rf"^{sentence}"):
        find(text)
    assert not list(tmp_path.glob("*.db"))
