"""What a dry run promises is what the deletion then gives back, to the byte."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.engine import Store
from ebsim.format.catalog_values import SegmentRecord, Table
from ebsim.testing.contents import palette_block
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.seams import fast_folder
from ebsim.testing.sources import MemorySource

JOURNAL_ENTRY = 4096
BLOCKS = 3
PALETTE = 6


@dataclass(frozen=True)
class Change:
    """Before a snapshot of a disk, this block gets this content."""

    disk: int
    block: int
    content: int


CHANGES = st.builds(
    Change, st.integers(0, 1), st.integers(0, BLOCKS - 1), st.integers(0, PALETTE - 1)
)


def live_bytes(store: Store) -> int:
    with store._context.catalog.read() as reader:
        segments = [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]
    return sum(segment.live_bytes for segment in segments)


@settings(max_examples=20)
@given(st.lists(CHANGES, min_size=1, max_size=6), st.data())
def test_dry_run_tells_what_the_deletion_gives_back(
    history: list[Change], data: st.DataObject
) -> None:
    """Contents are few, so that blocks are shared within and across the deleted snapshots."""
    folder = fast_folder()
    try:
        with MemoryStore(folder).open() as store:
            disks = [MemorySource(f"memory:{n}", BLOCKS * len(palette_block(1))) for n in range(2)]
            for change in history:
                disks[change.disk].put(change.block, palette_block(change.content))
                store.create_snapshot(disks[change.disk])
            left = [shown.snapshot_id for shown in store.list_snapshots()]
            while left:
                chosen = data.draw(st.lists(st.sampled_from(left), min_size=1, unique=True))
                delete_as_promised(store, chosen)
                left = [name for name in left if name not in chosen]
            assert live_bytes(store) == sum(1 for event in journal(store)) * JOURNAL_ENTRY
            assert store.stats().blocks == 0
    finally:
        shutil.rmtree(folder)


def journal(store: Store) -> list[bytes]:
    with store._context.catalog.read() as reader:
        return [key for key, _ in reader.items(Table.JOURNAL)]


def delete_as_promised(store: Store, snapshot_ids: Sequence[str]) -> None:
    live, stored = live_bytes(store), store.stats().stored_size_bytes

    promised = store.delete_snapshots(snapshot_ids, dry_run=True)
    assert live_bytes(store) == live
    done = store.delete_snapshots(snapshot_ids)

    assert done.deleted == promised.deleted
    given_back = sum(step.reclaimed_bytes for step in done.deleted)
    assert live - live_bytes(store) == given_back - JOURNAL_ENTRY
    assert stored - store.stats().stored_size_bytes == given_back - JOURNAL_ENTRY
