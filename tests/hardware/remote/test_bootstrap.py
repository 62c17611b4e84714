"""The first program on a device: what it finds there, and what goes wrong on the way."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hardware.channels.channel import ChannelError
from hardware.channels.command import CommandChannel
from hardware.remote import bootstrap
from hardware.remote.archive import agent_archive
from hardware.remote.bootstrap import FIRST_LINE, FOLDER_VARIABLE, KEPT_ARCHIVES, MARK
from hardware.remote.connection import DeviceConnection

UID = os.getuid()
OLD_PYTHONS = tuple(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python3"))


def device(*variables: str) -> CommandChannel:
    """Return a channel to this machine with other environment variables, as for `env`."""
    return CommandChannel(("env", "-u", FOLDER_VARIABLE, *variables), python=sys.executable)


def exchange(channel: CommandChannel) -> None:
    with DeviceConnection(channel) as connection:
        assert connection.ask("echo") == {}


def archives(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("agent-*")}


def start(
    *, source: str | None = None, python: str = sys.executable, archive: bytes | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run the first program with an archive, and then the end of the input."""
    ours = agent_archive()
    sent = ours.content if archive is None else archive
    facts = {"sha256": ours.sha256, "bytes": len(ours.content), "silence_s": 60.0}
    text = Path(bootstrap.__file__).read_text() if source is None else source
    return subprocess.run(
        [python, "-c", FIRST_LINE],
        input=f"{text!r}\n{json.dumps(facts)}\n".encode() + sent,
        capture_output=True,
    )


def answer(ended: "subprocess.CompletedProcess[bytes]") -> Any:
    (line,) = [line for line in ended.stdout.decode().splitlines() if line.strip()]
    return json.loads(line.removeprefix(MARK))


class TestCache:
    @pytest.fixture
    def cache(self, tmp_path) -> Path:
        return tmp_path / "nas" / f"device-{UID}"

    def test_the_archive_is_sent_once(self, tmp_path, cache):
        channel = device(f"XDG_CACHE_HOME={tmp_path}")
        exchange(channel)
        (archive,) = cache.glob("agent-*")
        assert archive.read_bytes() == agent_archive().content
        written = archive.stat().st_ino
        exchange(channel)
        assert archive.stat().st_ino == written
        assert cache.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("content", [b"", b"PK other content", agent_archive().content[:-1]])
    def test_other_content_under_its_name_is_replaced(self, tmp_path, cache, content):
        cache.mkdir(parents=True, mode=0o700)
        archive = cache / f"agent-{agent_archive().sha256}.zip"
        archive.write_bytes(content)
        exchange(device(f"XDG_CACHE_HOME={tmp_path}"))
        assert archive.read_bytes() == agent_archive().content

    def test_a_link_under_its_name_is_replaced(self, tmp_path, cache):
        cache.mkdir(parents=True, mode=0o700)
        target = tmp_path / "target"
        target.write_bytes(b"other content")
        archive = cache / f"agent-{agent_archive().sha256}.zip"
        archive.symlink_to(target)
        exchange(device(f"XDG_CACHE_HOME={tmp_path}"))
        assert archive.read_bytes() == agent_archive().content
        assert target.read_bytes() == b"other content"

    def test_a_folder_under_its_name_is_reported(self, tmp_path, cache):
        (cache / f"agent-{agent_archive().sha256}.zip").mkdir(parents=True, mode=0o700)
        cache.chmod(0o700)
        with pytest.raises(ChannelError, match="the agent cannot be stored in") as caught:
            exchange(device(f"XDG_CACHE_HOME={tmp_path}"))
        assert caught.value.kind == "lost"
        assert not list(cache.glob("*unfinished"))

    def test_the_archives_that_were_used_last_are_kept(self, tmp_path, cache):
        cache.mkdir(parents=True, mode=0o700)
        now = time.time()
        for age in range(5):
            old = cache / f"agent-{age}.zip"
            old.write_bytes(b"")
            os.utime(old, (now - 10_000 * (age + 1),) * 2)
        unfinished, recent = cache / "old.unfinished", cache / "new.unfinished"
        for path in (unfinished, recent):
            path.write_bytes(b"")
        os.utime(unfinished, (now - 10_000,) * 2)
        exchange(device(f"XDG_CACHE_HOME={tmp_path}"))
        ours = f"agent-{agent_archive().sha256}.zip"
        assert archives(cache) == {ours, "agent-0.zip", "agent-1.zip"}
        assert len(archives(cache)) == KEPT_ARCHIVES
        assert not unfinished.exists()
        assert recent.exists()


