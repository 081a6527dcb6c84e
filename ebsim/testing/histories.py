"""Random histories of volumes and snapshots, run beside the reference model.

`StoreHistory` is a state machine of hypothesis. It writes, grows, snapshots, branches, restores,
deletes and reopens; at every step the store's contents, sizes, charges and ledger equal the
model's, and every dry run equals what the deletion then does. Volumes are of a few blocks of the
real size.

Extend it with rules and invariants of your own, on `store`, `model` and `disks`; or override
`take_snapshot` and `restore`, so that your program does it:

    class BackupHistory(StoreHistory):
        def take_snapshot(self, source, options=None):
            return self.store.get_snapshot(my_backup_tool(source))

    def test_backups():
        run_state_machine_as_test(BackupHistory)
"""

import shutil

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, InvalidInputError, SnapshotFailedError
from ebsim.ids import SnapshotId
from ebsim.results import DeletedSnapshot, RestoreReport, Snapshot
from ebsim.storage.sources import BlockSource
from ebsim.testing import strategies as draw
from ebsim.testing.invariants import (
    assert_healthy,
    assert_snapshot_matches,
    assert_store_matches,
)
from ebsim.testing.model import (
    ModelDeletion,
    ReferenceModel,
    as_ranges,
    without_zeros_at_end,
)
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import FailingSource, MemorySource
from ebsim.units import BLOCK_SIZE, block_count

DISKS_MAX = 4
SNAPSHOTS_MAX = 9
TEN_YEARS_S = 10 * 365 * 86_400


