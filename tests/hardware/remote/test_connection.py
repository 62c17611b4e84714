"""Devices that send anything, read nothing, or end at any time."""

import contextlib
import os
import re
import signal
import threading
import time
import tracemalloc

import pytest

from hardware.channels.channel import LONGEST_REASON, ChannelError
from hardware.channels.command import CommandChannel
from hardware.remote.connection import DeviceConnection, RequestFailed
from tests.hardware.conformance import children
from tests.hardware.remote.scripted_device import ScriptedChannel

pytestmark = pytest.mark.usefixtures("nothing_stays")

# Far more than a step takes that needs no waiting, even on a busy machine.
PATIENCE_S = 60.0


def check_reason(error: ChannelError, kind: str, pattern: str = "") -> None:
    assert error.kind == kind
    assert error.reason.isprintable()
    assert 0 < len(error.reason) <= LONGEST_REASON
    assert re.search(pattern, error.reason), error.reason


def refused_connection(script: str, start_s: float = PATIENCE_S) -> ChannelError:
    """Return the error of a connection that cannot be opened."""
    with pytest.raises(ChannelError) as caught:
        DeviceConnection(ScriptedChannel(script), start_s=start_s)
    return caught.value


class TestStart:
    def test_a_greeting_is_skipped(self):
        script = "send((b'x' * 79 + b'\\n') * 800); send(b'no newline: '); serve()"
        with DeviceConnection(ScriptedChannel(script)) as connection:
            assert connection.ask("echo") == {}
            assert connection.python == "3.12.1"

    @pytest.mark.parametrize(
        "script",
        [
            "send((b'x' * 79 + b'\\n') * 1000); serve()",  # a greeting without an end
            "while True: send(b'\\x1b[2J garbage \\xff\\xfe' * 100 + b'\\n')",
            "while True: send(b'0123456789' * 10_000)",  # a line without an end
            "while True: send(b'\\n' * 65536)",
            "send(b'nas-device \\n'); wait()",
            "send(b'nas-device [1]\\n'); wait()",
            "send(b'nas-device \\xff\\n'); wait()",
            "send(b'nas-device ' + b'[' * 1_000_000 + b'\\n'); wait()",
            "send(b'nas-device {}\\n'); wait()",
            "greet(python='3.12\\x1b[2J')",
            "greet(python=['3.12'] * 100_000)",
        ],
    )
    def test_garbage_instead_of_an_answer_is_refused(self, script):
        check_reason(refused_connection(script), "lost", "scripted device: invalid ")

    @pytest.mark.parametrize(
        ("script", "kind", "pattern"),
        [
            ("", "lost", "exit code 0: no output"),
            ("sys.exit(7)", "lost", "exit code 7: no output"),
            ("os.kill(os.getpid(), 9)", "lost", "exit code -9"),
            ("sys.exit('one\\ntwo\\x1b[2Jtwo\\nthree\\nfour')", "lost", "code 1: two .*; four$"),
            ("sys.exit('x' * 100_000)", "lost", "x{200}"),
            ("os.write(2, b'\\xff\\xfe'); sys.exit(3)", "lost", "exit code 3"),
            ("os.write(2, b'no such file'); sys.exit(127)", "no python", "no such file"),
            ("os.close(1); wait()", "lost", "the connection was closed"),
            ("greet(error='\\x1b[2J' + 'e' * 9999)", "refused", "e{400}"),
        ],
    )
    def test_a_program_that_ends_is_reported_with_its_last_words(self, script, kind, pattern):
        check_reason(refused_connection(script), kind, pattern)

    @pytest.mark.parametrize(
        "script",
        [
            "wait()",
            "while True: send(b'x'); time.sleep(0.1)",
            "while True: os.write(2, b'x' * 9999)",
        ],
    )
    def test_a_device_that_gives_no_answer_is_unreachable(self, script):
        error = refused_connection(script, start_s=0.5)
        check_reason(error, "unreachable", r"no answer \(")

    def test_an_old_python_is_named(self):
        script = 'greet_facts = b\'nas-device {"python": "3.9.2"}\\n\'; send(greet_facts)'
        check_reason(refused_connection(script), "no python", "3.9.2 is older than 3.11")

    def test_a_program_that_does_not_exist_is_named(self):
        with pytest.raises(ChannelError) as caught:
            DeviceConnection(CommandChannel(("/no/such/program",)))
        check_reason(caught.value, "unreachable", "'/no/such/program' cannot be started")

    def test_an_interrupt_ends_the_process(self):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            DeviceConnection(ScriptedChannel("wait()"))


