"""F5: rebuilding on a disk that is full or fails, killed in its commits, and beside others.

The default profile has a disk fail, and a process die, at every third step,
EBSIM_TEST_PROFILE=long at each one; the campaign `rebuilds` has others.
"""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import ConflictError, CorruptionError, EbsimError, ErrorCode, LimitExceededError
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import PosixFiles
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.contents import noise_block, palette_block
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE, MIB

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
Contents = dict[str, list[bytes]]


def make_store(folder: Path, seams: Seams) -> list[str]:
    """Make a store with three snapshots of one disk; return the ids of two that are deleted."""
    disk = MemorySource("memory:disk", 4 * BLOCK_SIZE)
    made = []
    for index, content in enumerate((3, 4, 8, 12, 16, 5)):  # each in a segment of its own
        disk.write(index % 4 * BLOCK_SIZE, palette_block(content))
        with Store.open(folder, seams, create=True) as store:
            made.append(str(store.create_snapshot(disk).snapshot_id))
    with Store.open(folder, seams) as store:
        store.delete_snapshots(made[1:4])
    return made[1:4]


@pytest.fixture
def folder(fast_path: Path, seams: Seams) -> Path:
    path = fast_path / "store"
    make_store(path, seams)
    return path


def contents(folder: Path, seams: Seams) -> Contents:
    with Store.open(folder, seams) as store:
        assert store.check(data=True).findings == ()
        return {
            each.snapshot_id: [store.read_block(each.snapshot_id, index) for index in range(4)]
            for each in store.list_snapshots()
        }


def assert_as_before(folder: Path, seams: Seams, wanted: Contents, *, lost: bool) -> None:
    """The old catalog is there, or the new one; or it is missing, and can be made."""
    try:
        found = contents(folder, seams)
    except CorruptionError:
        assert lost
        assert Store.rebuild(folder, seams).findings == ()
        found = contents(folder, seams)
    assert found == wanted


# A disk that fails, at each step


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_failure_at_each_step_leaves_a_store_that_can_be_rebuilt(
    folder: Path, seams: Seams, number: int, lost: bool
) -> None:
    wanted = contents(folder, seams)
    template = folder.with_name("template")
    folder.rename(template)
    failed, step = 0, 0
    stride = 1 if LONG else 3
    seen: list[list[str]] = []
    for step in range(0, 400, stride):
        shutil.copytree(template, folder)
        if lost:
            shutil.rmtree(folder / "catalog")
        left = step

        def before(what: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(number, os.strerror(number), str(path))

        files = ObservedFiles(PosixFiles(), before)
        try:
            Store.rebuild(folder, Seams(files, seams.clock, seams.entropy))
        except EbsimError:
            failed += 1
        left_behind = sorted(os.listdir(folder))
        if left_behind not in seen:
            seen.append(left_behind)
            assert_as_before(folder, seams, wanted, lost=lost)
        shutil.rmtree(folder)
        if left >= 0:
            break
    assert failed > 10
    # At the end the new catalog is in its place, and nobody vouches for it.
    assert step // stride - failed <= 3
    assert len(seen) >= 3


Update = Callable[[CatalogWriter], object]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(
    "how", [LimitExceededError("no space", ErrorCode.NO_SPACE), Killed(), None]
)
def test_failure_of_each_commit_of_the_new_catalog(
    folder: Path,
    seams: Seams,
    monkeypatch: pytest.MonkeyPatch,
    how: BaseException | None,
    lost: bool,
) -> None:
    """None: the process dies when the commit is done."""
    wanted = contents(folder, seams)
    update = LmdbCatalog.update
    step = 0
    left = 0

    def update_or_fail(catalog: LmdbCatalog, change: Update) -> object:
        nonlocal left
        left -= 1
        if left < 0 and how is not None:
            raise how
        done = update(catalog, change)
        if left < 0:
            raise Killed
        return done

    while True:
        if lost:
            shutil.rmtree(folder / "catalog", ignore_errors=True)
        left = step
        with monkeypatch.context() as patched:
            patched.setattr(LmdbCatalog, "update", update_or_fail)
            with suppress(EbsimError, Killed):
                Store.rebuild(folder, seams)
        if left >= 0 or step % 4 == 0:
            assert_as_before(folder, seams, wanted, lost=lost)
        if left >= 0:
            break
        step += 1
    assert step > 5


def test_segment_that_cannot_be_read_is_no_segment_that_is_damaged(
    folder: Path, seams: Seams
) -> None:
    """What the disk holds is not known: nothing is made of it."""
    wanted = contents(folder, seams)

    def before(what: str, path: Path) -> None:
        if what == "read_at" and path.suffix == ".seg":
            raise OSError(errno.EIO, "Input/output error", str(path))

    files = ObservedFiles(PosixFiles(), before)
    with pytest.raises(EbsimError, match="cannot read"):
        Store.rebuild(folder, Seams(files, seams.clock, seams.entropy))

    assert contents(folder, seams) == wanted


# A full disk


@pytest.fixture
def small_disk(fast_path: Path) -> Iterator[Path]:
    """The mount point of an empty ext4 file system of 128 MiB."""
    image, mount_point = fast_path / "disk.img", fast_path / "mnt"
    with image.open("wb") as file:
        file.truncate(128 * MIB)
    mount_point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount_point], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", mount_point], check=True)


