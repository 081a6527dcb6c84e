"""`store.json`: every bit of it counts, and another version is told apart from damage."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError, EbsimError, ErrorCode, FormatVersionError
from ebsim.format.store_header import StoreHeader, decode_store_header, encode_store_header

HEADER = StoreHeader(store_id=bytes(range(16)), hash_key=bytes(range(100, 132)))


def forge(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a store.json with other fields, and a checksum that is right."""
    fields = json.loads(encode_store_header(HEADER))
    del fields["checksum"]
    change(fields)
    body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    fields["checksum"] = xxhash.xxh3_128_hexdigest(body)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_header_comes_back(store_id: bytes, hash_key: bytes) -> None:
    header = StoreHeader(store_id=store_id, hash_key=hash_key)

    assert decode_store_header(encode_store_header(header)) == header


def test_header_is_what_the_format_says() -> None:
    assert encode_store_header(HEADER) == forge(lambda fields: None)
    assert json.loads(encode_store_header(HEADER)).keys() == {
        "magic",
        "format_version",
        "block_size",
        "store_id",
        "hash_key",
        "checksum",
    }


def test_every_flipped_bit_is_detected() -> None:
    data = bytearray(encode_store_header(HEADER))
    undetected = []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        try:
            decode_store_header(bytes(data))
            undetected.append((bit, bytes(data)))
        except EbsimError:
            pass
        data[bit // 8] ^= 1 << bit % 8

    assert undetected == []


def test_every_cut_is_detected() -> None:
    data = encode_store_header(HEADER)

    for end in range(len(data) - 1):  # the last byte ends the line and says nothing
        with pytest.raises(CorruptionError):
            decode_store_header(data[:end])


@pytest.mark.parametrize("version", [0, 1, 2, "3", None])
def test_store_of_another_version_is_told_apart_from_damage(version: object) -> None:
    with pytest.raises(FormatVersionError, match=f"version {version}") as caught:
        decode_store_header(forge(lambda fields: fields.update(format_version=version)))

    assert caught.value.code is ErrorCode.UNKNOWN_FORMAT


def test_version_is_told_also_where_the_checksum_is_made_otherwise() -> None:
    data = encode_store_header(HEADER).replace(b'"format_version":3', b'"format_version":9')

    with pytest.raises(FormatVersionError, match="version 9"):
        decode_store_header(data)


def test_store_of_another_block_size_is_refused() -> None:
    with pytest.raises(FormatVersionError, match="4096"):
        decode_store_header(forge(lambda fields: fields.update(block_size=4096)))


@pytest.mark.parametrize("data", [b"{}", b'{"magic":"another"}', b'{"magic":null}'])
def test_json_of_something_else_is_no_store(data: bytes) -> None:
    with pytest.raises(FormatVersionError, match="not that of an ebsim store"):
        decode_store_header(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"garbage", b"[1]", b"[" * 60_000])
def test_what_is_no_json_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_store_header(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(store_id="00" * 15),
        lambda fields: fields.update(hash_key="00" * 33),
        lambda fields: fields.update(hash_key=""),
        lambda fields: fields.update(store_id="no hex at all"),
        lambda fields: fields.update(store_id=7),
        lambda fields: fields.pop("store_id"),
        lambda fields: fields.pop("hash_key"),
        lambda fields: fields.pop("block_size"),
    ],
)
def test_field_that_is_none_is_damage(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises((CorruptionError, FormatVersionError)):
        decode_store_header(forge(change))