def lost(script: str, *, longest_s: float = PATIENCE_S, silence_s: float = 30.0) -> ChannelError:
    """Return the error of a request that `script` answers; it is that of all further requests."""
    channel = ScriptedChannel(f"def instead(request):\n {script}\nserve('echo', instead)")
    with DeviceConnection(channel, silence_s=silence_s) as connection:
        with pytest.raises(ChannelError) as caught:
            connection.ask("echo", longest_s=longest_s)
        assert not connection.is_open
        for _ in range(2):
            with pytest.raises(ChannelError, match=re.escape(caught.value.reason)):
                connection.ask("state")
        return caught.value


class TestRequests:
    @pytest.mark.parametrize(
        "script",
        [
            "send(b'{\"id\": 1, \\n')",
            "send(b'\\x1b]0;title\\x07\\n')",
            "send(b'\\xff\\xfe\\x00\\n')",
            "send(b'null\\n')",
            "send(b'[' * 100_000 + b'\\n')",
            "send(b'{\"id\":' * 100_000 + b'\\n')",
            "send(b'9' * 10_000 + b'\\n')",
            "send(b'NaN\\n')",
            "send_object(id=0, answer={})",  # late
            "send_object(id=2, answer={})",
            "send_object(id='1', answer={})",
            "send_object(answer={})",
            "send_object(id=1)",
            "send_object(id=1, answer=None)",
            "send_object(id=1, answer=[])",
            "send_object(id=1, say=3)",
            "send_object(id=1, error='x')",
            "send_object(id=1, error={'kind': 'refused'})",
            "send_object(id=1, error={'kind': [], 'reason': 'x'})",
            "while True: send(b'0123456789' * 10_000)",  # a line without an end
        ],
    )
    def test_an_invalid_answer_loses_the_device(self, script):
        check_reason(lost(script), "lost", "invalid answer '")

    @pytest.mark.parametrize(
        ("script", "pattern"),
        [
            ('send(b\'{"id": 1, "answ\'); sys.exit()', "exit code 0"),
            ("sys.exit(9)", "exit code 9"),
            ("os.abort()", "exit code -6"),
            ("os.close(1); wait()", "the connection was closed"),
        ],
    )
    def test_a_device_that_ends_is_lost(self, script, pattern):
        check_reason(lost(script), "lost", pattern)

    def test_the_last_error_output_is_reported_also_after_much_of_it(self):
        script = "os.write(2, b'noise\\n' * 100_000); sys.exit('the last words')"
        check_reason(lost(script), "lost", "the last words$")

    @pytest.mark.parametrize(
        "script",
        [
            "wait()",
            "while True: send(b'\\n' * 65536)",
            "while True: send_object(id=1, say='still busy')",
            "while True: send(b'x'); time.sleep(0.1)",
            "while True: os.write(2, b'x' * 9999)",
        ],
    )
    def test_an_answer_that_takes_too_long_loses_the_device(self, script):
        check_reason(lost(script, longest_s=0.5), "lost", "no answer within 0.5 s")

    def test_silence_loses_the_device(self):
        check_reason(lost("wait()", silence_s=0.5), "lost", "no answer within 0.5 s")

    def test_signs_of_life_end_no_silence_for_ever(self):
        script = "[(send(b'\\n'), time.sleep(0.2)) for _ in range(25)]; answer(request, {})"
        channel = ScriptedChannel(f"def instead(request):\n {script}\nserve('echo', instead)")
        with DeviceConnection(channel, silence_s=4.0) as connection:
            assert connection.ask("echo") == {}

    def test_a_device_that_reads_nothing_is_lost(self, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(bytes(1_000_000))
        channel = ScriptedChannel("greet(); time.sleep(60)")
        with DeviceConnection(channel, silence_s=0.5) as connection:
            with pytest.raises(ChannelError) as caught:
                connection.ask("file", file=file)
            check_reason(caught.value, "lost", "it has read nothing for 0.5 s")

    def test_a_device_that_ends_while_a_file_is_sent_is_lost(self, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(bytes(1_000_000))
        with DeviceConnection(ScriptedChannel("greet(); time.sleep(0.3)")) as connection:
            with pytest.raises(ChannelError) as caught:
                connection.ask("file", file=file)
            check_reason(caught.value, "lost", "exit code 0")

    def test_a_file_that_shrinks_while_it_is_sent_is_not_completed_with_other_bytes(self, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(bytes(4_000_000))
        script = "greet(); time.sleep(1)\nfor request in requests(): answer(request, {})"
        with DeviceConnection(ScriptedChannel(script)) as connection:
            threading.Timer(0.3, os.truncate, (file, 1_000_000)).start()
            with pytest.raises(ChannelError) as caught:
                connection.ask("file", file=file)
            check_reason(caught.value, "lost", "shortened")

    def test_a_file_that_is_missing_here_does_not_concern_the_device(self, tmp_path):
        with DeviceConnection(ScriptedChannel("serve()")) as connection:
            with pytest.raises(FileNotFoundError):
                connection.ask("file", file=tmp_path / "missing")
            assert connection.ask("echo") == {}

    def test_texts_of_a_device_are_printable_and_short(self):
        script = (
            "send_object(id=1, say='\\x1b[2J\\u202e\\n' + 'a' * 9999)\n"
            " send_object(id=1, error={'kind': 'refused', 'reason': '\\x07\\ud800' + 'b' * 9999})"
        )
        channel = ScriptedChannel(f"def instead(request):\n {script}\nserve('echo', instead)")
        said: list[str] = []
        with DeviceConnection(channel) as connection:
            with pytest.raises(RequestFailed) as caught:
                connection.ask("echo", say=said.append)
            assert connection.ask("state")  # an error is an answer
        for text in (*said, caught.value.reason):
            assert text.isprintable()
            assert 300 < len(text) <= LONGEST_REASON

    def test_error_output_without_an_end_takes_little_memory(self):
        tracemalloc.start()
        script = "[os.write(2, b'x' * 9999) for _ in range(3000)]; answer(request, {})"
        channel = ScriptedChannel(f"def instead(request):\n {script}\nserve('echo', instead)")
        with DeviceConnection(channel) as connection:
            assert connection.ask("echo") == {}
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 5_000_000

    def test_no_request_can_follow_an_interrupted_one(self):
        channel = ScriptedChannel("serve('echo', lambda request: wait())")
        with DeviceConnection(channel) as connection:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                connection.ask("echo")
            with pytest.raises(ChannelError) as caught:
                connection.ask("state")
            check_reason(caught.value, "lost", "'echo' was interrupted")

    def test_an_exception_of_the_listener_propagates(self):
        script = "send_object(id=1, say='hello')"
        channel = ScriptedChannel(f"def instead(request):\n {script}\nserve('echo', instead)")
        with DeviceConnection(channel) as connection, pytest.raises(ZeroDivisionError):
            connection.ask("echo", say=lambda _: 1 / 0)


def test_a_process_that_ignores_the_end_is_killed_with_its_children(tmp_path):
    script = (
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "greet(python='3.' + str(child.pid)); time.sleep(60)"
    )
    before = children()
    with DeviceConnection(ScriptedChannel(script)) as connection:
        child = int(connection.python.removeprefix("3."))
        os.kill(child, 0)
    assert children() == before
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(child, 0)
            time.sleep(0.01)
        raise AssertionError("the child still runs")
