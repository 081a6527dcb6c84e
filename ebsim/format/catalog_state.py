"""`catalog.state`: what the last process that wrote to the catalog left it as.

It tells an opener whether the catalog's file is, byte for byte, what a process closed in good
order. It is never synced, and may be damaged or missing: then nobody vouches for the catalog, and
it is proved before it is used (`ebsim.storage.catalog_watch`).
"""

from dataclasses import asdict, dataclass

from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.checksum import stored_checksum
from ebsim.format.records import decode_json, encode_json

STATE_NAME = "catalog.state"

STATE_SIZE = 512
"""The file's size: one sector, written by one system call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogState:
    """What `catalog.state` says.

    Attributes:
        closed: Whether the last process that wrote closed the catalog; else it was writing.
        boot: The boot of the machine then; empty where the kernel does not tell.
        inode: Which file `catalog/data.mdb` was.
        size: How long it was.
        changed_ns: When it was changed last, by the file system's clock.
        commit: The number of its last commit, as LMDB counts.
        unclean_opens: How often it was opened since a process died while it wrote.
    """

    closed: bool
    boot: str
    inode: int
    size: int
    changed_ns: int
    commit: int
    unclean_opens: int = 0


def encode_catalog_state(state: CatalogState) -> bytes:
    """Return the content of `catalog.state`: `STATE_SIZE` bytes."""
    fields = asdict(state)
    fields["checksum"] = stored_checksum((encode_json(asdict(state)),)).hex()
    return encode_json(fields).ljust(STATE_SIZE - 1) + b"\n"


def decode_catalog_state(data: bytes) -> CatalogState | None:
    """Return what the file says; None where it is damaged."""
    try:
        fields = decode_json(data)
        checksum = fields.pop("checksum", None)
        if checksum != stored_checksum((encode_json(fields),)).hex():
            return None
        return CatalogState(**fields)
    except (CorruptionError, EbsimError, TypeError):
        return None
