"""Tests of which file of devices a command uses, and of the devices in it."""

from pathlib import Path

import pytest

from nas.inputs.device_argument import (
    devices_to_measure_on,
    find_device_file,
    find_devices,
    study_devices,
    users_device_file,
)
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Target
from tests.studies.fakes import small_spec

DEVICES = '[phone]\nchannel = "local"\n[pi5]\nchannel = "ssh"\nhost = "pi@pi5"\n'


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, and return the file of the user, which does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "configuration/nas/devices.toml"


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(DEVICES)
    return path


@pytest.fixture
def spec() -> StudySpec:
    return small_spec("sqlite:///nas.db", target=Target(devices=("pi5", "phone")))


def test_without_the_variable_the_folder_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unset in (lambda: monkeypatch.delenv("XDG_CONFIG_HOME"), lambda: None):
        unset()
        monkeypatch.setenv("HOME", str(tmp_path))
        assert users_device_file() == tmp_path / ".config/nas/devices.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    assert users_device_file() == tmp_path / ".config/nas/devices.toml"


def test_the_given_file_precedes_that_next_to_the_study_and_that_of_the_user(
    tmp_path: Path, configuration: Path
) -> None:
    folder = tmp_path / "study"
    given = written(tmp_path / "given.toml")
    for path in (configuration, folder / "devices.toml"):
        written(path)
        assert find_device_file(None, folder) == path
    assert find_device_file(given, folder) == given


def test_a_given_file_that_does_not_exist_is_not_replaced_by_another(configuration: Path) -> None:
    written(configuration)
    with pytest.raises(ValueError, match=r"^devices: 'other\.toml' does not exist$"):
        find_device_file(Path("other.toml"))


def test_without_any_file_both_places_are_named(configuration: Path) -> None:
    with pytest.raises(ValueError, match="nas devices add") as caught:
        find_device_file(None)
    assert f"'devices.toml' nor '{configuration}'" in str(caught.value)


class TestStudyDevices:
    def test_the_file_next_to_the_study_is_used_from_any_folder(
        self, spec: StudySpec, tmp_path: Path
    ) -> None:
        written(tmp_path / "study/devices.toml")
        found = study_devices(spec, str(tmp_path / "study/small.toml"), None)
        assert [each.name for each in found] == ["pi5", "phone"]
        assert found[0].definition.host == "pi@pi5"

    def test_a_study_by_name_uses_the_current_folder(
        self, spec: StudySpec, configuration: Path
    ) -> None:
        written(configuration).write_text("[phone]\n")
        written(Path("devices.toml"))
        assert len(study_devices(spec, "small", None)) == 2

    def test_a_missing_device_is_named_with_the_field_and_the_nearest_name(
        self, tmp_path: Path
    ) -> None:
        spec = small_spec("sqlite:///nas.db", target=Target(devices=("phon",)))
        file = written(tmp_path / "mine.toml")
        with pytest.raises(ValueError, match=r"^target\.devices: 'phon' ") as caught:
            study_devices(spec, "small.toml", file)
        assert "phone" in str(caught.value)
        file.write_text("")
        with pytest.raises(ValueError, match="it has no devices"):
            study_devices(spec, "small.toml", file)

    def test_a_study_without_devices_needs_no_file_and_refuses_one(self, tmp_path: Path) -> None:
        plain = small_spec("sqlite:///nas.db")
        assert study_devices(plain, "small.toml", None) == []
        with pytest.raises(ValueError, match="has no effect, because the study names no device"):
            study_devices(plain, "small.toml", written(tmp_path / "mine.toml"))


class TestDevicesToMeasureOn:
    def test_without_a_name_this_machine_is_meant(self, tmp_path: Path) -> None:
        assert devices_to_measure_on([], None) == [None]
        with pytest.raises(ValueError, match="has no effect without --device"):
            devices_to_measure_on([], written(tmp_path / "mine.toml"))

    def test_names_keep_their_order_and_count_once(self, configuration: Path) -> None:
        written(configuration)
        found = devices_to_measure_on(["pi5", "phone", "pi5"], None)
        assert [each.name for each in found if each is not None] == ["pi5", "phone"]

    def test_an_unknown_name_is_refused(self, configuration: Path) -> None:
        written(configuration)
        with pytest.raises(ValueError, match=r"^device: 'pi' is not in"):
            devices_to_measure_on(["pi"], None)

    def test_no_names_stand_for_all_devices_of_a_file(self, configuration: Path) -> None:
        assert [each.name for each in find_devices([], written(configuration))] == ["phone", "pi5"]
