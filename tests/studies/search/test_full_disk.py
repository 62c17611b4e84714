"""Searches whose database is on a disk that runs full."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studies.search.study_processes import (
    Worker,
    check_study,
    ended_trials,
    killed_at_exit,
    wait_until_ended,
)

# Far more than end before the disk is full.
_TRIALS_BETWEEN = 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 32 MB, which only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with file.open("ab", buffering=0) as ballast:
        for size in (65_536, 4_096, 1):
            try:
                while ballast.write(b"0" * size) == size:
                    pass
            except OSError:
                pass


def test_a_search_on_a_full_disk_stops_with_a_sentence_and_resumes(
    tmp_path: Path, small_disk: Path
) -> None:
    check_full_disk(tmp_path, small_disk, moments=2)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_twenty_full_disks(tmp_path: Path, small_disk: Path) -> None:
    check_full_disk(tmp_path, small_disk, moments=20)


def check_full_disk(tmp_path: Path, disk: Path, *, moments: int) -> None:
    """Fill the disk at random moments of a search, which resumes as soon as there is room."""
    url, total = f"sqlite:///{disk}/study.db", _TRIALS_BETWEEN * (moments + 1)
    seed = random.SystemRandom().randrange(1 << 32)
    generator = random.Random(seed)
    print(f"seed {seed}")
    workers = []
    known: dict[int, tuple[str, str, dict[str, float]]] = {}
    for _ in range(moments):
        workers.append(Worker(tmp_path, url, trials=total, seconds=0.05))
        with killed_at_exit(workers):
            wait_until_ended(url, len(known) + 1)
            time.sleep(generator.uniform(0.0, 0.3))
            fill(disk / "ballast")
            code = workers[-1].process.wait(timeout=120)
        assert code == 2, workers[-1].errors
        assert workers[-1].errors == f"storage: '{url}' is on a disk that is full\n"
        (disk / "ballast").unlink()
        now = ended_trials(url)
        assert now | known == now
        known = now
    workers.append(Worker(tmp_path, url, trials=total, seconds=0.05))
    with killed_at_exit(workers):
        workers[-1].finish()
    check_study(url, total, workers)
