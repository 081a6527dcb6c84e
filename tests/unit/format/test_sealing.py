"""Sealed block records: known answers, every byte counts, and a wrong key is told from damage."""

import hmac
import pickle
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError, ErrorCode, InternalError, WrongKeyError
from ebsim.format.sealing import (
    ASSOCIATED_DATA,
    COMMITMENT_SIZE,
    SEAL_SIZE,
    DataKey,
    SegmentCipher,
    derive_key,
    sealed_size,
)
from ebsim.format.segment import Codec, RecordHeader, RecordKind
from ebsim.units import BLOCK_SIZE

STORE = bytes(range(16))
SEGMENT = bytes(range(50, 66))
KEY = bytes(range(100, 132))
PLAIN = b"what the codec made of a block" * 3


def header(size: int = len(PLAIN), offset: int = 8192, segment_id: bytes = SEGMENT) -> RecordHeader:
    return RecordHeader(
        kind=RecordKind.BLOCK,
        codec=Codec.ZSTD,
        payload_size=sealed_size(size),
        plain_size=BLOCK_SIZE,
        segment_id=segment_id,
        offset=offset,
        domain=7,
        block_hash=bytes(range(200, 232)),
    )


def cipher(key: bytes = KEY, store: bytes = STORE, segment: bytes = SEGMENT) -> SegmentCipher:
    return DataKey(key, store).segment_cipher(7, segment)


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """RFC 5869, written down once more."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    found = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        found += block
    return found[:length]


# known answers


@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "expected"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            (
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
                "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["case 1", "case 2", "case 3"],
)
def test_derivation_has_the_answers_of_rfc_5869(
    secret: str, salt: str, info: str, length: int, expected: str
) -> None:
    found = derive_key(bytes.fromhex(secret), bytes.fromhex(salt), bytes.fromhex(info), length)

    assert found.hex() == expected


@pytest.mark.parametrize(
    ("key", "nonce", "plain", "about", "sealed"),
    [
        (bytes(32), bytes(12), b"", b"", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            bytes(32),
            bytes(12),
            bytes(16),
            b"",
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2),
            bytes.fromhex("cafebabefacedbaddecaf888"),
            bytes.fromhex(
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
            ),
            bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
            (
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                "76fc6ece0f4e1768cddf8853bb2d551b"
            ),
        ),
    ],
    ids=["case 13", "case 14", "case 16"],
)
def test_gcm_has_the_answers_of_its_specification(
    key: bytes, nonce: bytes, plain: bytes, about: bytes, sealed: str
) -> None:
    assert AESGCM(key).encrypt(nonce, plain, about).hex() == sealed


def test_sealed_payload_is_what_the_format_says() -> None:
    record = header(offset=0x12345000)
    key = hkdf(KEY, STORE, b"segment" + SEGMENT)
    about = b"".join(
        (
            b"EBA1",
            bytes([RecordKind.BLOCK, Codec.ZSTD, 0, 0]),
            (7).to_bytes(4, "little"),
            STORE,
            SEGMENT,
            (0x12345000).to_bytes(8, "little"),
            BLOCK_SIZE.to_bytes(4, "little"),
            bytes(range(200, 232)),
        )
    )
    sealed = AESGCM(key).encrypt((0x12345).to_bytes(12, "big"), PLAIN, about)

    assert cipher().seal(record, PLAIN) == hkdf(key, STORE, b"commitment") + sealed
    assert len(about) == ASSOCIATED_DATA.size


def test_keys_for_each_purpose_are_derived_and_differ() -> None:
    data_key = DataKey(KEY, STORE)

    assert data_key.block_hash_key() == hkdf(KEY, STORE, b"block hash")
    assert data_key.commitment() == hkdf(KEY, STORE, b"commitment")
    assert len({data_key.block_hash_key(), data_key.commitment(), KEY}) == 3
    assert DataKey(KEY, bytes(16)).block_hash_key() != data_key.block_hash_key()


# there and back


@given(st.binary(max_size=5000), st.integers(1, 2**40))
def test_what_is_sealed_opens(plain: bytes, number: int) -> None:
    record = header(len(plain), number * 4096)

    payload = cipher().seal(record, plain)

    assert len(payload) == len(plain) + SEAL_SIZE
    assert cipher().open(record, payload) == plain


def test_buffers_of_the_caller_are_filled_from_their_beginning() -> None:
    out, found = bytearray(1000), bytearray(500)

    sealed = cipher().seal_into(header(), memoryview(PLAIN), memoryview(out))
    plain = cipher().open_into(header(), sealed, found)

    assert bytes(plain) == PLAIN == found[: len(PLAIN)]
    assert sealed.obj is out
    assert out[len(PLAIN) + SEAL_SIZE :] == bytes(1000 - len(PLAIN) - SEAL_SIZE)


# damage


def test_flip_of_any_byte_is_an_error_and_never_data() -> None:
    opener, payload = cipher(), bytearray(cipher().seal(header(), PLAIN))
    for position in range(len(payload)):
        for bit in range(8):
            payload[position] ^= 1 << bit
            expected = WrongKeyError if position < COMMITMENT_SIZE else CorruptionError
            with pytest.raises(expected):
                opener.open(header(), bytes(payload))
            payload[position] ^= 1 << bit

    assert opener.open(header(), payload) == PLAIN


def test_payload_that_is_cut_off_is_damage() -> None:
    payload = cipher().seal(header(), PLAIN)

    for end in (*range(SEAL_SIZE), len(payload) - 1):
        with pytest.raises(CorruptionError):
            cipher().open(header(), payload[:end])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": RecordKind.PAGES},
        {"codec": Codec.PLAIN},
        {"domain": 8},
        {"offset": 12288},
        {"plain_size": BLOCK_SIZE - 1},
        {"block_hash": bytes(32)},
        {"segment_id": bytes(16)},
    ],
    ids=str,
)
def test_record_in_the_place_of_another_is_damage(change: dict[str, object]) -> None:
    """Whoever copies a record elsewhere, checksum and all, cannot have it read there."""
    payload = cipher().seal(header(), PLAIN)

    with pytest.raises(CorruptionError) as caught:
        cipher().open(replace(header(), **change), payload)  # type: ignore[arg-type]

    assert caught.value.code is ErrorCode.CORRUPT_BLOCK


def test_swapped_payloads_of_two_records_are_damage() -> None:
    sealer = cipher()
    first = sealer.seal(header(offset=4096), PLAIN)
    second = sealer.seal(header(offset=8192), PLAIN[::-1])

    for offset, payload in ((4096, second), (8192, first)):
        with pytest.raises(CorruptionError):
            cipher().open(header(offset=offset), payload)


# wrong keys


@pytest.mark.parametrize(
    "other",
    [
        cipher(key=bytes(32)),
        cipher(store=bytes(16)),
        cipher(segment=bytes(16)),
    ],
    ids=["data key", "store", "segment"],
)
def test_wrong_key_is_told_from_damage(other: SegmentCipher) -> None:
    payload = cipher().seal(header(), PLAIN)

    with pytest.raises(WrongKeyError) as caught:
        other.open(header(), payload)

    assert caught.value.code is ErrorCode.WRONG_KEY


# nonces


def test_offset_is_sealed_once() -> None:
    sealer = cipher()
    sealer.seal(header(), PLAIN)

    with pytest.raises(InternalError, match="twice"):
        sealer.seal(header(), PLAIN)


@pytest.mark.parametrize(
    "record", [header(segment_id=bytes(16)), header(size=len(PLAIN) + 1)], ids=["segment", "size"]
)
def test_record_of_another_segment_or_size_is_not_sealed(record: RecordHeader) -> None:
    with pytest.raises(InternalError):
        cipher().seal(record, PLAIN)


def test_equal_blocks_look_different_everywhere() -> None:
    sealer, other = cipher(), cipher(segment=bytes(16))
    payloads = [sealer.seal(header(offset=number * 4096), PLAIN) for number in range(1, 9)]
    payloads.append(other.seal(header(segment_id=bytes(16)), PLAIN))

    assert len({payload[COMMITMENT_SIZE:] for payload in payloads}) == 9


# secrecy


@pytest.mark.parametrize(
    "thing", [DataKey(KEY, STORE), cipher(), DataKey(KEY, STORE).sector_cipher("vol-1")]
)
def test_keys_are_not_shown_and_not_pickled(thing: object) -> None:
    assert KEY.hex() not in repr(thing)
    assert repr(KEY) not in repr(thing)
    assert "key" in repr(thing) or "cipher" in repr(thing)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(thing)
