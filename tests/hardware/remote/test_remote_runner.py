"""A runner behind an agent passes the tests of every runner, as far as they apply to it."""

import inspect
import sys

import pytest

from hardware.channels.command import CommandChannel
from hardware.llama_cpp import LlamaCppRunner
from hardware.local import LocalRunner
from hardware.remote.remote_model import ANSWER_S
from hardware.remote.remote_runner import RemoteRunner, RemoteSettings
from hardware.runner import Runner
from tests.hardware.conformance import RunnerConformance


class TestRemoteRunner(RunnerConformance):
    """The agent is a process of this machine."""

    @pytest.fixture(autouse=True)
    def no_runner_stays_connected(self, nothing_is_left_behind):
        self.runners: list[RemoteRunner] = []
        yield
        for runner in self.runners:
            runner.close()

    def make_runner(self, threads: int = 1) -> Runner:
        channel = CommandChannel((), python=sys.executable)
        runner = RemoteRunner(channel, RemoteSettings(threads=threads))
        self.runners.append(runner)
        return runner


@pytest.mark.parametrize("runner", [LocalRunner, LlamaCppRunner])
def test_a_device_reports_a_process_that_hangs_before_the_device_itself_is_given_up(runner):
    assert inspect.signature(runner).parameters["timeout_s"].default < ANSWER_S
