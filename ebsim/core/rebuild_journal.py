"""Rebuilding, second part: the journal told again, from its first entry to its last."""

from dataclasses import dataclass, field, replace
from typing import Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT, Caller
from ebsim.core.rebuild_scan import RESTATED, JournalEntry
from ebsim.core.tag_rules import is_reserved
from ebsim.core.volume_parent import ORIGIN_EPOCH
from ebsim.format.account_records import AccountSettings
from ebsim.format.catalog_values import NodeKind, NodeRecord
from ebsim.format.life_records import ImageRecord, PolicyRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import ChargeCause, ChargeEvent, Finding


@dataclass(slots=True)
class History:
    """What the journal says there is, and was.

    Attributes:
        snapshots: The live snapshots.
        volumes: All volumes.
        images: The registered images.
        policies: The lifecycle policies.
        settings: What accounts have set for their Regions.
        quotas: The quotas that were set, or None.
        sources: By account, Region and a source's identity, its volume.
        ledger: Every change of a charge.
        nodes: By node of any snapshot there ever was, its parent's node; 0 for none.
        node_of: By snapshot, its node; deleted ones too.
        epochs: By managed volume, the last epoch that a snapshot of it ended.
        numbers: The greatest numbers that were given out: of nodes, lineages and volumes.
        findings: Entries that say what this program does not understand.
    """

    snapshots: dict[str, SnapshotRecord] = field(default_factory=dict)
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    policies: dict[str, PolicyRecord] = field(default_factory=dict)
    settings: dict[Caller, AccountSettings] = field(default_factory=dict)
    quotas: dict[str, Any] | None = None
    sources: dict[tuple[Caller, str], VolumeId] = field(default_factory=dict)
    ledger: list[ChargeEvent] = field(default_factory=list)
    nodes: dict[int, int] = field(default_factory=dict)
    node_of: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    volume_of: dict[str, VolumeId] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=lambda: {"node": 0, "lineage": 0, "volume": 0})
    findings: list[Finding] = field(default_factory=list)

    def note(self, what: str, number: int) -> None:
        """Take note that a number was given out."""
        self.numbers[what] = max(self.numbers[what], number)


