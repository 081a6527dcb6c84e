"""Randomness, as an argument: ids and keys come from here, so that tests can choose them."""

import os
from typing import Protocol


class Entropy(Protocol):
    """A source of random bytes."""

    def token_bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        ...


class SystemEntropy:
    """The operating system's random bytes."""

    def token_bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        return os.urandom(count)
