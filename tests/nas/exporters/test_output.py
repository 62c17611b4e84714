"""Exports are written completely or not at all, and never replace other files."""

import errno
import resource
import signal
from pathlib import Path

import pytest

from nas.exporters.output import (
    MARK,
    OutputExists,
    file_name,
    writing_file,
    writing_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    with writing_file(tmp_path / "model.json", overwrite=False) as path:
        path.write_text("half")
        assert not (tmp_path / "model.json").exists()
    assert names(tmp_path) == ["model.json"]
    assert (tmp_path / "model.json").read_text() == "half"


def test_a_folder_is_replaced_completely(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("model", "genai_config"):
        with writing_folder(target, overwrite=content != "model") as folder:
            (folder / MARK).write_text(content)
            (folder / f"{content}.json").touch()
    assert names(tmp_path) == ["model"]
    assert names(target) == [MARK, "genai_config.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), MemoryError()])
@pytest.mark.parametrize("writing", [writing_file, writing_folder])
def test_an_exception_leaves_existing_output_unchanged(
    writing, error: BaseException, tmp_path: Path
) -> None:
    target = tmp_path / "model"
    if writing is writing_folder:
        target.mkdir()
        (target / MARK).write_text("before")
    else:
        target.write_text("before")

    def fail() -> None:
        with writing(target, overwrite=True) as place:
            (place / "part" if writing is writing_folder else place).write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert names(tmp_path) == ["model"]
    kept = target / MARK if writing is writing_folder else target
    assert kept.read_text() == "before"


@pytest.mark.parametrize("writing", [writing_file, writing_folder])
def test_nothing_is_left_on_a_full_disk(writing, tmp_path: Path) -> None:
    def fill(place: Path) -> None:
        file = place / "weights" if writing is writing_folder else place
        with file.open("wb") as stream:
            stream.write(bytes(1 << 20))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # To a program, a full disk is a write that fails halfway.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with (
            pytest.raises(
                ValueError, match=r"^output: '.*model' cannot be written: file too large$"
            ),
            writing(tmp_path / "model", overwrite=False) as place,
        ):
            fill(place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert names(tmp_path) == []


def test_a_disk_error_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ValueError, match=r"^output: '.*' cannot be written: no space left on device$"
        ),
        writing_folder(tmp_path / "model", overwrite=False),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(ValueError, match="cannot be written: no such file or directory"),
        writing_file(tmp_path / "nowhere" / "model", overwrite=False),
    ):
        pass


@pytest.mark.parametrize("writing", [writing_file, writing_folder])
def test_existing_output_is_replaced_only_if_requested(writing, tmp_path: Path) -> None:
    target = file = tmp_path / "model"
    if writing is writing_folder:
        target.mkdir()
        file = target / MARK
    file.write_text("mine")
    with (
        pytest.raises(OutputExists, match="already exists; --force"),
        writing(target, overwrite=False),
    ):
        pass
    assert file.read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_force_is_not_suggested_where_it_would_not_help(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    (tmp_path / "note").touch()
    for writing, name, sentence in (
        (writing_file, "thesis", r"is a folder, not a file$"),
        (writing_folder, "thesis", r"is not an export \(no architecture.json\)"),
        (writing_folder, "note", r"is not an export \(no architecture.json\)"),
    ):
        with (
            pytest.raises(ValueError, match=sentence),
            writing(tmp_path / name, overwrite=overwrite),
        ):
            pass
    assert names(tmp_path) == ["note", "thesis"]


def test_a_folder_that_no_export_wrote_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with (
        pytest.raises(ValueError, match=r"is not an export \(no architecture.json\)"),
        writing_folder(tmp_path / "thesis", overwrite=True),
    ):
        pass
    with (
        pytest.raises(ValueError, match="is a folder, not a file"),
        writing_file(tmp_path / "thesis", overwrite=True),
    ):
        pass
    assert names(tmp_path / "thesis") == ["chapter.txt"]


def test_an_export_with_added_files_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with writing_folder(target, overwrite=False) as folder:
        (folder / MARK).touch()
    (target / "checkpoint-500").mkdir()
    with (
        pytest.raises(
            ValueError, match="contains 'checkpoint-500', which is not part of an export"
        ),
        writing_folder(target, overwrite=True),
    ):
        pass
    assert names(target) == [MARK, "checkpoint-500"]


@pytest.mark.parametrize("writing", [writing_file, writing_folder])
def test_a_link_is_replaced_and_its_target_is_not(writing, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / MARK).write_text("before")
    into = tmp_path / "before" / MARK if writing is writing_file else tmp_path / "before"
    (tmp_path / "link").symlink_to(into)
    with writing(tmp_path / "link", overwrite=True) as place:
        (place / MARK if writing is writing_folder else place).write_text("after")
    assert (tmp_path / "before" / MARK).read_text() == "before"
    assert names(tmp_path) == ["before", "link"]
    (tmp_path / "nowhere").symlink_to("lost")
    with (
        pytest.raises(ValueError, match="already exists"),
        writing(tmp_path / "nowhere", overwrite=False),
    ):
        pass


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with writing_folder(tmp_path / "model", overwrite=False) as folder:
        (folder / MARK).touch()
    assert names(tmp_path / "model") == [MARK]


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "..", ".hidden", "a/b", "", "a\nb", "a\0"]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^output: .* cannot be used as a file name") as caught:
        file_name(name)
    assert "\n" not in str(caught.value)


def test_names_of_studies_and_presets_are_accepted(tmp_path: Path) -> None:
    for name in ("edge-350m-12", "lfm2.5-230m", "my winner", "Étude"):
        assert file_name(name) == name
