"""Domains whose keys are at hand: their ciphers, for several threads."""

import threading

import pytest

from ebsim.core import open_domains
from ebsim.core.open_domains import PLAIN, Domain
from ebsim.format.sealing import DataKey

STORE = b"s" * 16


def segment(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_unencrypted_domain_has_no_cipher() -> None:
    assert Domain(PLAIN, b"k" * 32, None).cipher(segment(1)) is None


def test_cipher_of_a_segment_is_the_same_as_long_as_it_is_kept() -> None:
    """It knows which offsets it sealed: another one for the segment would not."""
    domain = Domain(1, b"k" * 32, DataKey(b"d" * 32, STORE))

    first = domain.cipher(segment(1))

    assert first is domain.cipher(segment(1))
    assert first is not domain.cipher(segment(2))


def test_ciphers_are_forgotten_while_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a check does that reads many segments in several threads."""
    monkeypatch.setattr(open_domains, "CIPHERS_MAX", 3)
    domain = Domain(1, b"k" * 32, DataKey(b"d" * 32, STORE))
    failed: list[BaseException] = []

    def ask(start: int) -> None:
        try:
            for number in range(start, start + 300):
                found = domain.cipher(segment(number % 50))
                assert found is not None
                assert segment(number % 50).hex() in repr(found)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert len(domain._ciphers) <= 3
