from pathlib import Path

from hardware.processor_cache import largest_cache_bytes


def write_caches(processors: Path, core: int, sizes: list[str]) -> None:
    for index, size in enumerate(sizes):
        folder = processors / f"cpu{core}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")


def test_a_shared_cache_counts_once_and_the_largest_core_decides(tmp_path: Path) -> None:
    write_caches(tmp_path, 0, ["48K", "32K", "1024K", "8192K"])
    write_caches(tmp_path, 1, ["64K", "32K", "2048K", "12M"])
    (tmp_path / "cpufreq").mkdir()
    assert largest_cache_bytes(tmp_path) == 12 << 20


def test_there_is_a_default_if_the_system_does_not_report_caches(tmp_path: Path) -> None:
    assert 1 << 20 <= largest_cache_bytes(tmp_path) <= 1 << 30


def test_this_machine_has_a_cache() -> None:
    assert largest_cache_bytes() >= 1 << 16
