"""A 64-bit ARM device with the folders of Android, emulated by qemu in namespaces of its own.

Programs for ARM run through an entry for their format that only this namespace has. Nothing outside
the folder of the device changes, and root is not needed.
"""

import shutil
import subprocess
from pathlib import Path

_CORES = 2
# A core of the type that most phones have; onnxruntime does not start without one that it knows.
_CORE = """\
processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

"""
_GETPROP = """\
#!/system/bin/sh
case $1 in
    ro.product.cpu.abi) echo arm64-v8a ;;
    ro.product.model) echo Emulated phone ;;
    ro.serialno) echo 0123456789ABCDEF ;;
esac
"""
# Arguments: the folder of the device, and a program with its arguments.
_ENTER = r"""
set -e
device=$1
shift
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf ':arm64:M::%s:%s:%s:' \
    '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' \
    "$(command -v qemu-aarch64-static)" > /proc/sys/fs/binfmt_misc/register
root=$device/root
for name in usr bin lib lib64 sbin; do
    if [ -L /$name ]; then
        [ -L $root/$name ] || cp -P /$name $root/$name
    elif [ -d /$name ]; then
        mkdir -p $root/$name
        mount --rbind /$name $root/$name
    fi
done
for name in dev proc sys; do
    mkdir -p $root/$name
    mount --rbind /$name $root/$name
done
mount --bind $device/cpuinfo $root/proc/cpuinfo
mount --bind $device/cpu $root/sys/devices/system/cpu
exec /usr/sbin/chroot $root /usr/bin/env -i PATH=/system/bin:/bin "$@"
"""


class ArmDevice:
    """A device.

    Attributes:
        root: Its files, as this machine sees them; only `/system` and `/data` have any.
        command: What runs a program on it; the program and its arguments follow.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        (self.root / "data/local/tmp").mkdir(parents=True)
        programs = self.root / "system/bin"
        programs.mkdir(parents=True)
        (programs / "sh").symlink_to("/bin/sh")
        (programs / "getprop").write_text(_GETPROP)
        (programs / "getprop").chmod(0o755)
        cores = "".join(_CORE.format(number=number) for number in range(_CORES))
        (folder / "cpuinfo").write_text(cores)
        for name in ("possible", "present", "online"):
            path = folder / "cpu" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"0-{_CORES - 1}\n")
        namespaces = ("unshare", "--user", "--map-root-user", "--mount")
        self.command = (*namespaces, "sh", "-c", _ENTER, "sh", str(folder))


def missing_for_arm(folder: Path) -> str | None:
    """Return what prevents this machine from emulating a device; None if nothing does."""
    for program in ("qemu-aarch64-static", "unshare"):
        if shutil.which(program) is None:
            return f"needs {program}"
    ended = subprocess.run([*ArmDevice(folder).command, "true"], capture_output=True, text=True)
    return None if ended.returncode == 0 else f"needs namespaces: {ended.stderr.strip()}"
