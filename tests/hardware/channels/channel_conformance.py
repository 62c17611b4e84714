"""The contract of every Channel, as a test class to inherit from."""

import subprocess
import time
from pathlib import Path

import pytest

from hardware.channels.channel import Channel, ChannelError
from hardware.remote.connection import DeviceConnection

# Quotes, a dollar sign and a backslash, which a shell on the way would change.
ECHO = (
    "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data);"
    " print(len(data), '$HOME \\\\', file=sys.stderr)"
)
WAIT = "import sys; sys.stdout.write('ready'); sys.stdout.flush(); sys.stdin.read()"


class ChannelConformance:
    """The tests that every channel must pass; a subclass provides the fixtures."""

    @pytest.fixture
    def channel(self) -> Channel:
        """Return a channel to a device that works."""
        raise NotImplementedError

    @pytest.fixture
    def without_python(self) -> Channel:
        """Return a channel to the same device, with a Python that does not exist there."""
        raise NotImplementedError

    def test_bytes_pass_unchanged_in_both_directions(self, channel):
        data = bytes(range(256)) * 4_000
        ended = subprocess.run(channel.command(["-c", ECHO]), input=data, capture_output=True)
        assert ended.stdout == data
        assert ended.returncode == 0
        assert f"{len(data)} $HOME \\" in ended.stderr.decode()

    def test_the_exit_code_arrives(self, channel):
        command = channel.command(["-c", "import sys; sys.exit(7)"])
        assert subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 7

    def test_a_program_ends_when_its_input_is_closed(self, channel):
        process = subprocess.Popen(
            channel.command(["-c", WAIT]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout.read(5) == b"ready"
            process.stdin.close()
            assert process.wait(20) == 0

    def test_a_program_ends_when_the_command_is_killed(self, channel):
        process = subprocess.Popen(
            channel.command(["-c", f"import os; print(os.getpid(), flush=True); {WAIT}"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            program = Path("/proc", process.stdout.readline().decode().strip())
            assert program.exists()  # the devices of these tests are this machine
            process.kill()
        deadline = time.monotonic() + 20
        while program.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not program.exists()

    def test_an_agent_answers(self, channel):
        with DeviceConnection(channel) as connection:
            assert connection.ask("echo") == {}
            assert connection.python.startswith("3.")

    def test_a_missing_python_is_named(self, without_python):
        with pytest.raises(ChannelError) as caught:
            DeviceConnection(without_python)
        assert caught.value.kind == "no python"
        assert "no-such-python" in caught.value.reason
        assert without_python.name in caught.value.reason
