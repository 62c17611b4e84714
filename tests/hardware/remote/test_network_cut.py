"""A network that loses all packets: both ends notice it, and measuring continues afterwards."""

import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from hardware.channels.ssh import SshChannel
from hardware.measurement import parse_workload
from hardware.remote.connection import DeviceConnection
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from hardware.runner import RunnerError
from tests.hardware.channels.network_namespace import NetworkNamespace, namespaces_work
from tests.hardware.channels.sshd import SshServer, find_sshd
from tests.hardware.conformance import CAPACITY, check_window, write_model
from tests.hardware.machines import wait_until

WORKLOAD = parse_workload("tg4@8")
SILENCE_S = 5.0


@pytest.fixture
def network():
    if find_sshd() is None or not namespaces_work():
        pytest.skip("needs an ssh server (sshd), and the right to create networks")
    with NetworkNamespace() as network:
        yield network


@pytest.fixture
def server(network, tmp_path_factory):
    server = SshServer(tmp_path_factory.mktemp("sshd"), network.address, network.within)
    server.start()
    yield server
    server.stop()


def processes_of(folder: Path) -> list[str]:
    """Return the commands of the agents that keep their files in a folder, and of their models."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return [command for command in found if "hardware." in command]


@pytest.mark.usefixtures("nothing_stays")
def test_a_silent_cut_during_a_window_is_noticed_at_both_ends(network, server, tmp_path):
    model = write_model(tmp_path / "model")
    channel = SshChannel(server.host, python=sys.executable, program=server.client)
    connect = partial(DeviceConnection, silence_s=SILENCE_S)
    with RemoteRunner(channel, RemoteSettings(), connect) as runner:
        with runner.load(model, CAPACITY) as loaded:
            check_window(loaded.time(WORKLOAD, 3), 3)
            assert len(processes_of(server.device_folder)) == 2
            threading.Timer(0.5, network.cut).start()
            with pytest.raises(RunnerError) as caught:
                loaded.time(WORKLOAD, 10**9)
            assert caught.value.kind == "lost"
            assert caught.value.reason == "ssh board: no answer within 5 s"
        wait_until(lambda: not processes_of(server.device_folder))
        assert list(server.device_folder.glob("*/runs/*")) == []
        network.connect()
        wait_until(server.is_reachable)
        with runner.load(model, CAPACITY) as loaded:
            check_window(loaded.time(WORKLOAD, 3), 3)
