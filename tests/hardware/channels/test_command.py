import sys

import pytest

from hardware.channels.command import CommandChannel
from tests.hardware.channels.channel_conformance import ChannelConformance


class TestThisMachine(ChannelConformance):
    @pytest.fixture
    def channel(self):
        return CommandChannel((), python=sys.executable)

    @pytest.fixture
    def without_python(self):
        return CommandChannel(("env",), python="no-such-python")


class TestAnotherCommand(ChannelConformance):
    """`env` runs its arguments, as `kubectl exec` does."""

    @pytest.fixture
    def channel(self):
        return CommandChannel(("env", "--"), python=sys.executable)

    @pytest.fixture
    def without_python(self):
        return CommandChannel(("env", "--"), python="no-such-python")
