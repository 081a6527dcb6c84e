"""Copies to another store whose process dies, or whose machine loses its power, at every step.

The other store lies in memory, as in test_compaction_crash.py; the store that is copied from is a
real one, and is not written to.

What must hold afterwards. A snapshot of the other store is absent, pending or completed, and a
completed one has its bytes. Nothing is in error, nothing is left over. Copying once more copies
what is missing, and no block that is there already; the charges are those of the first store.

The default profile has it die at about every fourth step, EBSIM_TEST_PROFILE=long at each one.
"""

import errno
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from ebsim import failpoints
from ebsim.config import SnapshotOptions
from ebsim.core import ingest
from ebsim.core.off_site_making import OffSiteMaking
from ebsim.engine import Store
from ebsim.errors import (
    EbsimError,
    LimitExceededError,
    SnapshotFailedError,
    StoreError,
)
from ebsim.off_site import OffSiteRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.segments import LocalSegmentStore, LocalSegmentWriter
from ebsim.testing.contents import palette_block
from ebsim.testing.deaths import die_at_each_step
from ebsim.testing.forked_process import run_script
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

pytestmark = pytest.mark.crash

STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 4
"""The steps at which something dies or fails are so many times as far from each other."""

ALL = OffSiteRequest(all_snapshots=True)
LEAF = 256
SIZE = 4 * LEAF * BLOCK_SIZE
NIGHTS = (
    {0: 4, 1: 5, LEAF: 8, 2 * LEAF: 12, 3 * LEAF + 7: 16},
    {1: 20, LEAF + 1: 24, 2 * LEAF: 0, 3 * LEAF: 4},
)
"""What is written before each snapshot: block index to number of the palette."""

TOTAL = len({number for night in NIGHTS for number in night.values() if number})


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each batch be a leaf or two, so that there is something to go on with."""
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    monkeypatch.setattr(ingest, "RUNS_AHEAD", 1)


@pytest.fixture
def source(fast_path: Path) -> Iterator[Store]:
    with Store.create(fast_path / "source") as store:
        yield with_snapshots(store, SnapshotOptions())


@pytest.fixture
def sealed_source(fast_path: Path) -> Iterator[Store]:
    """The same in a store whose snapshots are encrypted, and so are their copies."""
    with Store.create(fast_path / "source") as store:
        yield with_snapshots(store, SnapshotOptions(encrypted=True))


def with_snapshots(store: Store, options: SnapshotOptions) -> Store:
    disk = MemorySource("memory:web", SIZE, report_holes=True)
    for number, night in enumerate(NIGHTS):
        for index, block in night.items():
            disk.put(index, palette_block(block))
        store.create_snapshot(disk, SnapshotOptions() if number else options)
    return store


Signature = tuple[int, int, tuple[int, int, int], list[bytes]]


def signature(store: Store, shown: Snapshot) -> Signature:
    """Return what must be the same in both stores."""
    written = sorted({index for night in NIGHTS for index in night} | {2, 3 * LEAF - 1})
    contents = [store.read_block(shown.snapshot_id, index) for index in written]
    sizes = (shown.full_size_bytes, shown.incremental_size_bytes, shown.charged_size_bytes)
    return (shown.start_time_us, shown.size_bytes, sizes, contents)


class Run:
    """A machine with an empty store, to which copying dies."""

    def __init__(self, folder: Path, source: Store) -> None:
        self.machine = Machine(folder)
        self.source = source
        self.expected = [signature(source, each) for each in source.list_snapshots()]

    def act(self, die_at: int | tuple[str, int] | None) -> bool:
        """Return whether the process died before the end; it is dead now."""
        return self.machine.until_dead(die_at, lambda store: self.source.copy_to(store, ALL))

    def failpoints(self, die_at: tuple[str, int] | None = None) -> list[tuple[str, int]]:
        """Copy, dying at a hit of a failpoint; return every hit of each."""
        process = self.machine.start(die_at)
        failpoints.arm(process.reach)
        try:
            with process.open() as store:
                self.source.copy_to(store, ALL)
        except Killed:
            assert die_at is not None
        finally:
            failpoints.disarm()
            process.kill()
        hits = sorted(process.hits.items())
        return [(name, hit) for name, count in hits for hit in range(1, count + 1)]

    def assert_survived(self) -> bool:
        """Return whether the last attempt went on with what an earlier one had kept."""
        with self.machine.start().open() as store:
            there = self.assert_sound(store)
        with self.machine.start().open() as store:
            report = self.source.copy_to(store, ALL)
            crossed = report.crossed_bytes // BLOCK_SIZE
            assert there + crossed == TOTAL, "no block is copied that is there"
            self.assert_complete(store)
        with self.machine.start().open() as store:
            self.assert_complete(store)
        return any(each.resumed_bytes for each in report.copies)

    def assert_sound(self, store: Store) -> int:
        """Return how many blocks are there."""
        for shown in store.list_snapshots():
            assert shown.state in (SnapshotState.PENDING, SnapshotState.COMPLETED), shown
        done = [each for each in store.list_snapshots() if each.state is SnapshotState.COMPLETED]
        assert [signature(store, each) for each in done] == self.expected[: len(done)]
        assert_healthy(store, orphan_bytes_max=0)
        return store.stats().blocks

    def assert_complete(self, store: Store) -> None:
        shown = store.list_snapshots()
        assert [each.state for each in shown] == [SnapshotState.COMPLETED] * 2
        assert [signature(store, each) for each in shown] == self.expected
        assert_healthy(store, orphan_bytes_max=0)
        assert store.stats().blocks == TOTAL


def copying_dies(
    folder: Path, source: Store, ending: str, stride: int = STRIDE, attempt: type[Run] = Run
) -> None:
    strides = range(stride, 3 * stride, stride)
    resumed = die_at_each_step(lambda place: attempt(place, source), folder, ending, strides)
    assert sum(resumed) > 10 // stride


@pytest.mark.parametrize("ending", ["killed", "power cut", "killed again"])
def test_died_at_each_step(fast_path: Path, source: Store, ending: str) -> None:
    """F2, F3, F6, F7: absent, pending or completed; and it goes on where it was."""
    copying_dies(fast_path, source, ending)


@pytest.mark.parametrize("ending", ["killed", "power cut"])
def test_encrypted_copies_died_at_some_steps(
    fast_path: Path, sealed_source: Store, ending: str
) -> None:
    """The same where the other store gets its keyring, and its data key, on the way."""
    copying_dies(fast_path, sealed_source, ending, stride=5 if STRIDE == 1 else 10)


def test_died_at_each_failpoint(fast_path: Path, source: Store) -> None:
    """F1, F2, F3: at every hit of every failpoint that copying passes."""
    (place := fast_path / "all").mkdir()
    moments = Run(place, source).failpoints()
    assert len({name for name, _ in moments}) > 10
    for number, moment in enumerate(moments[:: min(STRIDE, 2)]):
        (place := fast_path / str(number)).mkdir()
        run = Run(place, source)
        run.failpoints(moment)
        try:
            run.assert_survived()
        except BaseException as error:
            error.add_note(f"died at {moment}")
            raise


SCRIPT = """
import os, signal, sys
from ebsim import failpoints
from ebsim.core import ingest
from ebsim.engine import Store
from ebsim.off_site import OffSiteRequest

