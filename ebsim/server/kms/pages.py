"""Pages of KMS's lists: by names that never change, so that none is told twice or left out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ebsim.server.operations import Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.server.tokens import PageTokens

_NAME_SIZE = 256

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class PageSizes:
    """How many records a page of a list has.

    Attributes:
        default: Where nothing is said.
        largest: More than these are refused.
    """

    default: int
    largest: int


KEYS = PageSizes(100, 1000)
ALIASES = PageSizes(50, 100)
GRANTS = PageSizes(50, 100)
TAGS = PageSizes(50, 50)
"""As KMS documents `Limit` of each list; those of keys are also those of policies."""


def cut(
    served: Served,
    what: str,
    records: Iterable[Record],
    name: Callable[[Record], str],
    sizes: PageSizes = KEYS,
) -> tuple[list[Record], Document]:
    """Return a page of records, in the order of their names, and the members that say what follows.

    Args:
        served: The call, with `Limit` and `Marker`.
        what: What is asked, the same for each page.
        records: All of them.
        name: The name of one, of at most 256 bytes.
        sizes: How many records a page has.

    Raises:
        FaultError: The limit is below 1 or too large (ValidationException), or the marker is
            another list's, or expired (InvalidMarkerException).
    """
    limit, marker = served.parameters.get("Limit", sizes.default), served.parameters.get("Marker")
    if not 1 <= limit <= sizes.largest:
        raise FaultError("ValidationException", f"Limit is {limit}; expected 1 to {sizes.largest}.")
    tokens = PageTokens(served.store.secret("page tokens"))
    query = ("kms", served.caller.account, served.caller.region, what)
    after: int | None = -1
    if marker is not None:
        after = tokens.read(query, marker, served.now_s)
    if after is None:
        raise FaultError("InvalidMarkerException", "The marker is expired, or another list's.")

    def position(record: Record) -> int:
        return int.from_bytes(name(record).encode().ljust(_NAME_SIZE, b"\0"), "big")

    rest = sorted((each for each in records if position(each) > after), key=position)
    page = rest[:limit]
    if len(page) == len(rest):
        return page, {"Truncated": False}
    token = tokens.make(query, position(page[-1]), served.now_s)
    return page, {"Truncated": True, "NextMarker": token}
