"""Listing the blocks of snapshots in pages (semantics section 4.3).

A page is cut by the blocks that exist in the snapshots, not by those that differ: a page of changed
blocks may so be empty, and another follow. Stretches that were never written are passed over.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebsim import started_refusals
from ebsim.block_lists import BlockPage, ChangedBlockPage
from ebsim.core.access import owns, usable_snapshot
from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.changed_blocks import ensure_related
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.version_table import look_at_versions, version_blocks
from ebsim.format.map_page import PAGE_ENTRIES
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader

_GROUPS_MAX = 12
"""Pages of the version table up to which looking up a leaf by columns is the faster way."""

Blocks = NDArray[np.uint64]
"""What each place of a leaf holds: 0 where nothing was written."""


def list_blocks(
    context: StoreContext, snapshot_id: SnapshotId, start: int, count: int
) -> BlockPage:
    """Return up to `count` blocks that a snapshot has, from index `start` on.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
        ConflictError: It is not completed.
        ForbiddenError: It is another account's, which shares it with all and not with the caller.
        EbsimError: Its key cannot be had.
    """
    with context.catalog.read() as reader:
        record = _listable(context, reader, snapshot_id)
        found: list[int] = []
        next_index = None
        for base, here, _ in _leaves(reader, record.root, 0, start):
            places = np.flatnonzero(here) + base
            room = count - len(found)
            found += places[places >= start][: room + 1].tolist()
            if len(found) > count:
                next_index = found.pop()
                break
    open_domain(context, record.domain)
    return BlockPage(
        snapshot_id=snapshot_id,
        size_bytes=record.size_bytes,
        indices=tuple(found),
        next_index=next_index,
    )


def list_changed_blocks(
    context: StoreContext, first: SnapshotId, second: SnapshotId, start: int, count: int
) -> ChangedBlockPage:
    """Return the changes among the next `count` blocks that two snapshots have from `start` on.

    Raises:
        NotFoundError: There is no such snapshot, or the caller may not see it.
        ConflictError: One is not completed.
        ForbiddenError: As `list_blocks`.
        InvalidInputError: They are not of one lineage.
        EbsimError: The key cannot be had.
    """
    with context.catalog.read() as reader:
        one, two = (_listable(context, reader, each) for each in (first, second))
        ensure_related(one, two)
        found: list[tuple[Blocks, Blocks, Blocks]] = []
        seen = 0
        next_index = None
        for base, here, there in _leaves(reader, one.root, two.root, start):
            places = np.flatnonzero((here != 0) | (there != 0))
            places = places[places + base >= start]
            if seen + len(places) > count:
                next_index = int(places[count - seen]) + base
                places = places[: count - seen]
            seen += len(places)
            differing = places[here[places] != there[places]]
            found.append((differing + base, here[differing] != 0, there[differing] != 0))
            if next_index is not None:
                break
    for record in (one, two):
        open_domain(context, record.domain)
    return ChangedBlockPage(
        first_id=first,
        second_id=second,
        size_bytes=two.size_bytes,
        indices=_column(found, 0),
        in_first=_column(found, 1),
        in_second=_column(found, 2),
        next_index=next_index,
    )


def _listable(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> SnapshotRecord:
    """Return a snapshot whose blocks the caller may list: EBS has that for no public ones."""
    record = usable_snapshot(context, reader, snapshot_id)
    if owns(context.caller, record) or context.acting.account in record.shared_with:
        return record
    raise started_refusals.public_only(snapshot_id)


def _column(found: Sequence[tuple[Any, ...]], number: int) -> tuple[Any, ...]:
    """Return one column of several tables, as Python's own numbers or truths."""
    return tuple(np.concatenate([each[number] for each in found]).tolist()) if found else ()


def _leaves(
    reader: CatalogReader, first: int, second: int, start: int
) -> Iterator[tuple[int, Blocks, Blocks]]:
    """Yield the first index of each leaf that either map has, and what both have there."""
    least = start // LEAF_BLOCKS
    one = {leaf: page for leaf, page in walk_leaves(reader, first) if leaf >= least}
    two = {leaf: page for leaf, page in walk_leaves(reader, second) if leaf >= least}
    for leaf in sorted(one.keys() | two.keys()):
        here, there = one.get(leaf, 0), two.get(leaf, 0)
        blocks = blocks_of_leaf(reader, here)
        yield leaf * LEAF_BLOCKS, blocks, blocks if there == here else blocks_of_leaf(reader, there)


def blocks_of_leaf(reader: CatalogReader, page_id: int) -> Blocks:
    """Return the block ids of a leaf: as `version_blocks`, for many leaves six times as fast."""
    if page_id == 0:
        return np.zeros(LEAF_BLOCKS, dtype=np.uint64)
    page = load_page(reader, page_id)
    versions = np.frombuffer(page, dtype=np.uint64)
    written = versions != 0
    groups = versions // PAGE_ENTRIES
    numbers = np.unique(groups[written]).tolist()
    if len(numbers) > _GROUPS_MAX:
        return np.asarray(version_blocks(reader, page), dtype=np.uint64)
    blocks = np.zeros(LEAF_BLOCKS, dtype=np.uint64)
    for number in numbers:
        here = written & (groups == number)
        table = np.frombuffer(look_at_versions(reader, number), dtype=np.uint64)
        blocks[here] = table[versions[here] % PAGE_ENTRIES]
    if (written & (blocks == 0)).any():
        version_blocks(reader, page)  # it says what is wrong
    return blocks