ingest.BATCH_CHANGES = ingest.RUNS_AHEAD = 1
here, there, wanted, hits = sys.argv[1:]
left = [int(hits)]

def die(name):
    if name == wanted:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

with Store.open(here) as source, Store.open(there, create=True) as other:
    failpoints.arm(die)
    source.copy_to(other, OffSiteRequest(all_snapshots=True))
"""


@pytest.mark.parametrize(
    "moment",
    [
        ("publish.stored", 2),
        ("publish.synced", 3),
        ("publish.committed", 2),
        ("complete.synced", 1),
    ],
)
def test_real_process_that_is_killed(
    fast_path: Path, source: Store, moment: tuple[str, int]
) -> None:
    """F1, on real files and a real catalog."""
    expected = [signature(source, each) for each in source.list_snapshots()]
    source.close()
    here, there = fast_path / "source", fast_path / "there"

    status, _ = run_script(SCRIPT, str(here), str(there), moment[0], str(moment[1]))

    assert status == -signal.SIGKILL
    with Store.open(here) as again, Store.open(there) as other:
        kept = other.stats().blocks
        assert {each.state for each in other.list_snapshots()} <= {
            SnapshotState.PENDING,
            SnapshotState.COMPLETED,
        }
        assert_healthy(other)
        report = again.copy_to(other, ALL)
        assert kept + report.crossed_bytes // BLOCK_SIZE == TOTAL
        assert [signature(other, each) for each in other.list_snapshots()] == expected
        assert_healthy(other)
    assert kept > 0 or moment[0] == "publish.stored"


def test_what_is_left_can_be_deleted(fast_path: Path, source: Store) -> None:
    """A pending copy that nobody goes on with gives everything back, also after a kill."""
    for step in range(5, 200, 7):
        (place := fast_path / str(step)).mkdir()
        run = Run(place, source)
        if not run.act(step):
            return
        process = run.machine.start(step % 23 + 1)
        try:
            with process.open() as store:
                store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
        except (Killed, EbsimError):
            pass
        finally:
            process.kill()
        with run.machine.start().open() as store:
            left = [each.snapshot_id for each in store.list_snapshots()]
            if left:
                store.delete_snapshots(left)
            assert store.list_snapshots() == []
            assert store.stats().blocks == 0
            assert_healthy(store, orphan_bytes_max=0)


def test_interrupted_copy_goes_on(
    fast_path: Path, source: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves it pending: the next call goes on behind what is kept."""
    run = Run(fast_path, source)
    keep = OffSiteMaking._keep

    def interrupt(self: OffSiteMaking, batch: ingest.Batch) -> None:
        keep(self, batch)
        raise KeyboardInterrupt

    with run.machine.start().open() as store:
        monkeypatch.setattr(OffSiteMaking, "_keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            source.copy_to(store, ALL)
        monkeypatch.undo()
        (left,) = store.list_snapshots()
        assert (left.state, left.progress_percent) == (SnapshotState.PENDING, 50)
        with pytest.raises(EbsimError, match="interrupted"):
            store.wait_snapshots([left.snapshot_id])
        assert_healthy(store)
        planned = source.copy_to(store, OffSiteRequest(all_snapshots=True, dry_run=True))
        report = source.copy_to(store, ALL)
        first = report.copies[0]
        assert (first.copy_id, first.resumed_bytes) == (left.snapshot_id, SIZE // 2)
        assert first.read_bytes == 2 * BLOCK_SIZE == planned.copies[0].read_bytes
        run.assert_complete(store)


def test_base_that_is_deleted_on_the_way(fast_path: Path, source: Store) -> None:
    """What a copy that is left pending is incremental on may go, here and there."""
    first, second = source.list_snapshots()
    wanted = OffSiteRequest(snapshot_ids=[second.snapshot_id])
    for step in range(1, 100, 3):
        (place := fast_path / str(step)).mkdir()
        run = Run(place, source)
        with run.machine.start().open() as store:
            source.copy_to(store, OffSiteRequest(snapshot_ids=[first.snapshot_id]))
        run.machine.until_dead(step, lambda store: source.copy_to(store, wanted))
        with run.machine.start().open() as store:
            store.delete_snapshots([store.list_snapshots()[0].snapshot_id])
            assert_healthy(store, orphan_bytes_max=0)
            source.copy_to(store, wanted)
            (shown,) = store.list_snapshots()
            start, size, (full, _, charged), contents = signature(store, shown)
            assert charged == full
            assert (start, size) == run.expected[1][:2]
            assert contents == run.expected[1][3]
            assert_healthy(store, orphan_bytes_max=0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_disk_that_is_full_or_fails_at_a_write(fast_path: Path, source: Store, number: int) -> None:
    """F10, F14: the copy ends as error, what was copied before stays, and it can be done again."""
    chance = random.Random(number)
    failed_at = 0
    while True:
        failed_at += STRIDE * chance.randrange(1, 3)
        (place := fast_path / str(failed_at)).mkdir()
        run = Run(place, source)
        writes = 0

        def fail(method: str, path: Path, failed_at: int = failed_at) -> None:
            nonlocal writes
            if method in ("create", "write_at", "sync") and "reserve" not in path.name:
                writes += 1
                if writes == failed_at:
                    raise OSError(number, "it failed", str(path))

        process = run.machine.start(observer=fail)
        store = process.open()
        try:
            source.copy_to(store, ALL)
        except (SnapshotFailedError, LimitExceededError, StoreError):
            assert writes >= failed_at
        else:
            assert writes < failed_at
        process.kill()
        with run.machine.start().open() as store:
            failed = [
                each.snapshot_id
                for each in store.list_snapshots()
                if each.state is SnapshotState.ERROR
            ]
            assert len(failed) <= (1 if number == errno.ENOSPC else 0)
            if failed:
                store.delete_snapshots(failed)
        run.assert_survived()
        if writes < failed_at:
            assert failed_at > 20
            return


def test_what_reads_back_as_something_else_is_never_referred_to(
    fast_path: Path, source: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses what was written is noticed before anything is committed."""
    run = Run(fast_path, source)
    append = LocalSegmentWriter.append

    def lose(self: LocalSegmentWriter, *args: object, **named: object) -> tuple[int, int]:
        offset, extent = append(self, *args, **named)  # type: ignore[arg-type]
        self._file.write_at(offset + 100, [b"lost"])
        return offset, extent

    with run.machine.start().open() as store:
        monkeypatch.setattr(LocalSegmentWriter, "append", lose)
        with pytest.raises(StoreError, match="reads back"):
            source.copy_to(store, ALL)
        monkeypatch.undo()
    run.assert_survived()


def test_missing_sync_is_noticed(fast_path: Path, source: Store) -> None:
    """The test above can fail: without the sync of what was copied, a power cut loses it."""

    class Unsynced(Run):
        def act(self, die_at: int | tuple[str, int] | None) -> bool:
            with mock.patch.object(LocalSegmentWriter, "sync", return_value=None):
                return super().act(die_at)

    with pytest.raises((AssertionError, EbsimError)):
        copying_dies(fast_path, source, "power cut", attempt=Unsynced)


def test_unreadable_folder_is_no_success(
    fast_path: Path, source: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that goes away (a disk that is pulled out) ends the copying with an error."""
    run = Run(fast_path, source)

    def gone(*_: object, **__: object) -> None:
        raise StoreError("cannot make a segment: No such file or directory")

    with run.machine.start().open() as store:
        monkeypatch.setattr(LocalSegmentStore, "create", gone)
        with pytest.raises((StoreError, SnapshotFailedError)):
            source.copy_to(store, ALL)
        monkeypatch.undo()
    run.assert_survived()
