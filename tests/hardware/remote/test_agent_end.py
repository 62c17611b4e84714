"""Agents whose hosts go away at any moment, and two hosts that share a device."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hardware.remote.messages import LONGEST_LINE
from tests.hardware.conformance import CAPACITY
from tests.hardware.machines import wait_until
from tests.hardware.remote.raw_agent import USE, WORKLOAD, RawAgent, descendants, is_running


class TestEnd:
    """Without its host, an agent ends at once and leaves nothing behind."""

    def test_the_end_of_the_input_ends_it(self, agent):
        agent.ask("file", b"content", files=1, name="x", bytes=7)
        agent.hang_up()
        agent.wait_for_end()

    def test_it_ends_while_it_receives_a_file(self, agent):
        agent.request("file", bytes(100_000), files=1, name="x", bytes=10**18)
        agent.hang_up()
        agent.wait_for_end()

    def test_it_ends_during_a_window(self, agent, model):
        agent.ask("use", **USE)
        agent.send_model(model)
        number = agent.ask("load", files=0, name=model.name, capacity=CAPACITY)["model"]
        benches = descendants(agent.process.pid)
        assert len(benches) == 1
        agent.request("time", model=number, workload=WORKLOAD, samples=10**9)
        agent.hang_up_after(0.5)
        agent.wait_for_end()
        wait_until(lambda: not any(map(is_running, benches)))

    def test_it_ends_while_weights_are_drawn(self, agent, model):
        agent.ask("use", **USE)
        drawn_for_seconds(model)
        agent.send_model(model)
        agent.request("load", files=0, name=model.name, capacity=CAPACITY)
        (folder,) = agent.run_folders()
        wait_until((folder / "0" / "model.onnx.data").exists)
        benches = descendants(agent.process.pid)
        agent.hang_up()
        agent.wait_for_end()
        wait_until(lambda: not any(map(is_running, benches)))
        assert agent.run_folders() == set()

    def test_it_ends_while_it_waits_for_the_device(self, tmp_path):
        reserve = {"patience_s": 0.0, "longest_wait": 600.0, "if_occupied": "stop"}
        with RawAgent(tmp_path) as one, RawAgent(tmp_path) as two:
            one.ask("reserve", **reserve)
            two.request("reserve", **reserve)
            while f"pid {one.process.pid}" not in two.message()["say"]:
                pass
            two.hang_up()
            wait_until(lambda: two.process.poll() is not None)
            assert len(one.run_folders()) == 1

    def test_silence_of_the_host_ends_it(self, tmp_path, model):
        with RawAgent(tmp_path, silence_s=3.0) as agent:
            agent.ask("use", **USE)
            agent.send_model(model)
            agent.ask("load", files=0, name=model.name, capacity=CAPACITY)
            benches = descendants(agent.process.pid)
            assert len(benches) == 1
            agent.wait_for_end()
            wait_until(lambda: not any(map(is_running, benches)))

    def test_a_line_without_an_end_ends_it(self, agent):
        with contextlib.suppress(BrokenPipeError):
            agent.send(b"x" * (LONGEST_LINE + (1 << 20)))
        agent.wait_for_end()

    def test_a_host_that_reads_nothing_does_not_keep_it_for_ever(self, tmp_path):
        with RawAgent(tmp_path, silence_s=3.0) as agent:
            for _ in range(2000):  # more answers than the pipe holds
                agent.request("state")
            agent.wait_for_end()

    def test_its_death_ends_its_models_and_the_next_agent_deletes_its_files(self, tmp_path, model):
        with RawAgent(tmp_path) as killed, RawAgent(tmp_path) as alive:
            killed.ask("use", **USE)
            killed.send_model(model)
            number = killed.ask("load", files=0, name=model.name, capacity=CAPACITY)["model"]
            benches = descendants(killed.process.pid)
            killed.request("time", model=number, workload=WORKLOAD, samples=10**9)
            alive.ask("file", b"content", files=1, name="x", bytes=7)
            folders = killed.run_folders()
            assert len(folders) == 2
            killed.kill()
            wait_until(lambda: not any(map(is_running, benches)))
            assert killed.run_folders() == folders
            with RawAgent(tmp_path) as next_agent:
                next_agent.ask("echo")
                assert len(folders - killed.run_folders()) == 1
                (kept,) = folders & killed.run_folders()
                assert (kept / "1" / "x").read_bytes() == b"content"
                next_agent.hang_up()
                wait_until(lambda: next_agent.process.poll() is not None)
            assert killed.run_folders() == {kept}

    def test_a_host_that_is_stopped_is_given_up_and_notices_it_later(self, agent_folder):
        host = subprocess.Popen(
            [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with host:
            assert host.stdout is not None
            assert host.stdin is not None
            assert host.stdout.readline() == b"connected\n"
            agents = descendants(host.pid)
            os.kill(host.pid, signal.SIGSTOP)
            wait_until(lambda: not any(map(is_running, agents)))
            os.kill(host.pid, signal.SIGCONT)
            reason = host.communicate(b"\n")[0].decode()
        assert reason == "lost: this machine: exit code 0: the host gave no sign of life for 4 s\n"
        assert list(agent_folder.glob("*/runs/*")) == []

    def test_the_death_of_its_host_ends_it(self, agent_folder):
        host = subprocess.Popen(
            [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"connected\n"
            agents = descendants(host.pid)
            assert len(agents) == 1
            host.kill()
            wait_until(lambda: not any(map(is_running, agents)))
        assert list(agent_folder.glob("*/runs/*")) == []


HOST = """
import sys
from hardware.channels.channel import ChannelError
from hardware.channels.command import CommandChannel
from hardware.remote.connection import DeviceConnection