class TestFolder:
    """The cache of the user, or else a folder of temporary files that only this user can write."""

    @pytest.fixture
    def temporary(self, tmp_path) -> Path:
        folder = tmp_path / "tmp"
        folder.mkdir()
        return folder

    def test_the_home_folder_is_used(self, tmp_path):
        exchange(device(f"HOME={tmp_path}", "XDG_CACHE_HOME="))
        assert archives(tmp_path / ".cache/nas" / f"device-{UID}")

    def test_a_relative_cache_folder_is_ignored(self, tmp_path):
        exchange(device(f"HOME={tmp_path}", "XDG_CACHE_HOME=relative/cache"))
        assert archives(tmp_path / ".cache/nas" / f"device-{UID}")

    def test_without_a_home_that_can_be_written_temporary_files_are_used(self, temporary):
        exchange(device("HOME=/proc/1", "XDG_CACHE_HOME=", f"TMPDIR={temporary}"))
        assert archives(temporary / f"device-{UID}")

    def test_a_user_without_a_home_is_served(self, temporary, monkeypatch):
        source = Path(bootstrap.__file__).read_text()
        no_home = "def _no_home():\n    raise RuntimeError\n\n\npathlib.Path.home = _no_home\n\n"
        source = source.replace("def main()", f"{no_home}\ndef main()")
        for name in (FOLDER_VARIABLE, "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TMPDIR", str(temporary))
        assert answer(start(source=source))["stored"] is False
        assert archives(temporary / f"device-{UID}")

    @pytest.mark.skipif(UID != 0, reason="needs the right to mount a file system")
    def test_a_read_only_cache_is_not_used(self, tmp_path, temporary):
        cache = tmp_path / "cache"
        (cache / "nas" / f"device-{UID}").mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", cache]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("this system permits no mounts")
        try:
            exchange(device(f"XDG_CACHE_HOME={cache}", f"TMPDIR={temporary}"))
        finally:
            subprocess.run(["umount", cache], check=True)
        assert archives(temporary / f"device-{UID}")

    @pytest.mark.skipif(UID != 0, reason="needs the right to mount a file system")
    def test_a_full_disk_is_reported(self, tmp_path):
        mount = ["mount", "-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs", tmp_path]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("this system permits no mounts")
        try:
            with pytest.raises(
                ChannelError, match=r"cannot be stored in .*No space left"
            ) as caught:
                exchange(device(f"XDG_CACHE_HOME={tmp_path}"))
            assert caught.value.kind == "lost"
            assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        finally:
            subprocess.run(["umount", tmp_path], check=True)

    def test_a_link_that_others_may_have_planted_is_not_followed(self, tmp_path, temporary):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        (temporary / f"device-{UID}").symlink_to(elsewhere)
        check_refused(temporary)
        assert list(elsewhere.iterdir()) == []

    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
    def test_a_folder_that_others_can_write_is_not_used(self, temporary, mode):
        folder = temporary / f"device-{UID}"
        folder.mkdir()
        folder.chmod(mode)
        check_refused(temporary)
        assert list(folder.iterdir()) == []

    @pytest.mark.skipif(UID != 0, reason="only root can give files away")
    def test_a_folder_of_another_user_is_not_used(self, temporary):
        folder = temporary / f"device-{UID}"
        folder.mkdir(mode=0o700)
        os.chown(folder, 12_345, 12_345)
        check_refused(temporary)
        assert list(folder.iterdir()) == []

    def test_a_file_in_its_place_is_not_used(self, temporary):
        (temporary / f"device-{UID}").write_text("")
        check_refused(temporary)


def check_refused(temporary: Path) -> None:
    """Check that a device that can write only this folder of temporary files is refused."""
    with pytest.raises(ChannelError, match="no folder can be written: neither") as caught:
        exchange(device("HOME=/proc/1", "XDG_CACHE_HOME=", f"TMPDIR={temporary}"))
    assert caught.value.kind == "refused"
    assert caught.value.reason.isprintable()


class TestTransfer:
    @pytest.fixture(autouse=True)
    def folder(self, agent_folder) -> Path:
        folder: Path = agent_folder / f"device-{UID}"
        return folder

    def test_a_damaged_archive_is_not_started(self, folder):
        damaged = bytearray(agent_archive().content)
        damaged[len(damaged) // 2] ^= 1
        ended = start(archive=bytes(damaged))
        assert ended.returncode == 1
        assert ended.stderr.decode() == "the archive was damaged on its way\n"
        assert list(folder.iterdir()) == []

    def test_a_host_that_disconnects_in_the_middle_leaves_nothing(self, folder):
        ended = start(archive=agent_archive().content[:1000])
        assert ended.returncode == 1
        assert ended.stderr.decode() == "the host has closed the connection\n"
        assert list(folder.iterdir()) == []

    def test_a_complete_archive_starts_an_agent_that_ends_with_its_input(self, folder):
        ended = start()
        assert ended.returncode == 0
        assert ended.stderr == b""
        assert answer(ended) == {"python": sys.version.split()[0], "stored": False}
        assert list((folder / "runs").iterdir()) == []

    def test_a_python_that_is_too_old_is_named(self, monkeypatch):
        source = Path(bootstrap.__file__).read_text()
        newer = re.sub(r"OLDEST_PYTHON = \(3, 11\)", "OLDEST_PYTHON = (99, 0)", source)
        assert newer != source
        ended = start(source=newer)
        assert ended.returncode == 3
        assert answer(ended) == {"python": sys.version.split()[0]}

    @pytest.mark.skipif(not OLD_PYTHONS, reason="needs a Python older than 3.10")
    def test_older_pythons_understand_the_program(self):
        for python in OLD_PYTHONS:
            with pytest.raises(
                ChannelError, match=r"Python 3\.\d\.\d+ is older than 3\.11"
            ) as caught:
                exchange(CommandChannel((), python=str(python)))
            assert caught.value.kind == "no python"

    def test_two_hosts_may_start_agents_at_the_same_time(self, folder):
        command = [sys.executable, "-c", PARALLEL_HOST]
        hosts = [subprocess.Popen(command) for _ in range(4)]
        assert [host.wait(120) for host in hosts] == [0] * 4
        assert list((folder / "runs").iterdir()) == []
        assert archives(folder) == {f"agent-{agent_archive().sha256}.zip"}


PARALLEL_HOST = """
import sys
from hardware.channels.command import CommandChannel
from hardware.remote.connection import DeviceConnection

for _ in range(3):
    with DeviceConnection(CommandChannel((), python=sys.executable)) as connection:
        connection.ask("echo")
"""
