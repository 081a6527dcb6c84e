"""Checking the catalog's values one by one, and reading on behind those that are damaged."""

from collections.abc import Callable, Iterator, Mapping

from ebsim.core.damaged_blocks import DAMAGED_KEY
from ebsim.core.reclaim import FREED_ENTRY_MAX
from ebsim.core.written_blocks import LeafWrites, unpack_flags
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.account_records import decode_settings
from ebsim.format.bin_records import decode_rule
from ebsim.format.catalog_values import (
    BlockRecord,
    Counter,
    MetaRecord,
    NodeRecord,
    SegmentRecord,
    Table,
    parse_number_key,
)
from ebsim.format.domain_records import decode_domain
from ebsim.format.fast_restore_records import decode_fast_restore
from ebsim.format.life_records import decode_image, decode_life_event, decode_policy
from ebsim.format.map_page import decode_numbers, decode_page
from ebsim.format.proofs import PROOF_KEY, decode_proofs
from ebsim.format.records import decode_event, decode_json, decode_snapshot, decode_volume
from ebsim.ids import parse_snapshot_id
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader

Damage = Mapping[Table, frozenset[bytes]]

VALUE_DECODERS: dict[Table, Callable[[bytes], object]] = {
    Table.VOLUMES: decode_volume,
    Table.VOLUME_SNAPSHOTS: lambda value: parse_snapshot_id(value.decode("ascii", "replace")),
    Table.SOURCES: decode_json,
    Table.SNAPSHOTS: lambda value: decode_snapshot(value).to_result(),
    Table.PENDING_SNAPSHOTS: parse_number_key,
    Table.NODES: NodeRecord.decode,
    Table.PAGES: decode_page,
    Table.PAGE_RECORDS: MetaRecord.decode,
    Table.VERSIONS: decode_page,
    Table.VERSION_RECORDS: MetaRecord.decode,
    Table.BLOCKS: BlockRecord.decode,
    Table.HASHES: parse_number_key,
    Table.SEGMENTS: SegmentRecord.decode,
    Table.SESSIONS: decode_json,
    Table.FREED: lambda value: decode_numbers(value, FREED_ENTRY_MAX),
    Table.PUNCH: parse_number_key,
    Table.JOURNAL: MetaRecord.decode,
    Table.LEDGER: decode_event,
    Table.VOLUME_WRITES: LeafWrites.decode,
    Table.VOLUME_LOADED: unpack_flags,
    Table.IMAGES: lambda value: decode_image(value).to_result(0),
    Table.EVENTS: decode_life_event,
    Table.POLICIES: decode_policy,
    Table.ACCOUNTS: decode_settings,
    Table.BIN_RULES: decode_rule,
    Table.DOMAINS: decode_domain,
    Table.FAST_RESTORES: decode_fast_restore,
}
"""How the values of each table are read; those that are not here hold nothing that can be wrong."""

_COUNTER_KEYS = frozenset(counter.key for counter in Counter)


class SoundReader:
    """A view of the catalog in which damaged values are missing, so that a check can go on.

    Attributes:
        damage: The keys of damaged values.
    """

    def __init__(self, reader: CatalogReader, damage: Damage) -> None:
        self._reader = reader
        self.damage = damage

    @classmethod
    def examine(cls, reader: CatalogReader) -> "SoundReader":
        """Look at every value of the catalog."""
        return cls(reader, {table: frozenset(_damaged_keys(reader, table)) for table in Table})

    @classmethod
    def examine_table(cls, reader: CatalogReader, table: Table) -> "SoundReader":
        """Look at the values of one table, the only one to be read then."""
        return cls(reader, {table: frozenset(_damaged_keys(reader, table))})

    def findings(self) -> Iterator[Finding]:
        """Yield the damaged values."""
        for table, keys in self.damage.items():
            for key in sorted(keys):
                message = f"the catalog's entry {table.name.lower()}/{key.hex()} is damaged"
                yield Finding(kind="corrupt-value", message=message)

    @property
    def commit(self) -> int:
        """The number of the last commit that it shows."""
        return self._reader.commit

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value; None where it is missing or damaged."""
        return None if key in self.damage[table] else self._reader.get(table, key)

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater; None if it is damaged."""
        try:
            return self._reader.floor(table, key)
        except CorruptionError:
            return None

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the sound entries whose key begins with `prefix`."""
        damaged = self.damage[table]
        if not damaged:
            yield from self._reader.items(table, start=start, prefix=prefix, reverse=reverse)
            return
        for key in sorted(self._reader.keys(table), reverse=reverse):
            if key.startswith(prefix) and key not in damaged and (reverse or key >= start):
                value = self._reader.get(table, key)
                if value is not None:
                    yield key, value

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys, those of damaged values too."""
        return self._reader.keys(table)

    def count(self, table: Table) -> int:
        """Return the number of entries, damaged ones too."""
        return self._reader.count(table)


def _damaged_keys(reader: CatalogReader, table: Table) -> Iterator[bytes]:
    for key in reader.keys(table):
        decode = VALUE_DECODERS.get(table)
        if table is Table.META and (key in _COUNTER_KEYS or key.startswith(DAMAGED_KEY)):
            decode = parse_number_key
        elif table is Table.META and key.startswith(PROOF_KEY):
            decode = decode_proofs
        try:
            value = reader.get(table, key)
            if value is None:
                yield key  # a damaged key lies where nobody finds it
            elif decode is not None:
                decode(value)
        except (EbsimError, ValueError):
            yield key
