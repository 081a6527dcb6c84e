"""`store.json`: what a folder must hold to be a store. Written once, atomically."""

from dataclasses import dataclass

from ebsim.errors import CorruptionError, ErrorCode, FormatVersionError
from ebsim.format.block_hash import HASH_KEY_SIZE
from ebsim.format.checksum import stored_checksum
from ebsim.format.records import decode_json, encode_json
from ebsim.format.segment import STORE_ID_SIZE
from ebsim.units import BLOCK_SIZE

STORE_MAGIC = "ebsim store"
FORMAT_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHeader:
    """A store's identity.

    Attributes:
        store_id: 16 random bytes.
        hash_key: The key of the block hash in dedup domain 0. Whoever can read it can read the
            plain blocks beside it too; a copy lies in each segment's header.
    """

    store_id: bytes
    hash_key: bytes


def encode_store_header(header: StoreHeader) -> bytes:
    """Return the content of `store.json`."""
    fields = {
        "magic": STORE_MAGIC,
        "format_version": FORMAT_VERSION,
        "block_size": BLOCK_SIZE,
        "store_id": header.store_id.hex(),
        "hash_key": header.hash_key.hex(),
    }
    fields["checksum"] = stored_checksum((encode_json(fields),)).hex()
    return encode_json(fields) + b"\n"


def decode_store_header(data: bytes) -> StoreHeader:
    """Return the header that `store.json` holds.

    Raises:
        FormatVersionError: It is no store's, or of another format version or block size.
        CorruptionError: Its checksum is wrong.
    """
    fields = decode_json(data)
    if fields.get("magic") != STORE_MAGIC:
        raise FormatVersionError("it is not that of an ebsim store")
    if fields.get("format_version") != FORMAT_VERSION:
        raise FormatVersionError(
            f"the store has format version {fields.get('format_version')}; "
            f"this ebsim reads and writes version {FORMAT_VERSION}"
        )
    checksum = fields.pop("checksum", None)
    if checksum != stored_checksum((encode_json(fields),)).hex():
        raise CorruptionError("the checksum is wrong", ErrorCode.CORRUPT_CATALOG)
    if fields.get("block_size") != BLOCK_SIZE:
        raise FormatVersionError(f"the store has blocks of {fields.get('block_size')} bytes")
    try:
        store_id, hash_key = bytes.fromhex(fields["store_id"]), bytes.fromhex(fields["hash_key"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"no store header: {error}", ErrorCode.CORRUPT_CATALOG) from None
    if len(store_id) != STORE_ID_SIZE or len(hash_key) != HASH_KEY_SIZE:
        raise CorruptionError("an id of a wrong length", ErrorCode.CORRUPT_CATALOG)
    return StoreHeader(store_id=store_id, hash_key=hash_key)
