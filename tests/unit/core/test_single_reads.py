"""Reading block after block: look-ups are saved, and what changed meanwhile is still noticed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ebsim import SnapshotOptions, Store
from ebsim.caller import Caller
from ebsim.core.context import StoreContext
from ebsim.core.read_memory import LEAVES_MAX, SNAPSHOTS_MAX, ReadMemory
from ebsim.core.single_reads import read_block
from ebsim.errors import CorruptionError, NotFoundError
from ebsim.format.catalog_values import Table
from ebsim.ids import SnapshotId
from ebsim.permissions import PermissionChange
from ebsim.storage.catalog import Catalog, CatalogReader
from ebsim.testing.contents import noise_block
from ebsim.testing.counted_catalog import CountedCatalog
from ebsim.testing.late_catalog import LateCatalog
from ebsim.testing.memory_store import SEGMENTS, MemoryStore
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

BLOCKS = 4


def counted_context(disk: MemoryStore) -> tuple[StoreContext, CountedCatalog]:
    context = disk.context()
    context.catalog = counted = CountedCatalog(context.catalog)
    return context, counted


def source_of(*numbers: int) -> MemorySource:
    return MemorySource("memory:web1", bytearray(b"".join(map(noise_block, numbers))))


def taken(store: Store, source: MemorySource) -> SnapshotId:
    return store.create_snapshot(source, SnapshotOptions()).snapshot_id


def test_who_reads_on_needs_no_look_ups(disk: MemoryStore) -> None:
    with disk.open() as store:
        made = taken(store, source_of(*range(1, BLOCKS + 1)))
    context, counted = counted_context(disk)
    for index in (3, 0):
        assert read_block(context, made, index) == noise_block(index + 1)
    before = counted.touched.total()
    for index in range(BLOCKS):
        assert read_block(context, made, index) == noise_block(index + 1)
    assert counted.touched.total() == before


def test_one_block_of_a_leaf_is_found_alone(disk: MemoryStore) -> None:
    with disk.open() as store:
        made = taken(store, source_of(*range(1, BLOCKS + 1)))
    context, counted = counted_context(disk)
    read_block(context, made, 2)
    assert counted.touched[Table.BLOCKS] == 1


def test_deleted_snapshot_is_gone_at_once(disk: MemoryStore) -> None:
    with disk.open() as store:
        made = taken(store, source_of(1, 2))
        context = disk.context()
        for _ in range(3):
            read_block(context, made, 1)
        store.delete_snapshots([made])
        with pytest.raises(NotFoundError):
            read_block(context, made, 1)


def test_snapshot_that_is_deleted_before_its_map_is_read_is_gone(disk: MemoryStore) -> None:
    with disk.open() as store:
        made = taken(store, source_of(1, 2))
        context = disk.context()
        context.catalog = Interrupted(disk.catalog, lambda: store.delete_snapshots([made]))
        with pytest.raises(NotFoundError, match="was deleted while it was being read"):
            read_block(context, made, 1)


def test_right_that_ended_is_not_remembered(disk: MemoryStore) -> None:
    """Also where the end has a number already, and views do not show it yet."""
    owner, reader = Caller(), Caller("222222222222")
    with disk.open() as store:
        made = taken(store, source_of(1, 2))
        theirs = store.as_account(owner.account, owner.region).permissions
        theirs.modify(made, PermissionChange(add=[reader.account]))
        context = disk.context().acting_as(reader)
        context.catalog = late = LateCatalog(disk.catalog)
        with late.syncing():
            theirs.modify(made, PermissionChange(remove=[reader.account]))
            assert read_block(context, made, 1) == noise_block(2)
        with pytest.raises(NotFoundError):
            read_block(context, made, 1)


class Interrupted(CountedCatalog):
    """A catalog in which something happens once, behind the first look at it."""

    def __init__(self, catalog: Catalog, happens: Callable[[], object]) -> None:
        super().__init__(catalog)
        self._left = [happens]

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        with super().read() as reader:
            yield reader
        while self._left:
            self._left.pop()()


def test_blocks_that_were_moved_are_found_again(disk: MemoryStore) -> None:
    source = source_of(*range(1, BLOCKS + 1))
    for night in range(BLOCKS):
        source.write(night * BLOCK_SIZE, noise_block(11 + night))
        with disk.open() as store:
            taken(store, source)
    with disk.open() as store:
        last = store.list_snapshots()[-1].snapshot_id
    context, counted = counted_context(disk)
    for index in range(BLOCKS):
        read_block(context, last, index)
    with disk.open() as store:
        assert store.compact().compacted
    for index in range(BLOCKS):
        assert read_block(context, last, index) == noise_block(11 + index)
    before = counted.touched.total()
    assert read_block(context, last, 0) == noise_block(11)
    assert counted.touched.total() == before, "where they lie now is remembered"


def test_damage_under_a_remembered_place_is_noticed(disk: MemoryStore) -> None:
    with disk.open() as store:
        made = taken(store, source_of(1, 2, 3))
        context = disk.context()
        for index in range(3):
            read_block(context, made, index)
        damage_all_segments(disk)
        for index in range(3):
            with pytest.raises(CorruptionError):
                read_block(context, made, index)


def damage_all_segments(disk: MemoryStore) -> None:
    for name in disk.files.list(SEGMENTS):
        file = disk.files.open(SEGMENTS / name, writable=True)
        for offset in range(4096, file.size(), 1024):
            file.write_at(offset, (b"\xa5",))
        file.close()


def test_memory_is_bounded() -> None:
    memory = ReadMemory()
    for leaf in range(3 * LEAVES_MAX):
        memory.keep_places((1, leaf), (None,))
    kept = [leaf for leaf in range(3 * LEAVES_MAX) if memory.places((1, leaf)) is not None]
    assert kept == list(range(2 * LEAVES_MAX, 3 * LEAVES_MAX))
    for leaf in range(SNAPSHOTS_MAX):
        assert not memory.is_read_on((1, leaf))
    assert memory.is_read_on((1, SNAPSHOTS_MAX - 1))
    assert not memory.is_read_on((1, SNAPSHOTS_MAX - 1)), "it is remembered as a whole now"
