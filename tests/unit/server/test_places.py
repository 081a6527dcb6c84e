"""Where requests are carried out: what may wait never keeps the loop, or block readers, waiting."""

from dataclasses import replace
from typing import Any

from ebsim import SnapshotOptions, Store
from ebsim.server.background import Background
from ebsim.server.operations import Place, Served, load_operations
from ebsim.server.protocol.wire import Call
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE


def place_of(store: Store, service: str, name: str, **parameters: Any) -> Place:
    call = Call(service=service, operation=name, parameters=parameters)
    served = Served(call, store, "id", Background())
    return load_operations().find(call).where(served)


def test_few_named_snapshots_are_told_on_the_loop(disk: MemoryStore) -> None:
    with disk.open() as store:
        assert place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=["snap-1"]) is Place.LOOP
        many = [f"snap-{number:017x}" for number in range(51)]
        for ids in ([], many):
            where = place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=ids)
            assert where is Place.WAITING, "it takes long where there are many"
        filters = [{"Name": "description", "Values": ["*"]}]
        found = place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=["snap-1"], Filters=filters)
        assert found is Place.WAITING, "it takes long where there are many values"


def test_what_fell_due_is_not_carried_out_on_the_loop(disk: MemoryStore) -> None:
    assert isinstance(disk.clock, ManualClock)
    with disk.open() as store:
        store.quotas = replace(store.quotas, archival_s=60)
        made = store.create_snapshot(MemorySource("memory:a", BLOCK_SIZE), SnapshotOptions())
        store.tiers.archive(made.snapshot_id)
        ids = [made.snapshot_id]
        assert place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=ids) is Place.LOOP
        disk.clock.advance(60)
        assert place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=ids) is Place.WAITING
        store.list_snapshots()
        assert place_of(store, "ec2", "DescribeSnapshots", SnapshotIds=ids) is Place.LOOP


def test_blocks_are_not_read_among_those_that_compute_while_something_is_due(
    disk: MemoryStore,
) -> None:
    assert isinstance(disk.clock, ManualClock)
    with disk.open() as store:
        store.quotas = replace(store.quotas, archival_s=60)
        made = store.create_snapshot(MemorySource("memory:a", BLOCK_SIZE), SnapshotOptions())
        store.tiers.archive(made.snapshot_id)
        disk.clock.advance(60)
        for name in ("GetSnapshotBlock", "ListChangedBlocks", "ListSnapshotBlocks"):
            assert place_of(store, "ebs", name) is Place.WAITING
        store.list_snapshots()
        assert place_of(store, "ebs", "GetSnapshotBlock") is Place.COMPUTING


def test_only_blocks_are_computed(disk: MemoryStore) -> None:
    computing = {
        "GetSnapshotBlock",
        "ListChangedBlocks",
        "ListSnapshotBlocks",
        "PutSnapshotBlock",
    }
    with disk.open() as store:
        for service, name in load_operations().known:
            computes = place_of(store, service, name) is Place.COMPUTING
            assert computes == (service == "ebs" and name in computing), name
