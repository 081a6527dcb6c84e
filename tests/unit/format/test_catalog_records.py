"""Snapshots, volumes and charges as JSON: whatever users and paths hold comes back."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.records import (
    SnapshotRecord,
    VolumeRecord,
    decode_event,
    decode_json,
    decode_snapshot,
    decode_volume,
    encode_event,
    encode_json,
    encode_snapshot,
    encode_volume,
)
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import ChargeCause, ChargeEvent, SnapshotState
from ebsim.units import BLOCK_SIZE

UNDECODABLE = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
"""What Python makes of the bytes of a path that are no UTF-8."""

TEXTS = st.text(st.one_of(st.characters(), UNDECODABLE), max_size=20)
COUNTS = st.integers(0, 2**64 - 1)
SNAPSHOT_IDS = st.integers(0, 2**68 - 1).map(lambda n: SnapshotId(f"snap-{n:017x}"))
VOLUME_IDS = st.integers(0, 2**68 - 1).map(lambda n: VolumeId(f"vol-{n:017x}"))

SNAPSHOT = SnapshotRecord(
    snapshot_id=SnapshotId("snap-0123456789abcdef0"),
    volume_id=VolumeId("vol-0123456789abcdef0"),
    state=SnapshotState.COMPLETED,
    begun=8,
    start_us=1_000_000,
    completion_us=2_000_000,
    description="nightly",
    tags={"Name": "web1"},
    size_bytes=3 * BLOCK_SIZE + 1,
    scanned_bytes=3 * BLOCK_SIZE + 1,
    full_blocks=4,
    incremental_blocks=3,
    charged_blocks=2,
    parent_id=SnapshotId("snap-0123456789abcdef1"),
    source="/disks/web1.img",
    node=9,
)


@st.composite
def snapshots(draw: st.DrawFn) -> SnapshotRecord:
    return SnapshotRecord(
        snapshot_id=draw(SNAPSHOT_IDS),
        volume_id=draw(VOLUME_IDS),
        state=draw(st.sampled_from(SnapshotState)),
        state_message=draw(TEXTS),
        session=draw(COUNTS),
        begun=draw(COUNTS),
        start_us=draw(COUNTS),
        completion_us=draw(st.none() | COUNTS),
        description=draw(TEXTS),
        tags=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        size_bytes=draw(COUNTS),
        charged_blocks=draw(COUNTS),
        parent_id=draw(st.none() | SNAPSHOT_IDS),
        source=draw(TEXTS),
        root=draw(COUNTS),
    )


@given(snapshots())
def test_snapshot_comes_back(record: SnapshotRecord) -> None:
    data = encode_snapshot(record)

    assert decode_snapshot(data) == record
    assert data.isascii()


@given(
    st.builds(
        VolumeRecord,
        volume_id=VOLUME_IDS,
        number=COUNTS,
        source=TEXTS,
        size_bytes=COUNTS,
        created_us=COUNTS,
    )
)
def test_volume_comes_back(record: VolumeRecord) -> None:
    assert decode_volume(encode_volume(record)) == record


@given(
    st.builds(
        ChargeEvent,
        sequence=COUNTS,
        time_us=COUNTS,
        cause=st.sampled_from(ChargeCause),
        snapshot_id=SNAPSHOT_IDS,
        volume_id=VOLUME_IDS,
        blocks=st.integers(-(2**40), 2**40),
        other_id=st.none() | SNAPSHOT_IDS,
    )
)
def test_ledger_entry_comes_back(event: ChargeEvent) -> None:
    found = decode_event(encode_event(event))

    assert found == event
    assert isinstance(found.cause, ChargeCause)


def test_one_value_has_one_encoding() -> None:
    """The journal is a chain of checksums, and store.json has one too."""
    assert encode_json({"b": 1, "a": [1, None, "é"]}) == b'{"a":[1,null,"\\u00e9"],"b":1}'
    assert encode_json({"a": [1, None, "é"], "b": 1}) == encode_json({"b": 1, "a": [1, None, "é"]})


def test_field_that_an_older_store_lacks_has_its_default() -> None:
    fields = json.loads(encode_snapshot(SNAPSHOT))
    for name in ("tier", "region", "owner", "domain", "lineage"):
        fields.pop(name, None)

    assert decode_snapshot(json.dumps(fields).encode()) == SNAPSHOT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b'{"a":1',
        b'{"a":1} x',
        b"{}" * 2,
        b"[" * 60_000,
        b'{"a":' * 60_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_object_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptionError) as caught:
        decode_json(data)

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


@pytest.mark.parametrize("decode", [decode_snapshot, decode_volume, decode_event])
@pytest.mark.parametrize(
    "data", [b"garbage", b"{}", b'{"a":1}', encode_json({"snapshot_id": "snap-0"})]
)
def test_object_with_other_fields_is_damage(decode: object, data: bytes) -> None:
    assert callable(decode)
    with pytest.raises(CorruptionError) as caught:
        decode(data)

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


def test_cause_that_nobody_knows_is_damage() -> None:
    event = ChargeEvent(
        sequence=1,
        time_us=2,
        cause=ChargeCause.FREED,
        snapshot_id=SNAPSHOT.snapshot_id,
        volume_id=SNAPSHOT.volume_id,
        blocks=-1,
        other_id=None,
    )

    with pytest.raises(CorruptionError, match="ledger"):
        decode_event(encode_event(event).replace(b"freed", b"stolen"))


# what a user sees of a record


def test_sizes_are_blocks_times_512_kib() -> None:
    shown = SNAPSHOT.to_result()

    assert shown.full_size_bytes == 4 * 524_288
    assert shown.incremental_size_bytes == 3 * 524_288
    assert shown.charged_size_bytes == 2 * 524_288
    assert shown.size_bytes == 3 * 524_288 + 1


def test_facts_are_shown_as_they_are() -> None:
    shown = SNAPSHOT.to_result()

    for name in ("snapshot_id", "volume_id", "description", "tags", "parent_id", "source"):
        assert getattr(shown, name) == getattr(SNAPSHOT, name)
    assert (shown.start_time_us, shown.completion_time_us) == (1_000_000, 2_000_000)
    assert shown.state is SnapshotState.COMPLETED


@pytest.mark.parametrize(
    ("state", "scanned", "size", "percent"),
    [
        (SnapshotState.COMPLETED, 0, 1000, 100),
        (SnapshotState.ERROR, 500, 1000, 0),
        (SnapshotState.PENDING, 0, 1000, 0),
        (SnapshotState.PENDING, 505, 1000, 50),
        (SnapshotState.PENDING, 1000, 1000, 99),
        (SnapshotState.PENDING, 0, 0, 0),
    ],
)
def test_progress_reaches_100_only_with_completion(
    state: SnapshotState, scanned: int, size: int, percent: int
) -> None:
    record = replace(SNAPSHOT, state=state, scanned_bytes=scanned, size_bytes=size)

    assert record.to_result().progress_percent == percent


def test_charge_changes_in_a_new_record() -> None:
    assert SNAPSHOT.charged(5).charged_blocks == 7
    assert SNAPSHOT.charged(-2).charged_blocks == 0
    assert SNAPSHOT.charged_blocks == 2
