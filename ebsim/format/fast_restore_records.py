"""The catalog's record of fast restore of a snapshot in a zone, as JSON."""

from dataclasses import asdict, dataclass

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import number_key
from ebsim.format.records import decode_json, encode_json
from ebsim.ids import SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestoreRecord:
    """Fast restore of a snapshot in an Availability Zone, from its beginning to its end.

    Where it is enabled again after its end, that is another record. None is ever removed: what an
    account pays is told by all of them.

    Attributes:
        number: The sequence number, in the journal, of the commit that began it.
        snapshot_id: The snapshot, maybe deleted since.
        zone: The Availability Zone.
        owner: The account that asked for it.
        region: The Region.
        size_gib: The snapshot's size, which decides about time and credits.
        enabling_us: When it began, in microseconds.
        disabling_us: When it was ended; None: it is not.
        by_user: Whether its account ended it; else the snapshot was deleted, or shared no more.
        credit_units: What was left in the bucket when a credit was taken last
            (`ebsim.core.fast_restore_rules` has the unit).
        credit_us: When that was; 0: none was ever taken.
    """

    number: int
    snapshot_id: SnapshotId
    zone: str
    owner: str
    region: str
    size_gib: int
    enabling_us: int
    disabling_us: int | None = None
    by_user: bool = True
    credit_units: int = 0
    credit_us: int = 0

    @property
    def key(self) -> bytes:
        """Its key: the snapshot, a slash, the account, a slash, the zone, a slash, the number."""
        name = f"{self.snapshot_id}/{self.owner}/{self.zone}/"
        return name.encode("ascii") + number_key(self.number)


def encode_fast_restore(record: FastRestoreRecord) -> bytes:
    """Return a record as stored."""
    return encode_json(asdict(record))


def decode_fast_restore(data: bytes) -> FastRestoreRecord:
    """Return the record that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return FastRestoreRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no fast restore: {error}", ErrorCode.CORRUPT_CATALOG) from None
