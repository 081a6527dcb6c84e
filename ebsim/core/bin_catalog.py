"""The Recycle Bin in the catalog: finding its rules, and keeping what they keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ebsim.caller import Caller
from ebsim.core.bin_rules import stay_under
from ebsim.core.bin_stays import recycled
from ebsim.core.context import StoreContext
from ebsim.core.events import snapshot_recycled
from ebsim.core.snapshots import get_snapshot, put_snapshot
from ebsim.format.bin_records import RuleRecord, Stay, decode_rule
from ebsim.format.catalog_values import Table
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId
from ebsim.recycle_bin import RuleResourceType
from ebsim.results import SnapshotState, VolumeState
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def list_rules(reader: CatalogReader, owner: Caller | None = None) -> list[RuleRecord]:
    """Return the rules of an account and Region, or all, in the order in which they were made."""
    records = [decode_rule(value) for _, value in reader.items(Table.BIN_RULES)]
    own = [each for each in records if owner in (None, Caller(each.owner, each.region))]
    return sorted(own, key=lambda each: each.number)


@dataclass(slots=True)
class Retention:
    """What the rules of a moment keep of what is deleted together.

    Attributes:
        reader: The catalog.
        now_us: The moment.
    """

    reader: CatalogReader
    now_us: int
    _rules: dict[Caller, list[RuleRecord]] = field(default_factory=dict)

    def of_snapshot(self, record: SnapshotRecord) -> Stay | None:
        """Return how long a snapshot stays in the bin; None: it goes for good.

        One that ended as `error` has nothing to come back to, and goes. One that is pending goes
        when it is completed: then this is asked again.
        """
        if record.state != SnapshotState.COMPLETED:
            return None
        owner = Caller(record.owner, record.region)
        return self.of(RuleResourceType.EBS_SNAPSHOT, owner, record.tags)

    def of(self, kind: RuleResourceType, owner: Caller, tags: Mapping[str, str]) -> Stay | None:
        """Return how long a resource of an account and Region stays; None: it goes for good."""
        if owner not in self._rules:
            self._rules[owner] = list_rules(self.reader, owner)
        return stay_under(self._rules[owner], kind, tags, self.now_us)


def stay_of_volume(reader: CatalogReader, record: VolumeRecord, now_us: int) -> Stay | None:
    """Return how long a volume stays in the bin if it is deleted now; None: it goes for good.

    One that is still `creating` has nothing to come back to, and goes.
    """
    if record.state != VolumeState.AVAILABLE:
        return None
    owner = Caller(record.owner, record.region)
    return Retention(reader, now_us).of(RuleResourceType.EBS_VOLUME, owner, record.tags)


def put_into_bin(
    context: StoreContext, writer: CatalogWriter, snapshot_id: SnapshotId, stay: Stay
) -> None:
    """Move a snapshot to the bin: it keeps its map, its charge and its place in the lineage."""
    record = replace(recycled(get_snapshot(writer, snapshot_id), stay), deletion_wanted=False)
    put_snapshot(writer, record)
    snapshot_recycled(context, writer, record, "recycleSnapshot")
