"""Datasets of the Hugging Face hub: local ones are read, and the hub is out of reach."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from evaluators.text import dataset
from evaluators.text.corpus import read_corpus
from evaluators.text.documents import check_corpus, read_documents

needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="requires the extra 'parquet'"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that is a dataset with the columns `text`, `body` and `number`."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows = ({"text": f"text {n}. " * 50, "body": f"body {n}", "number": n} for n in range(100))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@needs_datasets
class TestALocalDataset:
    def test_is_a_list_of_documents(self, folder: Path) -> None:
        assert list(read_documents(f"hf:{folder}")) == [f"text {n}. " * 50 for n in range(100)]
        assert list(read_documents(f"hf:{folder}#body")) == [f"body {n}" for n in range(100)]
        assert "body 7" in read_documents(f"hf:{folder}:default#body")

    def test_is_read_only_as_far_as_it_is_needed(self, folder: Path) -> None:
        said: list[str] = []
        texts = list(read_documents(f"hf:{folder}", said.append, 1_000))
        assert texts == [f"text {n}. " * 50 for n in range(3)]
        assert said == [f"reading the corpus: hf:{folder}"]

    def test_is_read_from_the_cache_the_second_time(self, folder: Path) -> None:
        first = list(read_documents(f"hf:{folder}"))
        shutil.rmtree(folder)
        assert list(read_documents(f"hf:{folder}")) == first
        with pytest.raises(ValueError, match="cannot be read"):
            list(read_documents(f"hf:{folder}#body"))

    def test_is_not_confused_with_another_folder_of_the_same_name(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "other" / "dataset"
        other.mkdir(parents=True)
        (other / "train.jsonl").write_text(json.dumps({"text": "another text"}))
        for parent, texts in ((tmp_path, 100), (other.parent, 1), (tmp_path, 100)):
            monkeypatch.chdir(parent)
            for name in ("hf:dataset", "hf:dataset:default"):
                assert len(list(read_documents(name))) == texts

    def test_is_a_corpus(self, folder: Path) -> None:
        corpus = read_corpus(f"hf:{folder}", token_budget=1_000)
        assert "text 7. text 7." in "".join((*corpus.training, *corpus.held_out))


@needs_datasets
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("#words", "has no field 'words' (its fields: 'text', 'body', 'number'); append #FIELD"),
        ("#number", "row 1: 'number' is not a string"),
        (":other", "cannot be read (BuilderConfig 'other' not found"),
        ("-missing", "cannot be read ("),
    ],
)
def test_a_message_names_what_is_wrong(folder: Path, name: str, message: str) -> None:
    check_corpus(f"hf:{folder}{name}")  # nothing is read
    with pytest.raises(ValueError, match=r"^corpus: 'hf:") as refusal:
        list(read_documents(f"hf:{folder}{name}"))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["hf:", "hf:#text", "hf::default"])
def test_a_name_without_a_dataset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="does not name a dataset, as in 'hf:OWNER/NAME'"):
        check_corpus(name)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "is_installed", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'hybrid-lm-search\[parquet\]'"):
        check_corpus("hf:someone/something")


@needs_datasets
def test_a_dataset_that_is_a_program_is_refused(folder: Path) -> None:
    (folder / "dataset.py").write_text("raise SystemExit\n")
    with pytest.raises(ValueError, match=r"cannot be read \(Dataset scripts are no longer"):
        list(read_documents(f"hf:{folder}"))


@needs_datasets
def test_without_the_network_the_message_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'someone/something' on the Hub (no route to host)")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ValueError, match=r"Couldn't reach 'someone/something' on the Hub"):
        list(read_documents("hf:someone/something"))
    assert capfd.readouterr().err == ""
