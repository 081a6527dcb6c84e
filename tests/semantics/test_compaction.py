"""Compaction: files go, and nothing that a user can see changes.

Segments are copied if a quarter of what they occupy is dead, or if they are small and several.
"""

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from ebsim.core import compact
from ebsim.engine import Store
from ebsim.errors import ErrorCode, LimitExceededError
from ebsim.progress import SilentProgress
from ebsim.reports import CompactReport
from ebsim.storage.files import File, Files
from ebsim.storage.locks import Region
from ebsim.testing.contents import noise_block, palette_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.memory_store import SEGMENTS, MemoryStore
from ebsim.testing.model import ReferenceModel
from ebsim.testing.observed_files import ObservedFile, ObservedFiles
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, MIB

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
HEADER = 4096
WEB = "memory:web"
NIGHTS = ((4, 8, 12), (4, 16, 12), (20, 16, 12), (20, 16, 24))


class Grown:
    """A store in memory with a snapshot a night, each made by a process of its own."""

    def __init__(self, folder: Path, nights: tuple[tuple[int, ...], ...] = NIGHTS) -> None:
        self.disk = MemoryStore(folder)
        self.model = ReferenceModel()
        self.model.add_volume(WEB, len(nights[0]) * BLOCK_SIZE)
        self.ids: list[str] = []
        for blocks in nights:
            with self.disk.open() as store:
                self.night(store, blocks)

    def night(self, store: Store, blocks: tuple[int, ...]) -> None:
        source = disk_of(*(palette_block(number) for number in blocks), name=WEB)
        shown = store.create_snapshot(source)
        for index, number in enumerate(blocks):
            self.model.write(WEB, index, palette_block(number))
        self.model.snapshot(WEB, shown.snapshot_id)
        self.ids.append(shown.snapshot_id)

    def delete(self, store: Store, *snapshot_ids: str) -> None:
        store.delete_snapshots(snapshot_ids)
        self.model.delete(snapshot_ids)

    def assert_sound(self) -> None:
        with self.disk.open() as store:
            assert_store_matches(store, self.model)
            assert_healthy(store, orphan_bytes_max=0)
            files = self.disk.files.list(SEGMENTS)
            assert len(files) == store.stats().segments


@pytest.fixture
def grown(fast_path: Path) -> Grown:
    return Grown(fast_path)


def shown(store: Store) -> tuple[object, ...]:
    """Return all that a user sees of snapshots and charges."""
    stats = store.stats()
    return store.list_snapshots(), store.ledger(), stats.charged_size_bytes, stats.live_size_bytes


# What it does


def test_many_small_segments_become_one(grown: Grown) -> None:
    """S-54: contents, charges and the ledger are as before; files and stored bytes are fewer."""
    with grown.disk.open() as store:
        before, stored = shown(store), store.stats().stored_size_bytes
        planned = store.compact(dry_run=True)
        assert shown(store) == before
        assert store.stats().stored_size_bytes == stored

        done = store.compact()

        assert (planned.dry_run, done.dry_run) == (True, False)
        assert done.compacted == planned.compacted
        assert len(done.compacted) == len(NIGHTS)
        assert {segment.reason for segment in done.compacted} == {"small"}
        assert shown(store) == before
        after = store.stats()
        assert after.stored_size_bytes == stored - done.reclaimed_bytes + HEADER
        assert after.segments == 1
        assert done.damaged == ()
    grown.assert_sound()


def test_what_was_compacted_is_not_compacted_again(grown: Grown) -> None:
    with grown.disk.open() as store:
        store.compact()
    with grown.disk.open() as store:
        assert store.compact(dry_run=True).compacted == ()
        assert store.compact() == CompactReport(compacted=(), damaged=(), dry_run=False)


def test_store_without_segments_has_nothing_to_compact(fast_path: Path) -> None:
    with MemoryStore(fast_path).open() as store:
        assert store.compact().compacted == ()


