"""What the check proves of the archive: each thing that can be wrong is made wrong, and found."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ebsim.core.snapshots import put_snapshot, tier_due_key
from ebsim.engine import Store
from ebsim.format.catalog_values import NodeKind, NodeRecord, Table, number_key
from ebsim.format.records import SnapshotRecord, decode_event, decode_snapshot, encode_event
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.contents import noise_block
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.sources import MemorySource
from ebsim.tiering import TierRestore
from ebsim.units import BLOCK_SIZE

Damage = Callable[[CatalogWriter, dict[str, SnapshotRecord]], object]


def live_a_life(store: Store) -> dict[str, str]:
    """Have snapshots that are archived, restored for a time, and for good; by what they are."""
    source = MemorySource("memory:disk", 3 * BLOCK_SIZE)
    names = []
    for night in range(4):
        source.put(night % 3, noise_block(night))
        names.append(str(store.create_snapshot(source).snapshot_id))
    for name in names[:3]:
        store.tiers.archive(name)
    store.tiers.restore(names[1])
    store.tiers.restore(names[2], TierRestore(permanent=True))
    return dict(zip(("archived", "lent", "back", "never"), names, strict=True))


def node_of(
    writer: CatalogWriter, record: SnapshotRecord, change: Callable[[NodeRecord], NodeRecord]
) -> None:
    key = number_key(record.node)
    value = writer.get(Table.NODES, key)
    assert value is not None
    writer.put(Table.NODES, key, change(NodeRecord.decode(value)).encode())


def in_archive_event(writer: CatalogWriter, record: SnapshotRecord) -> None:
    """Have the ledger say a block less of what the archive is charged."""
    for key, value in list(writer.items(Table.LEDGER)):
        event = decode_event(value)
        if event.snapshot_id == record.snapshot_id and event.cause == "archived":
            changed = replace(event, blocks=event.blocks - 1)
            writer.put(Table.LEDGER, key, encode_event(changed))


DAMAGES: list[tuple[str, str, Damage]] = [
    (
        "wrong-lineage",
        "is not its own",
        lambda writer, by: node_of(
            writer, by["archived"], lambda node: replace(node, kind=NodeKind.SNAPSHOT)
        ),
    ),
    (
        "wrong-lineage",
        "is not its own",
        lambda writer, by: node_of(
            writer, by["lent"], lambda node: replace(node, kind=NodeKind.ARCHIVED)
        ),
    ),
    (
        "wrong-count",
        "1 charged blocks are recorded, 0 counted",
        lambda writer, by: put_snapshot(writer, replace(by["archived"], charged_blocks=1)),
    ),
    (
        "wrong-count",
        "charged blocks are recorded",
        lambda writer, by: put_snapshot(writer, replace(by["back"], lineage=by["never"].lineage)),
    ),
    (
        "wrong-count",
        "more than charged in the archive",
        lambda writer, by: in_archive_event(writer, by["archived"]),
    ),
    (
        "wrong-reference",
        "when it moves between the tiers",
        lambda writer, by: writer.delete(Table.META, tier_due_key(by["lent"].snapshot_id)),
    ),
    (
        "wrong-reference",
        "when it moves between the tiers",
        lambda writer, by: writer.put(
            Table.META, tier_due_key(by["never"].snapshot_id), number_key(1)
        ),
    ),
]


def test_sound_store_is_healthy(disk: MemoryStore) -> None:
    store = disk.open()
    live_a_life(store)
    assert store.check().findings == ()


@pytest.mark.parametrize(("kind", "words", "damage"), DAMAGES)
def test_what_is_wrong_is_found(disk: MemoryStore, kind: str, words: str, damage: Damage) -> None:
    store = disk.open()
    names = live_a_life(store)

    def change(writer: CatalogWriter) -> None:
        by = {}
        for what, name in names.items():
            value = writer.get(Table.SNAPSHOTS, name.encode())
            assert value is not None
            by[what] = decode_snapshot(value)
        damage(writer, by)

    disk.catalog.update(change)

    findings = [(each.kind, each.message) for each in disk.open().check().findings]
    assert any(each[0] == kind and words in each[1] for each in findings), findings