def fill(folder: Path) -> None:
    """Use up every block of the file system."""
    fd = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        for size in (MIB, 4096, 1):
            with suppress(OSError):
                while True:
                    os.write(fd, b"\xff" * size)
    finally:
        os.fsync(fd)
        os.close(fd)


@pytest.mark.slow
@pytest.mark.root("mkfs.ext4")
@pytest.mark.parametrize("free_bytes", [0, 40 * 1024, 80 * 1024])
@pytest.mark.parametrize("lost", [False, True])
def test_rebuild_on_a_full_disk(
    small_disk: Path, seams: Seams, lost: bool, free_bytes: int
) -> None:
    """A store with no byte free keeps its old catalog, or none, and is rebuilt when there are."""
    folder = small_disk / "store"
    make_store(folder, seams)
    wanted = contents(folder, seams)
    if lost:
        shutil.rmtree(folder / "catalog")
    spare = small_disk / "spare"
    spare.write_bytes(b"\xff" * free_bytes)
    fill(small_disk)
    spare.unlink()

    with pytest.raises(EbsimError) as caught:
        Store.rebuild(folder, seams)
    assert caught.value.code is ErrorCode.NO_SPACE
    if not lost:
        assert contents(folder, seams) == wanted
    (small_disk / "filler").unlink()
    assert Store.rebuild(folder, seams).findings == ()
    assert contents(folder, seams) == wanted
    assert not (folder / "catalog.new").exists()


# Beside other processes


def child_with_store(folder: Path, *, writes: bool) -> tuple[int, int]:
    """Start a process that opens a store and keeps it open; return it, and what ends it."""
    ready, told = os.pipe()
    waiting, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(end)
            store = Store.open(folder, Seams(clock=ManualClock(), entropy=SeededEntropy(9)))
            if writes:
                store.create_snapshot(disk_of(noise_block(9), name="memory:other"))
            os.write(told, b"!")
            os.read(waiting, 1)
            with suppress(EbsimError):
                store.create_snapshot(disk_of(noise_block(8), name="memory:late"))
                os._exit(3)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(waiting)
    os.close(told)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    return child, end


def test_store_that_another_process_writes_is_not_rebuilt(folder: Path, seams: Seams) -> None:
    child, end = child_with_store(folder, writes=True)
    try:
        for dry_run in (False, True):
            with pytest.raises(ConflictError) as caught:
                Store.rebuild(folder, seams, dry_run=dry_run)
            assert caught.value.code is ErrorCode.STORE_IN_USE
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(end)
    assert Store.rebuild(folder, seams).findings == ()
    with Store.open(folder, seams) as store:
        assert len(store.list_snapshots()) == 4


def test_process_that_only_read_writes_nothing_after_a_rebuild(folder: Path, seams: Seams) -> None:
    """What it would write into the catalog that was set aside would be lost."""
    wanted = contents(folder, seams)
    child, end = child_with_store(folder, writes=False)
    try:
        assert Store.rebuild(folder, seams).findings == ()
    finally:
        os.write(end, b"!")
        _, status = os.waitpid(child, 0)
        os.close(end)
    assert os.waitstatus_to_exitcode(status) == 0
    assert contents(folder, seams) == wanted


# What was deleted stays deleted, also where a compaction of it was killed


@pytest.mark.slow
def test_deleted_stays_deleted_wherever_its_compaction_was_killed(
    fast_path: Path, seams: Seams
) -> None:
    folder, template = fast_path / "store", fast_path / "template"
    gone = make_store(template, seams)
    wanted = contents(template, seams)
    died = 0
    for step in range(0, 200, 1 if LONG else 3):
        shutil.copytree(template, folder)
        dies = _compact_in_child(folder, step)
        died += dies
        shutil.rmtree(folder / "catalog")
        assert Store.rebuild(folder, seams).findings == ()
        found = contents(folder, seams)
        assert found == wanted
        assert not found.keys() & set(gone)
        with Store.open(folder, seams) as store:
            store.compact()
            assert store.check(data=True).findings == ()
            assert {each.snapshot_id for each in store.list_snapshots()} == wanted.keys()
        shutil.rmtree(folder)
        if not dies:
            break
    assert died > (5 if LONG else 2)


def _compact_in_child(folder: Path, steps: int) -> bool:
    """Compact a store in a process that is killed before its n-th change of a file."""
    child = os.fork()
    if child == 0:
        left = steps

        def before(what: str, _path: Path) -> None:
            nonlocal left
            left -= what in ("write_at", "sync", "create", "remove", "sync_directory", "punch")
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            files = ObservedFiles(PosixFiles(), before)
            with Store.open(folder, Seams(files, ManualClock(), SeededEntropy(5))) as store:
                store.compact()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0
