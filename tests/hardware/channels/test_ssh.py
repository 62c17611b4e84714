import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.channels.channel import ChannelError
from hardware.channels.ssh import SshChannel
from hardware.remote.connection import DeviceConnection
from tests.hardware.channels.channel_conformance import ChannelConformance
from tests.hardware.channels.sshd import SshServer, find_sshd

needs_sshd = pytest.mark.skipif(find_sshd() is None, reason="needs an ssh server (sshd)")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[SshServer]:
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@needs_sshd
class TestSsh(ChannelConformance):
    @pytest.fixture
    def channel(self, server):
        return SshChannel(server.host, python=sys.executable, program=server.client)

    @pytest.fixture
    def without_python(self, server):
        return SshChannel(server.host, python="no-such-python", program=server.client)

    def test_an_unknown_host_key_is_refused(self, server, tmp_path):
        client = _client_with(server, tmp_path, "UserKnownHostsFile", "/dev/null")
        with pytest.raises(ChannelError, match="Host key verification failed") as caught:
            DeviceConnection(SshChannel(server.host, program=client))
        assert caught.value.kind == "refused"
        assert "ssh board" in caught.value.reason

    def test_a_key_that_is_not_accepted_is_refused(self, server, tmp_path):
        client = _client_with(server, tmp_path, "PubkeyAuthentication", "no")
        with pytest.raises(ChannelError, match="Permission denied") as caught:
            DeviceConnection(SshChannel(server.host, program=client))
        assert caught.value.kind == "refused"

    def test_a_port_where_nobody_listens_is_unreachable(self, server, tmp_path):
        client = _client_with(server, tmp_path, "Port", "1")
        with pytest.raises(ChannelError, match="Connection refused") as caught:
            DeviceConnection(SshChannel(server.host, program=client))
        assert caught.value.kind == "unreachable"


@pytest.mark.parametrize(
    ("mode", "problem"), [(None, "No such file"), (0o600, "Permission denied")]
)
def test_a_client_that_cannot_be_run_is_reported_with_how_to_install_it(tmp_path, mode, problem):
    client = tmp_path / "ssh"
    if mode is not None:
        client.touch(mode)
    with pytest.raises(ChannelError, match=problem) as caught:
        DeviceConnection(SshChannel("pi5", program=str(client)))
    assert caught.value.kind == "unreachable"
    assert "apt install openssh-client" in caught.value.reason


def _client_with(server: SshServer, folder: Path, option: str, value: str) -> str:
    client = folder / "ssh"
    client.write_text(f'#!/bin/sh\nexec {server.client} -o {option}={value} "$@"\n')
    client.chmod(0o755)
    return str(client)


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=touch x", "a b", "a;b", "$(x)", "a'b", "x@-y", "a\nb"]
)
def test_a_host_that_ssh_could_misunderstand_is_refused(host):
    with pytest.raises(ValueError, match=r"^host: "):
        SshChannel(host)


@pytest.mark.parametrize(
    "host", ["pi5", "pi@pi5", "pi@192.168.1.7", "root@[fe80::1%eth0]", "a-b.c"]
)
def test_names_and_addresses_are_hosts(host):
    assert SshChannel(host).name == f"ssh {host}"


@pytest.mark.parametrize("python", ["", "python3 -c", "a;b", "$(x)", "`x`", "~x/python", "a'b"])
def test_a_python_that_a_shell_would_change_is_refused(python):
    with pytest.raises(ValueError, match=r"^python: "):
        SshChannel("pi5", python=python)
