"""Studies that measure on named devices, from the command line."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from hardware.remote.bootstrap import FOLDER_VARIABLE
from nas.dashboard.document import StudyDocuments
from studies.storage.store import Store
from tests.nas import unreliable_device
from tests.nas.device_studies import DEVICES, device_study, write_device_study

LIMIT = '[[constraints]]\nname = "memory@two"\nmax = 1000\n'
BOTH = device_study("loss", "decode@one", "decode@two", more=LIMIT)


@pytest.fixture(autouse=True)
def no_files_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the file of devices of the user, and the files that agents have left."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "agents"))


@pytest.fixture(scope="session")
def finished_folder(nas_in, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study on two devices that has ended, shared by all workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "devices", shared / "devices.done"
    with FileLock(shared / "devices.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(shared / "agents"))
        if not done.exists():
            folder.mkdir()
            write_device_study(folder, BOTH)
            result = nas_in(folder, "run", "tiny.toml")
            assert result.returncode == 0, result.stderr
            (folder / "run.log").write_text(result.stderr)
            done.touch()
    return folder


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path) -> Path:
    """The study file of a copy of a study that has ended."""
    shutil.copytree(finished_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "tiny.toml"


def json_of(result) -> dict:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def front_values(nas, *arguments: str) -> list[dict[str, float]]:
    return [member["values"] for member in json_of(nas("pareto", "tiny", *arguments))["front"]]


class TestAFinishedStudy:
    def test_every_stage_names_its_device(self, finished: Path) -> None:
        lines = finished.with_name("run.log").read_text().splitlines()
        first = [line.partition(";")[0] for line in lines if line.startswith("trial 0  ")]
        assert first[:6] == [
            "trial 0  costs",
            "trial 0  latency on one",
            "trial 0  time per byte of text on one",
            "trial 0  latency on two",
            "trial 0  time per byte of text on two",
            "trial 0  training",
        ]

    def test_the_joint_front_and_those_of_the_devices(self, nas, finished: Path) -> None:
        joint = json_of(nas("pareto", "tiny.toml", "--json"))
        assert [axis["name"] for axis in joint["objectives"]] == [
            "loss",
            "decode@one",
            "decode@two",
        ]
        assert [axis["unit"] for axis in joint["objectives"]][1:] == ["ms/token", "ms/token"]
        (correlation, *_) = joint["devices"]
        assert correlation.startswith("decode@one and decode@two rank ")
        text = nas("pareto", "tiny.toml").stdout
        assert "next: nas pareto tiny.toml --device one\n" in text
        assert "decode@two" in text
        for name in ("one", "two"):
            alone = json_of(nas("pareto", "tiny.toml", "--device", name, "--json"))
            assert [axis["name"] for axis in alone["objectives"]] == ["loss", f"decode@{name}"]
            values = [member["values"] for member in alone["front"]]
            times = [each[f"decode@{name}"] for each in values]
            assert times == sorted(times, reverse=True)
            assert {each["trial"] for each in alone["front"]} <= {
                each["trial"] for each in joint["front"]
            }
        assert "--device" not in nas("pareto", "tiny.toml", "--device", "one").stdout

    def test_a_limit_of_a_device_is_applied(self, nas, finished: Path) -> None:
        slowest = max(each["decode@two"] for each in front_values(nas, "--json"))
        found = json_of(nas("pareto", "tiny", "--max", f"decode@two={slowest}", "--json"))
        assert found["best"]["values"]["decode@two"] <= slowest

    def test_the_status_names_the_devices_of_the_reference_times(self, nas, finished: Path) -> None:
        """Both names stand for this machine, so they share the times of the reference model."""
        document = json_of(nas("status", "tiny", "--json"))
        assert [each["devices"] for each in document["calibrations"]] == 2 * [["one", "two"]]
        assert {"latency@one", "latency@two"} <= document["stage_seconds"].keys()
        assert "reference model at tg64@64 on one and two: " in nas("status", "tiny").stdout

    def test_a_trial_is_shown_with_the_runs_of_each_device(self, nas, finished: Path) -> None:
        document = json_of(nas("show", "tiny", "0", "--json"))
        assert {each["device"] for each in document["measurements"]} == {"one", "two"}
        runs = [each for each in document["measurements"] if each["device"] == "one"]
        decoding = sum(each["workload"] == "tg64@64" for each in runs)
        names = [score["name"] for score in document["scores"]]
        assert {"decode@one", "decode_per_byte@two", "memory@two"} <= {*names}
        assert "decode" not in names
        text = nas("show", "tiny", "0").stdout
        assert "\ntg64@64 on one " in text
        assert "\npp16 on two " in text
        words = " ".join(text.split())
        assert (f", run {decoding} of {decoding}" in words) == (decoding > 1)
        assert (f"measured {decoding} times" in words) == (decoding > 1)

    def test_the_dashboard_document_tells_the_devices_apart(self, finished: Path) -> None:
        with Store.open(f"sqlite:///{finished.with_name('nas.db')}") as store:
            document = StudyDocuments(store, "tiny").document()
        assert {each["workload"] for each in document["drift"]} == {
            *("tg64@64 on one", "pp16 on one", "tg64@64 on two", "pp16 on two")
        }
        assert {each["workload"] for each in document["calibrations"]} == {
            *("tg64@64 on one and two", "pp16 on one and two")
        }
        # Each trial was timed twice, once for each device.
        (machine,) = document["environments"]
        assert machine["trials"] == 2 * len(document["trials"]["id"])
        assert "decode@two" in document["trials"]["scores"]
        assert "Latencies on some devices are simulated." in document["limitations"]

    def test_the_report_shows_the_devices(self, nas, finished: Path) -> None:
        assert nas("report", "tiny", "-o", "report.md").returncode == 0
        text = finished.with_name("report.md").read_text()
        for word in ("decode@one", "decode@two", "tg64@64 on one and two", "latency@two"):
            assert word in text
        assert nas("report", "tiny", "-o", "report.html").returncode == 0

    def test_a_trial_is_exported_with_its_scores(self, nas, finished: Path) -> None:
        assert nas("export", "tiny", "0", "-o", "winner.json").returncode == 0
        document = json.loads(finished.with_name("winner.json").read_text())
        scores = {score["name"] for score in document["provenance"]["scores"]}
        assert {"decode@one", "decode@two"} <= scores

    def test_the_front_is_measured_again_on_every_device(self, nas, finished: Path) -> None:
        options = ("--candidates", "3", "--budget", "1.1")
        document = json_of(nas("confirm", "tiny.toml", *options, "--json"))
        text = json.dumps(document)
        assert "decode@one" in text
        assert "decode@two" in text
        with Store.open(f"sqlite:///{finished.with_name('nas.db')}") as store:
            runs = store.confirmation_runs("tiny")
        stages = [run.key.stage for run in runs]
        assert stages.count("latency@one") == stages.count("latency@two") == 3
        assert not [run for run in runs if run.failure is not None]
        assert "decode@two" in nas("confirm", "tiny.toml", *options).stdout

    def test_it_is_resumed_with_the_devices_next_to_the_file(self, nas, finished: Path) -> None:
        (finished.parent / "elsewhere").mkdir()
        finished.with_name("devices.toml").rename(finished.parent / "elsewhere/mine.toml")
        refused = nas("run", "tiny.toml", "--trials", "5")
        assert refused.returncode == 2
        assert "devices: neither 'devices.toml' nor " in refused.stderr
        more = nas("run", "tiny.toml", "--trials", "5", "--devices", "elsewhere/mine.toml")
        assert more.returncode == 0, more.stderr
        assert len(json_of(nas("show", "tiny", "4", "--json"))["scores"]) > 20

    def test_another_device_under_the_same_name_is_refused(
        self, nas, finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Store.open(f"sqlite:///{finished.with_name('nas.db')}") as store:
            (run,) = [run for run in store.trials("tiny")[0].stages if run.stage == "latency@two"]
        identity = run.fingerprint.partition(" identity ")[2].partition(" ")[0]
        monkeypatch.setattr(
            "nas.workflows.resumed_conditions.marked", lambda each: f"identity other {each}"
        )
        refused = nas("run", "tiny.toml", "--trials", "5")
        assert refused.returncode == 2
        assert f"target.devices: 'one' is another device ({identity}) than" in refused.stderr


def test_this_machine_and_a_device_are_measured_together(nas, tmp_path: Path) -> None:
    text = device_study("loss", "decode", "decode@one", devices=("one",))
    write_device_study(tmp_path, text.replace("trials = 4", "trials = 3"))
    assert nas("run", "tiny.toml").returncode == 0
    stages = json_of(nas("show", "tiny", "0", "--json"))["stages"]
    assert [*stages] == ["costs", "latency", "text", "latency@one", "text@one", "training"]
    document = json_of(nas("status", "tiny", "--json"))
    assert [each["devices"] for each in document["calibrations"]] == [[], [], ["one"], ["one"]]
    for values in front_values(nas, "--json"):
        assert values["decode@one"] == pytest.approx(values["decode"], rel=0.2)
    text = nas("show", "tiny", "0").stdout
    assert "\ntg64@64 on one " in text
    assert "\ntg64@64 on" not in text.replace("tg64@64 on one", "")


def test_candidates_are_matched_to_the_latency_of_a_device(nas, tmp_path: Path) -> None:
    """Five candidates are measured, so that the sixth can be matched."""
    matched = 'matched = { latency = 0.1, score = "decode@one" }\n'
    text = device_study("loss", "decode@one", devices=("one",))
    text = text.replace("trials = 4", "trials = 7").replace("[space]\n", f"[space]\n{matched}")
    text = text.replace("feed_forward = [1.0, 2.0]", "feed_forward = [0.5, 8.0]")
    write_device_study(tmp_path, text)
    run = nas("run", "tiny.toml")
    assert run.returncode == 0, run.stderr
    assert "candidates are matched to a decode@one of 0.1 ms/token as soon as" in run.stderr
    with Store.open(f"sqlite:///{tmp_path / 'nas.db'}") as store:
        predicted = [trial for trial in store.trials("tiny") if trial.predicted_latency is not None]
    assert predicted
    for trial in predicted:
        assert trial.predicted_latency == pytest.approx(0.1, rel=0.011)
        assert trial.values["decode@one"] == pytest.approx(0.1, rel=0.2)


class TestValidate:
    def test_the_plan_names_the_devices_and_measures_nothing_else(
        self, nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("this machine is not measured")

        monkeypatch.setattr("nas.assembly.device_runner", refuse)
        write_device_study(tmp_path, BOTH)
        document = json_of(nas("validate", "tiny.toml", "--json"))
        assert document["devices"] == [
            {"name": "one", "channel": "this machine"},
            {"name": "two", "channel": "env --"},
        ]
        assert document["latency_seconds"] == 0  # nothing is measured on this machine
        assert document["device_seconds"].keys() == {"one", "two"}
        for model in document["models"]:
            names = {score["name"] for score in model["scores"]}
            assert {"decode@one", "decode@two", "memory@two"} <= names
            assert "decode" not in names
        text = nas("validate", "tiny.toml").stdout
        assert "\ndevices       one (this machine) and two (env --)\n" in text
        assert "models of this space on one and two, from random draws" in text
        assert "decode@two, ms/token" in text
        assert "memory@two: the limit of 1,000 MB is above all of these models" in text

    def test_this_machine_is_named_if_it_is_measured(self, nas, tmp_path: Path) -> None:
        write_device_study(tmp_path, device_study("loss", "decode", devices=("one",)))
        text = nas("validate", "tiny.toml").stdout
        assert "devices       this machine and one (this machine)" in text
        assert "models of this space on this machine and one, from" in text


class TestMistakes:
    @pytest.mark.parametrize("command", ["run", "validate"])
    @pytest.mark.parametrize(
        ("study", "devices", "sentence"),
        [
            (BOTH, None, "devices: neither 'devices.toml' nor '"),
            (BOTH, DEVICES.partition("[two]")[0], "target.devices: 'two' is not in "),
            (BOTH, DEVICES.replace('"env"', '"no-such-program"'), "target.devices: 'two' cannot "),
            (BOTH, DEVICES.replace(sys.executable, "/no/python"), "target.devices: 'one' cannot "),
            (BOTH, DEVICES.replace("run =", "host ="), "target.devices: devices.toml: two: "),
            (
                BOTH.replace("devices =", 'quantization = "fp16"\ndevices ='),
                DEVICES,
                "target.quantization: 'fp16' is not one of ",
            ),
            (
                BOTH.replace('"decode@two"', '"decode@three"'),
                DEVICES,
                "tiny.toml: objectives[2].name: 'decode@three' is not possible",
            ),
            (
                BOTH.replace('["one", "two"]', '["one", "T"]'),
                DEVICES,
                "tiny.toml: target.devices: 'T' is not the name of a device",
            ),
        ],
    )
    def test_are_one_sentence_and_nothing_is_stored(
        self, nas, tmp_path: Path, command: str, study: str, devices: str | None, sentence: str
    ) -> None:
        write_device_study(tmp_path, study, devices)
        refused = nas(command, "tiny.toml")
        assert refused.returncode == 2
        last = refused.stderr.splitlines()[-1]
        assert last.startswith(f"nas: {sentence}")
        assert len(last) <= 505
        assert "Traceback" not in refused.stderr
        if (tmp_path / "nas.db").exists():
            with Store.open(f"sqlite:///{tmp_path / 'nas.db'}") as store:
                assert store.studies() == ()

    def test_devices_have_no_effect_on_a_study_without_any(self, nas, study: Path) -> None:
        for command in ("run", "validate"):
            refused = nas(command, "tiny.toml", "--devices", "devices.toml")
            assert refused.returncode == 2
            assert "has no effect, because the study names no device" in refused.stderr

    @pytest.mark.parametrize(
        ("device", "sentence"),
        [("three", "device: 'three' is not one of one, two"), ("", "device: '' is not one of")],
    )
    def test_a_front_of_an_unknown_device_is_refused(
        self, nas, finished: Path, device: str, sentence: str
    ) -> None:
        refused = nas("pareto", "tiny", "--device", device)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"nas: {sentence}")


class TestALostDevice:
    @pytest.fixture
    def cut(self, tmp_path: Path) -> Path:
        """Write a study with an unreliable device; it is lost while the returned file exists."""
        cut = tmp_path / "cut"
        relay = [sys.executable, unreliable_device.__file__, str(cut)]
        devices = DEVICES.replace('["env", "--"]', json.dumps(relay))
        text = device_study("loss", "decode@two", devices=("two",))
        write_device_study(tmp_path, text.replace("trials = 4", "trials = 2"), devices)
        return cut

    def test_is_connected_again_and_measures_the_model_again(self, nas, cut: Path) -> None:
        cut.write_text("once")
        run = nas("run", "tiny.toml", "--trials", "1")
        assert run.returncode == 0, run.stderr
        assert not cut.exists()
        shown = json_of(nas("show", "tiny", "0", "--json"))
        assert shown["state"] == "complete"
        assert {each["workload"] for each in shown["measurements"]} == {"tg64@64", "pp16"}

    def test_does_not_condemn_the_architecture(self, nas, cut: Path) -> None:
        cut.write_text("always")
        stopped = nas("run", "tiny.toml", "--trials", "1")
        assert stopped.returncode == 2
        last = stopped.stderr.splitlines()[-1]
        assert last.startswith("nas: the device 'two' was lost: ")
        assert last.endswith("run the same command again to resume")
        assert json_of(nas("status", "tiny", "--json"))["failures"] == []
        left = json_of(nas("show", "tiny", "0", "--json"))
        assert left["state"] == "interrupted"
        cut.unlink()
        assert nas("run", "tiny.toml", "--trials", "1").returncode == 0
        ended = json_of(nas("show", "tiny", "0", "--json"))
        assert (ended["state"], ended["hash"]) == ("complete", left["hash"])
        assert {each["workload"] for each in ended["measurements"]} == {"tg64@64", "pp16"}
