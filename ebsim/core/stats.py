"""Sizes and counts of a whole store."""

from ebsim.core.context import StoreContext
from ebsim.core.snapshots import list_snapshots
from ebsim.core.tier_rules import archived_blocks
from ebsim.format.catalog_values import SegmentRecord, Table
from ebsim.reports import StoreStats
from ebsim.units import BLOCK_SIZE


def store_stats(context: StoreContext) -> StoreStats:
    """Return both sizes, charged and stored, and what makes them up."""
    with context.catalog.read() as reader:
        snapshots = list_snapshots(reader)
        segments = [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]
        volumes = reader.count(Table.VOLUMES)
        blocks = reader.count(Table.BLOCKS)
    return StoreStats(
        snapshots=len(snapshots),
        volumes=volumes,
        charged_size_bytes=sum(record.charged_blocks for record in snapshots) * BLOCK_SIZE,
        archived_size_bytes=sum(archived_blocks(record) for record in snapshots) * BLOCK_SIZE,
        full_size_bytes=sum(record.full_blocks for record in snapshots if record.node) * BLOCK_SIZE,
        stored_size_bytes=context.segments.stored_bytes(),
        catalog_size_bytes=context.catalog.size_bytes(),
        live_size_bytes=sum(record.live_bytes for record in segments),
        blocks=blocks,
        segments=len(segments),
    )
