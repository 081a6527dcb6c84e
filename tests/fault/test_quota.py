"""EDQUOT of a real quota (F17): on ext4 and XFS, with a limit for the user of the store.

Many kernels are built without quotas. So the file system is mounted by another Linux, which runs as
a process (`ebsim.testing.user_mode`); the user there is no superuser, whom quotas do not bind. What
the file system says is free is not what this user may take.
"""

import os
import sys
from pathlib import Path

import pytest

from ebsim.storage.failures import is_quota_full
from ebsim.testing import devices, user_mode
from ebsim.units import MIB

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
USER = 1234
QUOTA_KIB = 40 * 1024
MKFS = {"ext4": ("-q", "-F", "-O", "quota", "-E", "quotatype=usrquota"), "xfs": ("-q",)}
MAY_READ = "-all,+dac_override,+dac_read_search"
"""All that the user may do beyond others: read the interpreter, wherever it lies."""

SCRIPT = """
set -e
{modules}
mkdir /dev/shm/disk
mount -o usrquota /dev/ubda /dev/shm/disk
chmod 777 /dev/shm/disk
setquota -u {user} 0 {quota} 0 0 /dev/shm/disk
cd {repository}
export PYTHONPATH={repository} PYTHONDONTWRITEBYTECODE=1
set +e
setpriv --reuid={user} --regid={user} --clear-groups --inh-caps={may} --ambient-caps={may} \
    {python} {program} 2>&1
"""


def run_as_user(image: Path, file_system: str, program: str) -> tuple[int, str]:
    if reason := user_mode.missing("setquota", "setpriv", f"mkfs.{file_system}"):
        pytest.skip(reason)
    image.write_bytes(b"")
    os.truncate(image, 400 * MIB)
    devices.run(user_mode.found(f"mkfs.{file_system}"), *MKFS[file_system], str(image))
    quotas = user_mode.insert("fs/quota/quota_tree", "fs/quota/quota_v2")
    script = SCRIPT.format(
        modules=quotas if file_system == "ext4" else "",
        user=USER,
        quota=QUOTA_KIB,
        repository=REPOSITORY,
        may=MAY_READ,
        python=sys.executable,
        program=program,
    )
    return user_mode.run([image], script, 300)


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_quota_that_is_used_up_is_no_space(fast_path: Path, file_system: str) -> None:
    """F14, F16, F17: the running snapshot is error, the rest is intact, and deleting works."""
    program = Path(__file__).with_name("quota_user.py")

    status, told = run_as_user(fast_path / "disk.img", file_system, f"{program} /dev/shm/disk")

    assert (status, told.splitlines()[-1:]) == (0, ["all is well"]), told


def test_what_fails_there_is_told(fast_path: Path) -> None:
    """The test above can fail: its status is that of the program."""
    program = "-c 'print(7); raise SystemExit(3)'"

    assert run_as_user(fast_path / "disk.img", "ext4", program) == (3, "7\n")


def test_without_a_quota_nothing_is_used_up(fast_path: Path) -> None:
    assert not is_quota_full(fast_path, MIB)
    assert not is_quota_full(fast_path / "nowhere", MIB)
