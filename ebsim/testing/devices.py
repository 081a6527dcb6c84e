"""Real loop devices and mounted file systems, for tests that are run as root.

Everything is taken down when its context ends, frozen file systems included. `missing` says
beforehand what a machine lacks.
"""

import errno
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ebsim.storage import native
from ebsim.units import MIB

FILE_SYSTEM_BYTES = {"ext4": 32 * MIB, "xfs": 320 * MIB, "btrfs": 128 * MIB}
"""The size of an image of each kind: a little more than its mkfs asks for. It is sparse."""

_MKFS_OPTIONS = {"ext4": ["-q", "-F"], "xfs": ["-q"], "btrfs": ["-q"]}
_TAKE_DOWN_ATTEMPTS = 2_000
_TAKE_DOWN_PAUSE_S = 0.05
"""A device may stay busy for a moment after its last user was killed; 100 seconds are plenty."""


def missing(*tools: str) -> str:
    """Return what this machine lacks for tests with loop devices, or nothing.

    Args:
        tools: Programs that are needed besides losetup, mount and umount.
    """
    if os.geteuid() != 0:
        return "not root"
    absent = [tool for tool in ("losetup", "mount", "umount", *tools) if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not found"
    asked = subprocess.run(["losetup", "--find"], capture_output=True, check=False)  # noqa: S607
    return "" if asked.returncode == 0 else "no loop devices"


def make_image(path: Path, file_system: str) -> Path:
    """Make a sparse image of an empty file system.

    Args:
        path: The image; it is replaced.
        file_system: ext4, xfs or btrfs.

    Returns:
        The path.

    Raises:
        subprocess.CalledProcessError: mkfs failed.
    """
    path.write_bytes(b"")
    os.truncate(path, FILE_SYSTEM_BYTES[file_system])
    run(f"mkfs.{file_system}", *_MKFS_OPTIONS[file_system], str(path))
    return path


@contextmanager
def loop_device(image: Path, *, read_only: bool = False) -> Iterator[Path]:
    """Attach an image to a free loop device, and yield the device.

    Raises:
        subprocess.CalledProcessError: losetup failed.
    """
    options = ["--read-only"] if read_only else []
    device = Path(run("losetup", "--find", "--show", *options, str(image)).strip())
    try:
        yield device
    finally:
        run("losetup", "--detach", str(device))


@contextmanager
def mounted(
    device_or_image: Path,
    file_system: str = "auto",
    *,
    read_only: bool = False,
    options: Sequence[str] = (),
) -> Iterator[Path]:
    """Mount a device, or an image through a loop device, and yield the mount point.

    Args:
        device_or_image: A block device or a regular file.
        file_system: Its kind, as mount takes it.
        read_only: Mount it read-only.
        options: Further options of mount.

    Raises:
        subprocess.CalledProcessError: losetup or mount failed.
    """
    with ExitStack() as stack:
        device = device_or_image
        if not device.is_block_device():
            device = stack.enter_context(loop_device(device_or_image))
        mount_point = Path(tempfile.mkdtemp(prefix="ebsim-mount-"))
        stack.callback(mount_point.rmdir)
        chosen = ["ro" if read_only else "rw", *options]
        run("mount", "-t", file_system, "-o", ",".join(chosen), str(device), str(mount_point))
        stack.callback(_unmount, mount_point)
        yield mount_point


def is_frozen(mount_point: Path) -> bool:
    """Whether a file system is frozen; asks by freezing, because there is no other way."""
    fd = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, native.FIFREEZE, 0)
        fcntl.ioctl(fd, native.FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    finally:
        os.close(fd)
    return False


def freeze(mount_point: Path) -> None:
    """Freeze a file system, with nobody to guard it."""
    _ask(mount_point, native.FIFREEZE)


def thaw(mount_point: Path) -> None:
    """Thaw a file system.

    Raises:
        OSError: EINVAL when it was not frozen.
    """
    _ask(mount_point, native.FITHAW)


def wait_until_thawed(mount_point: Path) -> bool:
    """Wait, for 100 seconds at most, and return whether the file system is thawed."""
    for _ in range(_TAKE_DOWN_ATTEMPTS):
        if not is_frozen(mount_point):
            return True
        time.sleep(_TAKE_DOWN_PAUSE_S)
    return False


def _ask(mount_point: Path, request: int) -> None:
    fd = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, request, 0)
    finally:
        os.close(fd)


def _unmount(mount_point: Path) -> None:
    with suppress(OSError):  # not frozen, as it should be
        thaw(mount_point)
    for attempt in range(_TAKE_DOWN_ATTEMPTS):
        try:
            run("umount", str(mount_point))
        except subprocess.CalledProcessError:
            if attempt == _TAKE_DOWN_ATTEMPTS - 1:
                raise
            time.sleep(_TAKE_DOWN_PAUSE_S)
        else:
            return


def run(*command: str) -> str:
    """Run a program and return what it prints.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
    return done.stdout
