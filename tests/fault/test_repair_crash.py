"""Repair whose process dies, or whose machine loses its power, at every step.

In memory, as in test_compaction_crash.py. The store has damage of every kind: blocks that are
healed from their own record, from a copy, and by nothing; a record of pages; an entry of the
journal; a segment's header.

What must hold afterwards. No block reads as anything but what it was; what was acknowledged as
healed is; the repair can be done again, and then everything is healed but what has no remedy, which
the next snapshot that has its content heals. What was damaged is set aside, whatever happened.

The default profile has it die at about every fourth step; EBSIM_TEST_PROFILE=long at each one.
"""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from ebsim.engine import Store
from ebsim.errors import CorruptionError, EbsimError, LimitExceededError, StoreError
from ebsim.format.block_hash import hash_block
from ebsim.format.segment import (
    ALIGNMENT,
    Codec,
    RecordHeader,
    RecordKind,
    encode_record,
)
from ebsim.storage.segment_scan import ScannedRecord, scan_segment
from ebsim.storage.segments import LocalSegmentWriter
from ebsim.testing.contents import palette_block
from ebsim.testing.deaths import die_at_each_step
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.machine_nights import MachineNights
from ebsim.testing.memory_store import SEGMENTS
from ebsim.units import BLOCK_SIZE

pytestmark = pytest.mark.crash

STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 4
"""The steps at which something dies or fails are so many times as far from each other."""

NIGHTS = ((4, 8, 5), (4, 12, 5), (16, 12, 20))
OWN, COPIED, LOST = 4, 8, 12
"""Contents that are healed from their own record, from a copy, and by nothing."""

HASH_KEY = b"K" * 32


