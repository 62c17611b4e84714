"""The program on a device: odd requests, names and files."""

import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.remote.agent import Agent, _outcome
from tests.hardware.conformance import CAPACITY, write_model
from tests.hardware.remote.any_json import any_json
from tests.hardware.remote.raw_agent import USE, USE_FAKE, WORKLOAD, RawAgent, descendants


class TestRequests:
    @pytest.mark.parametrize(
        "line",
        [
            b"\xff\xfe",
            b"{",
            b"3",
            b"[]",
            b'"bytes"',
            b"null",
            b"[" * 100_000,
            b'{"do": "echo", "bytes": "12"}',
            b'{"do": "echo", "bytes": -1}',
            b'{"do": "echo", "bytes": 1e3}',
            b'{"do": "echo", "bytes": true}',
            b'{"do": "echo", "bytes": null}',
            b'{"do": "file", "bytes": 0}',
            b'{"do": "file", "bytes": 0, "files": "x", "name": "model.onnx"}',
            b'{"do": "file", "bytes": 0, "files": 1.5, "name": "model.onnx"}',
            b'{"do": "file", "bytes": 0, "files": -1, "name": "model.onnx"}',
            b'{"do": "file", "bytes": 0, "files": null, "name": "model.onnx"}',
            b'{"do": "file", "bytes": 0, "files": 1, "name": 3}',
            b'{"do": "file", "bytes": 0, "files": %s, "name": "x"}' % (b"9" * 300),
        ],
    )
    def test_a_line_that_makes_no_sense_is_answered(self, agent, line):
        agent.send(line + b"\n")
        message = agent.message()
        assert message["error"]["kind"] == "refused"
        assert agent.ask("echo") == {}

    @pytest.mark.parametrize(
        ("do", "fields", "reason"),
        [
            ("no such request", {}, "'no such request' is not possible before 'use'"),
            ("load", {"files": 0, "name": "x", "capacity": 3}, "not possible before 'use'"),
            ("unload", {"model": 1}, "not possible before 'use'"),
            ("use", {**USE, "threads": 0}, "threads: 0 is not between 1 and"),
            ("use", {**USE, "threads": 100_000}, "threads: 100000 is not between 1 and"),
            ("use", {**USE, "runtime": "tensorflow"}, "runtime: 'tensorflow' is not"),
            ("use", {**USE, "cores": "small"}, "cores: 'small' is not 'big' or a list"),
            ("use", {**USE, "cores": [99_999]}, r"cores: \[99999\] are not among"),
            ("use", {**USE, "cores": []}, r"cores: \[\] are fewer than the 1 threads"),
            (
                "use",
                {**USE, "runtime": "llama.cpp", "llama_bench": "/no/such/program"},
                "/no/such/program",
            ),
            (
                "reserve",
                {"patience_s": 0.0, "longest_wait": -1.0, "if_occupied": "stop"},
                "longest_wait: -1.0 is not",
            ),
        ],
    )
    def test_what_is_not_possible_is_refused(self, agent, do, fields, reason):
        found = agent.ask(do, **fields)
        assert found["kind"] == "refused"
        assert re.search(reason, found["reason"])
        assert agent.ask("echo") == {}

    @pytest.mark.parametrize(
        ("do", "fields"),
        [
            ("use", {}),
            ("use", {**USE, "threads": "1"}),
            ("reserve", {}),
            ("reserve", {"patience_s": "x", "longest_wait": 0.0, "if_occupied": "measure"}),
            ("reserve", {"patience_s": 0.0, "longest_wait": 0.0, "if_occupied": []}),
        ],
    )
    def test_missing_and_wrong_fields_are_answered(self, agent, do, fields):
        found = agent.ask(do, **fields)
        assert found.get("kind") in ("refused", "crashed") or "waited_s" in found
        assert agent.ask("echo") == {}

    def test_a_request_may_have_no_name(self, agent):
        agent.send(b'{"id": 7}\n')
        assert agent.message() == {
            "id": 7,
            "error": {"kind": "crashed", "reason": "the agent failed: KeyError: 'do'"},
        }

    def test_models_are_known_by_numbers_that_are_never_used_again(self, agent, model):
        assert agent.ask("use", **USE_FAKE)["fingerprint"] == "fake"
        numbers = []
        for files in range(3):
            agent.send_model(model, files)
            load = {"files": files, "name": model.name, "capacity": CAPACITY}
            numbers.append(agent.ask("load", **load)["model"])
            if files:
                assert agent.ask("unload", model=numbers[-1]) == {}
                again = agent.ask("unload", model=numbers[-1])
                assert again["reason"] == f"model: {numbers[-1]} is not loaded"
        assert len(set(numbers)) == 3
        window = agent.ask("time", model=numbers[0], workload=WORKLOAD, samples=2)
        assert len(window["samples_ns"]) == 2
        assert agent.ask("no such request", model=numbers[0])["kind"] == "refused"
        for wrong in (numbers[1], "1", None, 10**30):
            assert agent.ask("snapshot", model=wrong)["kind"] == "refused"
        assert agent.ask("time", model=numbers[0], workload={}, samples=2)["kind"] == "crashed"

    def test_a_second_use_unloads_the_models_of_the_first(self, agent, model):
        agent.ask("use", **USE)
        agent.send_model(model)
        loaded = agent.ask("load", files=0, name=model.name, capacity=CAPACITY)
        assert len(descendants(agent.process.pid)) == 1
        agent.ask("use", **USE_FAKE)
        assert descendants(agent.process.pid) == set()
        assert agent.ask("snapshot", model=loaded["model"])["kind"] == "refused"

    def test_a_core_that_does_not_exist_costs_only_the_model(self, agent, model):
        agent.ask("use", **USE)
        agent.send_model(model)
        load = {"files": 0, "name": model.name, "capacity": CAPACITY}
        number = agent.ask("load", **load)["model"]
        for cores in ([100_000], [-1], ["x"], [0] * 1000, 3):
            moved = agent.ask("move", model=number, cores=cores)
            assert moved["kind"] in ("refused", "crashed")
        assert agent.ask("unload", model=number) == {}
        agent.send_model(model)
        assert agent.ask("load", **load)["model"] != number

    def test_other_code_can_neither_read_requests_nor_write_answers(self, agent):
        agent.ask("echo")
        descriptors = Path("/proc", str(agent.process.pid), "fd")
        assert (descriptors / "0").readlink() == Path(os.devnull)
        assert (descriptors / "1").readlink() == (descriptors / "2").readlink()


