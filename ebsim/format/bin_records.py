"""The catalog's records of the Recycle Bin, as JSON: its rules, and how long something stays."""

from dataclasses import asdict, dataclass, field

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import number_key, parse_number_key
from ebsim.format.records import decode_json, encode_json
from ebsim.ids import RuleId

_NUMBER_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """A retention rule as the catalog keeps it. Times are in microseconds.

    Attributes:
        rule_id: 11 letters and digits.
        number: Its sequence number in the journal; orders rules.
        resource_type: A `RuleResourceType` value.
        retention_days: For how long it keeps what is deleted.
        resource_tags: Pairs of key and value; empty for a Region-level rule.
        exclude_tags: Likewise, of a Region-level rule.
        description: Free text.
        tags: Its own tags.
        created_us: When it was made.
        available_us: From when on it keeps anything.
        unlock_delay_days: 0 for one that never was locked.
        unlocked_us: When it was asked to be unlocked; None: it is locked, or never was.
        owner: The account it belongs to.
        region: The Region it is for.
    """

    rule_id: RuleId
    number: int
    resource_type: str
    retention_days: int
    resource_tags: list[list[str]] = field(default_factory=list)
    exclude_tags: list[list[str]] = field(default_factory=list)
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    created_us: int
    available_us: int
    unlock_delay_days: int = 0
    unlocked_us: int | None = None
    owner: str
    region: str


@dataclass(frozen=True, slots=True)
class Stay:
    """How long a resource is in the bin, fixed when it is deleted. Times are in microseconds.

    Attributes:
        entered_us: When it was deleted.
        exits_us: When it goes for good.
        rule_id: The rule that keeps it.
    """

    entered_us: int
    exits_us: int
    rule_id: str


def encode_rule(record: RuleRecord) -> bytes:
    """Return a rule as stored."""
    return encode_json(asdict(record))


def decode_rule(data: bytes) -> RuleRecord:
    """Return the rule that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return RuleRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no rule: {error}", ErrorCode.CORRUPT_CATALOG) from None


def exit_key(exits_us: int, resource_id: str) -> bytes:
    """Return the key by which what leaves the bin is found in the order in which it leaves."""
    return number_key(exits_us) + resource_id.encode("ascii")


def parse_exit_key(key: bytes) -> tuple[int, str]:
    """Return when something leaves the bin, and its id."""
    return parse_number_key(key[:_NUMBER_SIZE]), key[_NUMBER_SIZE:].decode("ascii")
