"""How processes are identified, and which of them are considered dead."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from studies.owner import Owner, SignsOfLife, has_ended, seems_lost, this_process

_PRINT_OWNER = (
    "from studies.owner import this_process as p; o = p();"
    "print(o.token, o.pid, o.started, o.host, o.boot, o.namespace, flush=True)"
)


def owner_of(line: str) -> Owner:
    token, pid, started, host, boot, namespace = line.split()
    return Owner(
        token=token, host=host, pid=int(pid), started=started, boot=boot, namespace=namespace
    )


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def signs(time: Time) -> SignsOfLife:
    return SignsOfLife(time)


@pytest.fixture(params=["another system", "another container"])
def stranger(request: pytest.FixtureRequest) -> Owner:
    """A process that cannot be looked up, with the number and start time of this living one."""
    where = {"another system": {"boot": "0"}, "another container": {"namespace": "pid:[1]"}}
    return replace(this_process(), token="stranger", **where[request.param])


def test_a_later_process_with_the_same_number_is_another_process() -> None:
    here = this_process()
    assert has_ended(here) is False
    assert has_ended(replace(here, started="earlier")) is True


def test_a_process_that_ended_is_lost_at_once(signs: SignsOfLife) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_OWNER], capture_output=True, text=True, check=True
    )
    ended = owner_of(done.stdout)
    assert ended.pid != os.getpid()
    assert ended.boot == this_process().boot
    assert signs.is_lost(ended)
    assert seems_lost(ended)


def test_a_process_that_is_looked_up_needs_no_signs_of_life(signs: SignsOfLife, time: Time) -> None:
    assert signs.judge(this_process()) == "alive"
    time.now += 1e6
    assert signs.judge(this_process()) == "alive"
    assert not seems_lost(replace(this_process(), silent_s=1e6))


def test_every_process_has_a_token_of_its_own() -> None:
    tokens = {this_process().token}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_OWNER], capture_output=True, text=True, check=True
        )
        tokens.add(owner_of(done.stdout).token)
    child, parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(parent, this_process().token.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    tokens.add(os.read(child, 100).decode())
    os.close(child)
    os.close(parent)
    assert len(tokens) == 5


class TestStrangers:
    def test_one_is_lost_after_a_lease_without_a_sign_of_life(
        self, signs: SignsOfLife, time: Time, stranger: Owner
    ) -> None:
        assert signs.judge(stranger) == "unknown"
        time.now += 60.0
        assert signs.judge(stranger) == "unknown"
        time.now += 0.1
        assert signs.judge(stranger) == "lost"

    def test_signs_of_life_keep_one_alive(
        self, signs: SignsOfLife, time: Time, stranger: Owner
    ) -> None:
        assert signs.judge(stranger) == "unknown"
        for beats in range(1, 10):
            time.now += 59.0
            assert signs.judge(replace(stranger, beats=beats)) == "alive"
        time.now += 61.0
        assert signs.judge(replace(stranger, beats=9)) == "lost"

    def test_one_chooses_its_own_lease(
        self, signs: SignsOfLife, time: Time, stranger: Owner
    ) -> None:
        patient = replace(stranger, lease_s=600.0)
        signs.judge(patient)
        time.now += 599.0
        assert signs.judge(patient) == "unknown"
        time.now += 2.0
        assert signs.judge(patient) == "lost"

    def test_clocks_do_not_matter(self, signs: SignsOfLife, stranger: Owner) -> None:
        """The time that the database has stored may be that of a clock two hours behind."""
        assert signs.judge(replace(stranger, silent_s=7200.0)) == "unknown"

    def test_an_outage_is_no_silence(self, signs: SignsOfLife, time: Time, stranger: Owner) -> None:
        signs.judge(stranger)
        time.now += 300.0
        signs.forget()
        assert signs.judge(stranger) == "unknown"
        time.now += 61.0
        assert signs.judge(stranger) == "lost"

    def test_at_a_glance_the_clock_of_the_database_decides(self, stranger: Owner) -> None:
        assert not seems_lost(replace(stranger, silent_s=59.0))
        assert seems_lost(replace(stranger, silent_s=61.0))


@pytest.fixture
def contained() -> Iterator[Owner]:
    """A living process in a PID namespace of its own, as in a container with this host's name."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    code = f"{_PRINT_OWNER}; import sys; sys.stdin.read()"
    if unshare is None or subprocess.run([*command, "0"], capture_output=True).returncode:
        pytest.skip("this user may not create PID namespaces")
    with subprocess.Popen(
        [*command, code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        yield owner_of(process.stdout.readline())
        process.communicate()


def test_a_process_of_another_container_is_not_looked_up(
    contained: Owner, signs: SignsOfLife
) -> None:
    here = this_process()
    assert (contained.host, contained.boot) == (here.host, here.boot)
    assert contained.namespace != here.namespace
    assert has_ended(contained) is None
    assert signs.judge(contained) == "unknown"
