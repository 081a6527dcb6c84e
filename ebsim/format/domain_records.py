"""The catalog's record of an encrypted dedup domain: its data key, wrapped, as JSON."""

from dataclasses import asdict, dataclass

from ebsim.caller import Caller
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.records import decode_json, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRecord:
    """An encrypted dedup domain: what one data key encrypts (semantics section 11.5).

    Attributes:
        number: Its number in this store; 0 is the unencrypted domain, which has no record.
        data_key_id: The data key's UUID: `DataEncryptionKeyId`.
        kms_key: The ARN of the KMS key that wraps the data key.
        wrapped: The wrapped data key, in hex; useless without the keyring.
        account: Whose right to use the KMS key is asked for when the store itself needs it.
        region: The Region of the domain, and of its KMS key.
    """

    number: int
    data_key_id: str
    kms_key: str
    wrapped: str
    account: str
    region: str

    @property
    def owner(self) -> Caller:
        """Who made it."""
        return Caller(self.account, self.region)


def encode_domain(record: DomainRecord) -> bytes:
    """Return a domain's record as stored."""
    return encode_json(asdict(record))


def decode_domain(data: bytes) -> DomainRecord:
    """Return the record that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        record = DomainRecord(**decode_json(data))
        bytes.fromhex(record.wrapped)
    except (TypeError, ValueError) as error:
        raise CorruptionError(f"no domain: {error}", ErrorCode.CORRUPT_CATALOG) from None
    return record
