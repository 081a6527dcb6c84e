"""The EBS direct APIs over boto3: reading snapshots block by block (semantics section 4.3)."""

import base64
import hashlib
from typing import Any

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.contents import NOISE, TEXT, noise_block
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

pytest.importorskip("boto3")
from botocore.exceptions import ClientError

ZEROS = bytes(BLOCK_SIZE)


def refused(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], response.get("Reason", ""), status


@pytest.fixture
def snapshots(ebsim_store: Store) -> tuple[str, str]:
    """Two of one disk: block 1 is changed, 2 is new, 3 is the same, 4 is gone, 0 never written."""
    one = ebsim_store.create_snapshot(disk_of(ZEROS, TEXT, ZEROS, NOISE, TEXT, ZEROS))
    two = ebsim_store.create_snapshot(disk_of(ZEROS, NOISE, TEXT, NOISE, ZEROS, ZEROS))
    return one.snapshot_id, two.snapshot_id


def test_blocks_are_listed_and_read(ebsim_ebs: Any, snapshots: tuple[str, str]) -> None:
    listed = ebsim_ebs.list_snapshot_blocks(SnapshotId=snapshots[0])

    assert [each["BlockIndex"] for each in listed["Blocks"]] == [1, 3, 4]
    assert (listed["BlockSize"], listed["VolumeSize"]) == (BLOCK_SIZE, 1)
    assert "NextToken" not in listed
    for each, expected in zip(listed["Blocks"], (TEXT, NOISE, TEXT), strict=True):
        got = ebsim_ebs.get_snapshot_block(SnapshotId=snapshots[0], **each)
        data = got["BlockData"].read()
        assert data == expected
        assert got["DataLength"] == BLOCK_SIZE
        assert got["Checksum"] == base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_changed_blocks_have_a_token_for_each_side(
    ebsim_ebs: Any, snapshots: tuple[str, str]
) -> None:
    first, second = snapshots

    changed = ebsim_ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)

    sides = {
        each["BlockIndex"]: {name for name in each if name != "BlockIndex"}
        for each in changed["ChangedBlocks"]
    }
    both = {"FirstBlockToken", "SecondBlockToken"}
    assert sides == {1: both, 2: {"SecondBlockToken"}, 4: both}
    token = changed["ChangedBlocks"][0]["SecondBlockToken"]
    got = ebsim_ebs.get_snapshot_block(SnapshotId=second, BlockIndex=1, BlockToken=token)
    assert got["BlockData"].read() == NOISE


def test_pages_go_by_the_blocks_that_exist_and_may_be_empty(
    ebsim_ebs: Any, ebsim_store: Store
) -> None:
    """Section 11, point 8: of 1,000 blocks the last differs, with 100 on a page."""
    blocks = [TEXT] * 999
    first = ebsim_store.create_snapshot(disk_of(*blocks, TEXT)).snapshot_id
    second = ebsim_store.create_snapshot(disk_of(*blocks, NOISE)).snapshot_id
    pages: list[list[int]] = []
    more: dict[str, str] = {}
    while True:
        page = ebsim_ebs.list_changed_blocks(
            FirstSnapshotId=first, SecondSnapshotId=second, MaxResults=100, **more
        )
        pages.append([each["BlockIndex"] for each in page["ChangedBlocks"]])
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}

    assert pages == [[]] * 9 + [[999]]


def test_start_is_where_the_list_begins(ebsim_ebs: Any, snapshots: tuple[str, str]) -> None:
    listed = ebsim_ebs.list_snapshot_blocks(SnapshotId=snapshots[0], StartingBlockIndex=2)

    assert [each["BlockIndex"] for each in listed["Blocks"]] == [3, 4]


def test_tokens_end_and_are_of_one_block_and_one_query(
    ebsim_ebs: Any, ebsim_store: Store, ebsim_clock: ManualClock, snapshots: tuple[str, str]
) -> None:
    """Section 11, point 8: block tokens live seven days, page tokens an hour."""
    first, second = snapshots
    (one, other, _) = ebsim_ebs.list_snapshot_blocks(SnapshotId=first)["Blocks"]
    wrong = [
        {"SnapshotId": first, "BlockIndex": 3, "BlockToken": one["BlockToken"]},
        {"SnapshotId": second, **one},
        {"SnapshotId": first, "BlockIndex": 1, "BlockToken": "A" * 24},
        {"SnapshotId": first, "BlockIndex": 1, "BlockToken": "nonsense"},
    ]
    for parameters in wrong:
        with pytest.raises(ClientError) as caught:
            ebsim_ebs.get_snapshot_block(**parameters)
        assert refused(caught) == ("ValidationException", "INVALID_BLOCK_TOKEN", 400)
    large = ebsim_store.create_snapshot(
        disk_of(*map(noise_block, range(101)), name="memory:large"), SnapshotOptions()
    ).snapshot_id
    token = ebsim_ebs.list_snapshot_blocks(SnapshotId=large, MaxResults=100)["NextToken"]
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.list_snapshot_blocks(SnapshotId=first, NextToken=token)
    assert refused(caught) == ("ValidationException", "INVALID_PAGE_TOKEN", 400)

    ebsim_clock.advance(seconds=59 * 60)
    assert ebsim_ebs.list_snapshot_blocks(SnapshotId=large, NextToken=token)["Blocks"]
    ebsim_clock.advance(seconds=2 * 60)
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.list_snapshot_blocks(SnapshotId=large, NextToken=token)
    assert refused(caught) == ("ValidationException", "INVALID_PAGE_TOKEN", 400)
    ebsim_clock.advance(days=6, hours=22)
    ebsim_ebs.get_snapshot_block(SnapshotId=first, **other)
    ebsim_clock.advance(hours=2)
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.get_snapshot_block(SnapshotId=first, **other)
    assert refused(caught) == ("ValidationException", "INVALID_BLOCK_TOKEN", 400)


def test_refusals_have_their_reasons(
    ebsim_ebs: Any, ebsim_store: Store, snapshots: tuple[str, str]
) -> None:
    """Semantics section 4.6."""
    stranger = ebsim_store.create_snapshot(disk_of(TEXT, name="memory:stranger")).snapshot_id
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.list_snapshot_blocks(SnapshotId="snap-0123456789abcdef0")
    assert refused(caught) == ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404)
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.list_changed_blocks(FirstSnapshotId=stranger, SecondSnapshotId=snapshots[0])
    assert refused(caught) == ("ValidationException", "UNRELATED_SNAPSHOTS", 400)
    with pytest.raises(ClientError) as caught:
        ebsim_ebs.list_changed_blocks(SecondSnapshotId=snapshots[0])
    assert refused(caught) == ("ValidationException", "INVALID_SNAPSHOT_ID", 400)


def test_other_account_reads_nothing(
    ebsim_endpoint: RunningEndpoint, ebsim_ebs: Any, snapshots: tuple[str, str]
) -> None:
    (block, *_) = ebsim_ebs.list_snapshot_blocks(SnapshotId=snapshots[0])["Blocks"]
    other = ebsim_endpoint.client("ebs", "111122223333")

    for call, parameters in (
        (other.list_snapshot_blocks, {"SnapshotId": snapshots[0]}),
        (other.get_snapshot_block, {"SnapshotId": snapshots[0], **block}),
    ):
        with pytest.raises(ClientError) as caught:
            call(**parameters)
        assert refused(caught) == ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404)
