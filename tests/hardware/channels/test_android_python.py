"""Python for Android, built from the packages of Debian, on an emulated ARM device behind adb."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.channels.adb import ANDROID_PYTHON, AdbChannel
from hardware.channels.command import CommandChannel
from hardware.measurement import parse_workload
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from tests.hardware.channels.adb_server import AdbServer, is_installed
from tests.hardware.channels.adbd import Adbd
from tests.hardware.channels.arm_device import ArmDevice, missing_for_arm
from tests.hardware.conformance import CAPACITY, check_window, write_model
from tests.nas.conftest import run_nas

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> ArmDevice:
    if not is_installed() or shutil.which("mmdebstrap") is None:
        pytest.skip("needs adb and mmdebstrap")
    missing = missing_for_arm(tmp_path_factory.mktemp("arm-test"))
    if missing is not None:
        pytest.skip(missing)
    try:
        socket.create_connection(("deb.debian.org", 80), timeout=10).close()
    except OSError:
        pytest.skip("needs the network")
    return ArmDevice(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def phone(device, tmp_path_factory) -> Iterator[AdbChannel]:
    """Return a channel to the device, on which Python has been installed."""
    folder = tmp_path_factory.mktemp("user")
    with (
        AdbServer(tmp_path_factory.mktemp("adb")) as server,
        Adbd(shell=(*device.command, "/system/bin/sh", "-c"), root=device.root) as daemon,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.run("connect", daemon.serial)
        patch.setenv("PATH", f"{Path(server.client).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "configuration"))
        options = ("--channel", "adb", "--serial", daemon.serial, "--android")
        added = run_nas(folder, "devices", "add", "phone", *options)
        assert added.returncode == 0, added.stderr
        assert "next: nas devices check phone" in added.stderr
        yield AdbChannel(daemon.serial)
    for large in (folder / "cache", device.root / "data/local/tmp"):
        shutil.rmtree(large)


def test_a_model_is_timed_over_adb(phone, tmp_path):
    with RemoteRunner(phone, RemoteSettings()) as runner:
        assert runner.python.startswith("3.11.")
        assert runner.identity.model == "Emulated phone"
        assert runner.identity.system.endswith("aarch64")
        with runner.load(write_model(tmp_path / "model"), CAPACITY) as loaded:
            check_window(loaded.time(parse_workload("tg4@8"), 3), 3)


def test_a_model_is_timed_with_another_command(device, phone, tmp_path):
    channel = CommandChannel(device.command, python=ANDROID_PYTHON)
    with (
        RemoteRunner(channel, RemoteSettings()) as runner,
        runner.load(write_model(tmp_path / "model"), CAPACITY) as loaded,
    ):
        check_window(loaded.time(parse_workload("pp8"), 2), 2)


def test_the_check_of_the_device_measures(phone, tmp_path):
    checked = run_nas(tmp_path, "devices", "check", "phone", "--json")
    (document,) = json.loads(checked.stdout)
    assert document["can_measure"], document["problems"]
    assert document["state"]["packages"]["onnxruntime"] in document["runtime"]
