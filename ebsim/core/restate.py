"""Restating an entry of the journal that is damaged, from what the catalog knows.

    complete   the snapshot's record as it is now, with the charge that it began with
    gone       the same for a snapshot that is deleted: its charge, and where its children hang
    delete     what the ledger says
    tier       what the ledger says, and the snapshot's tier as it is now
    state      for every other operation: all volumes, images, policies, quotas, settings and tags
               as they are now; what later entries did to them is done again, and ends where it
               ended

Telling the journal with such an entry gives the same catalog (`ebsim.core.rebuild_journal`).
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from ebsim.core.context import StoreContext
from ebsim.core.domains import domain_facts, list_domains
from ebsim.core.fast_restores import all_fast_restores, facts_of
from ebsim.core.rebuild_journal import MEMBERS
from ebsim.core.rebuild_scan import RESTATED, JournalEntry, Place, journal_entry
from ebsim.core.snapshots import find_snapshot, list_snapshots
from ebsim.core.space import get_segment
from ebsim.core.volume_parent import ORIGIN_EPOCH
from ebsim.errors import CorruptionError, EbsimError, ErrorCode
from ebsim.format.account_records import decode_settings
from ebsim.format.bin_records import decode_rule
from ebsim.format.catalog_values import MetaRecord, NodeRecord, Table, number_key
from ebsim.format.checksum import CHECKSUM_SIZE
from ebsim.format.life_records import decode_image, decode_policy
from ebsim.format.meta_records import encode_journal
from ebsim.format.records import decode_event, decode_json, decode_volume, event_facts
from ebsim.results import ChargeCause, ChargeEvent
from ebsim.storage.catalog import CatalogReader
from ebsim.tiering import StorageTier


def restate_entry(context: StoreContext, sequence: int) -> bytes:
    """Return the payload of the entry that takes the place of a damaged one.

    Raises:
        CorruptionError: The catalog does not know enough.
    """
    before, after = _entry_or_none(context, sequence - 1), _entry_or_none(context, sequence + 1)
    if before is None and sequence > 1:
        raise CorruptionError(
            f"entry {sequence - 1} of the journal must be whole first", ErrorCode.CORRUPT_SEGMENT
        )
    with context.catalog.read() as reader:
        last = reader.get(Table.JOURNAL, number_key(sequence + 1)) is None
        stands_for = reader.get(Table.META, b"journal") if last else None
        operation, facts = _what_it_did(context, reader, sequence)
        fast_restores = facts_of(all_fast_restores(reader))  # any operation may have changed some
    if after is not None:
        stands_for = after.previous
    return encode_journal(
        sequence,
        before.checksum if before is not None else bytes(CHECKSUM_SIZE),
        RESTATED,
        {
            "stands_for": (stands_for or bytes(CHECKSUM_SIZE)).hex(),
            "operation": operation,
            "facts": facts,
            **fast_restores,
        },
    )


def _entry_or_none(context: StoreContext, sequence: int) -> JournalEntry | None:
    """Return an entry of the journal if there is one and it is whole."""
    with context.catalog.read() as reader:
        value = reader.get(Table.JOURNAL, number_key(sequence))
        if value is None:
            return None
        record = MetaRecord.decode(value)
        segment_id = get_segment(reader, record.segment).segment_id
    try:
        _, payload = context.segments.read_record(segment_id, record.offset, record.extent)
        return journal_entry(payload, Place(record.segment, record.offset, record.extent))
    except (EbsimError, KeyError, ValueError, TypeError):
        return None


def _what_it_did(
    context: StoreContext, reader: CatalogReader, sequence: int
) -> tuple[str, dict[str, Any]]:
    found = reader.items(Table.LEDGER, prefix=number_key(sequence))
    events = [decode_event(value) for _, value in found]
    if not events:
        return "state", _state(reader)
    if any(event.cause in _TIER_CAUSES for event in events):
        return "tier", _tier(reader, events)
    if events[0].cause is not ChargeCause.CREATED:
        steps = list(_steps(events))
        return "delete", {"time_us": events[0].time_us, "steps": steps, **_recycled(reader)}
    (created,) = events
    record = find_snapshot(reader, created.snapshot_id)
    facts: dict[str, Any] = {}
    volume = reader.get(Table.VOLUMES, created.volume_id.encode())
    if volume is not None and not decode_volume(volume).managed:
        facts["volume"] = asdict(decode_volume(volume))
        facts.update(domain_facts(reader, decode_volume(volume).domain))
    if record is not None:
        facts.update(domain_facts(reader, record.domain))
        facts["snapshot"] = asdict(replace(record, charged_blocks=created.blocks))
        return "complete", facts
    node, above = _node_below(context, reader, created)
    return "gone", {**facts, "event": asdict(created), "node": node, "above": above}


def _steps(events: list[ChargeEvent]) -> Iterator[dict[str, Any]]:
    """Yield what a deletion did, snapshot by snapshot."""
    step: dict[str, Any] | None = None
    for event in events:
        if event.cause is ChargeCause.MOVED_IN and event.tier is StorageTier.STANDARD:
            continue  # said by the event before it
        if step is None or step["snapshot_id"] != event.snapshot_id:
            if step is not None:
                yield step
            step = {
                "time_us": event.time_us,
                "snapshot_id": event.snapshot_id,
                "volume_id": event.volume_id,
                "owner": event.owner,
                "region": event.region,
                "freed_blocks": 0,
                "moved": [],
            }
        if event.tier is StorageTier.ARCHIVE:
            arriving = event.cause is ChargeCause.MOVED_IN
            step["arriving"] = arriving or step.get("arriving", False)
            step["archive_blocks"] = abs(event.blocks)
        elif event.cause is ChargeCause.FREED:
            step["freed_blocks"] = -event.blocks
        else:
            step["moved"].append([event.other_id, -event.blocks])
    if step is not None:
        yield step


_TIER_CAUSES = {
    ChargeCause.ARCHIVED,
    ChargeCause.RETRIEVED,
    ChargeCause.RESTORED,
    ChargeCause.EXPIRED,
}


def _tier(reader: CatalogReader, events: list[ChargeEvent]) -> dict[str, Any]:
    """Return what a step between the tiers did, and what the snapshot is now, if it is there."""
    snapshot_id = events[0].snapshot_id
    record = find_snapshot(reader, snapshot_id)
    members = {} if record is None else {name: getattr(record, name) for name in MEMBERS}
    if record is not None:
        members["lineage"] = record.lineage
    domains = {} if record is None else domain_facts(reader, record.domain)
    facts = [event_facts(event) for event in events]
    return {"snapshot_id": snapshot_id, "members": members, "events": facts, **domains}


def _state(reader: CatalogReader) -> dict[str, Any]:
    """Return what entries say that change no charge."""
    quotas, keyring = (reader.get(Table.META, key) for key in (b"quotas", b"keyring"))
    return {
        "volumes": [asdict(decode_volume(value)) for _, value in reader.items(Table.VOLUMES)],
        "images": [asdict(decode_image(value)) for _, value in reader.items(Table.IMAGES)],
        "policies": [asdict(decode_policy(value)) for _, value in reader.items(Table.POLICIES)],
        "domains": [asdict(domain) for domain in list_domains(reader)],
        "quotas": None if quotas is None else decode_json(quotas),
        "keyring": None if keyring is None else decode_json(keyring),
        "settings": [asdict(decode_settings(value)) for _, value in reader.items(Table.ACCOUNTS)],
        "rules": [asdict(decode_rule(value)) for _, value in reader.items(Table.BIN_RULES)],
        "members": _members(reader),
        "tags": {
            record.snapshot_id: record.tags for record in list_snapshots(reader) if record.tags
        },
    }


def _members(reader: CatalogReader) -> dict[str, Any]:
    """Return what snapshots have of sharing, locks and the Recycle Bin, of those that have any."""
    return {
        record.snapshot_id: {name: getattr(record, name) for name in MEMBERS}
        for record in list_snapshots(reader)
        if any(getattr(record, name) != nothing for name, nothing in MEMBERS.items())
    }


def _recycled(reader: CatalogReader) -> dict[str, Any]:
    """Return what is in the Recycle Bin, as a deletion's entry says it."""
    stays = [
        [record.snapshot_id, record.recycled]
        for record in list_snapshots(reader)
        if record.recycled is not None
    ]
    return {"recycled": stays} if stays else {}