with DeviceConnection(CommandChannel((), python=sys.executable), silence_s=4.0) as connection:
    print("connected", flush=True)
    sys.stdin.readline()
    try:
        connection.ask("echo")
    except ChannelError as error:
        print(f"{error.kind}: {error.reason}")
"""


class TestReservation:
    def test_two_hosts_measure_one_after_the_other(self, tmp_path):
        reserve = {"patience_s": 0.0, "longest_wait": 600.0, "if_occupied": "stop"}
        with RawAgent(tmp_path) as one, RawAgent(tmp_path) as two:
            assert one.ask("reserve", **reserve)["obstacle"] is None
            two.request("reserve", **reserve)
            while f"pid {one.process.pid}" not in (said := two.message()["say"]):
                pass
            assert said.startswith("waiting for another measurement on this machine (")
            one.kill()
            while "say" in (message := two.message()):
                pass
            assert message["answer"]["obstacle"] is None
            assert two.ask("release") == {}

    def test_a_device_that_stays_occupied_is_reported(self, tmp_path):
        patient = {"patience_s": 0.0, "longest_wait": 600.0, "if_occupied": "stop"}
        with RawAgent(tmp_path) as one, RawAgent(tmp_path) as two:
            assert one.ask("reserve", **patient)["obstacle"] is None
            stop = two.ask("reserve", **{**patient, "longest_wait": 0.1})
            assert stop["kind"] == "occupied"
            assert f"pid {one.process.pid}" in stop["reason"]
            measure = {**patient, "longest_wait": 0.1, "if_occupied": "measure"}
            assert f"pid {one.process.pid}" in two.ask("reserve", **measure)["obstacle"]
            assert one.ask("release") == {}
            assert two.ask("reserve", **patient)["obstacle"] is None


def drawn_for_seconds(model: Path) -> None:
    """Change the description of a model such that drawing its weights takes several seconds."""
    path = model.with_name("model.json")
    description = json.loads(path.read_text())
    first = description["weights"][0]
    description["weights"] = [{**first, "dtype": "uint8", "shape": [4_000_000_000]}]
    path.write_text(json.dumps(description))