@pytest.fixture(scope="module")
def loaded_agent(tmp_path_factory) -> Agent:
    """Return an agent of this process that has loaded a model as number 1."""
    folder = tmp_path_factory.mktemp("agent")
    agent = Agent(folder / "run", lambda _: None)
    model = write_model(folder / "model")
    shutil.copytree(model.parent, folder / "run" / "0")
    assert agent.answer({"do": "use", **USE_FAKE})
    load = {"do": "load", "files": 0, "name": model.name, "capacity": CAPACITY}
    assert agent.answer(load)["model"] == 1
    return agent


@given(
    do=st.sampled_from(
        ["echo", "file", "identify", "state", "release", "load", "time", "move", "snapshot"]
    )
    | any_json,
    fields=st.fixed_dictionaries(
        {},
        optional={
            "model": st.just(1) | any_json,
            "workload": st.just(WORKLOAD) | any_json,
            "samples": st.integers(-3, 100) | st.text() | st.lists(st.none()),
            "cores": any_json,
            "files": any_json,
            "name": any_json,
            "capacity": any_json,
        },
    ),
)
@settings(max_examples=300)
def test_whatever_a_host_asks_for_is_answered(loaded_agent, do, fields):
    kind, content = _outcome(loaded_agent, {"do": do, **fields})
    assert kind in ("answer", "error")
    json.dumps(content)
    window = {"do": "time", "model": 1, "workload": WORKLOAD, "samples": 2}
    assert len(loaded_agent.answer(window)["samples_ns"]) == 2


class TestFiles:
    @pytest.mark.parametrize(
        "name",
        ["../x", "/tmp/x", "..", ".", "", ".hidden", "a/b", "a\0b", "a\nb", "x" * 5000, "\ud800"],
    )
    def test_a_name_that_is_a_path_is_refused(self, agent, tmp_path, name):
        agent.ask("echo")
        before = set(tmp_path.rglob("*"))
        found = agent.ask("file", b"content", files=1, name=name, bytes=7)
        assert found["kind"] == "refused"
        assert {path for path in tmp_path.rglob("*") if path.is_file()} <= before
        assert agent.ask("load", files=1, name=name, capacity=3)["kind"] == "refused"
        assert agent.ask("echo") == {}

    @pytest.mark.parametrize("name", ["model.onnx", "my model-2 (a).onnx", "modèle.onnx", "a..b"])
    def test_a_plain_name_is_allowed(self, agent, name):
        assert agent.ask("file", b"content", files=1, name=name, bytes=7) == {}
        (folder,) = agent.run_folders()
        assert (folder / "1" / name).read_bytes() == b"content"

    def test_an_empty_file_is_stored(self, agent):
        assert agent.ask("file", files=1, name="x", bytes=0) == {}
        (folder,) = agent.run_folders()
        assert (folder / "1" / "x").read_bytes() == b""

    def test_a_file_that_does_not_fit_leaves_room_for_others(self, tmp_path):
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        with RawAgent(tmp_path, prepare=limit) as agent:
            assert agent.ask("file", bytes(50_000), files=1, name="a", bytes=50_000) == {}
            found = agent.ask("file", bytes(3_000_000), files=1, name="b", bytes=3_000_000)
            assert found["kind"] == "refused"
            assert found["reason"].startswith("a file of the model cannot be stored on the device")
            (folder,) = agent.run_folders()
            assert not (folder / "1").exists()
            assert agent.ask("file", bytes(50_000), files=2, name="a", bytes=50_000) == {}

    @pytest.mark.skipif(os.getuid() != 0, reason="needs the right to mount a file system")
    def test_a_full_disk_refuses_a_file(self, tmp_path):
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("this system permits no mounts")
        try:
            with RawAgent(tmp_path) as agent:
                found = agent.ask("file", bytes(3_000_000), files=1, name="b", bytes=3_000_000)
                assert "No space left on device" in found["reason"]
                assert agent.ask("file", bytes(50_000), files=2, name="a", bytes=50_000) == {}
                agent.hang_up()
                agent.wait_for_end()
        finally:
            subprocess.run(["umount", tmp_path], check=True)
