"""Pages of KMS's lists: by names that never change, so that none is told twice or left out."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from ebsim.server.operations import Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.server.tokens import PageTokens

PAGE_DEFAULT = 100
PAGE_MAX = 1000
_NAME_SIZE = 256

Record = TypeVar("Record")


def cut(
    served: Served, what: str, records: Iterable[Record], name: Callable[[Record], str]
) -> tuple[list[Record], Document]:
    """Return a page of records, in the order of their names, and the members that say what follows.

    Args:
        served: The call, with `Limit` and `Marker`.
        what: What is asked, the same for each page.
        records: All of them.
        name: The name of one, of at most 256 bytes.

    Raises:
        FaultError: The limit is none of 1 to 1,000 (ValidationException), or the marker is another
            list's, or expired (InvalidMarkerException).
    """
    limit, marker = served.parameters.get("Limit", PAGE_DEFAULT), served.parameters.get("Marker")
    if not 1 <= limit <= PAGE_MAX:
        raise FaultError("ValidationException", f"Limit is {limit}; expected 1 to {PAGE_MAX}.")
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
