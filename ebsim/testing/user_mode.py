"""Another Linux, run as a process of this one (User Mode Linux): for what this kernel lacks.

It sees the files of this machine, read-only, but for `/dev`, and has a few disks, which are images.
What a program writes to `/dev/shm` is gone when it ends; what it prints, and the images, stay.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_BEGIN, _END = "==begin==", "==ended=="
_OPTIONS = ("rootfstype=hostfs", "ro", "mem=768M", "con=null", "con0=null,fd:1", "quiet")

_START = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/dev/shm TMPDIR=/dev/shm
{{
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
}} >/dev/null 2>&1
echo {begin}
{script}
echo "{end} $?"
sync
halt -f
"""

_INSERT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for path in sys.argv[1:]:
    if libc.syscall(313, os.open(path, os.O_RDONLY), b"", 0):  # finit_module on 64-bit x86
        raise OSError(ctypes.get_errno(), path)
"""


def missing(*tools: str) -> str | None:
    """Return why it cannot be run, or None."""
    absent = [tool for tool in ("linux.uml", *tools) if not found(tool)]
    return f"{', '.join(absent)} not found" if absent else None


def found(tool: str) -> str:
    """Return where a program lies, be it for superusers; empty if there is none."""
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin") or ""


def insert(*modules: str) -> str:
    """Return the shell command that loads modules of its kernel, by their paths below `kernel`."""
    folder = "/usr/lib/uml/modules/$(uname -r)/kernel"
    paths = " ".join(f"{folder}/{each}.ko" for each in modules)
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(_INSERT)} {paths}"


def run(disks: Sequence[Path], script: str, patience_s: float) -> tuple[int, str]:
    """Run a script of the shell as the only program of a Linux; return how it ended, and its words.

    Args:
        disks: Images, which are `/dev/ubda` and so on there.
        script: The script; it runs as root, and may mount.
        patience_s: How long it may take.

    Raises:
        subprocess.SubprocessError: It did not come so far as to run the script to its end.
    """
    with tempfile.TemporaryDirectory(prefix="ebsim-user-mode-") as name:  # it has a /dev of its own
        start = Path(name) / "start"
        start.write_text(_START.format(begin=_BEGIN, script=script, end=_END))
        start.chmod(0o700)
        drives = [f"ubd{number}={disk}" for number, disk in enumerate(disks)]
        kernel = [found("linux.uml"), *_OPTIONS, f"uml_dir={name}", f"init={start}", *drives]
        done = subprocess.run(  # noqa: S603 - a kernel of the system's
            ["/usr/bin/env", f"TMPDIR={name}", *kernel],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    told = done.stdout.replace("\r", "").partition(f"{_BEGIN}\n")[2]
    words, end, status = told.partition(f"{_END} ")
    if not end:
        raise subprocess.SubprocessError(f"it did not end: {done.stdout[-2000:]}")
    return int(status.split()[0]), words
