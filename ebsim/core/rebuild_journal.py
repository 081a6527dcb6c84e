"""Rebuilding, second part: the journal told again, from its first entry to its last."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT, Caller
from ebsim.core.bin_stays import recycled
from ebsim.core.fast_restores import FACT as FAST_RESTORES
from ebsim.core.instances import with_instance_tags
from ebsim.core.rebuild_scan import RESTATED, JournalEntry
from ebsim.core.tag_rules import is_reserved, tags_by, with_tags_by
from ebsim.core.tier_rules import ArchiveCharge
from ebsim.core.volume_parent import ORIGIN_EPOCH
from ebsim.format.account_records import AccountSettings
from ebsim.format.bin_records import RuleRecord, Stay
from ebsim.format.catalog_values import NodeKind, NodeRecord
from ebsim.format.domain_records import DomainRecord
from ebsim.format.fast_restore_records import FastRestoreRecord
from ebsim.format.keyring_settings import KeyringSettings
from ebsim.format.life_records import ImageRecord, PolicyRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord, event_of
from ebsim.ids import SnapshotId, VolumeId
from ebsim.reports import Finding
from ebsim.results import ChargeCause, ChargeEvent
from ebsim.tiering import StorageTier

MEMBERS: dict[str, Any] = {
    "shared_with": [],
    "public": False,
    "tags_of_others": {},
    "lock": None,
    "recycled": None,
    "tier": "standard",
    "tiering": None,
    "apart": False,
}
"""What changes about a snapshot without a charge, beside its tags; and what it is at first."""

_NUMBERS = ("node", "lineage", "volume", "fast_restore")


@dataclass(slots=True)
class History:
    """What the journal says there is, and was.

    Attributes:
        snapshots: The live snapshots.
        volumes: All volumes.
        images: The registered images.
        policies: The lifecycle policies.
        settings: What accounts have set for their Regions.
        domains: The encrypted dedup domains.
        fast_restores: Those that there are, and were, by their keys.
        rules: The retention rules of the Recycle Bin.
        quotas: The quotas that were set, or None.
        keyring: Which keyring is the store's, or None where nobody ever said.
        sources: By account, Region and a source's identity, its volume.
        ledger: Every change of a charge.
        nodes: By node of any snapshot there ever was, its parent's node; 0 for none.
        node_of: By snapshot, its node; deleted ones too.
        epochs: By managed volume, the last epoch that a snapshot of it ended.
        numbers: The greatest numbers that were given out: of nodes, lineages, volumes and fast
            restores.
        findings: Entries that say what this program does not understand.
    """

    snapshots: dict[str, SnapshotRecord] = field(default_factory=dict)
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    policies: dict[str, PolicyRecord] = field(default_factory=dict)
    settings: dict[Caller, AccountSettings] = field(default_factory=dict)
    domains: dict[int, DomainRecord] = field(default_factory=dict)
    fast_restores: dict[bytes, FastRestoreRecord] = field(default_factory=dict)
    rules: dict[str, RuleRecord] = field(default_factory=dict)
    quotas: dict[str, Any] | None = None
    keyring: KeyringSettings | None = None
    sources: dict[tuple[Caller, str], VolumeId] = field(default_factory=dict)
    ledger: list[ChargeEvent] = field(default_factory=list)
    nodes: dict[int, int] = field(default_factory=dict)
    node_of: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    volume_of: dict[str, VolumeId] = field(default_factory=dict)
    owner_of: dict[str, Caller] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NUMBERS, 0))
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
            _keep_domains(history, entry)
            _fast_restores(history, entry)
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
    history.owner_of[snapshot_id] = Caller(record.owner, record.region)
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
        self,
        cause: ChargeCause,
        name: SnapshotId,
        blocks: int,
        other: SnapshotId | None = None,
        tier: StorageTier = StorageTier.STANDARD,
    ) -> None:
        event = ChargeEvent(
            sequence=self.sequence,
            time_us=self.time_us,
            cause=cause,
            snapshot_id=name,
            volume_id=self.history.volume_of[name],
            blocks=blocks,
            other_id=other,
            owner=self.history.owner_of[name].account,
            region=self.history.owner_of[name].region,
            tier=tier,
        )
        self.history.ledger.append(event)


def _delete(history: History, entry: JournalEntry) -> None:
    charges = _Charges(history, entry.sequence, entry.facts["time_us"])
    for name, stay in entry.facts.get("recycled", ()):
        if name in history.snapshots:
            kept = recycled(history.snapshots[name], Stay(**stay))
            history.snapshots[name] = replace(kept, deletion_wanted=False)
    for step in entry.facts["steps"]:
        charges = replace(charges, time_us=step.get("time_us", charges.time_us))
        gone = SnapshotId(step["snapshot_id"])
        history.volume_of.setdefault(gone, VolumeId(step["volume_id"]))
        owner = step.get("owner", OWNER_DEFAULT), step.get("region", REGION_DEFAULT)
        history.owner_of.setdefault(gone, Caller(*owner))
        if step["freed_blocks"] or not step["moved"]:
            charges.add(ChargeCause.FREED, gone, -step["freed_blocks"])
        for heir, blocks in step["moved"]:
            charges.add(ChargeCause.MOVED_OUT, gone, -blocks, heir)
            charges.add(ChargeCause.MOVED_IN, heir, blocks, gone)
            if heir in history.snapshots:
                history.snapshots[heir] = history.snapshots[heir].charged(blocks)
        for cause, blocks in ArchiveCharge.of_facts(step).events():
            charges.add(cause, gone, blocks, tier=StorageTier.ARCHIVE)
        history.snapshots.pop(gone, None)


def _tier(history: History, entry: JournalEntry) -> None:
    """A step of a snapshot between the tiers: what it is now, and who is charged for what."""
    facts = entry.facts
    for fields in facts["events"]:
        event = event_of({**fields, "sequence": entry.sequence})
        history.volume_of.setdefault(event.snapshot_id, event.volume_id)
        history.owner_of.setdefault(event.snapshot_id, Caller(event.owner, event.region))
        history.ledger.append(event)
        charged = history.snapshots.get(event.snapshot_id)
        if charged is not None and event.tier is StorageTier.STANDARD:
            history.snapshots[event.snapshot_id] = charged.charged(event.blocks)
    history.note("lineage", facts["members"].get("lineage", 0))
    _change_snapshot(history, entry)


def _volume(history: History, entry: JournalEntry) -> None:
    record = VolumeRecord(**entry.facts["volume"])
    history.volumes[record.volume_id] = record
    history.note("volume", record.number)
    history.note("node", record.origin_hold)
    history.note("lineage", record.lineage)


def _keep_domains(history: History, entry: JournalEntry) -> None:
    """Keep the domains that an entry names: each that needs one does, so that none is lost."""
    for domain in entry.facts.get("domains", ()):
        record = DomainRecord(**domain)
        history.domains[record.number] = record


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
        tags=facts.get("tags", {}),
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


def _keyring(history: History, entry: JournalEntry) -> None:
    history.keyring = KeyringSettings(**entry.facts["keyring"])


def _rule(history: History, entry: JournalEntry) -> None:
    if entry.facts["rule"] is None:
        history.rules.pop(entry.facts["rule_id"], None)
        return
    rule = RuleRecord(**entry.facts["rule"])
    history.rules[rule.rule_id] = replace(rule, number=rule.number or entry.sequence)


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
            account = entry.facts.get("account", snapshot.owner)
            tags_there = changed(tags_by(snapshot, account))
            history.snapshots[name] = with_tags_by(snapshot, account, tags_there)
        elif name in history.volumes:
            volume = history.volumes[name]
            history.volumes[name] = replace(volume, tags=changed(volume.tags))
        elif name in history.images:
            image = history.images[name]
            history.images[name] = replace(image, tags=changed(image.tags))
        else:
            _tag_instance(history, name, changed)


def _tag_instance(
    history: History, name: str, changed: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    for caller, settings in history.settings.items():
        for kept in settings.instances:
            if kept["instance_id"] == name:
                tags = changed(kept.get("tags", {}))
                history.settings[caller] = with_instance_tags(settings, name, tags)
                return


def _fast_restores(history: History, entry: JournalEntry) -> None:
    """Keep the fast restores that an entry of any operation says something of."""
    for fields in entry.facts.get(FAST_RESTORES, ()):
        record = FastRestoreRecord(**fields)
        history.fast_restores[record.key] = record
        history.note("fast_restore", record.number)


def _gone(history: History, entry: JournalEntry) -> None:
    """A snapshot that was deleted later, of which less is known."""
    facts = entry.facts
    event = event_of(facts["event"])
    history.volume_of[event.snapshot_id] = event.volume_id
    history.owner_of[event.snapshot_id] = Caller(event.owner, event.region)
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
    if "rules" in facts:
        rules = [RuleRecord(**rule) for rule in facts["rules"]]
        history.rules = {rule.rule_id: rule for rule in rules}
    if facts.get("keyring") is not None:
        history.keyring = KeyringSettings(**facts["keyring"])
    for each in facts.get("settings", ()):
        _settings(history, replace(entry, facts={"settings": each}))
    for name, snapshot in history.snapshots.items():
        members = {**MEMBERS, **facts["members"].get(name, {})} if "members" in facts else {}
        history.snapshots[name] = replace(snapshot, tags=facts["tags"].get(name, {}), **members)


def _restated(history: History, entry: JournalEntry) -> None:
    stands_for = replace(entry, facts=entry.facts["facts"])
    _RESTATED[entry.facts["operation"]](history, stands_for)
    _keep_domains(history, stands_for)


_RESTATED = {
    "complete": _complete,
    "gone": _gone,
    "delete": _delete,
    "tier": _tier,
    "state": _state,
}
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
    "bin-rule": _rule,
    "keyring": _keyring,
    "settings": _settings,
    "domains": lambda _history, _entry: None,  # every entry may have some
    "change-snapshot": _change_snapshot,
    "tier": _tier,
    "tags": _tags,
    "fast-restores": _fast_restores,
    RESTATED: _restated,
}
"""What is done again for an entry of each operation."""


def _kind(record: SnapshotRecord) -> NodeKind:
    return NodeKind.ARCHIVED if record.is_archived else NodeKind.SNAPSHOT


def lineage_nodes(history: History) -> dict[int, NodeRecord]:
    """Return the nodes of the lineage.

    All that there ever were, without those that are deleted and have at most one child that leads
    to a live one: this is what adding and removing them one by one leaves.
    """
    kept = {
        record.node: NodeRecord(_kind(record), 0, record.root, record.snapshot_id)
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
