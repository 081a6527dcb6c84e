"""Messages that keys encrypt for programs: who may, with what, and that nothing else opens them."""

from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.errors import EbsimError, ErrorCode
from ebsim.keys.keyring import Keyring
from ebsim.keys.messages import PLAINTEXT_MAX, decrypt, encrypt
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.records import EBS_OPERATIONS, KeyOperation, KmsKey
from ebsim.testing.seams import ManualClock, SeededEntropy

ALICE = Caller("123456789012", "us-east-1")
BOB = Caller("111122223333", "us-east-1")
CONTEXT = {"a": "b", "ab": ""}
DAMAGED = ErrorCode.INVALID_CIPHERTEXT


@pytest.fixture
def ring(fast_path: Path, clock: ManualClock) -> Keyring:
    return Keyring.create(
        fast_path / "keyring.json", seams=KeyringSeams(clock=clock, entropy=SeededEntropy())
    )


@pytest.fixture
def key(ring: Keyring) -> KmsKey:
    return ring.create_key(ALICE)


def code_of(
    ring: Keyring, message: bytes, context: dict[str, str], caller: Caller = ALICE
) -> ErrorCode:
    with pytest.raises(EbsimError) as caught:
        decrypt(ring, caller, message, context)
    return caught.value.code


@pytest.mark.parametrize("size", [1, 100, PLAINTEXT_MAX])
def test_message_comes_back_with_its_key(ring: Keyring, key: KmsKey, size: int) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"m" * size, CONTEXT)

    found = decrypt(ring, ALICE, message, dict(reversed(CONTEXT.items())))

    assert (found.key.arn, found.plaintext) == (key.arn, b"m" * size)
    assert "mmm" not in repr(found)


@pytest.mark.parametrize("size", [0, PLAINTEXT_MAX + 1])
def test_size_is_bounded(ring: Keyring, key: KmsKey, size: int) -> None:
    with pytest.raises(EbsimError) as caught:
        encrypt(ring, ALICE, key.key_id, b"m" * size, {})
    assert caught.value.code is ErrorCode.VALIDATION


def test_each_changed_bit_is_noticed(ring: Keyring, key: KmsKey) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"secret", CONTEXT)
    others = {DAMAGED, ErrorCode.ACCESS_DENIED}  # another account's ARN
    for place in range(len(message)):
        for bit in range(8):
            changed = bytearray(message)
            changed[place] ^= 1 << bit
            assert code_of(ring, bytes(changed), CONTEXT) in others
    for size in range(len(message)):
        assert code_of(ring, message[:size], CONTEXT) is DAMAGED
    assert code_of(ring, message + b"\0", CONTEXT) is DAMAGED


@pytest.mark.parametrize("other", [{}, {"a": "b"}, {"aa": "b", "b": ""}, {"a": "", "ab": "b"}])
def test_context_must_be_the_same(ring: Keyring, key: KmsKey, other: dict[str, str]) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"secret", CONTEXT)

    assert code_of(ring, message, other) is DAMAGED


def test_message_stays_readable_after_a_rotation(ring: Keyring, key: KmsKey) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"before", {})
    ring.rotate_key(ALICE, key.key_id)

    assert decrypt(ring, ALICE, message, {}).plaintext == b"before"
    assert encrypt(ring, ALICE, key.key_id, b"before", {})[1] != message


def test_another_keyring_does_not_open_it(ring: Keyring, key: KmsKey, fast_path: Path) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"secret", {})
    seams = KeyringSeams(entropy=SeededEntropy(1))
    other = Keyring.create(fast_path / "other.json", seams=seams)

    assert code_of(other, message, {}) is DAMAGED


def test_others_need_the_right(ring: Keyring, key: KmsKey) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"secret", {})
    assert code_of(ring, message, {}, BOB) is ErrorCode.ACCESS_DENIED
    ring.create_grant(ALICE, key.key_id, BOB.account, EBS_OPERATIONS)

    assert decrypt(ring, BOB, message, {}).plaintext == b"secret"
    with pytest.raises(EbsimError) as caught:  # EBS needs no Encrypt, and does not grant it
        encrypt(ring, BOB, key.arn, b"secret", {})
    assert caught.value.code is ErrorCode.ACCESS_DENIED
    ring.create_grant(ALICE, key.key_id, BOB.account, [KeyOperation.ENCRYPT])
    encrypt(ring, BOB, key.arn, b"secret", {})


def test_disabled_key_opens_nothing(ring: Keyring, key: KmsKey) -> None:
    _, message = encrypt(ring, ALICE, key.key_id, b"secret", {})
    ring.disable_key(ALICE, key.key_id)

    assert code_of(ring, message, {}) is ErrorCode.KEY_DISABLED
