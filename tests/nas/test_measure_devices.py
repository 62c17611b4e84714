"""`nas measure` and `nas devices check` on named devices, which are processes of this machine."""

import json
import sys
from pathlib import Path

import pytest

from hardware.machine_lock import LockWait
from hardware.remote.bootstrap import FOLDER_VARIABLE
from tests.nas.device_studies import DEVICES

TINY = """{"vocab_size": 256, "width": 64, "embedding_width": 64, "layers": [
    {"mixer": {"kind": "short_conv", "kernel": 3}, "feed_forward_width": 96},
    {"mixer": {"kind": "attention", "heads": 2, "kv_heads": 1, "head_dim": 32},
     "feed_forward_width": 96}]}"""
QUICK = ("--workload", "tg8@32", "--precision", "0.5", "--seconds", "0.1")
AT_ONCE = ("--longest-wait", "0")
REAL = f'[real]\nchannel = "local"\npython = "{sys.executable}"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write three models and a file with two simulated devices and a real one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "agents"))
    for width in (96, 192, 384):
        (tmp_path / f"ff{width}.json").write_text(TINY.replace("96", str(width)))
    (tmp_path / "devices.toml").write_text(DEVICES + REAL)
    return tmp_path


def measure(nas, *arguments: str | Path):
    return nas("measure", *arguments, *QUICK, *AT_ONCE)


class TestMeasure:
    def test_devices_are_shown_side_by_side(self, nas) -> None:
        models = ("ff96.json", "ff192.json", "ff384.json")
        result = measure(nas, *models, "--device", "one", "--device", "two")
        assert result.returncode == 0, result.stderr
        text = result.stdout
        assert text.index("one (this machine)") < text.index("two (env --)")
        assert "side by side: median times in ms" in text
        (header,) = [
            line.split()
            for line in text.splitlines()
            if line.split()[:1] == ["workload"] and "two" in line
        ]
        assert header == ["workload", "model", "one", "two"]
        rows = [line.split() for line in text.partition("side by side")[2].splitlines()]
        times = {row[-3]: row[-2:] for row in rows if len(row) >= 3 and row[-3].startswith("ff")}
        assert [*times] == ["ff96", "ff192", "ff384"]
        for one, two in times.values():  # the same formula
            assert float(one.strip("~")) == pytest.approx(float(two.strip("~")), rel=0.02)
        assert "one and two rank 3 models with a Spearman correlation of 1.00" in " ".join(
            text.split()
        )

    def test_the_document_has_an_entry_for_each_device(self, nas) -> None:
        result = measure(nas, "ff96.json", "--device", "two", "--json")
        (entry,) = json.loads(result.stdout)["devices"]
        assert entry["name"] == "two"
        (found,) = entry["results"]
        assert (found["model"], found["workload"]) == ("ff96", "tg8@32")
        plain = json.loads(measure(nas, "ff96.json", "--json").stdout)
        assert "devices" not in plain

    def test_one_device_alone_has_no_comparison(self, nas) -> None:
        text = measure(nas, "ff96.json", "ff192.json", "--device", "two").stdout
        assert "two (env --)" in text
        assert "side by side" not in text

    def test_a_real_runtime_measures_on_a_device(self, nas) -> None:
        result = measure(nas, "ff96.json", "--device", "real", "--quantization", "int8", "--json")
        assert result.returncode == 0, result.stderr
        (entry,) = json.loads(result.stdout)["devices"]
        assert entry["results"][0]["p50_ms"] > 0
        assert "onnxruntime" in json.dumps(entry)

    def test_a_hot_device_cools_down_first(
        self, nas, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cooled: list[float] = []
        monkeypatch.setattr(
            "evaluators.speed.quiet_device.cool_down",
            lambda state, cooling, say: cooled.append(cooling.below_c) or 7.0,
        )
        hot = DEVICES.replace('runtime = "fake"', 'runtime = "fake"\ncool = { below_c = 38 }')
        (folder / "devices.toml").write_text(hot)
        document = json.loads(measure(nas, "ff96.json", "--device", "one", "--json").stdout)
        assert set(cooled) == {38.0}
        assert document["devices"][0]["waited_s"] >= 7.0 * len(cooled)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--device", "three"), "device: 'three' is not in devices.toml; "),
            (("--devices", "devices.toml"), "devices: 'devices.toml' has no effect without --dev"),
            (("--device", "one", "--devices", "x.toml"), "devices: 'x.toml' does not exist"),
            (
                ("--device", "one", "--threads", "2"),
                "threads: '2' has no effect on the d",
            ),
            (("--device", "one", "--runtime", "onnxruntime"), "runtime: 'onnxruntime' has no eff"),
            (("--device", "one", "--quantization", "fp16"), "quantization: 'fp16' is not one of"),
        ],
    )
    def test_mistakes_are_refused_in_a_sentence(self, nas, arguments, sentence: str) -> None:
        refused = measure(nas, "ff96.json", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"nas: {sentence}")
        assert refused.stderr.count("\n") == 1

    def test_an_unreachable_device_is_named_and_the_others_are_measured(
        self, nas, folder: Path
    ) -> None:
        (folder / "devices.toml").write_text(DEVICES.replace('"env"', '"no-such-program"'))
        result = measure(nas, "ff96.json", "--device", "two", "--device", "one")
        assert result.returncode == 1
        assert "one (this machine)" in result.stdout
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("nas: two: ")]
        assert "no-such-program" in line
        assert "Traceback" not in result.stderr


class TestCheck:
    def test_a_device_is_checked_in_every_respect(
        self, nas, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nas.workflows.device_check._LONGEST_WAIT_S", 0.0)
        monkeypatch.setattr(
            "nas.workflows.device_check.LockWait",
            lambda longest_wait, if_occupied: LockWait(longest_wait=0.0, if_occupied="measure"),
        )
        monkeypatch.setattr("nas.workflows.device_check._SECONDS", 0.5)
        result = nas("devices", "check", "two", "--json")
        assert result.returncode == 0, result.stdout
        text = json.dumps(json.loads(result.stdout))
        assert '"two"' in text
        assert "fake" in text

    def test_a_device_that_does_not_answer_cannot_measure(self, nas, folder: Path) -> None:
        (folder / "devices.toml").write_text(DEVICES.replace('"env"', '"no-such-program"'))
        result = nas("devices", "check", "two")
        assert result.returncode != 0
        assert "no-such-program" in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
