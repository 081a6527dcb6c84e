"""The ciphers of block records: from one data key to all keys of a dedup domain.

A *data key* (32 random bytes, wrapped by a KMS key in the catalog) never encrypts anything itself.
Keys for one purpose each are derived from it by HKDF-SHA-256 (RFC 5869), with the store's id as
salt: for the block hash, for each segment, for each volume's live data.

A sealed payload is

    commitment of the segment's key (32 bytes) | AES-256-GCM ciphertext | tag (16 bytes)

The nonce is the record's offset over 4096. It never repeats under one key: a segment has a key of
its own, is written once, by one process, and an offset of it is used once; `SegmentCipher` refuses
the second time. Associated data say which record it is (`ASSOCIATED_DATA`), so that one that was
moved, swapped or replayed does not open. GCM itself does not commit to its key, hence the
commitment: it is compared, in constant time, before anything is decrypted, so that a wrong key and
damaged bytes are different errors. A damaged commitment would look like a wrong key; whoever reads
compares the record's stored checksum first, which needs no key.

Keys are shown by no `repr` and in no error. They are not overwritten when they are let go: Python
cannot promise that.
"""

import hmac
import struct

from ebsim.errors import CorruptionError, ErrorCode, InternalError, WrongKeyError
from ebsim.format.sector_cipher import SECTOR_KEY_SIZE, SectorCipher
from ebsim.format.segment import ALIGNMENT, RecordHeader

Buffer = bytes | bytearray | memoryview

DATA_KEY_SIZE = 32
COMMITMENT_SIZE = 32
TAG_SIZE = 16
NONCE_SIZE = 12
SEAL_SIZE = COMMITMENT_SIZE + TAG_SIZE
"""By so many bytes a sealed payload is longer than what it seals."""

ASSOCIATED_MAGIC = b"EBA1"
"""Also the version of sealing: another way to seal gets another."""

ASSOCIATED_DATA = struct.Struct("<4sBBHI16s16sQI32s")
"""magic, kind, codec, reserved, domain, store id, segment id, offset, plain length, block hash."""


