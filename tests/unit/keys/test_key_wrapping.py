"""Wrapping keys: bound to what they are for, and a wrong key is told from damage."""

import pytest

from ebsim.errors import CorruptionError, ErrorCode, WrongKeyError
from ebsim.ids import DataKeyId
from ebsim.keys.wrapping import (
    WRAPPED_SIZE,
    Binding,
    about_data_key,
    decode_wrapped,
    encode_wrapped,
    joined,
    unwrap,
    wrap,
)
from ebsim.testing.seams import SeededEntropy

KEY, OTHER, SECRET = b"k" * 32, b"o" * 32, b"s" * 32


def wrapped() -> bytes:
    return wrap(KEY, SECRET, b"about", SeededEntropy())


def test_what_is_wrapped_is_unwrapped() -> None:
    assert len(wrapped()) == WRAPPED_SIZE
    assert unwrap(KEY, wrapped(), b"about") == SECRET


def test_wrapped_keys_show_nothing_of_themselves() -> None:
    entropy = SeededEntropy()
    first, second = (wrap(KEY, SECRET, b"about", entropy) for _ in range(2))

    assert first != second
    for each in (KEY, SECRET):
        assert each not in first + second


def test_wrong_key_is_told_from_damage() -> None:
    with pytest.raises(WrongKeyError):
        unwrap(OTHER, wrapped(), b"about")


def test_flip_of_any_byte_is_an_error() -> None:
    data = bytearray(wrapped())
    for position in range(len(data)):
        data[position] ^= 1
        with pytest.raises((CorruptionError, WrongKeyError)):
            unwrap(KEY, bytes(data), b"about")
        data[position] ^= 1
    for end in range(len(data)):
        with pytest.raises(CorruptionError):
            unwrap(KEY, bytes(data[:end]), b"about")


def test_wrapped_key_opens_only_for_what_it_is_about() -> None:
    with pytest.raises(CorruptionError) as caught:
        unwrap(KEY, wrapped(), b"something else")

    assert caught.value.code is ErrorCode.CORRUPT_KEYRING


def test_binding_tells_all_its_parts_apart() -> None:
    binding = Binding(b"S" * 16, DataKeyId("d"))
    variants = {
        about_data_key(binding, "arn", 1),
        about_data_key(binding, "arn", 2),
        about_data_key(binding, "arn2", 1),
        about_data_key(Binding(b"T" * 16, DataKeyId("d")), "arn", 1),
        about_data_key(Binding(b"S" * 16, DataKeyId("e")), "arn", 1),
    }

    assert len(variants) == 5


def test_parts_cannot_be_moved_from_one_to_the_next() -> None:
    assert joined("ab", "c") != joined("a", "bc") != joined("abc")
    assert joined("", "a") != joined("a", "")
    assert joined(b"a") == joined("a")


def test_version_of_the_material_comes_with_the_wrapped_key() -> None:
    assert decode_wrapped(encode_wrapped(3, wrapped())) == (3, wrapped())


@pytest.mark.parametrize(
    "data",
    [b"", encode_wrapped(1, wrapped())[:-1], encode_wrapped(1, wrapped()) + b"x"],
)
def test_wrapped_data_key_of_another_length_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_wrapped(data)


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_wrapped_data_key_of_another_layout_is_damage(position: int) -> None:
    data = bytearray(encode_wrapped(1, wrapped()))
    data[position] ^= 4

    with pytest.raises(CorruptionError):
        decode_wrapped(bytes(data))
