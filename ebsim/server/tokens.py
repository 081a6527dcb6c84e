"""Tokens that say where to go on, and which blocks may be read (semantics section 4.3).

A block token is one AES block: index and expiry, encrypted under a key that only this store has,
another one for each snapshot. One that was made up decrypts to another index, or to a time that is
not within the next seven days, but for a chance of 2**-100. Lists of blocks need many: they are
made all at once.

A page token carries what it asks for, and proves by a keyed hash that this store made it. It is in
Base64 with `+` and `/`, the characters that EBS's model has for it.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

BLOCK_TOKEN_S = 7 * 24 * 3600
PAGE_TOKEN_S = 60 * 60
_UNIT = struct.Struct(">QQ")
_TEXT = 32
"""Characters of a block token: hexadecimal digits, which no query string has to escape."""

_BLOCK_TOKEN = re.compile(r"[0-9a-f]{32}\Z")
_PROOF = 16


class BlockTokens:
    """Makes and reads block tokens.

    Args:
        secret: 32 bytes, of the store's.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = lru_cache(maxsize=256)(self._new_cipher)

    def make(self, snapshot_id: str, indices: Sequence[int], expires_s: int) -> list[str]:
        """Return a token for each block of a snapshot, good until a time."""
        if not indices:
            return []
        import numpy as np  # so that an endpoint starts without it

        units = np.empty((len(indices), 2), dtype=">u8")
        units[:, 0] = indices
        units[:, 1] = expires_s
        sealed = self._cipher(snapshot_id).encryptor().update(units.tobytes())
        text = sealed.hex()
        return [text[at : at + _TEXT] for at in range(0, len(text), _TEXT)]

    def is_good(self, snapshot_id: str, index: int, token: str, now_s: int) -> bool:
        """Return whether a token is that of a block, and not expired."""
        if not _BLOCK_TOKEN.match(token):
            return False
        data = bytes.fromhex(token)
        found, expires_s = _UNIT.unpack(self._cipher(snapshot_id).decryptor().update(data))
        return bool(found == index and now_s < expires_s <= now_s + BLOCK_TOKEN_S)

    def _new_cipher(self, snapshot_id: str) -> Any:  # noqa: ANN401 - a class of cryptography's
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import ECB

        key = hmac.new(self._secret, f"block {snapshot_id}".encode(), hashlib.sha256).digest()
        return Cipher(AES(key), ECB())  # noqa: S305 - each unit is encrypted once, and is unlike others


@lru_cache(maxsize=4)
def block_tokens(secret: bytes) -> BlockTokens:
    """Return what makes and reads the block tokens of a store; one, which keeps its ciphers."""
    return BlockTokens(secret)


class PageTokens:
    """Makes and reads page tokens.

    Args:
        secret: 32 bytes, of the store's.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, query: Sequence[str], position: int, now_s: int) -> str:
        """Return the token of a query's next page.

        Args:
            query: What is asked, the same for each page.
            position: Where the page begins.
            now_s: The time; it is good for an hour.
        """
        data = json.dumps([position, now_s + PAGE_TOKEN_S]).encode("ascii")
        return base64.b64encode(self._proof(query, data) + data).decode("ascii")

    def read(self, query: Sequence[str], token: str, now_s: int) -> int | None:
        """Return where a page begins; None: the token is none, another query's, or expired."""
        try:
            sealed = base64.b64decode(token, validate=True)
        except ValueError:
            return None
        proof, data = sealed[:_PROOF], sealed[_PROOF:]
        if not hmac.compare_digest(proof, self._proof(query, data)):
            return None
        position, expires_s = json.loads(data)
        return int(position) if now_s < expires_s else None

    def _proof(self, query: Sequence[str], data: bytes) -> bytes:
        text = json.dumps(list(query)).encode("ascii")
        return hmac.new(self._secret, b"page " + text + data, hashlib.sha256).digest()[:_PROOF]
