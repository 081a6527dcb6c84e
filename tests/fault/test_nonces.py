"""Campaign `nonces`: what it looks for, and that it finds it."""

from pathlib import Path

import pytest

from ebsim.format.sealing import DataKey, SegmentCipher, derive_key
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.nonces import Nonces, Seal, ensure_used_once

KEY, OTHER = b"k" * 32, b"o" * 32
ONE, TWO = b"1" * 16, b"2" * 16


def nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


@pytest.mark.parametrize(
    ("seals", "sound"),
    [
        ([(KEY, nonce(1), ONE, 4096), (KEY, nonce(2), ONE, 8192)], True),
        ([(KEY, nonce(1), ONE, 4096), (OTHER, nonce(1), TWO, 4096)], True),
        ([(KEY, nonce(1), ONE, 4096), (KEY, nonce(1), ONE, 4096)], False),
        ([(KEY, nonce(1), ONE, 4096), (KEY, nonce(1), TWO, 4096)], False),
    ],
)
def test_pair_of_key_and_nonce_may_be_there_once(seals: list[Seal], *, sound: bool) -> None:
    if sound:
        ensure_used_once(seals)
        return
    with pytest.raises(AssertionError, match="used twice under one key"):
        ensure_used_once(seals)


@pytest.mark.slow
def test_key_that_is_the_same_for_all_segments_is_found(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deliberate fault: without a key of its own, each segment begins with the same nonces."""

    def segment_cipher(self: DataKey, domain: int, segment_id: bytes) -> SegmentCipher:
        key = derive_key(self._key, self._store_id, b"segment")
        return SegmentCipher(key, self._store_id, domain, segment_id)

    monkeypatch.setattr(DataKey, "segment_cipher", segment_cipher)
    with (
        Nonces().prepare(1, fast_path) as run_case,
        pytest.raises(Violation, match="used twice under one key"),
    ):
        run_case(0)
