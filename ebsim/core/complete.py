"""Completing a snapshot: one transaction gives it its map, its place in the lineage and its charge.

It is the point of commit. Everything it refers to is in segments and synced before; the journal
entry that repeats it for a rebuild is written and synced within it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from ebsim import failpoints
from ebsim.core.abandon import forget_published, release_hold
from ebsim.core.block_maps import PageAllocator, replace_leaves, upper_page_count
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import holds_of
from ebsim.core.counters import take
from ebsim.core.domains import domain_facts
from ebsim.core.events import snapshot_ended
from ebsim.core.image_settling import settle_images
from ebsim.core.journal import MORE, append_entry
from ebsim.core.ledger import record_events
from ebsim.core.lineage import Lineage
from ebsim.core.publish import Prepared, describe_pages, publish_batch, publish_pages
from ebsim.core.sessions import OpenSegment
from ebsim.core.sharing import count_charge
from ebsim.core.snapshots import all_pending, get_pending, get_snapshot, put_snapshot
from ebsim.core.space import SpaceChange
from ebsim.core.successors import follow_completed
from ebsim.core.volume_parent import forget_covered_writes
from ebsim.core.volumes import get_volume, put_volume
from ebsim.format.catalog_values import Counter, MetaRecord, NodeKind, NodeRecord
from ebsim.format.map_page import encode_page
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.results import ChargeCause, ChargeEvent, SnapshotState
from ebsim.storage.catalog import CatalogWriter

CompletionChange = Callable[[CatalogWriter], SnapshotRecord]
Commit = Callable[[CompletionChange], SnapshotRecord]
"""Runs a completion within a transaction and returns the snapshot's final record."""


@dataclass(slots=True)
class MapGrowth:
    """What all batches of a snapshot added to its parent's map.

    Attributes:
        leaves: Leaf number to new page id.
        new_blocks: Blocks that were unwritten before.
        changed_blocks: Versions added.
    """

    leaves: dict[int, int] = field(default_factory=dict)
    new_blocks: int = 0
    changed_blocks: int = 0

    def add(self, prepared: Prepared) -> None:
        """Count a batch in."""
        self.leaves.update(prepared.leaves)
        self.new_blocks += prepared.new_blocks
        self.changed_blocks += len(prepared.changes)


@dataclass(slots=True)
class _Top:
    """The pages of the new map above its leaves."""

    root: int
    first_page: int
    pages: list[bytes]
    records: dict[int, MetaRecord]


def complete(
    context: StoreContext,
    pending: SnapshotRecord,
    segment: OpenSegment,
    prepared: Prepared,
    growth: MapGrowth,
    commit: Commit | None = None,
) -> SnapshotRecord:
    """Publish the last batch and make the snapshot `completed`.

    Args:
        context: The store.
        pending: The snapshot's record.
        segment: Where its last records are.
        prepared: The last batch, where it is not published yet.
        growth: What all batches add to the parent's map.
        commit: Runs the transaction, maybe with those of others; None: by itself.

    Returns:
        The snapshot's final record.

    Raises:
        LimitExceededError, StoreError: Nothing was committed, or the outcome is unknown.
        BlocksVanishedError: Never, if no change of `prepared` relies on a block found stored.
    """
    # Leaves of the last batch are not in the catalog yet; the pages above need only their ids.
    top = _prepare_top(context, pending.root, segment, growth)
    segment.writer.sync()
    failpoints.reach("complete.synced")

    def change(writer: CatalogWriter) -> SnapshotRecord:
        context.ensure_writable()
        current = get_pending(writer, pending.snapshot_id)  # tagged or deleted meanwhile?
        space = SpaceChange(writer)
        publish_batch(writer, space, prepared)
        publish_pages(writer, space, top.first_page, top.pages, top.records)
        forget_published(writer, pending.snapshot_id)
        lineage = Lineage(writer)
        node = _take_place(writer, space, lineage, current, top.root)
        full_blocks = current.full_blocks + growth.new_blocks
        record = replace(
            current,
            state=SnapshotState.COMPLETED,
            state_message="",
            boot="",
            tracked=False,
            compression="",
            session=current.session if current.deletion_wanted else 0,
            hold=0,
            copied_part=None,
            completion_us=context.clock.now_us(),
            scanned_bytes=current.size_bytes,
            full_blocks=full_blocks,
            incremental_blocks=growth.changed_blocks if current.parent_id else full_blocks,
            charged_blocks=count_charge(writer, lineage, node, current.lineage),
            node=node,
            root=top.root,
        )
        follow_completed(writer, lineage, record)
        lineage.save(writer)
        _commit_record(context, writer, space, segment, record)
        segment.publish(writer, segment.writer.end)
        space.save()
        return record

    return (commit or context.catalog.update)(change)


def _take_place(
    writer: CatalogWriter,
    space: SpaceChange,
    lineage: Lineage,
    pending: SnapshotRecord,
    root: int,
) -> int:
    """Put a snapshot into the lineage, in the place of its holds; return its node."""
    node = take(writer, Counter.NODE)
    holds = holds_of(pending)
    under = holds[-1] if holds else 0
    lineage.add(node, NodeRecord(NodeKind.SNAPSHOT, under, root, pending.snapshot_id))
    for hold in holds:
        release_hold(writer, space, lineage, hold)
    return node


def _prepare_top(context: StoreContext, root: int, segment: OpenSegment, growth: MapGrowth) -> _Top:
    count = upper_page_count(growth.leaves)
    if count == 0:
        return _Top(root, 0, [], {})
    first = context.catalog.update(lambda writer: take(writer, Counter.PAGE, count))
    allocator = PageAllocator(first)
    with context.catalog.read() as reader:
        new_root = replace_leaves(reader, root, growth.leaves, allocator)
    pages = [encode_page(page) for page in allocator.pages]
    assert len(pages) == count
    return _Top(new_root, first, pages, describe_pages(segment, first, pages))


def _commit_record(
    context: StoreContext,
    writer: CatalogWriter,
    space: SpaceChange,
    segment: OpenSegment,
    record: SnapshotRecord,
) -> None:
    """Keep the completed record, the volume's new size, the ledger's and the journal's entry."""
    put_snapshot(writer, record)
    facts: dict[str, object] = {"snapshot": asdict(record)}
    if record.epoch:
        forget_covered_writes(writer, record)
    else:
        volume = _grown(get_volume(writer, record.volume_id), record)
        put_volume(writer, volume)
        facts["volume"] = asdict(volume)
    facts.update(domain_facts(writer, record.domain))
    if record.set_id and _is_member_left(writer, record):
        facts[MORE] = True
    sequence = append_entry(context, writer, space, segment, "complete", facts)
    event = ChargeEvent(
        sequence=sequence,
        time_us=record.completion_us or record.start_us,
        cause=ChargeCause.CREATED,
        snapshot_id=record.snapshot_id,
        volume_id=record.volume_id,
        blocks=record.charged_blocks,
        other_id=None,
        owner=record.owner,
        region=record.region,
    )
    record_events(writer, [event])
    snapshot_ended(context, writer, record)
    settle_images(context, writer, record.snapshot_id)


def _is_member_left(writer: CatalogWriter, completed: SnapshotRecord) -> bool:
    """Return whether another member of the set is still to be completed in this transaction."""
    pending = (get_snapshot(writer, each) for each in all_pending(writer))
    return any(
        other.set_id == completed.set_id and other.state == SnapshotState.PENDING
        for other in pending
    )


def _grown(volume: VolumeRecord, record: SnapshotRecord) -> VolumeRecord:
    return replace(volume, size_bytes=record.size_bytes, source=record.source)