def replay(entries: list[JournalEntry]) -> History:
    """Tell the journal again."""
    history = History()
    for entry in entries:
        try:
            _OPERATIONS[entry.operation](history, entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"entry {entry.sequence} of the journal is not understood: {error!r}"
            history.findings.append(Finding(kind="journal-unknown", message=message))
    return history


def _complete(history: History, entry: JournalEntry) -> None:
    record = SnapshotRecord(**entry.facts["snapshot"])
    snapshot_id = record.snapshot_id
    history.snapshots[snapshot_id] = record
    history.node_of[snapshot_id] = record.node
    history.volume_of[snapshot_id] = record.volume_id
    history.nodes[record.node] = history.node_of.get(_started_from(history, record), 0)
    history.note("node", max(record.node, record.begun))
    history.note("lineage", record.lineage)
    if record.epoch:
        known = history.epochs.get(record.volume_id, 0)
        history.epochs[record.volume_id] = max(known, record.epoch)
    if "volume" in entry.facts:
        _keep_source(history, VolumeRecord(**entry.facts["volume"]))
    time_us = record.completion_us or record.start_us
    charges = _Charges(history, entry.sequence, time_us)
    charges.add(ChargeCause.CREATED, snapshot_id, record.charged_blocks)


def _started_from(history: History, record: SnapshotRecord) -> str:
    """Return the snapshot whose map one began with; empty for none.

    It need not be its parent: a full snapshot of a volume that is still being loaded begins with
    the map of what the volume was made from, which is deleted then (`ebsim.core.volume_parent`).
    """
    if record.parent_id is None and record.epoch and record.base_epoch == ORIGIN_EPOCH:
        volume = history.volumes.get(record.volume_id)
        return "" if volume is None else volume.origin_id or ""
    return record.parent_id or ""


def _keep_source(history: History, volume: VolumeRecord) -> None:
    """Keep a scanned source's volume, which may have moved from another path."""
    known = history.volumes.get(volume.volume_id)
    owner = Caller(volume.owner, volume.region)
    if known is not None and history.sources.get((owner, known.source)) == volume.volume_id:
        del history.sources[owner, known.source]
    tags = volume.tags if known is None else known.tags
    history.volumes[volume.volume_id] = replace(volume, tags=tags)
    history.sources[owner, volume.source] = volume.volume_id
    history.note("volume", volume.number)


@dataclass(frozen=True, slots=True)
class _Charges:
    """Adds the ledger's events of one entry."""

    history: History
    sequence: int
    time_us: int

    def add(
        self, cause: ChargeCause, name: SnapshotId, blocks: int, other: SnapshotId | None = None
    ) -> None:
        event = ChargeEvent(
            sequence=self.sequence,
            time_us=self.time_us,
            cause=cause,
            snapshot_id=name,
            volume_id=self.history.volume_of[name],
            blocks=blocks,
            other_id=other,
        )
        self.history.ledger.append(event)


def _delete(history: History, entry: JournalEntry) -> None:
    charges = _Charges(history, entry.sequence, entry.facts["time_us"])
    for step in entry.facts["steps"]:
        gone = SnapshotId(step["snapshot_id"])
        history.volume_of.setdefault(gone, VolumeId(step["volume_id"]))
        if step["freed_blocks"] or not step["moved"]:
            charges.add(ChargeCause.FREED, gone, -step["freed_blocks"])
        for heir, blocks in step["moved"]:
            charges.add(ChargeCause.MOVED_OUT, gone, -blocks, heir)
            charges.add(ChargeCause.MOVED_IN, heir, blocks, gone)
            if heir in history.snapshots:
                history.snapshots[heir] = history.snapshots[heir].charged(blocks)
        history.snapshots.pop(gone, None)


def _volume(history: History, entry: JournalEntry) -> None:
    record = VolumeRecord(**entry.facts["volume"])
    history.volumes[record.volume_id] = record
    history.note("volume", record.number)
    history.note("node", record.origin_hold)
    history.note("lineage", record.lineage)


def _delete_volume(history: History, entry: JournalEntry) -> None:
    record = VolumeRecord(**entry.facts["volume"])
    history.volumes.pop(record.volume_id, None)
    history.note("volume", record.number)


def _image(history: History, entry: JournalEntry) -> None:
    record = ImageRecord(**entry.facts["image"])
    history.images[record.image_id] = replace(record, number=record.number or entry.sequence)


def _deregister(history: History, entry: JournalEntry) -> None:
    history.images.pop(entry.facts["image_id"], None)


def _policy(history: History, entry: JournalEntry) -> None:
    facts = entry.facts
    if facts["document"] is None:
        history.policies.pop(facts["policy_id"], None)
        return
    known = history.policies.get(facts["policy_id"])
    history.policies[facts["policy_id"]] = PolicyRecord(
        policy_id=facts["policy_id"],
        number=known.number if known else entry.sequence,
        created_us=facts.get("created_us", 0),
        modified_us=facts.get("modified_us", 0),
        document=facts["document"],
        owner=facts.get("owner", OWNER_DEFAULT),
        region=facts.get("region", REGION_DEFAULT),
    )


def _settings(history: History, entry: JournalEntry) -> None:
    settings = AccountSettings(**entry.facts["settings"])
    history.settings[Caller(settings.account, settings.region)] = settings


def _change_snapshot(history: History, entry: JournalEntry) -> None:
    known = history.snapshots.get(entry.facts["snapshot_id"])
    if known is not None:  # one that was pending says itself what it is, once it is completed
        history.snapshots[known.snapshot_id] = replace(known, **entry.facts["members"])


def _quotas(history: History, entry: JournalEntry) -> None:
    history.quotas = dict(entry.facts["quotas"])


def _tags(history: History, entry: JournalEntry) -> None:
    operation, tags = entry.facts["operation"], entry.facts["tags"]

    def changed(present: dict[str, str]) -> dict[str, str]:
        if operation == "create":
            return {**present, **tags}
        if tags is None:
            return {key: value for key, value in present.items() if is_reserved(key)}
        return {
            key: value
            for key, value in present.items()
            if key not in tags or tags[key] not in (None, value)
        }

    for name in entry.facts["resource_ids"]:  # one that is gone, or never was completed, is none
        if name in history.snapshots:
            snapshot = history.snapshots[name]
            history.snapshots[name] = replace(snapshot, tags=changed(snapshot.tags))
        elif name in history.volumes:
            volume = history.volumes[name]
            history.volumes[name] = replace(volume, tags=changed(volume.tags))
        elif name in history.images:
            image = history.images[name]
            history.images[name] = replace(image, tags=changed(image.tags))


def _gone(history: History, entry: JournalEntry) -> None:
    """A snapshot that was deleted later, of which less is known."""
    facts = entry.facts
    event = ChargeEvent(**{**facts["event"], "cause": ChargeCause(facts["event"]["cause"])})
    history.volume_of[event.snapshot_id] = event.volume_id
    history.node_of[event.snapshot_id] = facts["node"]
    if facts["node"]:
        history.nodes.setdefault(facts["node"], facts["above"])
        history.note("node", facts["node"])
    if "volume" in facts:
        _keep_source(history, VolumeRecord(**facts["volume"]))
    history.ledger.append(event)


def _state(history: History, entry: JournalEntry) -> None:
    """All that changes no charge, as it was when the entry was restated."""
    facts = entry.facts
    history.volumes = {}
    for volume in facts["volumes"]:
        _volume(history, replace(entry, facts={"volume": volume}))
    images = [ImageRecord(**image) for image in facts["images"]]
    history.images = {image.image_id: image for image in images}
    policies = [PolicyRecord(**policy) for policy in facts["policies"]]
    history.policies = {policy.policy_id: policy for policy in policies}
    history.quotas = facts["quotas"]
    for name, snapshot in history.snapshots.items():
        history.snapshots[name] = replace(snapshot, tags=facts["tags"].get(name, {}))


def _restated(history: History, entry: JournalEntry) -> None:
    tell = _RESTATED[entry.facts["operation"]]
    tell(history, replace(entry, facts=entry.facts["facts"]))


_RESTATED = {"complete": _complete, "gone": _gone, "delete": _delete, "state": _state}
"""What an entry may be restated as (`ebsim.core.restate`)."""

_OPERATIONS = {
    "complete": _complete,
    "delete": _delete,
    "create-volume": _volume,
    "modify-volume": _volume,
    "delete-volume": _delete_volume,
    "image": _image,
    "deregister": _deregister,
    "policy": _policy,
    "quotas": _quotas,
    "settings": _settings,
    "change-snapshot": _change_snapshot,
    "tags": _tags,
    RESTATED: _restated,
}
"""What is done again for an entry of each operation."""


def lineage_nodes(history: History) -> dict[int, NodeRecord]:
    """Return the nodes of the lineage.

    All that there ever were, without those that are deleted and have at most one child that leads
    to a live one: this is what adding and removing them one by one leaves.
    """
    kept = {
        record.node: NodeRecord(NodeKind.SNAPSHOT, 0, record.root, record.snapshot_id)
        for record in history.snapshots.values()
    }
    parents = dict(history.nodes)
    for volume in history.volumes.values():
        if volume.origin_hold and volume.origin_id is not None:
            kept[volume.origin_hold] = NodeRecord(NodeKind.HOLD, 0, volume.origin_root, "")
            parents[volume.origin_hold] = history.node_of.get(volume.origin_id, 0)
    below: dict[int, list[int]] = {}
    for node in sorted(parents, reverse=True):
        children = below.pop(node, [])
        if node not in kept:
            if len(children) < 2:
                if children:
                    below.setdefault(parents[node], []).append(children[0])
                continue
            kept[node] = NodeRecord(NodeKind.NAMELESS, 0, 0, "")
        for child in children:
            kept[child] = replace(kept[child], parent=node)
        below.setdefault(parents[node], []).append(node)
    return kept