class Run(MachineNights):
    """A machine with damage of every kind, whose repair dies at a step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, NIGHTS)
        self.raw = list(self.damage())
        self.sync()
        self.healed: set[int] = set()

    def records(self) -> Iterator[tuple[Path, ScannedRecord]]:
        for name in sorted(self.machine.files.list(SEGMENTS)):
            path = SEGMENTS / name
            for record in scan_segment(self.machine.files, path, bytes.fromhex(path.stem)):
                yield path, record

    def damage(self) -> Iterator[bytes]:
        """Do the damage; yield the bytes that must be set aside."""
        found = list(self.records())
        self._plant(found)
        kinds: set[RecordKind] = set()
        for path, record in found:
            header = record.header
            assert header is not None
            at = None
            if header.block_hash == hash_of(OWN):
                at = record.offset + 48
            elif header.block_hash in (hash_of(COPIED), hash_of(LOST)):
                at = record.offset + 5000
            elif header.kind in (RecordKind.PAGES, RecordKind.JOURNAL, RecordKind.VERSIONS):
                at = None if header.kind in kinds else record.offset + 100
                kinds.add(header.kind)
            if at is not None:
                yield self._flip(path, at, record.offset, record.extent)
        yield self._flip(found[0][0], 20, 0, ALIGNMENT)

    def _flip(self, path: Path, at: int, offset: int, extent: int) -> bytes:
        file = self.machine.files.open(path, writable=True)
        file.write_at(at, [bytes([file.read_at(at, 1)[0] ^ 1])])
        return file.read_at(offset, extent)

    def _plant(self, found: list[tuple[Path, ScannedRecord]]) -> None:
        """Append another record of `COPIED` to the last segment."""
        path = found[-1][0]
        file = self.machine.files.open(path, writable=True)
        header = RecordHeader(
            kind=RecordKind.BLOCK,
            codec=Codec.PLAIN,
            payload_size=BLOCK_SIZE,
            plain_size=BLOCK_SIZE,
            segment_id=bytes.fromhex(path.stem),
            offset=file.size(),
            block_hash=hash_of(COPIED),
        )
        file.write_at(file.size(), encode_record(header, palette_block(COPIED)))

    def sync(self) -> None:
        files = self.machine.files
        for name in files.list(SEGMENTS):
            files.open(SEGMENTS / name, writable=True).sync()
        files.sync_directory(SEGMENTS)

    def act(self, die_at: int | None) -> bool:
        """Return whether the process died before the end; it is dead now."""
        return self.machine.until_dead(die_at, self.check_repaired)

    def check_repaired(self, store: Store) -> None:
        report = store.repair()
        assert {record.ranges for record in report.unhealed} == {
            ((BLOCK_SIZE, 2 * BLOCK_SIZE),) * 2
        }
        self.healed = {OWN, COPIED}  # it is acknowledged now

    def assert_survived(self) -> None:
        with self.machine.start().open() as store:
            self.assert_nothing_else_is_read(store)
        with self.machine.start().open() as store:
            self.check_repaired(store)
            self.assert_nothing_else_is_read(store)
            assert {each.kind for each in store.check(data=True).findings} == {"unhealed-block"}
        self.assert_set_aside()
        with self.machine.start().open() as store:
            self.night(store, (LOST, 1, 20))
            assert_store_matches(store, self.model)
            assert_healthy(store)
        with self.machine.start().open() as store:
            assert store.repair().records == ()

    def assert_nothing_else_is_read(self, store: Store) -> None:
        for snapshot_id, blocks in zip(self.ids, NIGHTS, strict=False):
            for index, number in enumerate(blocks):
                try:
                    assert store.read_block(snapshot_id, index) == palette_block(number)
                except CorruptionError:
                    assert number in {OWN, COPIED, LOST} - self.healed

    def assert_set_aside(self) -> None:
        files = self.machine.files
        folder = SEGMENTS.parent / "set-aside"
        kept = [
            (file := files.open(folder / name)).read_at(0, file.size())
            for name in files.list(folder)
            if name.endswith(".raw")
        ]
        assert all(raw in kept for raw in self.raw)
        assert len(kept) == len(self.raw)


def hash_of(number: int) -> bytes:
    return hash_block(memoryview(palette_block(number)), HASH_KEY)


def repair_dies(folder: Path, ending: str, attempt: type[Run] = Run) -> None:
    die_at_each_step(attempt, folder, ending, range(STRIDE, 4 * STRIDE, STRIDE))


@pytest.mark.parametrize("ending", ["killed", "power cut", "killed again"])
def test_died_at_each_step(fast_path: Path, ending: str) -> None:
    """F5, F6, F7: it can be done again, and nothing that was acknowledged is lost."""
    repair_dies(fast_path, ending)


def test_missing_sync_is_noticed(fast_path: Path) -> None:
    """The test above can fail: without the sync of what was written anew, a power cut loses it."""

    class Unsynced(Run):
        def act(self, die_at: int | None) -> bool:
            with mock.patch.object(LocalSegmentWriter, "sync", return_value=None):
                return super().act(die_at)

    with pytest.raises((AssertionError, EbsimError)):
        repair_dies(fast_path, "power cut", attempt=Unsynced)


def test_damage_that_is_not_set_aside_is_noticed(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: a repair that sets nothing aside loses the damaged bytes."""
    monkeypatch.setattr(
        "ebsim.storage.set_aside.SetAside.keep", lambda _self, found: ["" for _ in found]
    )
    run = Run(fast_path)
    run.act(None)
    with pytest.raises((AssertionError, OSError)):
        run.assert_survived()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, LimitExceededError), (errno.EIO, StoreError)]
)
def test_disk_that_is_full_or_fails_at_a_write(
    fast_path: Path, number: int, error: type[EbsimError]
) -> None:
    """F10, F14: it is told, what was healed stays healed, and it can be done again."""
    chance = random.Random(number)
    failed_at = 0
    while True:
        failed_at += STRIDE * chance.randrange(1, 3)
        (place := fast_path / str(failed_at)).mkdir()
        run = Run(place)
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
            store.repair()
        except error:
            assert writes == failed_at
        else:
            assert writes < failed_at
        process.kill()
        run.assert_survived()
        if writes < failed_at:
            assert failed_at > 20
            return
