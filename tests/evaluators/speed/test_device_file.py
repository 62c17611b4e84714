"""The file of devices: what it may say, and the sentence for each mistake."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.speed.cooling import Cooling
from evaluators.speed.device_file import (
    channel_of,
    parse_devices,
    read_devices,
    remote_runner_of,
)

EVERYTHING = """
[phone]
channel = "adb"
serial = "R58M12"
threads = 2
cores = [6, 7]
cool = { below_c = 38, patience_s = 60.5 }

[pi5]
channel = "ssh"
host = "pi@pi5"
python = "/opt/python3"
cores = "big"

[pod]
channel = "command"
run = ["kubectl", "exec", "-i", "pod", "--"]
runtime = "llama.cpp"
llama_bench = "/opt/llama-bench"

[here]
channel = "local"
"""


def test_every_key_is_read_and_the_order_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(EVERYTHING)
    found = read_devices(file)
    assert [*found] == ["phone", "pi5", "pod", "here"]
    phone, pi5, pod, here = found.values()
    assert (phone.channel, phone.serial, phone.threads, phone.cores) == ("adb", "R58M12", 2, (6, 7))
    assert phone.cool == Cooling(below_c=38, patience_s=60.5)
    assert (pi5.channel, pi5.host, pi5.cores, pi5.cool) == ("ssh", "pi@pi5", "big", None)
    assert (pod.runtime, pod.llama_bench, pod.model_format) == (
        "llama.cpp",
        "/opt/llama-bench",
        "gguf",
    )
    assert (here.runtime, here.threads, here.cores) == ("onnxruntime", 1, None)
    assert here.model_format == "onnx"
    assert parse_devices("", "empty.toml") == {}


def test_the_programs_that_reach_a_device() -> None:
    """What is run on the device follows what reaches it; adb has a shell between the two."""
    devices = parse_devices(EVERYTHING, "devices.toml")
    commands = {name: channel_of(each).command(["-c", "x"]) for name, each in devices.items()}
    assert commands["here"] == [sys.executable, "-c", "x"]
    assert commands["pod"] == ["kubectl", "exec", "-i", "pod", "--", "python3", "-c", "x"]
    assert commands["pi5"][0] == "ssh"
    assert "pi@pi5" in commands["pi5"]
    assert "/opt/python3" in commands["pi5"][-1]
    assert commands["phone"][:3] == ["adb", "-s", "R58M12"]
    assert remote_runner_of(devices["pod"]).model_format == "gguf"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[Phone]", "f.toml: 'Phone' is not the name of a device: 1 to 32 lower-case letters"),
        ("[5]", "f.toml: '5' is not the name"),
        ("['a b']", "f.toml: 'a b' is not the name"),
        (f"[{33 * 'a'}]", "is not the name"),
        ("phone = 3", "f.toml: phone is not a table, which begins with [phone]"),
        ("[[phone]]", "f.toml: phone is not a table"),
        ("[phone]", "f.toml: phone: channel is missing"),
        ("[a]\nchannel = 'usb'", "f.toml: a: channel: 'usb' is not one of"),
        ("[a]\nchannel = 'ssh'", "host: it is missing, and the channel 'ssh' needs it"),
        ("[a]\nchannel = 'command'", "run: it is missing, and the channel 'command' needs it"),
        ("[a]\nchannel = 'local'\nhost = 'x'", "host: 'x' is not used by the channel 'local'"),
        ("[a]\nchannel = 'ssh'\nhost = 'x'\nserial = 'y'", "serial: 'y' is not used by the"),
        ("[a]\nchannel = 'adb'\nrun = ['y']", "run: ['y'] is not used by the channel 'adb'"),
        ("[a]\nchannel = 'local'\nthreads = 0", "threads: 0 is not between 1 and 1,024"),
        ("[a]\nchannel = 'local'\nthreads = '2'", "threads: '2' is not"),
        ("[a]\nchannel = 'local'\ncores = 'small'", "cores"),
        ("[a]\nchannel = 'local'\ncores = [1]\nthreads = 2", "cores: [1] are fewer than the 2"),
        ("[a]\nchannel = 'local'\nllama_bench = 'x'", "llama_bench: 'x' is not used by the"),
        ("[a]\nchannel = 'local'\nruntime = 'torch'", "runtime: 'torch' is not one of"),
        ("[a]\nchannel = 'local'\ncool = { below_c = 0 }", "cool.below_c: 0 is not"),
        ("[a]\nchannel = 'local'\nspeed = 9", "speed"),
        ("[a]\nchannel = 'ssh'\nhost = '-oProxyCommand=x'", "-oProxyCommand=x"),
        ("[a]\nchannel = 'local'\n[a]", "f.toml: line 3 is not valid TOML"),
        ("a.b", "f.toml: "),
    ],
)
def test_mistakes_are_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        parse_devices(text, "f.toml")
    message = str(caught.value)
    assert sentence in message
    assert "\n" not in message
    assert len(message) <= 500


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no-such-file"):
        read_devices(tmp_path / "no-such-file")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    message = "f.toml: "
    try:
        assert isinstance(parse_devices(text, "f.toml"), dict)
    except ValueError as error:
        message = str(error)
    assert message.startswith("f.toml: ")
