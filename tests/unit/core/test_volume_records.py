"""Records of managed volumes: what a new one says, queries, and modifications on a clock."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.clock import format_time
from ebsim.config import Quotas
from ebsim.core.context import StoreContext
from ebsim.core.quotas import save_quotas
from ebsim.core.snapshots import put_snapshot
from ebsim.core.volume_records import (
    describe_volumes,
    get_managed,
    list_modifications,
    list_volumes,
    modification_of,
    modify_volume,
    new_volume_record,
    origin_of,
    put_managed,
    to_volume,
)
from ebsim.core.volumes import put_volume
from ebsim.errors import EbsimError, ErrorCode
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.requests import Filter, VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import (
    ModificationState,
    SnapshotState,
    VolumeModification,
    VolumeShape,
    VolumeState,
)
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.refused import refused
from ebsim.testing.seams import START_US, ManualClock
from ebsim.units import GIB

SNAP = SnapshotId("snap-0123456789abcdef0")
NOWHERE = VolumeId("vol-00000000000000000")


@pytest.fixture
def context(fast_path: Path, clock: ManualClock) -> StoreContext:
    memory = MemoryStore(fast_path)
    memory.clock = clock
    return memory.context()


def snapshot(
    state: SnapshotState = SnapshotState.COMPLETED, size_bytes: int = GIB
) -> SnapshotRecord:
    return SnapshotRecord(
        snapshot_id=SNAP,
        volume_id=VolumeId("vol-00000000000000009"),
        state=state,
        begun=1,
        start_us=START_US,
        tags={},
        size_bytes=size_bytes,
        source="",
    )


def keep_snapshot(record: SnapshotRecord, writer: CatalogWriter) -> None:
    put_snapshot(writer, record)


def create(
    context: StoreContext, request: VolumeRequest, origin: SnapshotRecord | None = None
) -> VolumeRecord:
    def change(writer: CatalogWriter) -> VolumeRecord:
        record = new_volume_record(context, writer, request, origin)
        put_managed(writer, record)
        return record

    return context.catalog.update(change)


def set_quotas(context: StoreContext, **quotas: float | None) -> None:
    context.catalog.update(lambda writer: save_quotas(writer, Quotas(**quotas)))  # type: ignore[arg-type]


# new volumes


def test_new_volume_says_what_was_asked_for(context: StoreContext) -> None:
    request = VolumeRequest(
        size_gib=8, volume_type="gp3", iops=4000, throughput=250, zone="us-east-1c", tags={"a": "1"}
    )

    shown = to_volume(create(context, request))

    assert shown.volume_id.startswith("vol-0")
    assert (shown.size_bytes, shown.state) == (8 * GIB, VolumeState.AVAILABLE)
    assert (shown.volume_type, shown.iops, shown.throughput) == ("gp3", 4000, 250)
    assert (shown.zone, shown.snapshot_id) == ("us-east-1c", "")
    assert (shown.create_time_us, shown.tags) == (START_US, {"a": "1"})
    assert (shown.initialization_percent, shown.encrypted, shown.multi_attach) == (
        100,
        False,
        False,
    )


def test_type_is_gp2_unless_another_is_asked_for(context: StoreContext) -> None:
    assert create(context, VolumeRequest(size_gib=1)).volume_type == "gp2"


def test_volume_from_a_snapshot_has_whole_gib(context: StoreContext) -> None:
    request = VolumeRequest(snapshot_id=SNAP, initialization_rate=100)

    record = create(context, request, snapshot(size_bytes=GIB + 1))

    assert (record.size_bytes, record.origin_id) == (2 * GIB, SNAP)
    assert record.initialization_rate == 100
    assert to_volume(replace(record, origin_hold=7)).initialization_percent == 0
    assert to_volume(record, 42).initialization_percent == 42


def test_volumes_are_numbered(context: StoreContext) -> None:
    numbers = [create(context, VolumeRequest(size_gib=1)).number for _ in range(3)]

    assert numbers == [1, 2, 3]


@pytest.mark.parametrize("zone", ["", "us-east-1", "us-east-1g", "us-west-2a", "us-east-1A"])
def test_unknown_zone_is_refused(context: StoreContext, zone: str) -> None:
    request = VolumeRequest(size_gib=1, zone=zone)

    assert refused(lambda: create(context, request)) is ErrorCode.INVALID_ZONE_NOT_FOUND


@pytest.mark.parametrize("zone", Caller().zones)
def test_every_zone_of_the_region_is_known(context: StoreContext, zone: str) -> None:
    assert create(context, VolumeRequest(size_gib=1, zone=zone)).zone == zone


def test_tags_of_a_new_volume_are_checked(context: StoreContext) -> None:
    request = VolumeRequest(size_gib=1, tags={"aws:x": "1"})

    assert refused(lambda: create(context, request)) is ErrorCode.INVALID_TAG_KEY_MALFORMED
    assert create(context, VolumeRequest(size_gib=1)).number == 1  # the number was not taken


def test_origin_is_a_completed_snapshot(context: StoreContext) -> None:
    request = VolumeRequest(snapshot_id=SNAP)
    with context.catalog.read() as reader:
        assert origin_of(context, reader, VolumeRequest(size_gib=1)) is None
        assert (
            refused(lambda: origin_of(context, reader, request))
            is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
        )
        bad = VolumeRequest(snapshot_id="snap-1")
        assert (
            refused(lambda: origin_of(context, reader, bad))
            is ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED
        )
    for record in (snapshot(SnapshotState.PENDING), snapshot(SnapshotState.ERROR)):
        context.catalog.update(partial(keep_snapshot, record))
        with context.catalog.read() as reader:
            assert refused(lambda: origin_of(context, reader, request)) is ErrorCode.INCORRECT_STATE
    context.catalog.update(partial(keep_snapshot, snapshot()))
    with context.catalog.read() as reader:
        assert origin_of(context, reader, request) == snapshot()


def test_storage_of_a_type_can_be_limited(context: StoreContext) -> None:
    set_quotas(context, storage_gib_per_type=10)
    volume = create(context, VolumeRequest(size_gib=9))
    create(context, VolumeRequest(size_gib=10, volume_type="gp3"))
    create(context, VolumeRequest(size_gib=1))

    again = VolumeRequest(size_gib=1)
    assert refused(lambda: create(context, again)) is ErrorCode.VOLUME_LIMIT_EXCEEDED
    assert refused(lambda: modify(context, volume, size_gib=10)) is ErrorCode.VOLUME_LIMIT_EXCEEDED
    changed = modify(context, volume, size_gib=9, volume_type="standard")
    assert changed.state is ModificationState.COMPLETED


def test_rates_of_volumes_being_loaded_are_limited_together(context: StoreContext) -> None:
    set_quotas(context, initialization_mib_s=300)
    request = VolumeRequest(initialization_rate=200)
    loading = create(context, request, snapshot())
    context.catalog.update(lambda writer: put_managed(writer, replace(loading, origin_hold=3)))

    found = refused(lambda: create(context, request, snapshot()))
    assert found is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    create(context, VolumeRequest(initialization_rate=100), snapshot())
    create(context, VolumeRequest(), snapshot())

    context.catalog.update(lambda writer: put_managed(writer, loading))  # all is loaded
    create(context, request, snapshot())


# queries


def scanned(volume_id: str = "vol-000000000000000aa") -> VolumeRecord:
    return VolumeRecord(
        volume_id=VolumeId(volume_id),
        number=99,
        source="/images/disk.img",
        size_bytes=GIB,
        created_us=START_US,
    )


def find(context: StoreContext, query: VolumeQuery | None = None) -> list[int]:
    with context.catalog.read() as reader:
        return [record.number for record in list_volumes(reader, query)]


def test_scanned_source_is_no_volume(context: StoreContext) -> None:
    record = scanned()
    context.catalog.update(lambda writer: put_volume(writer, record))

    assert find(context) == []
    with context.catalog.read() as reader:
        found = refused(lambda: get_managed(reader, record.volume_id))
    assert found is ErrorCode.INVALID_VOLUME_NOT_FOUND


@pytest.fixture
def three(context: StoreContext, clock: ManualClock) -> list[VolumeRecord]:
    """Volumes 1, 2 and 3, made a minute apart."""
    requests = [
        VolumeRequest(size_gib=1, tags={"Name": "web1"}),
        VolumeRequest(size_gib=20, volume_type="gp3", zone="us-east-1b", tags={"Name": "web2"}),
        VolumeRequest(volume_type="standard", tags={"x": ""}),
    ]
    made = []
    for request in requests:
        made.append(create(context, request, None if request.size_gib else snapshot()))
        clock.advance(60)
    return made


QUERIES: list[tuple[str, list[str], list[int]]] = [
    ("availability-zone", ["us-east-1b"], [2]),
    ("create-time", ["2026-01-01T00:0[0-9]:*"], []),
    ("create-time", ["2026-01-01T00:01*", "2026-01-01T00:02:00Z"], [2, 3]),
    ("encrypted", ["false"], [1, 2, 3]),
    ("encrypted", ["true"], []),
    ("fast-restored", ["false"], [1, 2, 3]),
    ("multi-attach-enabled", ["false"], [1, 2, 3]),
    ("size", ["1"], [1, 3]),
    ("snapshot-id", [SNAP], [3]),
    ("snapshot-id", [""], [1, 2]),
    ("status", ["available"], [1, 2, 3]),
    ("status", ["in-use"], []),
    ("tag:Name", ["web?"], [1, 2]),
    ("tag-key", ["x"], [3]),
    ("volume-type", ["gp?"], [1, 2]),
    ("attachment.instance-id", ["*"], []),
    ("attachment.status", ["attached"], []),
]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("name", "values", "numbers"), QUERIES)
def test_filters(context: StoreContext, name: str, values: list[str], numbers: list[int]) -> None:
    assert find(context, VolumeQuery(filters=[Filter(name, values)])) == numbers


def test_filter_by_id_and_ids(context: StoreContext, three: list[VolumeRecord]) -> None:
    ids = [record.volume_id for record in three]

    assert find(context, VolumeQuery(filters=[Filter("volume-id", ids[1:])])) == [2, 3]
    assert find(context, VolumeQuery(volume_ids=[ids[2], ids[0], ids[0]])) == [1, 3]
    query = VolumeQuery(volume_ids=ids, filters=[Filter("size", ["20"])])
    assert find(context, query) == [2]


def test_id_that_does_not_exist_refuses_the_query(
    context: StoreContext, three: list[VolumeRecord]
) -> None:
    query = VolumeQuery(volume_ids=[three[0].volume_id, NOWHERE])

    assert refused(lambda: find(context, query)) is ErrorCode.INVALID_VOLUME_NOT_FOUND
    bad = VolumeQuery(volume_ids=["vol-1"])
    assert refused(lambda: find(context, bad)) is ErrorCode.INVALID_VOLUME_ID_MALFORMED


@pytest.mark.usefixtures("three")
def test_states_are_filtered_and_checked(context: StoreContext) -> None:
    assert find(context, VolumeQuery(states=["available", "error"])) == [1, 2, 3]
    assert find(context, VolumeQuery(states=["error"])) == []
    query = VolumeQuery(states=["bogus"])
    assert refused(lambda: find(context, query)) is ErrorCode.INVALID_PARAMETER_VALUE


def test_pages_of_volumes(context: StoreContext) -> None:
    made = [create(context, VolumeRequest(size_gib=1)).volume_id for _ in range(7)]

    first = describe_volumes(context, VolumeQuery(max_results=5))
    rest = describe_volumes(context, VolumeQuery(max_results=5, next_token=first.next_token))

    assert [shown.volume_id for shown in (*first.volumes, *rest.volumes)] == made
    assert rest.next_token is None
    for other in (
        VolumeQuery(next_token=first.next_token, states=["available"]),
        VolumeQuery(next_token=first.next_token, filters=[Filter("size", ["1"])]),
        VolumeQuery(next_token="bogus"),
    ):
        code = refused(lambda other=other: describe_volumes(context, other))  # type: ignore[misc]
        assert code is ErrorCode.INVALID_PAGINATION_TOKEN


def test_pages_and_ids_exclude_each_other(context: StoreContext) -> None:
    record = create(context, VolumeRequest(size_gib=1))
    query = VolumeQuery(volume_ids=[record.volume_id], max_results=5)

    code = refused(lambda: describe_volumes(context, query))

    assert code is ErrorCode.INVALID_PARAMETER_COMBINATION


# modifications


def modify(
    context: StoreContext, record: VolumeRecord, **wanted: int | str | None
) -> VolumeModification:
    request = VolumeModificationRequest(**wanted)  # type: ignore[arg-type]
    return context.catalog.update(
        lambda writer: modify_volume(context, writer, record.volume_id, request)
    )[1]


def state_of(context: StoreContext) -> tuple[ModificationState, int]:
    with context.catalog.read() as reader:
        (found,) = list_modifications(context, reader, [])
    return found.state, found.progress_percent


def test_modification_is_completed_at_once_by_default(context: StoreContext) -> None:
    record = create(context, VolumeRequest(size_gib=10))

    done = modify(context, record, size_gib=20, volume_type="gp3", iops=5000)

    assert done == VolumeModification(
        volume_id=record.volume_id,
        state=ModificationState.COMPLETED,
        original=VolumeShape(size_gib=10, volume_type="gp2", iops=100, throughput=0),
        target=VolumeShape(size_gib=20, volume_type="gp3", iops=5000, throughput=125),
        progress_percent=100,
        start_time_us=START_US,
        end_time_us=START_US,
    )
    with context.catalog.read() as reader:
        shown = to_volume(get_managed(reader, record.volume_id))
    assert (shown.size_bytes, shown.volume_type, shown.iops) == (20 * GIB, "gp3", 5000)


def test_volume_that_was_never_modified_has_no_modification(context: StoreContext) -> None:
    record = create(context, VolumeRequest(size_gib=10))

    assert modification_of(record, START_US) is None
    with context.catalog.read() as reader:
        assert list_modifications(context, reader, [record.volume_id]) == []


def test_states_of_a_modification_follow_the_clock(
    context: StoreContext, clock: ManualClock
) -> None:
    set_quotas(context, modification_s=1000)
    record = create(context, VolumeRequest(size_gib=1))

    assert modify(context, record, size_gib=2).state is ModificationState.MODIFYING
    assert state_of(context) == (ModificationState.MODIFYING, 0)
    clock.advance(10)
    assert state_of(context) == (ModificationState.OPTIMIZING, 1)
    clock.advance(500)
    assert state_of(context) == (ModificationState.OPTIMIZING, 51)
    clock.advance(489)
    assert state_of(context) == (ModificationState.OPTIMIZING, 99)
    clock.advance(1)
    assert state_of(context) == (ModificationState.COMPLETED, 100)


def test_clock_that_is_set_back_shows_the_beginning(
    context: StoreContext, clock: ManualClock
) -> None:
    set_quotas(context, modification_s=1000)
    modify(context, create(context, VolumeRequest(size_gib=1)), size_gib=2)

    clock.advance(-86_400)

    assert state_of(context) == (ModificationState.MODIFYING, 0)


def test_modification_while_one_is_running_is_refused(
    context: StoreContext, clock: ManualClock
) -> None:
    set_quotas(context, modification_s=60)
    record = create(context, VolumeRequest(size_gib=1))
    modify(context, record, size_gib=2)

    code = refused(lambda: modify(context, record, size_gib=3))
    assert code is ErrorCode.INCORRECT_MODIFICATION_STATE

    clock.advance(60)
    assert modify(context, record, size_gib=3).target.size_gib == 3


def test_four_modifications_in_24_hours(context: StoreContext, clock: ManualClock) -> None:
    record = create(context, VolumeRequest(size_gib=1))
    for size in (2, 3, 4, 5):
        modify(context, record, size_gib=size)
        clock.advance(3600)
    code = refused(lambda: modify(context, record, size_gib=6))
    assert code is ErrorCode.VOLUME_MODIFICATION_RATE_EXCEEDED

    clock.advance(20 * 3600)  # 24 hours after the first: there is room for one again
    modify(context, record, size_gib=6)

    code = refused(lambda: modify(context, record, size_gib=7))
    assert code is ErrorCode.VOLUME_MODIFICATION_RATE_EXCEEDED


def test_refused_modification_does_not_count(context: StoreContext) -> None:
    record = create(context, VolumeRequest(size_gib=5))
    for _ in range(10):
        refused(lambda: modify(context, record, size_gib=4))

    assert modify(context, record, size_gib=6).state is ModificationState.COMPLETED


@pytest.mark.parametrize("state", [VolumeState.CREATING, VolumeState.DELETING, VolumeState.ERROR])
def test_volume_in_another_state_is_not_modified(context: StoreContext, state: VolumeState) -> None:
    record = replace(create(context, VolumeRequest(size_gib=5)), state=state)
    context.catalog.update(lambda writer: put_managed(writer, record))

    assert refused(lambda: modify(context, record, size_gib=6)) is ErrorCode.INCORRECT_STATE


def test_unknown_volume_is_not_modified(context: StoreContext) -> None:
    record = create(context, VolumeRequest(size_gib=5))
    gone = replace(record, volume_id=NOWHERE)

    code = refused(lambda: modify(context, gone, size_gib=6))

    assert code is ErrorCode.INVALID_VOLUME_NOT_FOUND


def test_modification_that_changes_nothing_is_refused_and_not_counted(
    context: StoreContext,
) -> None:
    """The facts (section 3.4) name no such case; a slot of the day must not go for nothing."""
    record = create(context, VolumeRequest(size_gib=8, volume_type="gp3"))
    for _ in range(5):
        for same in ({"size_gib": 8}, {"volume_type": "gp3"}, {"iops": 3000, "size_gib": 8}):
            code = refused(lambda same=same: modify(context, record, **same))  # type: ignore[misc]
            assert code is ErrorCode.INVALID_PARAMETER_VALUE

    for size in (9, 10, 11, 12):
        modify(context, record, size_gib=size)


def test_refusal_says_when_the_next_modification_is_possible(
    context: StoreContext, clock: ManualClock
) -> None:
    record = create(context, VolumeRequest(size_gib=1))
    first_us = clock.now_us()
    for size in (2, 3, 4, 5):
        modify(context, record, size_gib=size)
        clock.advance(3600)

    with pytest.raises(EbsimError) as caught:
        modify(context, record, size_gib=6)

    assert format_time(first_us + 24 * 3600 * 1_000_000) in str(caught.value)
