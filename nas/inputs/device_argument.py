"""The file of devices that a command uses, and the devices in it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.speed.device_file import DeviceDefinition, read_devices
from search_space.input_errors import suggest_name
from search_space.input_files import exists
from studies.spec.study_spec import StudySpec

_FILE = "devices.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDevice:
    """A device and the name that its file gives it."""

    name: str
    definition: DeviceDefinition


def users_device_file() -> Path:
    """Return the path of the file of devices in the configuration folder of the user."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(folder, "nas", _FILE)


def find_device_file(given: Path | None, folder: Path = Path()) -> Path:
    """Return the file of devices: the given one, one in a folder, or that of the user.

    Args:
        given: The file that the user names, if any.
        folder: The folder of the study file, or the current one.

    Raises:
        ValueError: There is no such file.
    """
    candidates = (folder / _FILE, users_device_file()) if given is None else (given,)
    found = next((path for path in candidates if exists(path)), None)
    if found is None:
        if given is not None:
            raise ValueError(f"devices: '{given}' does not exist")
        places = " nor ".join(f"'{path}'" for path in candidates)
        raise ValueError(f"devices: neither {places} exists; `nas devices add` creates one")
    return found


def find_devices(names: Sequence[str], path: Path) -> list[NamedDevice]:
    """Return the named devices of a file.

    Args:
        names: The names; none stands for all devices.
        path: The file.

    Raises:
        ValueError: The file is not valid, or has no device of a name.
    """
    defined = read_devices(path)
    for name in names:
        if name not in defined:
            near = suggest_name(name, list(defined)) if defined else "it has no devices"
            raise ValueError(f"device: '{name}' is not in {path}; {near}")
    return [
        NamedDevice(name=name, definition=defined[name]) for name in dict.fromkeys(names or defined)
    ]


def study_devices(spec: StudySpec, study: str, given: Path | None) -> list[NamedDevice]:
    """Return the devices that a study names, from a file of this machine.

    Args:
        spec: The study.
        study: How the user named it; a file of devices next to its own file comes first.
        given: The file of devices that the user names, if any.

    Raises:
        ValueError: There is no file of devices, or it lacks one of them.
    """
    if not spec.target.devices:
        if given is not None:
            raise ValueError(f"devices: '{given}' has no effect, because the study names no device")
        return []
    path = find_device_file(given, Path(study).parent)
    try:
        return find_devices(spec.target.devices, path)
    except ValueError as error:
        raise ValueError(f"target.devices: {str(error).removeprefix('device: ')}") from None


def devices_to_measure_on(names: Sequence[str], given: Path | None) -> list[NamedDevice | None]:
    """Return the named devices, or None alone for this machine if there are no names.

    Args:
        names: The names of devices.
        given: The file of devices that the user names, if any.

    Raises:
        ValueError: There is no such file or device, or a file is given without a name.
    """
    if names:
        return [*find_devices(names, find_device_file(given))]
    if given is not None:
        raise ValueError(f"devices: '{given}' has no effect without --device")
    return [None]
