"""ListSnapshotBlocks, ListChangedBlocks and GetSnapshotBlock (semantics section 4.3)."""

import base64
import hashlib
from collections.abc import Iterable

from ebsim.block_lists import PAGE_MAX, PAGE_MIN
from ebsim.server.ec2.documents import answer, moment
from ebsim.server.operations import OPERATIONS, Place, Served
from ebsim.server.protocol.json_body import JsonText
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.server.tokens import BLOCK_TOKEN_S, BlockTokens, PageTokens, block_tokens
from ebsim.units import BLOCK_SIZE, size_gib


def _where_read(served: Served) -> Place:
    """Blocks are read where they keep nobody waiting who computes, unless something fell due.

    That is carried out before, and may wait for another process.
    """
    return Place.WAITING if served.store.is_anything_due else Place.COMPUTING


@OPERATIONS.add("ebs", "ListSnapshotBlocks", _where_read)
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
        Blocks=_json_list(
            f'{{"BlockIndex":{index},"BlockToken":"{token}"}}'
            for index, token in zip(page.indices, tokens, strict=True)
        ),
        NextToken=_next(served, query, page.next_index),
        ExpiryTime=moment(expires_s * 1_000_000),
        VolumeSize=size_gib(page.size_bytes),
        BlockSize=BLOCK_SIZE,
    )


@OPERATIONS.add("ebs", "ListChangedBlocks", _where_read)
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
    ones = tokens.make(first, page.indices, expires_s)
    twos = tokens.make(second, page.indices, expires_s)
    columns = zip(page.indices, page.in_first, page.in_second, ones, twos, strict=True)
    return answer(
        ChangedBlocks=_json_list(_changed_block(*each) for each in columns),
        NextToken=_next(served, query, page.next_index),
        ExpiryTime=moment(expires_s * 1_000_000),
        VolumeSize=size_gib(page.size_bytes),
        BlockSize=BLOCK_SIZE,
    )


@OPERATIONS.add("ebs", "GetSnapshotBlock", _where_read)
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


def _json_list(entries: Iterable[str]) -> JsonText:
    """Return a list of entries that are JSON, made directly: there are ten thousand in a page."""
    return JsonText(f"[{','.join(entries)}]")


def _changed_block(index: int, in_first: bool, in_second: bool, one: str, two: str) -> str:
    first = f',"FirstBlockToken":"{one}"' if in_first else ""
    second = f',"SecondBlockToken":"{two}"' if in_second else ""
    return f'{{"BlockIndex":{index}{first}{second}}}'


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
    return block_tokens(served.store.secret("block tokens"))


def _invalid(message: str, reason: str) -> FaultError:
    return FaultError("ValidationException", message, 400, {"Reason": reason})
