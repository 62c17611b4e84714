"""Copying Python to a device with the real adb; its folder for programs is one of this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.channels.adb import AdbChannel
from hardware.channels.android_installation import install_on_android
from tests.hardware.channels.adb_server import AdbServer, is_installed
from tests.hardware.channels.adbd import Adbd

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs adb")

# Commands name the folder of programs on Android; this shell runs them with that of the device.
SHELL = """\
getprop() { cat "$0/processor"; }
eval "$(printf %s "$1" | sed "s#/data/local/tmp#$0/data/local/tmp#g")"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[AdbServer]:
    with AdbServer(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture
def device(tmp_path) -> Path:
    """Return the folder with the files of the device."""
    folder = tmp_path / "device"
    (folder / "data/local/tmp").mkdir(parents=True)
    (folder / "processor").write_text("arm64-v8a\n")
    return folder


@pytest.fixture
def installed(device) -> Path:
    """Return the folder of Python on the device, where there is none yet."""
    return device / "data/local/tmp/nas-python"


@pytest.fixture
def channel(server, device) -> Iterator[AdbChannel]:
    with Adbd(shell=("sh", "-c", SHELL, str(device)), root=device) as daemon:
        server.run("connect", daemon.serial)
        yield AdbChannel(daemon.serial, program=server.client)
        server.run("disconnect", daemon.serial)


@pytest.fixture
def bundle(tmp_path) -> Path:
    """Return a bundle whose launcher starts the Python of this machine."""
    folder = tmp_path / "bundle"
    (folder / "lib").mkdir(parents=True)
    (folder / "version").write_text("1")
    (folder / "lib/module.py").write_text("x = 1\n")
    set_launcher(folder, f'exec {sys.executable} "$@"')
    return folder


def set_launcher(bundle: Path, text: str) -> None:
    (bundle / "python3").write_text(f"#!/bin/sh\n{text}\n")
    (bundle / "python3").chmod(0o755)


def test_python_is_copied_and_prepared(channel, bundle, installed):
    said: list[str] = []
    install_on_android(bundle, channel, said.append)
    assert len(said) == 2
    assert (installed / "python3").read_bytes() == (bundle / "python3").read_bytes()
    assert (installed / "python3").stat().st_mode & 0o111
    assert (installed / f"lib/__pycache__/module.{sys.implementation.cache_tag}.pyc").exists()
    assert [*installed.parent.iterdir()] == [installed]


def test_the_same_bundle_is_copied_once_and_another_one_replaces_it(channel, bundle, installed):
    said: list[str] = []
    install_on_android(bundle, channel, lambda _: None)
    (installed / "mine").touch()
    install_on_android(bundle, channel, said.append)
    assert said == ["Python is on the device already, in /data/local/tmp/nas-python"]
    assert (installed / "mine").exists()
    (bundle / "version").write_text("2")
    install_on_android(bundle, channel, lambda _: None)
    assert (installed / "version").read_text() == "2"
    assert not (installed / "mine").exists()


def test_another_processor_is_refused(channel, bundle, device, installed):
    (device / "processor").write_text("armeabi-v7a\n")
    with pytest.raises(ValueError, match=r"^android: .*'armeabi-v7a'.*'arm64-v8a'"):
        install_on_android(bundle, channel, lambda _: None)
    assert not installed.exists()


def test_python_that_does_not_run_replaces_nothing(channel, bundle, installed):
    install_on_android(bundle, channel, lambda _: None)
    (bundle / "version").write_text("2")
    set_launcher(bundle, "echo 'cannot execute' >&2; exit 1")
    with pytest.raises(ValueError, match=r"^android: adb .*cannot execute"):
        install_on_android(bundle, channel, lambda _: None)
    assert (installed / "version").read_text() == "1"


def test_a_copy_that_fails_is_reported(channel, bundle, installed):
    installed.parent.rmdir()
    installed.parent.touch()
    with pytest.raises(ValueError, match=r"^android: adb .*failed to copy") as caught:
        install_on_android(bundle, channel, lambda _: None)
    assert len(str(caught.value)) <= 500


def test_a_device_that_is_not_connected_is_reported(server, bundle):
    with pytest.raises(ValueError, match=r"^android: adb ABC: device 'ABC' not found; connect"):
        install_on_android(bundle, AdbChannel("ABC", program=server.client), lambda _: None)


def test_a_missing_adb_is_reported(bundle, tmp_path):
    channel = AdbChannel("ABC", program=str(tmp_path / "adb"))
    with pytest.raises(ValueError, match=r"^android: .*apt install adb"):
        install_on_android(bundle, channel, lambda _: None)
