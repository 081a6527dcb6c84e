"""Random histories of managed volumes and their snapshots, run beside the reference model.

A history makes volumes, empty or from snapshots, writes to them, discards, snapshots them while
earlier snapshots are pending, lets snapshots fail, deletes snapshots and volumes in any state,
loads, grows, closes and reopens. A snapshot is copied exactly when the history says so
(`HeldCopies`), so each run of a history does the same. At every step what the store says equals
what the model says: sizes, charges, parents, the ledger, contents.

Volumes have their real size of a GiB and more; only few blocks of them are touched: the first, the
last, and those around the border between two leaves of a block map.

By default there are 30 histories, the same in every run; `EBSIM_TEST_PROFILE=long` takes 400 at
random.
"""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, InvalidInputError, LimitExceededError, SourceError
from ebsim.ids import SnapshotId
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import DeletedSnapshot, SnapshotState
from ebsim.testing import strategies as draw
from ebsim.testing.contents import palette_block
from ebsim.testing.held_copies import AtEachStep, HeldCopies
from ebsim.testing.invariants import (
    assert_healthy,
    assert_holds_nothing,
    assert_ledger_matches,
    assert_snapshot_matches,
    assert_totals_match,
)
from ebsim.testing.model import ModelDeletion, ReferenceModel, as_ranges
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.snapshot_job import SnapshotJob
from ebsim.volumes.volume_file import VolumeFile

VOLUMES_MAX = 3
SNAPSHOTS_MAX = 12
PENDING_MAX = 5
LAST = GIB // BLOCK_SIZE - 1
PLACES = (0, 0, 255, 255, 256, LAST, LAST + 1)
"""The blocks that are touched; the one behind the last only of volumes that are larger."""

NEAR = (0, 1, 2, 254, 255, 256, 257, 258, LAST - 1, LAST, LAST + 1, LAST + 2, LAST + 3)
"""The blocks that are compared."""

STARTS = (0, 0, 0, 1, 4095, BLOCK_SIZE - 1)
LENGTHS = (1, 4096, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE)
WRITES = ("data", "data", "data", "discard", "back")
MEANWHILE = ("write", "write", "snapshot", "delete", "fail")
"""What happens while a volume is copied; it is written to whatever that is."""

CONTENTS = (0, 4, 5, 6, 8)
"""Of the palette: zeros, and some of each kind."""


@dataclass(slots=True)
class _Set:
    """The members of a multi-volume set, those of them that wait for the others, and its fate."""

    members: list[str]
    waiting: list[str] = field(default_factory=list)
    failed: bool = False


