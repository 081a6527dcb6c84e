"""Quotas of a store, and how many snapshots may be pending."""

from dataclasses import replace

import pytest

from ebsim.config import Quotas
from ebsim.core.limits import check_snapshot_limits, unfinished_snapshots
from ebsim.core.quotas import load_quotas, save_quotas
from ebsim.core.snapshots import put_snapshot
from ebsim.errors import EbsimError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.memory_catalog import new_tables
from ebsim.testing.seams import START_US

SECOND_US = 1_000_000
VOLUME = VolumeRecord(
    volume_id=VolumeId("vol-00000000000000001"),
    number=1,
    managed=True,
    source="",
    size_bytes=1 << 30,
    created_us=START_US,
)
OTHER = replace(VOLUME, volume_id=VolumeId("vol-00000000000000002"), number=2)


def add_snapshot(
    writer: CatalogWriter,
    number: int,
    volume: VolumeRecord = VOLUME,
    state: SnapshotState = SnapshotState.PENDING,
    start_us: int = START_US,
) -> SnapshotRecord:
    """Keep a snapshot's record, and that it is unfinished."""
    record = SnapshotRecord(
        snapshot_id=SnapshotId(f"snap-{number:017x}"),
        volume_id=volume.volume_id,
        state=state,
        begun=number,
        start_us=start_us,
        tags={},
        size_bytes=1 << 30,
        source="",
    )
    put_snapshot(writer, record)
    key = volume.volume_id.encode() + number_key(number)
    if state is SnapshotState.COMPLETED:
        writer.delete(Table.VOLUME_UNFINISHED, key)
    else:
        writer.put(Table.VOLUME_UNFINISHED, key, record.snapshot_id.encode())
    return record


def refused(
    writer: CatalogWriter, *volumes: VolumeRecord, now_us: int = START_US
) -> ErrorCode | None:
    try:
        check_snapshot_limits(writer, volumes or (VOLUME,), load_quotas(writer), now_us)
    except EbsimError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("volume_type", "limit"),
    [("gp2", 5), ("gp3", 5), ("io1", 5), ("io2", 5), ("standard", 5), ("st1", 1), ("sc1", 1)],
)
def test_pending_snapshots_of_a_volume_are_limited(volume_type: str, limit: int) -> None:
    tables = new_tables()
    volume = replace(VOLUME, volume_type=volume_type)
    for number in range(limit):
        assert refused(tables, volume) is None
        add_snapshot(tables, number)

    assert refused(tables, volume) is ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED
    assert refused(tables, OTHER) is None


def test_failed_snapshots_count_and_completed_ones_do_not() -> None:
    tables = new_tables()
    for number in range(4):
        add_snapshot(tables, number, state=SnapshotState.ERROR)
    for number in range(4, 9):
        add_snapshot(tables, number, state=SnapshotState.COMPLETED)
    assert refused(tables) is None

    add_snapshot(tables, 9)

    assert refused(tables) is ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED


def test_one_full_volume_refuses_a_whole_set() -> None:
    tables = new_tables()
    for number in range(5):
        add_snapshot(tables, number)

    assert refused(tables, OTHER, VOLUME) is ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED


def test_unfinished_snapshots_are_in_the_order_of_their_beginning() -> None:
    tables = new_tables()
    ids = [add_snapshot(tables, number).snapshot_id for number in (300, 7, 40)]

    assert unfinished_snapshots(tables, VOLUME.volume_id) == [ids[1], ids[2], ids[0]]


def test_limits_can_be_set() -> None:
    tables = new_tables()
    save_quotas(tables, Quotas(pending_per_volume=2, pending_per_hdd_volume=0))
    add_snapshot(tables, 1)
    assert refused(tables) is None
    assert refused(tables, replace(OTHER, volume_type="st1")) is not None

    add_snapshot(tables, 2)

    assert refused(tables) is ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED


def test_account_is_not_limited_until_a_number_is_set() -> None:
    tables = new_tables()
    for number in range(3):
        add_snapshot(tables, number, OTHER)
    assert refused(tables) is None

    save_quotas(tables, Quotas(pending_per_account=4))
    assert refused(tables) is None
    assert refused(tables, VOLUME, OTHER) is ErrorCode.PENDING_SNAPSHOT_LIMIT_EXCEEDED

    save_quotas(tables, Quotas(pending_per_account=3))
    assert refused(tables) is ErrorCode.PENDING_SNAPSHOT_LIMIT_EXCEEDED


def test_region_has_room_for_so_many_snapshots() -> None:
    tables = new_tables()
    save_quotas(tables, Quotas(snapshots_per_region=3))
    add_snapshot(tables, 1, state=SnapshotState.COMPLETED)
    add_snapshot(tables, 2, state=SnapshotState.ERROR)
    assert refused(tables) is None
    assert refused(tables, VOLUME, OTHER) is ErrorCode.SNAPSHOT_LIMIT_EXCEEDED

    add_snapshot(tables, 3, state=SnapshotState.COMPLETED)

    assert refused(tables) is ErrorCode.SNAPSHOT_LIMIT_EXCEEDED


def test_spacing_is_off_by_default() -> None:
    tables = new_tables()
    add_snapshot(tables, 1)

    assert refused(tables) is None


@pytest.mark.parametrize(
    ("state", "age_s", "code"),
    [
        (SnapshotState.PENDING, 0, ErrorCode.SNAPSHOT_CREATION_PER_VOLUME_RATE_EXCEEDED),
        (SnapshotState.PENDING, 14.9, ErrorCode.SNAPSHOT_CREATION_PER_VOLUME_RATE_EXCEEDED),
        (SnapshotState.PENDING, 15, None),
        (SnapshotState.PENDING, -60, None),  # the clock was set back
        (SnapshotState.ERROR, 0, None),
        (SnapshotState.COMPLETED, 0, None),
    ],
)
def test_spacing_is_15_seconds_while_another_is_pending(
    state: SnapshotState, age_s: float, code: ErrorCode | None
) -> None:
    tables = new_tables()
    save_quotas(tables, Quotas(snapshot_spacing_s=15))
    add_snapshot(tables, 1, state=state)

    assert refused(tables, now_us=START_US + round(age_s * SECOND_US)) is code
    assert refused(tables, OTHER) is None


# quotas


def test_quotas_are_those_of_ebs_until_others_are_kept() -> None:
    tables = new_tables()
    assert load_quotas(tables) == Quotas()

    wanted = Quotas(pending_per_account=7, modification_s=0.5, storage_gib_per_type=100)
    save_quotas(tables, wanted)

    assert load_quotas(tables) == wanted


def test_negative_quota_is_refused() -> None:
    tables = new_tables()

    with pytest.raises(EbsimError, match="snapshots_per_region"):
        save_quotas(tables, Quotas(snapshots_per_region=-1))
    assert load_quotas(tables) == Quotas()


@pytest.mark.parametrize("value", [b"", b"[]", b'{"bogus":1}'])
def test_damaged_quotas_are_damage(value: bytes) -> None:
    tables = new_tables()
    tables.put(Table.META, b"quotas", value)

    with pytest.raises(EbsimError) as caught:
        load_quotas(tables)
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG
