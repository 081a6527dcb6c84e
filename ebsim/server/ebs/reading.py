"""ListSnapshotBlocks, ListChangedBlocks and GetSnapshotBlock (semantics section 4.3)."""

import base64
import hashlib

from ebsim.core.block_operations import PAGE_MAX, PAGE_MIN
from ebsim.server.ec2.documents import answer, moment
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.server.tokens import BLOCK_TOKEN_S, BlockTokens, PageTokens
from ebsim.units import BLOCK_SIZE, size_gib


@OPERATIONS.add("ebs", "ListSnapshotBlocks")
def list_snapshot_blocks(served: Served) -> Document:
    """Return a page of the blocks that a snapshot has."""
    given, blocks = served.parameters, served.store.blocks
    snapshot_id = given["SnapshotId"]
    query = ("blocks", served.caller.account, snapshot_id)
    start, count = _page(served, query)
    page = blocks.list(snapshot_id, start, count)
    expires_s = served.now_s + BLOCK_TOKEN_S
    tokens = _block_tokens(served).make(snapshot_id, page.indices, expires_s)
    return answer(
        Blocks=[
            {"BlockIndex": index, "BlockToken": token}
            for index, token in zip(page.indices, tokens, strict=True)
        ],
        NextToken=_next(served, query, page.next_index),
        ExpiryTime=moment(expires_s * 1_000_000),
        VolumeSize=size_gib(page.size_bytes),
        BlockSize=BLOCK_SIZE,
    )


@OPERATIONS.add("ebs", "ListChangedBlocks")
def list_changed_blocks(served: Served) -> Document:
    """Return a page of the blocks in which two snapshots differ."""
    given = served.parameters
    first, second = given.get("FirstSnapshotId", ""), given["SecondSnapshotId"]
    if not first:
        raise _invalid("FirstSnapshotId is missing.", "INVALID_SNAPSHOT_ID")
    query = ("changed", served.caller.account, first, second)
    start, count = _page(served, query)
    page = served.store.blocks.list_changed(first, second, start, count)
    expires_s = served.now_s + BLOCK_TOKEN_S
    tokens = _block_tokens(served)
    ones = [each.index for each in page.blocks if each.in_first]
    twos = [each.index for each in page.blocks if each.in_second]
    one = dict(zip(ones, tokens.make(first, ones, expires_s), strict=True))
    two = dict(zip(twos, tokens.make(second, twos, expires_s), strict=True))
    return answer(
        ChangedBlocks=[
            answer(
                BlockIndex=each.index,
                FirstBlockToken=one.get(each.index),
                SecondBlockToken=two.get(each.index),
            )
            for each in page.blocks
        ],
        NextToken=_next(served, query, page.next_index),
        ExpiryTime=moment(expires_s * 1_000_000),
        VolumeSize=size_gib(page.size_bytes),
        BlockSize=BLOCK_SIZE,
    )


@OPERATIONS.add("ebs", "GetSnapshotBlock")
def get_snapshot_block(served: Served) -> Document:
    """Return the bytes of a block."""
    given = served.parameters
    snapshot_id, index = given["SnapshotId"], given["BlockIndex"]
    if not _block_tokens(served).is_good(snapshot_id, index, given["BlockToken"], served.now_s):
        raise _invalid(
            f"The block token is expired, or none of block {index} of {snapshot_id}.",
            "INVALID_BLOCK_TOKEN",
        )
    data = served.store.blocks.read(snapshot_id, index)
    return {
        "DataLength": len(data),
        "BlockData": data,
        "Checksum": base64.b64encode(hashlib.sha256(data).digest()).decode("ascii"),
        "ChecksumAlgorithm": "SHA256",
    }


def _page(served: Served, query: tuple[str, ...]) -> tuple[int, int]:
    """Return where a page begins, and how many blocks it has at most."""
    given = served.parameters
    count = min(max(given.get("MaxResults", PAGE_MAX), PAGE_MIN), PAGE_MAX)
    token = given.get("NextToken")
    if not token:
        return given.get("StartingBlockIndex", 0), count
    start = PageTokens(served.store.secret("page tokens")).read(query, token, served.now_s)
    if start is None:
        raise _invalid("The page token is expired, or another request's.", "INVALID_PAGE_TOKEN")
    return start, count


def _next(served: Served, query: tuple[str, ...], position: int | None) -> str | None:
    if position is None:
        return None
    return PageTokens(served.store.secret("page tokens")).make(query, position, served.now_s)


def _block_tokens(served: Served) -> BlockTokens:
    return BlockTokens(served.store.secret("block tokens"))


def _invalid(message: str, reason: str) -> FaultError:
    return FaultError("ValidationException", message, 400, {"Reason": reason})