class VolumeHistory(RuleBasedStateMachine):
    """A store with managed volumes, and the model of both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.copies = HeldCopies()
        self.clock = ManualClock()
        self.seams = Seams(clock=self.clock, entropy=SeededEntropy(), before_copy=self.copies)
        self.store = Store.create(self.folder / "store", self.seams)
        self.model = ReferenceModel()
        self.files: dict[str, VolumeFile] = {}
        self.failed: dict[str, str] = {}  # snapshot -> its volume
        self.told: dict[str, bool] = {}  # pending snapshot -> whether it is to be completed
        self.sets: list[_Set] = []
        self.compared: set[str] = set()

    def teardown(self) -> None:
        try:
            for file in self.files.values():
                file.close()
        finally:
            self.copies.release_all()
            self.store.close()
            shutil.rmtree(self.folder)

    # What must hold at every step

    @invariant()
    def everything_equals_the_model(self) -> None:
        listed = {shown.snapshot_id: shown for shown in self.store.list_snapshots()}
        assert listed.keys() == {*self.model.snapshots, *self.model.pending, *self.failed}
        completed = [name for name in listed if name in self.model.snapshots]
        assert completed == list(self.model.snapshots)
        for name, shown in listed.items():
            if name in self.model.snapshots:
                assert shown.state is SnapshotState.COMPLETED
                assert_snapshot_matches(shown, self.model)
            elif name in self.failed:
                assert_holds_nothing(shown)
            else:
                assert shown.state is SnapshotState.PENDING
                assert shown.size_bytes == self.model.pending[name].size_bytes
                assert shown.charged_size_bytes == 0
        assert_ledger_matches(self.store, self.model)
        if not any(each.waiting for each in self.sets):  # they have stored what they need
            assert_totals_match(self.store, self.model)
        sizes = {volume.volume_id: volume.size_bytes for volume in self.store.volumes.list()}
        assert sizes == {name: volume.size_bytes for name, volume in self.model.managed.items()}

    @invariant()
    def new_snapshots_hold_what_they_should(self) -> None:
        for name in [each for each in self.model.snapshots if each not in self.compared]:
            self.compare_contents(name)
            self.compared.add(name)

    @invariant()
    def nothing_is_found(self) -> None:
        findings = self.store.check(data=False).findings
        assert findings == ()

    # Volumes

    @initialize(
        size=st.sampled_from([3 * BLOCK_SIZE + 4097, 257 * BLOCK_SIZE, 1]), encrypted=st.booleans()
    )
    def first_volumes(self, size: int, *, encrypted: bool) -> None:
        """Begin with an empty volume, and with a snapshot of a scanned source of an odd size."""
        self.model.encrypted = encrypted
        if encrypted:
            self.store.encryption.enable_by_default()
        disk = MemorySource("memory:disk", size)
        last = (size - 1) // BLOCK_SIZE
        disk.write(size - 1, b"\x01")
        shown = self.store.create_snapshot(disk)
        self.model.add_volume("memory:disk", size)
        self.model.write("memory:disk", last, disk.read(last * BLOCK_SIZE, size))
        self.model.snapshot("memory:disk", shown.snapshot_id)
        self.make_volume(None, 1)

    @precondition(lambda self: len(self.model.managed) < VOLUMES_MAX)
    @rule(data=st.data(), larger=st.booleans())
    def another_volume(self, data: st.DataObject, larger: bool) -> None:
        """Make an empty volume, or, mostly, one from a snapshot."""
        origins: list[str | None] = [*self.model.snapshots, None]
        origin = data.draw(st.sampled_from(origins), "origin")
        size_gib = 1 if origin is None else None
        if origin is not None and larger:
            size_gib = -(-self.model.snapshots[origin].size_bytes // GIB) + 1
        self.make_volume(origin, size_gib)

    @precondition(lambda self: self.usable())
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.write_some(data, self.draw_volume(data))

    @precondition(lambda self: self.usable())
    @rule(data=st.data(), length=st.sampled_from(LENGTHS))
    def read(self, data: st.DataObject, length: int) -> None:
        name = self.draw_volume(data)
        offset = self.draw_offset(data, name)
        with self.using(name) as file:
            assert file.pread(length, offset) == self.model.read_bytes(name, offset, length)

    @precondition(lambda self: self.usable())
    @rule(data=st.data())
    def open_flush_or_close(self, data: st.DataObject) -> None:
        name = self.draw_volume(data)
        if name not in self.files:
            self.files[name] = self.store.volumes.open(name)
        elif data.draw(st.booleans(), "flush"):
            self.files[name].flush()
        else:
            self.files.pop(name).close()

    @precondition(lambda self: self.usable())
    @rule(data=st.data(), what=st.sampled_from(["load", "load", "grow", "delete"]))
    def change_volume(self, data: st.DataObject, what: str) -> None:
        name = self.draw_volume(data)
        volume = self.model.managed[name]
        if what == "load":
            self.store.volumes.initialize(name)
            self.model.initialize(name)
            assert self.store.volumes.get(name).initialization_percent == 100
        elif what == "delete":
            self.delete_volume(name)
        elif volume.size_bytes < 3 * GIB:
            volume.size_bytes += GIB
            request = VolumeModificationRequest(size_gib=volume.size_bytes // GIB)
            self.clock.advance(86_400)  # at most four modifications a day
            self.store.volumes.modify(name, request)

    @precondition(lambda self: self.usable() and len(self.model.managed) < VOLUMES_MAX)
    @rule(data=st.data(), what=st.sampled_from(MEANWHILE), late=st.sampled_from([0, 1, 255, 256]))
    def copy(self, data: st.DataObject, what: str, late: int) -> None:
        """Copy a volume that is written to before its blocks are read, and after some are."""
        name, made = self.draw_volume(data), ""
        usable = what != "snapshot" or (self.room() >= 1 and self.filled_slots(name) < PENDING_MAX)

        def begun(copy: str) -> None:
            nonlocal made
            made = copy
            self.model.copy_managed(name, copy)
            self.write_some(data, name)
            if what == "snapshot" and usable:
                self.model.begin(name, self.store.create_snapshot(name).snapshot_id)
            elif what == "delete":
                self.delete_volume(name)
            elif what == "fail":
                raise SourceError("told to fail")

        def write_late(step: int) -> None:
            if step == late and what != "delete":
                self.write_some(data, name)

        with pytest.raises(SourceError) if what == "fail" else nullcontext():
            self.store.volumes.copy(name, begun=begun, progress=AtEachStep(write_late))
        if what == "fail":
            del self.model.managed[made]

    # Snapshots

    @precondition(lambda self: self.usable() and self.room() >= 1)
    @rule(data=st.data(), now=st.booleans())
    def snapshot(self, data: st.DataObject, now: bool) -> None:
        """Write, begin a snapshot, and write again; have it completed before or after that."""
        name = self.draw_volume(data)
        if self.filled_slots(name) >= PENDING_MAX:
            with pytest.raises(LimitExceededError) as caught:
                self.store.create_snapshot(name)
            assert caught.value.code is ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED
            return
        self.write_some(data, name)
        shown = self.store.create_snapshot(name)
        assert shown.state is SnapshotState.PENDING
        self.model.begin(name, shown.snapshot_id)
        if now:
            self.told[shown.snapshot_id] = True
            self.settle()
        self.write_some(data, name)

    @precondition(lambda self: len(self.usable()) >= 2 and self.room() >= 2)
    @rule(data=st.data())
    def snapshot_a_set(self, data: st.DataObject) -> None:
        names = data.draw(st.permutations(self.usable()), "set")[:2]
        if max(self.filled_slots(name) for name in names) >= PENDING_MAX:
            return
        shown = self.store.create_snapshots(names)
        assert len({each.start_time_us for each in shown}) == 1
        for name, each in zip(names, shown, strict=True):
            self.model.begin(name, each.snapshot_id)
        self.sets.append(_Set([each.snapshot_id for each in shown]))

    @precondition(lambda self: self.model.pending.keys() - self.told.keys())
    @rule(data=st.data(), count=st.integers(1, 3), well=st.sampled_from([True, True, False]))
    def let_go(self, data: st.DataObject, count: int, well: bool) -> None:
        """Let pending snapshots be copied, or fail, as soon as those before them have ended."""
        waiting = [name for name in self.model.pending if name not in self.told]
        for name in data.draw(st.permutations(waiting), "pending")[:count]:
            self.told[name] = well
        self.settle()

    @precondition(lambda self: self.model.snapshots or self.model.pending or self.failed)
    @rule(data=st.data(), newest=st.booleans())
    def delete(self, data: st.DataObject, newest: bool) -> None:
        """Delete some snapshots in any state; or a volume's last, the parent of its next."""
        there = [*self.model.snapshots, *self.model.pending, *self.failed]
        chosen = data.draw(draw.sets_in_order(there), "delete")[:3]
        if newest and self.model.snapshots:
            owner = self.model.snapshots[self.draw_snapshot(data)].volume
            own = [key for key, each in self.model.snapshots.items() if each.volume == owner]
            chosen = own[-1:]
        planned = self.store.delete_snapshots(chosen, dry_run=True)
        assert planned.dry_run
        self.everything_equals_the_model()
        done = self.store.delete_snapshots(chosen)
        assert done.deleted == planned.deleted
        assert [report.snapshot_id for report in done.deleted] == chosen
        for report in done.deleted:
            self.model_deletion(report)
        self.compared.clear()

    @precondition(lambda self: self.model.snapshots)
    @rule(data=st.data())
    def diff(self, data: st.DataObject) -> None:
        first, second = self.draw_snapshot(data), self.draw_snapshot(data)
        if self.model.related(first, second):
            ranges = self.store.diff_snapshots(first, second).ranges
            assert ranges == as_ranges(self.model.changed_blocks(first, second))
        elif self.model.snapshots[first].volume != self.model.snapshots[second].volume:
            with pytest.raises(InvalidInputError) as caught:
                self.store.diff_snapshots(first, second)
            assert caught.value.code is ErrorCode.UNRELATED_SNAPSHOTS

    # The world outside

    @rule(all_copied=st.booleans())
    def reopen(self, all_copied: bool) -> None:
        """Close the store, with snapshots pending or not, and open it again."""
        while self.files:
            self.files.popitem()[1].close()
        if all_copied:
            for name in self.model.pending:
                self.told.setdefault(name, True)
            self.settle()
            self.store.close()
        else:
            self.close_without_waiting()
        self.copies = HeldCopies()
        self.seams = replace(self.seams, before_copy=self.copies)
        self.store = Store.open(self.folder / "store", self.seams)
        self.compared.clear()
        for each in self.sets:
            each.waiting.clear()
            if each.failed:  # those that were left do not wait for their turn
                left = [name for name in each.members if name in self.model.pending]
                self.ended(left, well=False)
        self.settle()

    @rule()
    def check_every_byte(self) -> None:
        if not self.model.pending:
            assert_healthy(self.store)
        assert self.store.check(data=True).findings == ()
        for name in self.model.snapshots:
            self.compare_contents(name)

    # Helpers

    def usable(self) -> list[str]:
        return [name for name, volume in self.model.managed.items() if not volume.deleted]

    def room(self) -> int:
        taken = len(self.model.snapshots) + len(self.model.pending) + len(self.failed)
        return SNAPSHOTS_MAX - taken

    def filled_slots(self, name: str) -> int:
        failed = [each for each, volume in self.failed.items() if volume == name]
        return len(self.model.pending_of(name)) + len(failed)

    def make_volume(self, origin: str | None, size_gib: int | None) -> None:
        request = VolumeRequest(snapshot_id=origin, size_gib=size_gib)
        volume = self.store.volumes.create(request)
        self.model.add_managed(volume.volume_id, volume.size_bytes, origin)

    def delete_volume(self, name: str) -> None:
        if name in self.files:
            self.files.pop(name).close()
        self.store.volumes.delete(name)
        self.model.delete_managed(name)

    def using(self, name: str) -> AbstractContextManager[VolumeFile]:
        """Return the volume's open file, which stays open; or open it for this once."""
        known = self.files.get(name)
        return nullcontext(known) if known is not None else self.store.volumes.open(name)

    def draw_volume(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.usable()), "volume")

    def draw_offset(self, data: st.DataObject, name: str) -> int:
        place = data.draw(st.sampled_from(PLACES), "block")
        place = min(place, self.model.managed[name].size_bytes // BLOCK_SIZE - 1)
        return place * BLOCK_SIZE + data.draw(st.sampled_from(STARTS), "at")

    def write_some(self, data: st.DataObject, name: str) -> None:
        """Write data, discard, or bring back what a snapshot holds, at up to three places."""
        for kind in data.draw(st.lists(st.sampled_from(WRITES), max_size=3), "writes"):
            offset = self.draw_offset(data, name)
            if kind == "back" and self.model.snapshots:
                block = offset // BLOCK_SIZE
                content = self.model.content(self.draw_snapshot(data), block)
                offset, written = block * BLOCK_SIZE, content.ljust(BLOCK_SIZE, b"\0")
            else:
                length = data.draw(st.sampled_from(LENGTHS), "length")
                content = palette_block(data.draw(st.sampled_from(CONTENTS), "content"))
                end = min(offset + length, self.model.managed[name].size_bytes)
                start = offset % BLOCK_SIZE
                written = (content * 4)[start : start + end - offset]
            with self.using(name) as file:
                if kind == "discard":
                    file.discard(offset, len(written))
                    self.model.discard_bytes(name, offset, len(written))
                else:
                    assert file.pwrite(written, offset) == len(written)
                    self.model.write_bytes(name, offset, written)

    def draw_snapshot(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(list(self.model.snapshots)), "snapshot")

    def settle(self) -> None:
        """Let go on, one after the other, what was told to and whose turn has come."""
        while (name := self.next_to_go_on()) is not None:
            members = next((each for each in self.sets if name in each.members), None)
            well = self.told[name] and not (members and members.failed)
            if members is not None and well:
                members.waiting.append(name)
                self.copies.release(name)
                if len(members.waiting) == len(members.members):
                    self.ended(members.members, well=True)
                continue
            ends = [name]
            if members is not None:
                ends += members.waiting
                members.failed, members.waiting = True, []
            if self.told[name]:  # where its set has failed, it finds that out
                self.copies.release(name)
            else:
                self.copies.fail(name)
            self.ended(ends, well=well)

    def next_to_go_on(self) -> str | None:
        waiting = {name for each in self.sets for name in each.waiting}
        for name, pending in self.model.pending.items():
            is_first = self.model.pending_of(pending.volume)[0] == name
            if name in self.told and is_first and name not in waiting:
                return name
        return None

    def ended(self, names: list[str], *, well: bool) -> None:
        """Wait until snapshots have ended, and end them in the model."""
        self.store._volumes_held().snapshots.wait([SnapshotId(name) for name in names])
        for name in names:
            self.told.pop(name, None)
            pending = self.model.pending[name]
            if well:
                self.model.complete(name)
                continue
            self.model.fail(name)
            if not pending.deleted:
                self.failed[name] = pending.volume

    def close_without_waiting(self) -> None:
        """Close the store; what is held is let go once it is told to stay pending."""
        stop, copies = SnapshotJob.stop, self.copies

        def stop_and_let_go(job: SnapshotJob) -> None:
            stop(job)
            copies.release(job.snapshot_id)

        with mock.patch.object(SnapshotJob, "stop", stop_and_let_go):
            self.store.close(wait=False)

    def compare_contents(self, name: str) -> None:
        snapshot = self.model.snapshots[name]
        for index in NEAR:
            if index * BLOCK_SIZE < snapshot.size_bytes:
                found = self.store.read_block(name, index)
                assert found == self.model.content(name, index).ljust(BLOCK_SIZE, b"\0")

    def model_deletion(self, report: DeletedSnapshot) -> None:
        """Delete in the model too, and compare the two reports."""
        snapshot_id = report.snapshot_id
        if snapshot_id in self.failed:
            del self.failed[snapshot_id]
            expected = ModelDeletion(snapshot_id=snapshot_id, freed_blocks=0, moved_to=())
        else:
            (expected,) = self.model.delete([snapshot_id])
        moved_to = tuple((to.snapshot_id, to.size_bytes // BLOCK_SIZE) for to in report.moved_to)
        assert report.freed_size_bytes == expected.freed_blocks * BLOCK_SIZE
        assert report.moved_size_bytes == expected.moved_blocks * BLOCK_SIZE
        assert moved_to == expected.moved_to


LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


@pytest.mark.slow
def test_histories_of_volumes_equal_the_model() -> None:
    profile = settings()
    examples = profile.max_examples * 2 // 5 if LONG else 30
    run_state_machine_as_test(VolumeHistory, settings=settings(profile, max_examples=examples))