def test_segment_that_somebody_may_append_to_is_left_alone(grown: Grown) -> None:
    writing = grown.disk.open()
    grown.night(writing, (28, 16, 24))

    with grown.disk.open() as store:
        assert len(store.compact().compacted) == len(NIGHTS)
        assert store.stats().segments == 2
        assert_store_matches(store, grown.model)
    grown.night(writing, (28, 32, 24))
    writing.close()
    grown.assert_sound()


def test_little_that_is_new_does_not_have_all_copied_again(fast_path: Path) -> None:
    """A large segment waits until as much has come to it; the small ones become one meanwhile."""
    disk = MemoryStore(fast_path)
    for name, numbers in (("large", range(6)), ("one", range(6, 7)), ("two", range(7, 8))):
        with disk.open() as store:
            blocks = [noise_block(number) for number in numbers]
            store.create_snapshot(disk_of(*blocks, name=f"memory:{name}"))

    with disk.open() as store:
        done = store.compact()

        assert len(done.compacted) == 2
        assert done.copied_bytes < 2 * MIB
        assert store.stats().segments == 2
        assert_healthy(store)


class SolidFile(ObservedFile):
    """A file that can have no holes punched into it."""

    def punch(self, offset: int, length: int) -> bool:
        return False


class WithoutHoles(ObservedFiles):
    """Files of a file system that cannot punch holes."""

    def __init__(self, files: Files) -> None:
        super().__init__(files, lambda _method, _path: None)

    def open(self, path: Path, *, writable: bool = False) -> File:
        return SolidFile(self._files.open(path, writable=writable), path, self._before)


def test_dead_bytes_come_back_where_holes_cannot_be_punched(fast_path: Path) -> None:
    grown = Grown(fast_path, ((4, 8, 12, 16),))
    files = WithoutHoles(grown.disk.files)
    with grown.disk.open() as store:
        grown.night(store, (20, 24, 28, 16))
    with grown.disk.open(files) as store:
        grown.delete(store, grown.ids[0])
        stored = store.stats().stored_size_bytes
    with grown.disk.open(files) as store:
        done = store.compact()

        assert "dead" in {segment.reason for segment in done.compacted}
        assert done.reclaimed_bytes > 2 * BLOCK_SIZE // 4
        assert store.stats().stored_size_bytes <= stored - done.reclaimed_bytes + 2 * HEADER
        assert_store_matches(store, grown.model)
        assert_healthy(store)


def test_progress_counts_what_is_copied(grown: Grown) -> None:
    class Counting(SilentProgress):
        total = done = 0

        def start(self, label: str, total_bytes: int) -> None:
            assert label == "compact"
            self.total = total_bytes

        def advance(self, done_bytes: int) -> None:
            self.done += done_bytes

    progress = Counting()
    with grown.disk.open() as store:
        report = store.compact(progress=progress)
    assert progress.done == progress.total == report.copied_bytes > 0


# Bounded space


