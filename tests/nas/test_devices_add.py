"""`nas devices add`: the file of devices, and the errors for mistakes."""

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.speed.device_file import read_devices
from nas.workflows.device_addition import text_with_device

EXISTING = '# mine\r\n[old]  # in the cellar\r\nchannel = "local"'
SSH = ("--channel", "ssh", "--host", "pi@pi5")


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of devices of the user, which does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    return tmp_path / "configuration/nas/devices.toml"


def test_the_file_of_the_user_is_created(nas, nas_process, configuration: Path) -> None:
    added = nas_process("devices", "add", "pi5", *SSH, "--threads", "2", "--cores", "2,3")
    assert added.returncode == 0
    assert added.stderr == f"wrote {configuration}; next: nas devices check pi5\n"
    assert tomllib.loads(configuration.read_text()) == {
        "pi5": {"channel": "ssh", "host": "pi@pi5", "threads": 2, "cores": [2, 3]}
    }
    assert "ssh pi@pi5" in nas("devices", "list").stdout


def test_every_option_is_written(nas, configuration: Path) -> None:
    command = [f"--run={part}" for part in ("kubectl", "exec", "-i", "a pod", "--")]
    nas("devices", "add", "pod", "--channel", "command", *command, "--python", "/x/python3")
    nas("devices", "add", "phone", "--channel", "adb", "--serial", "R5CT", "--cores", "big")
    llama_cpp = ("--runtime", "llama.cpp", "--llama-bench", "/x/bench")
    nas("devices", "add", "rk", "--channel", "local", *llama_cpp)
    assert tomllib.loads(configuration.read_text()) == {
        "pod": {
            "channel": "command",
            "run": ["kubectl", "exec", "-i", "a pod", "--"],
            "python": "/x/python3",
        },
        "phone": {"channel": "adb", "serial": "R5CT", "cores": "big"},
        "rk": {"channel": "local", "runtime": "llama.cpp", "llama_bench": "/x/bench"},
    }


def test_the_rest_of_the_file_is_kept_byte_by_byte(nas, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(EXISTING.encode())
    file.chmod(0o600)
    added = nas("devices", "add", "pi5", *SSH, "--devices", "mine.toml")
    assert added.stderr == f"wrote {file}; next: nas devices check pi5 --devices {file}\n"
    assert file.read_bytes().startswith(EXISTING.encode())
    assert [*read_devices(file)] == ["old", "pi5"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_in_the_current_folder_does_not_hide_the_new_device(
    nas, tmp_path: Path, configuration: Path
) -> None:
    (tmp_path / "devices.toml").write_bytes(EXISTING.encode())
    added = nas("devices", "add", "pi5", *SSH)
    assert added.stderr.endswith(f"nas devices check pi5 --devices {configuration}\n")
    assert (tmp_path / "devices.toml").read_bytes() == EXISTING.encode()


def test_a_link_to_the_file_stays_a_link(nas, tmp_path: Path) -> None:
    file, link = tmp_path / "dotfiles.toml", tmp_path / "devices.toml"
    file.write_bytes(EXISTING.encode())
    link.symlink_to(file)
    nas("devices", "add", "pi5", *SSH, "--devices", link)
    assert link.is_symlink()
    assert [*read_devices(file)] == ["old", "pi5"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("old", *SSH), "has a device 'old' already"),
        (("Pi5", *SSH), "'Pi5' is not the name of a device"),
        (("a]\nb", *SSH), "is not the name of a device"),
        (("pi5", "--channel", "ssh"), "'pi5': host: it is missing"),
        (("pi5", "--channel", "usb"), "'pi5': channel: 'usb' is not one of"),
        (("pi5", *SSH, "--threads", "0"), "'pi5': threads: 0 is not between"),
        (("pi5", *SSH, "--cores", "1,x"), "cores: '1,x' is neither big nor a list"),
        (("pi5", *SSH, "--cores", "1", "--threads", "2"), "cores: [1] are fewer than"),
        (("pi5", *SSH, "--android"), "android: it requires --channel adb"),
        (("pi5", "--channel", "adb", "--android", "--python", "x"), "android: it requires"),
    ],
)
def test_mistakes_are_refused_and_change_nothing(nas, tmp_path, arguments, expected) -> None:
    file = tmp_path / "devices.toml"
    file.write_bytes(EXISTING.encode())
    refused = nas("devices", "add", "--devices", file, *arguments)
    assert refused.returncode == 2
    assert expected in refused.stderr
    assert file.read_bytes() == EXISTING.encode()
    assert [*tmp_path.iterdir()] == [file]


def test_a_device_that_is_there_already_is_written_once(tmp_path: Path) -> None:
    path, values = tmp_path / "devices.toml", {"channel": "adb", "serial": "R5CT"}
    text = text_with_device(path, "phone", values, may_exist=True)
    path.write_text(text)
    assert text_with_device(path, "phone", values, may_exist=True) == text
    with pytest.raises(ValueError, match="already"):
        text_with_device(path, "phone", {"channel": "adb"}, may_exist=True)
    with pytest.raises(ValueError, match="already"):
        text_with_device(path, "phone", values)


def test_an_invalid_file_is_not_extended(nas, tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text("[old]\nchannel = 3\n")
    refused = nas("devices", "add", "pi5", *SSH, "--devices", "devices.toml")
    assert refused.returncode == 2
    assert "devices.toml: old: channel: 3" in refused.stderr


def test_a_folder_that_cannot_be_created_is_reported(nas, tmp_path: Path) -> None:
    (tmp_path / "configuration").touch()
    refused = nas("devices", "add", "pi5", *SSH)
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=4))
def test_any_command_is_read_back_as_it_was_given(parts: list[str]) -> None:
    text = text_with_device(
        Path("no-such-file"), "pod", {"channel": "command", "run": parts, "cores": "big"}
    )
    assert tomllib.loads(text)["pod"]["run"] == parts
