"""The real adb against a device of its protocol, and the messages of other releases."""

import sys
import time
from collections.abc import Iterator

import pytest

from hardware.channels.adb import AdbChannel
from hardware.channels.channel import Channel, ChannelError
from hardware.measurement import parse_workload
from hardware.remote.connection import DeviceConnection
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from tests.hardware.channels.adb_server import AdbServer, is_installed
from tests.hardware.channels.adbd import Adbd
from tests.hardware.channels.channel_conformance import ChannelConformance
from tests.hardware.conformance import CAPACITY, write_model

needs_adb = pytest.mark.skipif(not is_installed(), reason="needs adb")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[AdbServer]:
    with AdbServer(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture(scope="module")
def device(server) -> Iterator[Adbd]:
    with Adbd() as device:
        server.run("connect", device.serial)
        yield device


def error_of(channel: Channel) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        DeviceConnection(channel)
    assert channel.name in caught.value.reason
    return caught.value


@needs_adb
class TestAdb(ChannelConformance):
    @pytest.fixture
    def channel(self, server, device):
        return AdbChannel(device.serial, python=sys.executable, program=server.client)

    @pytest.fixture
    def without_python(self, server, device):
        return AdbChannel(device.serial, python="/no-such-python", program=server.client)

    def test_a_model_is_timed(self, channel, tmp_path):
        model = write_model(tmp_path / "model")
        with (
            RemoteRunner(channel, RemoteSettings()) as runner,
            runner.load(model, CAPACITY) as loaded,
        ):
            window = loaded.time(parse_workload("tg4@8"), 3)
        assert len(window.samples_ns) == 3

    def test_a_device_that_does_not_trust_this_computer_refuses(self, server):
        with Adbd("unauthorized") as device:
            server.run("connect", device.serial)
            error = error_of(AdbChannel(device.serial, program=server.client))
            server.run("disconnect", device.serial)
        assert error.kind == "refused"
        assert "screen of the device" in error.reason
        assert "ADB_VENDOR_KEYS" not in error.reason

    def test_a_phone_without_python_is_reported_with_how_to_install_it(self, server, device):
        error = error_of(AdbChannel(device.serial, program=server.client))
        assert error.kind == "no python"
        assert "--android" in error.reason

    def test_an_old_android_refuses(self, server):
        with Adbd("old") as device:
            server.run("connect", device.serial)
            error = error_of(AdbChannel(device.serial, program=server.client))
            server.run("disconnect", device.serial)
        assert error.kind == "refused"
        assert "Android 7" in error.reason

    def test_an_unknown_serial_number_is_unreachable(self, server, device):
        error = error_of(AdbChannel("0123456789ABCDEF", program=server.client))
        assert error.kind == "unreachable"
        assert "'0123456789ABCDEF' not found" in error.reason
        assert "`adb devices`" in error.reason

    def test_one_of_several_devices_must_be_chosen(self, server, device):
        with Adbd() as other:
            server.run("connect", other.serial)
            error = error_of(AdbChannel(program=server.client))
            server.run("disconnect", other.serial)
        assert error.kind == "refused"
        assert "serial" in error.reason

    def test_a_device_that_disappears_is_lost_and_then_unreachable(self, server):
        with Adbd() as device:
            server.run("connect", device.serial)
            channel = AdbChannel(device.serial, python=sys.executable, program=server.client)
            connection = DeviceConnection(channel)
            assert connection.ask("echo") == {}
        with connection, pytest.raises(ChannelError) as caught:
            connection.ask("echo")
        assert caught.value.kind == "lost"
        assert "cable" in caught.value.reason
        deadline = time.monotonic() + 20
        while server.states().get(device.serial) != "offline" and time.monotonic() < deadline:
            time.sleep(0.05)
        error = error_of(channel)
        server.run("disconnect", device.serial)
        assert error.kind == "unreachable"
        assert "adb reconnect" in error.reason


@needs_adb
def test_without_any_device_it_is_unreachable(tmp_path):
    with AdbServer(tmp_path) as server:
        error = error_of(AdbChannel(program=server.client))
    assert error.kind == "unreachable"
    assert "USB debugging" in error.reason


# As newer releases than that of Debian 12 report them.
@pytest.mark.parametrize(
    ("line", "kind", "hint"),
    [
        ("adb: device unauthorized.", "refused", "screen"),
        ("adb: device still authorizing", "refused", "screen"),
        (
            "adb: insufficient permissions for device: missing udev rules? user is in the plugdev "
            "group",
            "refused",
            "udev",
        ),
        ("adb: more than one device/emulator", "refused", "serial"),
        ("adb: no devices/emulators found", "unreachable", "USB debugging"),
        ("adb: device 'R5CT20ABCDE' not found", "unreachable", "`adb devices`"),
        ("adb: device offline", "unreachable", "adb reconnect"),
        ("adb: device still connecting", "unreachable", "again"),
        (
            "adb: cannot connect to daemon at tcp:5037: Connection refused",
            "unreachable",
            "adb start-server",
        ),
        (
            "error: protocol fault (couldn't read status): connection reset",
            "unreachable",
            "adb kill-server",
        ),
    ],
)
def test_the_messages_of_other_releases_are_understood(line, kind, hint):
    errors = f"* daemon not running; starting now at tcp:5037\n{line}\nSee [http://x] for more.\n"
    error = AdbChannel().failure(1, errors)
    assert error.kind == kind
    assert hint in error.reason
    assert "See [" not in error.reason


def test_what_a_program_on_the_device_reports_is_not_taken_for_a_message_of_adb():
    error = AdbChannel().failure(1, "ModuleNotFoundError: No module named 'x' was not found\n")
    assert error.kind == "lost"
    assert "No module named" in error.reason


def test_a_missing_adb_is_reported_with_how_to_install_it(tmp_path):
    error = error_of(AdbChannel(program=str(tmp_path / "adb")))
    assert error.kind == "unreachable"
    assert "No such file or directory" in error.reason
    assert "apt install adb" in error.reason


@pytest.mark.parametrize("serial", ["", "-s", "a b", "a;b", "$(x)", "a'b", "a\nb"])
def test_a_serial_number_that_adb_could_misunderstand_is_refused(serial):
    with pytest.raises(ValueError, match=r"^serial: "):
        AdbChannel(serial)


@pytest.mark.parametrize("serial", ["R5CT20ABCDE", "emulator-5554", "192.168.1.7:5555", "x_1.y"])
def test_serial_numbers_and_addresses_are_accepted(serial):
    assert AdbChannel(serial).name == f"adb {serial}"
