"""Python for Android devices, as a folder of files that runs there without root and without an app.

Android has another C library than the wheels of numpy and onnxruntime need. The folder therefore
contains the C library, its loader and Python from Debian's packages, which apt verifies against
Debian's signatures, and a launcher that starts Python with them.
"""

import contextlib
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from hardware.channels.channel import last_lines

VERSION_FILE = "version"
"""The file in a bundle with a text that differs between any two bundles."""

_RELEASE = "bookworm"  # the release of Debian with Python 3.11
_PYTHON = "python3.11"
_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1")
_MIRROR = f"deb http://deb.debian.org/debian {_RELEASE} main"
_LIBRARIES = (PurePosixPath("lib/aarch64-linux-gnu"), PurePosixPath("usr/lib/aarch64-linux-gnu"))
_STANDARD_LIBRARY = PurePosixPath("usr/lib", _PYTHON)
_WHEELS = ("numpy", "onnxruntime")
# The tags of wheels that this C library, glibc 2.36, can load.
_PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(17, 37)))
_LONGEST_S = 1_800

# The loader gives Python the launcher as the name of its program, so that programs which start
# `sys.executable` start the launcher.
_LAUNCHER = f"""\
#!/system/bin/sh
here=${{0%/*}}
export HOME="${{HOME:-$here}}" TMPDIR="${{TMPDIR:-/data/local/tmp}}"
exec "$here/lib/ld-linux-aarch64.so.1" --argv0 "$0" --library-path "$here/lib" \\
    "$here/bin/{_PYTHON}" "$@"
"""


def android_bundle(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the folder with Python, numpy and onnxruntime, for 64-bit ARM; make it if needed.

    The packages have the versions that are installed here.

    Args:
        cache: The folder that contains it, which is created if it does not exist.
        say: Receives a line before each download.

    Raises:
        ValueError: A program is missing, or a download failed.
    """
    versions = {name: importlib.metadata.version(name) for name in _WHEELS}
    parts = (_LAUNCHER, *_PACKAGES, *map(str, versions.items()))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    bundle = cache / f"android-python-{digest[:16]}"
    if bundle.is_dir():
        return bundle
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".android-", dir=cache) as folder:
            made = Path(folder, "bundle")
            say("downloading Python for 64-bit ARM from Debian, about 40 MB")
            _unpack_debian(_download_debian(Path(folder, "debian.tar")), made)
            say(f"downloading {' and '.join(map(' '.join, versions.items()))}, about 40 MB")
            for wheel in _download_wheels(versions, Path(folder, "wheels")):
                _unpack_wheel(wheel, made / "lib/python3/dist-packages")
            (made / VERSION_FILE).write_text(digest)
            launcher = made / "python3"
            launcher.write_text(_LAUNCHER)
            for program in (launcher, made / "bin" / _PYTHON, made / "lib/ld-linux-aarch64.so.1"):
                program.chmod(0o755)
            with contextlib.suppress(FileExistsError):  # another process was faster
                made.rename(bundle)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"android: Python for Android cannot be stored in {cache}: {error}"
        ) from None
    return bundle


def _download_debian(target: Path) -> Path:
    """Download the packages and those that they need, as one tar file."""
    if shutil.which("mmdebstrap") is None:
        raise ValueError(
            "android: the program 'mmdebstrap' is missing, which downloads Python for Android; "
            "install it (Debian and Ubuntu: `sudo apt install mmdebstrap debian-archive-keyring`)"
        )
    _run(
        [
            "mmdebstrap",
            "--mode=chrootless",  # needs no rights that an ordinary user lacks
            "--variant=extract",
            "--architectures=arm64",
            f"--include={','.join(_PACKAGES)}",
            _RELEASE,
            str(target),
            _MIRROR,
        ]
    )
    return target


def _download_wheels(versions: dict[str, str], target: Path) -> list[Path]:
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    _run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
        + ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
        + [*platforms, "--dest", str(target)]
        + [f"{name}=={version}" for name, version in versions.items()]
    )
    return sorted(target.glob("*.whl"))


def _unpack_debian(archive: Path, target: Path) -> None:
    """Store the shared libraries, the standard library and Python; links become copies."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.parent in _LIBRARIES and ".so" in path.name:
                stored = target / "lib" / path.name
            elif path.is_relative_to(_STANDARD_LIBRARY):
                stored = target / "lib" / path.relative_to("usr/lib")
            elif path == PurePosixPath("usr/bin", _PYTHON):
                stored = target / "bin" / _PYTHON
            else:
                continue
            with contextlib.suppress(KeyError):  # a link to a file of another package
                content = tar.extractfile(member)
                if content is not None:
                    stored.parent.mkdir(parents=True, exist_ok=True)
                    with content, stored.open("wb") as file:
                        shutil.copyfileobj(content, file)


def _unpack_wheel(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        needed = [name for name in archive.namelist() if "/tests/" not in name]
        archive.extractall(target, needed)  # noqa: S202 - it writes nothing outside the folder


def _run(command: list[str]) -> None:
    """Run a program; raise ValueError with the end of its output if it fails."""
    try:
        ended = subprocess.run(  # noqa: S603 - its arguments are fixed, and versions of packages
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"android: '{command[0]}' has not ended after {_LONGEST_S} s") from None
    if ended.returncode:
        reason = last_lines(ended.stdout)
        raise ValueError(f"android: '{' '.join(command[:3])}' failed: {reason}"[:500])