class StoreHistory(RuleBasedStateMachine):
    """A store, some disks, and the model of both.

    Attributes:
        store: The store, open.
        model: What it should be.
        disks: What is snapshotted, by name.
        failed: The snapshots in state `error`.
        clock: The store's clock.
        folder: Where everything lies; removed at the end.
        target: What is restored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.clock = ManualClock()
        self.seams = Seams(clock=self.clock, entropy=SeededEntropy())
        self.store = Store.create(self.folder / "store", self.seams)
        self.model = ReferenceModel()
        self.disks: dict[str, MemorySource] = {}
        self.failed: list[str] = []
        self.target = self.folder / "restored.img"

    def teardown(self) -> None:
        """Close the store and remove it."""
        self.store.close()
        shutil.rmtree(self.folder)

    @invariant()
    def everything_equals_the_model(self) -> None:
        """Compare all that the store says."""
        assert_store_matches(self.store, self.model)

    # What a program under test may do instead

    def take_snapshot(
        self, source: BlockSource, options: SnapshotOptions | None = None
    ) -> Snapshot:
        """Take a snapshot of a disk and return it, completed.

        Raises:
            SnapshotFailedError: It ended as `error`.
        """
        return self.store.create_snapshot(source, options)

    def restore(self, snapshot_id: str, *, in_place: bool = False) -> RestoreReport:
        """Restore a snapshot to `target`: whatever is there is replaced, or made equal in place."""
        return self.store.restore_snapshot(
            snapshot_id, self.target, in_place=in_place, force=not in_place
        )

    # Disks

    @initialize(size_bytes=draw.sizes(), report_holes=st.booleans())
    def first_disk(self, size_bytes: int, report_holes: bool) -> None:
        """Begin with one disk."""
        self.make_disk(size_bytes, report_holes)

    @precondition(lambda self: len(self.disks) < DISKS_MAX)
    @rule(size_bytes=draw.sizes(), report_holes=st.booleans())
    def another_disk(self, size_bytes: int, report_holes: bool) -> None:
        """Add a disk, all zeros."""
        self.make_disk(size_bytes, report_holes)

    @rule(data=st.data(), content=draw.contents())
    def write(self, data: st.DataObject, content: bytes) -> None:
        """Write a block of a disk."""
        name = self.draw_disk(data)
        self.write_block(name, self.draw_index(data, name), content)

    @rule(data=st.data())
    def copy_a_block(self, data: st.DataObject) -> None:
        """Put one disk's content on another, or elsewhere on the same one: it is stored once."""
        source, target = self.draw_disk(data), self.draw_disk(data)
        content = self.model.volumes[source].contents.get(self.draw_index(data, source), b"")
        self.write_block(target, self.draw_index(data, target), content)

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def write_what_a_snapshot_holds(self, data: st.DataObject) -> None:
        """Bring an old content back: a new version all the same, stored once."""
        old, name = self.draw_snapshot(data), self.draw_disk(data)
        index = self.draw_index(data, name)
        self.write_block(name, index, self.model.content(old, index))

    @rule(data=st.data(), extra_bytes=st.integers(1, 3 * BLOCK_SIZE))
    def grow(self, data: st.DataObject, extra_bytes: int) -> None:
        """Make a disk larger."""
        name = self.draw_disk(data)
        disk = self.disks[name]
        size_bytes = min(disk.size_bytes + extra_bytes, draw.BLOCKS_MAX * BLOCK_SIZE)
        if size_bytes > disk.size_bytes:
            disk.grow(size_bytes)
            self.model.grow(name, size_bytes)

    # Snapshots

    @precondition(lambda self: len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(data=st.data())
    def snapshot(self, data: st.DataObject) -> None:
        """Take a snapshot of a disk."""
        name = self.draw_disk(data)
        shown = self.take_snapshot(self.disks[name])
        self.model.snapshot(name, shown.snapshot_id)
        assert_snapshot_matches(shown, self.model)

    @precondition(lambda self: 0 < len(self.model.snapshots) < SNAPSHOTS_MAX)
    @precondition(lambda self: len(self.disks) < DISKS_MAX)
    @rule(data=st.data(), content=draw.contents(), extra_bytes=st.integers(0, BLOCK_SIZE + 1))
    def branch(self, data: st.DataObject, content: bytes, extra_bytes: int) -> None:
        """Make a volume from a snapshot, change one block of it, and snapshot it."""
        origin = SnapshotId(self.draw_snapshot(data))
        self.restore(origin)
        image = bytearray(self.target.read_bytes())
        size_bytes = min(len(image) + extra_bytes, draw.BLOCKS_MAX * BLOCK_SIZE)
        image.extend(bytes(size_bytes - len(image)))
        name = self.new_name()
        self.disks[name] = MemorySource(name, image)
        self.model.add_volume(name, size_bytes, origin)
        self.write_block(name, self.draw_index(data, name), content)
        shown = self.take_snapshot(self.disks[name], SnapshotOptions(parent=origin))
        self.model.snapshot(name, shown.snapshot_id)
        assert_snapshot_matches(shown, self.model)

    @precondition(lambda self: len(self.failed) < 2)
    @rule(data=st.data(), grows=st.booleans())
    def snapshot_that_fails(self, data: st.DataObject, grows: bool) -> None:
        """Let the source fail: the snapshot is listed as `error`, and nothing else changes."""
        disk = self.disks[self.draw_disk(data)]
        bad = data.draw(st.integers(0, block_count(disk.size_bytes) - 1), "bad block")
        start, end = bad * BLOCK_SIZE, min((bad + 1) * BLOCK_SIZE, disk.size_bytes)
        disk.write(start, disk.read(start, end))  # no hole any more, so that it must be read
        failing = FailingSource(disk, unreadable_block=None if grows else bad, grows=grows)
        try:
            shown = self.take_snapshot(failing)
        except SnapshotFailedError as error:
            self.failed.append(error.snapshot_id or "no id was told")
        else:
            raise AssertionError(f"the source failed, and its snapshot did not: {shown}")

    @precondition(lambda self: self.model.snapshots or self.failed)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete some snapshots, having asked what that would do."""
        chosen = data.draw(draw.sets_in_order([*self.model.snapshots, *self.failed]), "delete")
        planned = self.store.delete_snapshots(chosen, dry_run=True)
        assert planned.dry_run
        assert_store_matches(self.store, self.model)
        done = self.store.delete_snapshots(chosen)
        assert not done.dry_run
        assert done.deleted == planned.deleted
        assert [report.snapshot_id for report in done.deleted] == chosen
        for report in done.deleted:
            self.model_deletion(report)

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def diff(self, data: st.DataObject) -> None:
        """Compare two snapshots."""
        first, second = self.draw_snapshot(data), self.draw_snapshot(data)
        if self.model.related(first, second):
            ranges = self.store.diff_snapshots(first, second).ranges
            assert ranges == as_ranges(self.model.changed_blocks(first, second))
        elif self.model.snapshots[first].volume != self.model.snapshots[second].volume:
            code = None
            try:
                self.store.diff_snapshots(first, second)
            except InvalidInputError as error:
                code = error.code
            assert code is ErrorCode.UNRELATED_SNAPSHOTS

    # Restores

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def restore_to_a_file(self, data: st.DataObject) -> None:
        """Restore a snapshot: byte for byte, holes where there are zeros."""
        wanted = self.draw_snapshot(data)
        report = self.restore(wanted)
        image = self.model.image(wanted)
        assert self.target.read_bytes() == image
        assert report.size_bytes == len(image)
        data_blocks = [block for block in blocks_of(image) if without_zeros_at_end(block)]
        assert report.written_bytes == sum(map(len, data_blocks))

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def roll_back_in_place(self, data: st.DataObject) -> None:
        """Restore onto the content of another snapshot: only what differs is written."""
        there, wanted = self.draw_snapshot(data), self.draw_snapshot(data)
        before, after = self.model.image(there), self.model.image(wanted)
        self.target.write_bytes(before)
        report = self.restore(wanted, in_place=True)
        assert self.target.read_bytes() == after
        if len(before) == len(after):
            pairs = zip(blocks_of(before), blocks_of(after), strict=True)
            assert report.written_bytes == sum(len(new) for old, new in pairs if old != new)

    # The world outside

    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        self.store.close()
        self.store = Store.open(self.folder / "store", self.seams)

    @rule(seconds=st.integers(-TEN_YEARS_S, TEN_YEARS_S))
    def clock_jumps(self, seconds: int) -> None:
        """Move the clock, forwards or backwards."""
        self.clock.advance(seconds)

    @rule()
    def check_every_byte(self) -> None:
        """Prove every stored byte."""
        assert_healthy(self.store)

    # Helpers

    def make_disk(self, size_bytes: int, report_holes: bool) -> None:
        """Add a disk to the model too."""
        name = self.new_name()
        self.disks[name] = MemorySource(name, size_bytes, report_holes=report_holes)
        self.model.add_volume(name, size_bytes)

    def new_name(self) -> str:
        """Return a name that no disk has."""
        return f"memory:disk{len(self.disks)}"

    def write_block(self, name: str, index: int, content: bytes) -> None:
        """Write a block, in the model too; the last one may be partial."""
        disk = self.disks[name]
        length = min(BLOCK_SIZE, disk.size_bytes - index * BLOCK_SIZE)
        block = content.ljust(BLOCK_SIZE, b"\0")[:length]
        disk.write(index * BLOCK_SIZE, block)
        self.model.write(name, index, block)

    def draw_disk(self, data: st.DataObject) -> str:
        """Draw the name of a disk."""
        return data.draw(st.sampled_from(list(self.disks)), "disk")

    def draw_index(self, data: st.DataObject, name: str) -> int:
        """Draw the index of a block of a disk."""
        return data.draw(st.integers(0, block_count(self.disks[name].size_bytes) - 1), "index")

    def draw_snapshot(self, data: st.DataObject) -> str:
        """Draw the id of a completed snapshot."""
        return data.draw(st.sampled_from(list(self.model.snapshots)), "snapshot")

    def model_deletion(self, report: DeletedSnapshot) -> None:
        """Delete in the model too, and compare the two reports."""
        snapshot_id = report.snapshot_id
        if snapshot_id in self.failed:
            self.failed.remove(snapshot_id)
            expected = ModelDeletion(snapshot_id=snapshot_id, freed_blocks=0, moved_to=())
        else:
            (expected,) = self.model.delete([snapshot_id])
        moved_to = tuple((to.snapshot_id, to.size_bytes // BLOCK_SIZE) for to in report.moved_to)
        assert report.freed_size_bytes == expected.freed_blocks * BLOCK_SIZE
        assert report.moved_size_bytes == expected.moved_blocks * BLOCK_SIZE
        assert moved_to == expected.moved_to


def blocks_of(image: bytes) -> list[bytes]:
    """Cut an image into its blocks; the last may be partial."""
    return [image[start : start + BLOCK_SIZE] for start in range(0, len(image), BLOCK_SIZE)]
