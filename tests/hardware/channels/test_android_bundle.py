"""The bundle that is made of packages; `test_android_python.py` runs a real one."""

import importlib.metadata
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from hardware.channels.android_bundle import android_bundle

LIBRARIES = "./lib/aarch64-linux-gnu"
FILES = {
    f"{LIBRARIES}/ld-linux-aarch64.so.1": b"loader",
    f"{LIBRARIES}/libz.so.1.2.13": b"zlib",
    "./usr/lib/aarch64-linux-gnu/libssl.so.3": b"ssl",
    "./usr/lib/aarch64-linux-gnu/gconv/BIG5.so": b"not needed",
    "./usr/lib/python3.11/os.py": b"os",
    "./usr/lib/python3.11/json/__init__.py": b"json",
    "./usr/bin/python3.11": b"python",
    "./usr/bin/perl": b"not needed",
}
LINKS = {
    f"{LIBRARIES}/libz.so.1": "libz.so.1.2.13",
    "./usr/lib/python3.11/sitecustomize.py": "/etc/python3.11/sitecustomize.py",
}


class Sources:
    """What the packages and wheels are downloaded from: files of this machine."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.calls = folder / "calls"
        self._archive = folder / "debian.tar"
        self._program = folder / "bin/mmdebstrap"
        self._program.parent.mkdir()
        with tarfile.open(self._archive, "w") as tar:
            for name, content in FILES.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            for name, target in LINKS.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
        # The archive to write is the argument before the last one.
        self.set_program(
            f'while [ $# -gt 2 ]; do shift; done; cp "{self._archive}" "$1"; echo >> "{self.calls}"'
        )
        for name in ("numpy", "onnxruntime"):
            self.add_wheel(name, importlib.metadata.version(name))
        self.path = str(self._program.parent)

    def set_program(self, text: str) -> None:
        self._program.write_text(f"#!/bin/sh\n{text}\n")
        self._program.chmod(0o755)

    def add_wheel(self, name: str, version: str) -> None:
        info = f"{name}-{version}.dist-info"
        tags = "cp311-cp311-manylinux_2_28_aarch64"
        with zipfile.ZipFile(self.wheels / f"{name}-{version}-{tags}.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", f"{name} {version}")
            wheel.writestr(f"{name}/tests/test_x.py", "not needed")
            wheel.writestr(f"{info}/METADATA", f"Name: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\n")


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Sources:
    sources = Sources(tmp_path)
    monkeypatch.setenv("PATH", f"{sources.path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(sources.wheels))
    return sources


def test_it_contains_what_python_needs_and_no_links(sources, tmp_path):
    said: list[str] = []
    bundle = android_bundle(tmp_path / "cache", said.append)
    assert len(said) == 2
    found = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    packages = "lib/python3/dist-packages"
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "onnxruntime")}
    assert found == {
        "python3",
        "version",
        "bin/python3.11",
        "lib/ld-linux-aarch64.so.1",
        "lib/libz.so.1.2.13",
        "lib/libz.so.1",
        "lib/libssl.so.3",
        "lib/python3.11/os.py",
        "lib/python3.11/json/__init__.py",
        *(f"{packages}/{name}/__init__.py" for name in versions),
        *(
            f"{packages}/{name}-{version}.dist-info/{file}"
            for name, version in versions.items()
            for file in ("METADATA", "WHEEL")
        ),
    }
    assert not any(path.is_symlink() for path in bundle.rglob("*"))
    assert (bundle / "lib/libz.so.1").read_bytes() == b"zlib"
    for program in ("python3", "bin/python3.11", "lib/ld-linux-aarch64.so.1"):
        assert os.access(bundle / program, os.X_OK)


def test_it_is_made_once(sources, tmp_path):
    first = android_bundle(tmp_path / "cache", lambda _: None)
    assert android_bundle(tmp_path / "cache", lambda _: None) == first
    assert sources.calls.read_text() == "\n"
    assert [*(tmp_path / "cache").iterdir()] == [first]


def test_a_missing_program_is_named_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"^android: .*apt install mmdebstrap"):
        android_bundle(tmp_path / "cache", lambda _: None)
    assert [*(tmp_path / "cache").iterdir()] == []


def test_a_download_that_fails_leaves_nothing(sources, tmp_path):
    sources.set_program("echo 'E: no signature'; exit 1")
    with pytest.raises(ValueError, match=r"^android: 'mmdebstrap .*E: no signature"):
        android_bundle(tmp_path / "cache", lambda _: None)
    assert [*(tmp_path / "cache").iterdir()] == []


def test_a_missing_wheel_is_named(sources, tmp_path):
    (wheel,) = sources.wheels.glob("numpy-*")
    wheel.unlink()
    with pytest.raises(
        ValueError, match=r"^android: .*No matching distribution.*numpy=="
    ) as caught:
        android_bundle(tmp_path / "cache", lambda _: None)
    assert len(str(caught.value)) <= 500
    assert [*(tmp_path / "cache").iterdir()] == []


def test_a_cache_that_cannot_be_written_is_reported(sources, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(ValueError, match=r"^android: .* cannot be stored in .*cache"):
        android_bundle(tmp_path / "cache", lambda _: None)