def test_large_segment_is_moved_in_steps(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more is stored beside what there was than a step, and a header."""
    step = MIB
    monkeypatch.setattr(compact, "STEP_BYTES_MAX", step)
    disk = MemoryStore(fast_path)
    for name, numbers in (("one", range(9)), ("two", range(9, 18))):
        with disk.open() as store:
            blocks = [noise_block(number) for number in numbers]
            store.create_snapshot(disk_of(*blocks, name=f"memory:{name}"))
    seen: list[int] = []

    def look(method: str, _path: Path) -> None:
        if method == "read_at":
            names = disk.files.list(SEGMENTS)
            seen.append(sum(disk.files.allocated_bytes(SEGMENTS / name) for name in names))

    with disk.open(ObservedFiles(disk.files, look)) as store:
        before = store.stats().stored_size_bytes
        done = store.compact()
        assert len(done.compacted) == 2
        assert max(seen) <= before + step + HEADER
        assert store.stats().stored_size_bytes == before - HEADER
        assert_healthy(store, orphan_bytes_max=0)


def test_too_little_space_is_refused_before_it_begins(
    grown: Grown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with grown.disk.open() as store:
        before = sorted(grown.disk.files.list(SEGMENTS))
        monkeypatch.setattr(grown.disk.files, "free_bytes", lambda _path: 31 * MIB)

        with pytest.raises(LimitExceededError, match="32 MiB of free space, and 31 MiB are") as no:
            store.compact()

        assert no.value.code is ErrorCode.NO_SPACE
        assert sorted(grown.disk.files.list(SEGMENTS)) == before
        assert store.compact(dry_run=True).compacted
    grown.assert_sound()


@pytest.mark.parametrize("writes", [0, 1, 3, 6])
def test_space_that_runs_out_leaves_everything_as_it_was(grown: Grown, writes: int) -> None:
    left = [writes]

    def fail(method: str, _path: Path) -> None:
        if method == "write_at":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")

    with (
        grown.disk.open(ObservedFiles(grown.disk.files, fail)) as store,
        pytest.raises(LimitExceededError),
    ):
        store.compact()
    grown.assert_sound()
    with grown.disk.open() as store:
        assert store.compact().compacted
    grown.assert_sound()


def test_compaction_that_is_broken_off_leaves_what_was_done(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that were done stay done, and the same handle can go on."""
    monkeypatch.setattr(compact, "STEP_BYTES_MAX", MIB)
    grown = Grown(fast_path)

    class Stopping(SilentProgress):
        left = 3

        def advance(self, _done_bytes: int) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    with grown.disk.open() as store:
        with pytest.raises(KeyboardInterrupt):
            store.compact(progress=Stopping())
        assert_store_matches(store, grown.model)
        assert_healthy(store)
        grown.night(store, (28, 16, 24))
        assert store.compact().compacted
        assert_store_matches(store, grown.model)
    grown.assert_sound()


# Damage


def damage(grown: Grown) -> None:
    """Alter a byte of the first block of the first segment."""
    with grown.disk.open() as store, store._context.catalog.read() as reader:
        from ebsim.core.block_places import place_of

        place = place_of(reader, 2)
    path = SEGMENTS / f"{place.segment_id.hex()}.seg"
    file = grown.disk.files.open(path, writable=True)
    byte = file.read_at(place.record.offset + 200, 1)[0]
    file.write_at(place.record.offset + 200, [bytes([byte ^ 1])])


def test_damaged_record_stays_and_the_rest_is_moved(grown: Grown) -> None:
    damage(grown)
    with grown.disk.open() as store:
        found = store.check(data=True).findings
        before = shown(store)

        done = store.compact()

        (record,) = done.damaged
        assert record.segment_id in {segment.segment_id for segment in done.compacted}
        assert "checksum" in record.message
        assert store.check(data=True).findings == found
        assert shown(store) == before
        assert store.stats().segments == 2
        (kept,) = [each for each in done.compacted if each.segment_id == record.segment_id]
        assert kept.reclaimed_bytes == 0
        grown.delete(store, *grown.ids[:2])
        store.compact()
    grown.assert_sound()


def test_missing_file_is_left_to_the_check(grown: Grown) -> None:
    with grown.disk.open() as store:
        names = sorted(grown.disk.files.list(SEGMENTS))
        grown.disk.files.remove(SEGMENTS / names[0])
        done = store.compact()
        assert f"{names[0]}" not in {f"{each.segment_id}.seg" for each in done.compacted}
        assert done.compacted
        assert {each.kind for each in store.check().findings} == {"missing-segment"}


# Others at work


def test_reader_that_knows_the_old_place_finds_the_new_one(grown: Grown) -> None:
    """Its file is gone between looking the place up and opening it."""
    compacted: list[bool] = []

    def before(method: str, _path: Path) -> None:
        if method == "open" and not compacted:
            compacted.append(True)
            other.compact()

    other = grown.disk.open()
    reader = grown.disk.open(ObservedFiles(grown.disk.files, before))
    assert reader.read_block(grown.ids[0], 0) == palette_block(4)
    assert compacted
    assert_store_matches(reader, grown.model)
    reader.close()
    other.close()


def test_restore_goes_on_while_segments_are_compacted(grown: Grown, fast_path: Path) -> None:
    compacted: list[bool] = []

    def before(method: str, _path: Path) -> None:
        if method == "read_at" and not compacted:
            compacted.append(True)
            other.compact()

    other = grown.disk.open()
    target = fast_path / "out.img"
    with grown.disk.open(ObservedFiles(grown.disk.files, before)) as reader:
        reader.restore_snapshot(grown.ids[-1], target)
    assert compacted
    assert target.read_bytes() == grown.model.image(grown.ids[-1])
    other.close()


def test_check_goes_on_while_segments_are_compacted(grown: Grown) -> None:
    compacted: list[bool] = []

    def before(method: str, _path: Path) -> None:
        if method == "read_at" and not compacted:
            compacted.append(True)
            other.compact()

    other = grown.disk.open()
    with grown.disk.open(ObservedFiles(grown.disk.files, before)) as reader:
        assert reader.check(data=True).findings == ()
    assert compacted
    other.close()


Action = Callable[[Grown, Store], object]
ACTIONS: dict[str, Action] = {
    "delete": lambda grown, store: grown.delete(store, grown.ids[1]),
    "delete all": lambda grown, store: grown.delete(store, *grown.ids),
    "snapshot": lambda grown, store: grown.night(store, (4, 36, 24)),
    "read": lambda grown, store: assert_store_matches(store, grown.model),
    "open": lambda grown, _store: grown.disk.open().close(),
    "compact": lambda _grown, store: store.compact(),
}


class Meanwhile:
    """Lets another process do something before one call to a file, from the `step`-th on."""

    def __init__(self, grown: Grown, action: Action, step: int) -> None:
        self.grown = grown
        self.other = grown.disk.open()
        self.done = False
        self._action = action
        self._left = step

    def open(self) -> Store:
        return self.grown.disk.open(ObservedFiles(self.grown.disk.files, self._before))

    def _before(self, _method: str, _path: Path) -> None:
        self._left -= 1
        if self._left > 0 or self.done:
            return
        lock = self.other._context.locks.try_hold(Region.RECLAIM)
        if lock is not None:  # else who reclaims would wait for this very thread
            lock.release()
            self.done = True
            self._action(self.grown, self.other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_others_may_do_anything_at_any_step(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """S-55: whatever is committed between two steps of a compaction, both have their effect.

    Two compactions exclude each other; without that, the order of their commits decides.
    """
    if name == "compact":
        monkeypatch.setattr(compact, "_only_one", lambda _context, _progress: nullcontext())
    step = 0
    while True:
        step += 1 if LONG else 2
        (folder := fast_path / str(step)).mkdir()
        meanwhile = Meanwhile(Grown(folder), ACTIONS[name], step)
        with meanwhile.open() as store:
            assert store.compact().damaged == ()
        meanwhile.other.close()
        meanwhile.grown.assert_sound()
        if not meanwhile.done:
            return


def test_second_compaction_waits_for_the_first(grown: Grown) -> None:
    told: list[str] = []
    waiting = threading.Event()

    class Telling(SilentProgress):
        def note(self, message: str) -> None:
            told.append(message)
            waiting.set()

    with grown.disk.open() as store:
        held = store._context.locks.hold(Region.COMPACT)
        thread = threading.Thread(target=lambda: store.compact(progress=Telling()))
        thread.start()
        assert waiting.wait(120)
        assert store.stats().segments == len(NIGHTS)
        held.release()
        thread.join(120)
        assert store.stats().segments == 1
    assert told == ["another compaction of this store is under way; waiting for it"]
