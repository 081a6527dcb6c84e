"""Kernel locks: between threads of a process as between processes, and gone with their holder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ebsim
from ebsim.errors import StoreError
from ebsim.storage.locks import Lock, LockFile, Region
from ebsim.testing.descriptors import no_descriptor_left

ROOT_FOLDER = Path(ebsim.__file__).parents[1]
HOLDER = """
import sys
from pathlib import Path
from ebsim.storage.locks import LockFile
lock = LockFile(Path(sys.argv[1])).try_hold(int(sys.argv[2]), exclusive=sys.argv[3] == "x")
print("refused" if lock is None else "held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(fast_path: Path) -> Path:
    return fast_path / "lock"


@pytest.fixture
def locks(path: Path) -> LockFile:
    return LockFile(path)


class Holder:
    """Another process that tries to hold a lock, and keeps it until it is told otherwise."""

    def __init__(self, path: Path, region: int, *, exclusive: bool = True) -> None:
        kind = "x" if exclusive else "s"
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), str(int(region)), kind],
            cwd=ROOT_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.answer = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate("\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def is_free(path: Path, region: int, *, exclusive: bool = True) -> bool:
    lock = LockFile(path).try_hold(region, exclusive=exclusive)
    if lock is not None:
        lock.release()
    return lock is not None


# in one process


def test_second_holder_is_refused_until_the_first_lets_go(path: Path, locks: LockFile) -> None:
    lock = locks.try_hold(Region.RECLAIM)
    assert lock is not None

    assert locks.try_hold(Region.RECLAIM) is None
    assert not is_free(path, Region.RECLAIM)

    lock.release()
    assert is_free(path, Region.RECLAIM)


def test_regions_are_apart(locks: LockFile) -> None:
    held = [
        locks.try_hold(region) for region in (0, 1, Region.SESSION, Region.SESSION + 1, 1 << 41)
    ]

    assert all(held)
    assert locks.try_hold(Region.SESSION + 1) is None
    assert locks.try_hold(Region.SESSION + 2) is not None


def test_last_region_of_each_family_lies_before_the_next_family() -> None:
    """Volumes have five bytes of a hash, and sessions are counted."""
    assert Region.RECLAIM < Region.SESSION < Region.VOLUME
    assert Region.VOLUME - Region.SESSION >= 2**40
    assert Region.VOLUME + 2**40 < 2**63


def test_shared_locks_go_together_and_exclude_an_exclusive_one(locks: LockFile) -> None:
    one, two = (locks.try_hold(5, exclusive=False) for _ in range(2))
    assert one is not None
    assert two is not None
    assert locks.try_hold(5) is None

    one.release()
    assert locks.try_hold(5) is None
    two.release()
    assert locks.try_hold(5) is not None


def test_exclusive_lock_excludes_a_shared_one(locks: LockFile) -> None:
    with locks.hold(5):
        assert locks.try_hold(5, exclusive=False) is None
    assert locks.try_hold(5, exclusive=False) is not None


def test_releasing_twice_releases_nobody_else_s(path: Path, locks: LockFile) -> None:
    lock = locks.hold(5)
    lock.release()
    other = locks.hold(5)

    lock.release()

    assert not is_free(path, 5)
    other.release()


def test_lock_ends_with_its_block_also_after_an_error(path: Path, locks: LockFile) -> None:
    with pytest.raises(ZeroDivisionError), locks.hold(5):
        raise ZeroDivisionError

    assert is_free(path, 5)


def test_holder_of_one_lock_keeps_it_when_it_lets_go_of_another(
    path: Path, locks: LockFile
) -> None:
    """With POSIX locks, closing any descriptor of the file would drop them all."""
    one, two = locks.hold(5), locks.hold(6)

    two.release()

    assert not is_free(path, 5)
    one.release()


def test_waiting_ends_when_the_holder_lets_go(locks: LockFile) -> None:
    first = locks.hold(5)
    got: list[Lock] = []
    thread = threading.Thread(target=lambda: got.append(locks.hold(5)))
    thread.start()
    assert got == []

    first.release()
    thread.join()

    assert len(got) == 1
    got[0].release()


def test_no_descriptor_is_left(locks: LockFile) -> None:
    with no_descriptor_left():
        for _ in range(5):
            with locks.hold(5):
                assert locks.try_hold(5) is None


# in two processes


def test_another_process_is_refused_until_the_first_lets_go(path: Path, locks: LockFile) -> None:
    with locks.hold(5):
        refused, free = Holder(path, 5), Holder(path, 6)
    held = Holder(path, 5)

    assert [holder.answer for holder in (refused, free, held)] == ["refused", "held", "held"]
    assert locks.try_hold(5) is None
    for holder in (refused, free, held):
        holder.end()
    assert locks.try_hold(5) is not None


def test_lock_of_a_killed_process_is_free(path: Path, locks: LockFile) -> None:
    holder = Holder(path, 5)
    assert holder.answer == "held"
    assert locks.try_hold(5) is None

    holder.kill()

    assert locks.try_hold(5) is not None


def test_waiting_ends_when_the_holder_dies(path: Path, locks: LockFile) -> None:
    holder = Holder(path, 5)
    got: list[Lock] = []
    thread = threading.Thread(target=lambda: got.append(locks.hold(5)))
    thread.start()

    holder.kill()
    thread.join()

    assert len(got) == 1
    got[0].release()


def test_two_processes_may_share(path: Path) -> None:
    one, two = (Holder(path, 5, exclusive=False) for _ in range(2))

    assert (one.answer, two.answer) == ("held", "held")
    assert not is_free(path, 5)
    assert is_free(path, 5, exclusive=False)
    one.kill()
    two.end()


def test_child_that_was_forked_does_not_keep_the_lock(path: Path, locks: LockFile) -> None:
    """It shares the descriptor, so that closing ours alone would release nothing."""
    lock = locks.hold(5)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(receiver, 1)
        os._exit(0)

    lock.release()

    assert is_free(path, 5)
    os.write(sender, b"x")
    os.waitpid(child, 0)
    os.close(receiver)
    os.close(sender)


def test_child_that_was_forked_cannot_drop_the_lock(path: Path, locks: LockFile) -> None:
    lock = locks.hold(5)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)

    assert not is_free(path, 5)
    lock.release()


# the file


def test_lock_file_is_made_for_its_owner_only(path: Path, locks: LockFile) -> None:
    locks.hold(5).release()

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 0


def test_lock_file_that_cannot_be_opened_is_told(fast_path: Path) -> None:
    with pytest.raises(StoreError, match="lock"):
        LockFile(fast_path / "none" / "lock").try_hold(5)


def test_symbolic_link_is_not_followed(fast_path: Path, path: Path) -> None:
    path.symlink_to(fast_path / "elsewhere")

    with pytest.raises(StoreError):
        LockFile(path).hold(5)

    assert not (fast_path / "elsewhere").exists()
