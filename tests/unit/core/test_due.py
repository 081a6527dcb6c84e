"""When something falls due by the clock is found whoever made it fall due, and looked up once."""

from dataclasses import replace

from ebsim import SnapshotOptions, Store
from ebsim.core.due import NEVER_US, is_anything_due
from ebsim.core.snapshots import TIER_DUE
from ebsim.format.catalog_values import Table
from ebsim.started import StartRequest
from ebsim.testing.counted_catalog import CountedCatalog
from ebsim.testing.late_catalog import LateCatalog
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

ARCHIVAL_S = 3600


def clock_of(disk: MemoryStore) -> ManualClock:
    assert isinstance(disk.clock, ManualClock)
    return disk.clock


def test_nothing_is_looked_up_again_while_nobody_commits(disk: MemoryStore) -> None:
    context = disk.context()
    context.catalog = counted = CountedCatalog(context.catalog)
    assert not is_anything_due(context)
    first = counted.touched.total()
    clock_of(disk).advance(days=10_000)
    assert not is_anything_due(context)
    assert counted.touched.total() == first
    assert context.state.next_due is not None
    assert context.state.next_due.time_us == NEVER_US


def test_what_another_handle_lets_fall_due_is_seen(disk: MemoryStore) -> None:
    context = disk.context()
    assert not is_anything_due(context)
    with disk.open() as other:
        made = archived(other)
        assert not is_anything_due(context)
        clock_of(disk).advance(ARCHIVAL_S)
        assert is_anything_due(context)
        assert other.get_snapshot(made).storage_tier == "archive"  # using it carries it out
    assert not is_anything_due(context)


def test_started_snapshot_is_looked_at_from_its_first_end_on(disk: MemoryStore) -> None:
    context = disk.context()
    with disk.open() as other:
        made = other.started.start(StartRequest(volume_size_gib=1, timeout_minutes=10)).snapshot_id
        clock_of(disk).advance(599)
        assert not is_anything_due(context)
        clock_of(disk).advance(1)
        assert is_anything_due(context)
        assert other.get_snapshot(made).state == "error"
    assert not is_anything_due(context)


def test_commit_that_views_do_not_show_yet_is_looked_at_again(disk: MemoryStore) -> None:
    context = disk.context()
    context.catalog = late = LateCatalog(disk.catalog)
    with late.syncing():
        with disk.open() as other:
            archived(other)
        assert not is_anything_due(context)
    clock_of(disk).advance(ARCHIVAL_S)
    assert is_anything_due(context)


def test_damage_in_what_is_due_is_left_to_who_carries_it_out(disk: MemoryStore) -> None:
    disk.catalog.update(lambda writer: writer.put(Table.META, TIER_DUE + b"snap-1", b"damaged"))
    with disk.open() as store:
        assert is_anything_due(disk.context())
        assert store.list_snapshots() == []


def archived(store: Store) -> str:
    store.quotas = replace(store.quotas, archival_s=ARCHIVAL_S)
    source = MemorySource("memory:web1", BLOCK_SIZE)
    made = store.create_snapshot(source, SnapshotOptions()).snapshot_id
    store.tiers.archive(made)
    return made