def _node_below(
    context: StoreContext, reader: CatalogReader, created: ChargeEvent
) -> tuple[int, int]:
    """Return the node below which the children of a deleted snapshot hang, and that one's parent.

    The node need not be the snapshot's own: what matters is the tree that is left.
    """
    parents: dict[int, int] = {}
    node_of: dict[str, int] = {}
    children: set[int] = set()
    origins: dict[str, str] = {}
    for key in reader.keys(Table.JOURNAL):
        entry = _entry_or_none(context, int.from_bytes(key, "big"))
        facts = {} if entry is None else entry.facts
        if entry is not None and entry.operation == RESTATED:
            facts = facts["facts"]
        volume = facts.get("volume") or {}
        if volume.get("origin_id"):
            origins[volume["volume_id"]] = volume["origin_id"]
        snapshot = facts.get("snapshot")
        if snapshot is None:
            continue
        begun_from = snapshot["parent_id"] or ""
        if not begun_from and snapshot["epoch"] and snapshot["base_epoch"] == ORIGIN_EPOCH:
            begun_from = origins.get(snapshot["volume_id"], "")  # full, from a map that is held
        node_of[snapshot["snapshot_id"]] = snapshot["node"]
        parents[snapshot["node"]] = node_of.get(begun_from, 0)
        if begun_from == created.snapshot_id:
            children.add(snapshot["node"])
    for record in list_snapshots(reader):
        chain = _chain(parents, record.node)
        if record.node and chain[-1] in children:
            node = _parent(reader, record.node)
            while node in chain:
                node = _parent(reader, node)
            return node, _parent(reader, node)
    return 0, 0


def _chain(parents: dict[int, int], node: int) -> list[int]:
    """Return a node and those above it, as far as the journal tells."""
    chain = [node]
    while parents.get(chain[-1], 0):
        chain.append(parents[chain[-1]])
    return chain


def _parent(reader: CatalogReader, node: int) -> int:
    value = reader.get(Table.NODES, number_key(node))
    return 0 if value is None else NodeRecord.decode(value).parent