def derive_key(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """Return a key derived by HKDF-SHA-256.

    Args:
        secret: Key material; it must not be guessable.
        salt: Public; may be empty.
        info: What the key is for: another purpose gets an independent key.
        length: Bytes wanted, at most 8160.
    """
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def key_commitment(key: bytes, salt: bytes) -> bytes:
    """Return 32 bytes that tell whether a key is the right one, and nothing else about it."""
    return derive_key(key, salt, b"commitment", COMMITMENT_SIZE)


def sealed_size(plain_size: int) -> int:
    """Return how long a payload of so many bytes is once sealed."""
    return plain_size + SEAL_SIZE


class DataKey:
    """The data key of one dedup domain in one store.

    Args:
        key: 32 bytes.
        store_id: 16 bytes. The same data key gives other keys in another store.
    """

    __slots__ = ("_key", "_store_id")

    def __init__(self, key: bytes, store_id: bytes) -> None:
        assert len(key) == DATA_KEY_SIZE
        self._key = key
        self._store_id = store_id

    def __repr__(self) -> str:
        return "<data key>"

    def __reduce__(self) -> str:
        raise TypeError("a data key is not pickled: it would be written down")

    def commitment(self) -> bytes:
        """Return 32 bytes by which the key is known again."""
        return key_commitment(self._key, self._store_id)

    def block_hash_key(self) -> bytes:
        """Return the 32-byte key of the domain's block hash."""
        return derive_key(self._key, self._store_id, b"block hash")

    def segment_cipher(self, domain: int, segment_id: bytes) -> "SegmentCipher":
        """Return what seals and opens the records of a domain, which is its own, in one segment."""
        key = derive_key(self._key, self._store_id, b"segment" + segment_id)
        return SegmentCipher(key, self._store_id, domain, segment_id)

    def sector_cipher(self, volume_id: str) -> SectorCipher:
        """Return what encrypts and decrypts the live data of one volume."""
        info = b"volume" + volume_id.encode("ascii")
        return SectorCipher(derive_key(self._key, self._store_id, info, SECTOR_KEY_SIZE))


class SegmentCipher:
    """Seals and opens the payloads of one domain's records in one segment.

    May be used from several threads; each offset is sealed once.

    Attributes:
        domain: The number of the domain.
    """

    __slots__ = ("_aead", "_commitment", "_sealed", "_segment_id", "_store_id", "domain")

    def __init__(self, key: bytes, store_id: bytes, domain: int, segment_id: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead = AESGCM(key)
        self._commitment = key_commitment(key, store_id)
        self._store_id = store_id
        self._segment_id = segment_id
        self.domain = domain
        self._sealed: set[int] = set()

    def __repr__(self) -> str:
        return f"<cipher of segment {self._segment_id.hex()}>"

    def __reduce__(self) -> str:
        raise TypeError("a cipher is not pickled: its key would be written down")

    def seal(self, header: RecordHeader, plain: Buffer) -> bytes:
        """Return the sealed payload of a record; `seal_into` saves allocating it.

        Raises:
            InternalError: As `seal_into`.
        """
        return bytes(self.seal_into(header, plain, bytearray(sealed_size(len(plain)))))

    def seal_into(
        self, header: RecordHeader, plain: Buffer, out: bytearray | memoryview
    ) -> memoryview:
        """Write the sealed payload of a record to the beginning of `out`, and return it.

        Args:
            header: The record's, with `payload_size` as it is once sealed.
            plain: What the codec made of the block.
            out: At least `sealed_size(len(plain))` bytes, apart from `plain`.

        Raises:
            InternalError: The record is another segment's, or its offset was sealed before; a nonce
                that is used twice would give both plain texts away.
        """
        size = sealed_size(len(plain))
        mine = (self.domain, self._segment_id)
        if (header.domain, header.segment_id) != mine or header.payload_size != size:
            raise InternalError(f"{self!r} was given another record to seal")
        if header.offset in self._sealed:
            raise InternalError(f"{self!r} was to seal offset {header.offset} twice")
        self._sealed.add(header.offset)
        view = memoryview(out)[:size]
        view[:COMMITMENT_SIZE] = self._commitment
        self._aead.encrypt_into(
            _nonce(header), plain, self._associated_data(header), view[COMMITMENT_SIZE:]
        )
        return view

    def open(self, header: RecordHeader, payload: Buffer) -> bytes:
        """Return what a record's payload seals; `open_into` saves allocating it.

        Raises:
            WrongKeyError, CorruptionError: As `open_into`.
        """
        return bytes(self.open_into(header, payload, bytearray(max(0, len(payload) - SEAL_SIZE))))

    def open_into(
        self, header: RecordHeader, payload: Buffer, out: bytearray | memoryview
    ) -> memoryview:
        """Write what a record's payload seals to the beginning of `out`, and return it.

        Args:
            header: The record's, as read; every field of it is authenticated.
            payload: The sealed payload, whose stored checksum was compared.
            out: At least `len(payload) - SEAL_SIZE` bytes, apart from `payload`. After an error its
                content is of no use.

        Raises:
            WrongKeyError: It was sealed with another key.
            CorruptionError: It is damaged, or of another record.
        """
        from cryptography.exceptions import InvalidTag

        view = memoryview(payload)
        size = len(view) - SEAL_SIZE
        if size < 0:
            raise CorruptionError("the sealed payload is cut off", ErrorCode.CORRUPT_BLOCK)
        if not hmac.compare_digest(view[:COMMITMENT_SIZE], self._commitment):
            raise WrongKeyError(
                f"the record of segment {header.segment_id.hex()} offset {header.offset} is "
                "encrypted with another key"
            )
        found = memoryview(out)[:size]
        try:
            self._aead.decrypt_into(
                _nonce(header), view[COMMITMENT_SIZE:], self._associated_data(header), found
            )
        except InvalidTag:
            raise CorruptionError(
                f"the sealed payload of segment {header.segment_id.hex()} offset {header.offset} "
                "is not what was written there",
                ErrorCode.CORRUPT_BLOCK,
            ) from None
        return found

    def _associated_data(self, header: RecordHeader) -> bytes:
        return ASSOCIATED_DATA.pack(
            ASSOCIATED_MAGIC,
            header.kind,
            header.codec,
            0,
            header.domain,
            self._store_id,
            header.segment_id,
            header.offset,
            header.plain_size,
            header.block_hash,
        )


def _nonce(header: RecordHeader) -> bytes:
    return (header.offset // ALIGNMENT).to_bytes(NONCE_SIZE, "big")
