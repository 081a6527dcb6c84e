"""Pages of a long answer, and the tokens that ask for the next one (semantics section 1.6).

A token says how far the last page came and proves that it belongs to this store and this query: it
is keyed with a secret of the store. So one that was made up, or kept from another query, is refused
instead of giving a page that leaves records out.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ebsim import refusals
from ebsim.core.whole_numbers import ensure_whole

PAGE_MIN = 5
PAGE_MAX = 1000
VOLUME_PAGE_MAX = 500
_PROOF_SIZE = 16
_POSITION_SIZE = 8

Record = TypeVar("Record")


def page_size(
    max_results: int | None, largest: int = PAGE_MAX, smallest: int = PAGE_MIN
) -> int | None:
    """Return how many records a page has at most, None for all.

    Raises:
        InvalidInputError: Fewer than the smallest are asked for, or no whole number; more than the
            largest are cut.
    """
    ensure_whole(max_results, "maxResults")
    if max_results is None:
        return None
    if max_results < smallest:
        raise refusals.page_size(max_results, smallest, largest)
    return min(max_results, largest)


class Pager:
    """Cuts the answers to one query into pages.

    Args:
        key: The store's secret.
        query: What the query asks for, as JSON could hold it, without its token and page size.
    """

    def __init__(self, key: bytes, query: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        self._secret = key
        self._query = query

    def page(
        self,
        records: Sequence[Record],
        position: Callable[[Record], int],
        size: int | None,
        token: str | None,
    ) -> tuple[list[Record], str | None]:
        """Return a page, and the token of the next one or None.

        Args:
            records: All that the query finds, in the order of `position`.
            position: A number of a record that no other has and that never changes.
            size: At most this many; None: all.
            token: What the page before answered with; None or empty for the first page.

        Raises:
            InvalidInputError: The token is none, or another query's.
        """
        rest = list(records)
        if token:
            after = self._open(token)
            rest = [record for record in rest if position(record) > after]
        if size is None or len(rest) <= size:
            return rest, None
        return rest[:size], self._seal(position(rest[size - 1]))

    def _seal(self, position: int) -> str:
        data = position.to_bytes(_POSITION_SIZE, "big")
        return b64encode(data + self._proof(data)).decode("ascii")

    def _open(self, token: str) -> int:
        try:
            sealed = b64decode(token, validate=True)
        except (Base64Error, ValueError):
            raise refusals.bad_token() from None
        data, proof = sealed[:_POSITION_SIZE], sealed[_POSITION_SIZE:]
        if proof != self._proof(data):
            raise refusals.bad_token()
        return int.from_bytes(data, "big")

    def _proof(self, data: bytes) -> bytes:
        text = json.dumps(self._query, sort_keys=True, ensure_ascii=True).encode("ascii")
        key = hashlib.blake2b(text, key=self._secret[:64], person=b"ebsim page").digest()
        return hashlib.blake2b(data, key=key, digest_size=_PROOF_SIZE).digest()
