"""What one client, and all of them together, may take of a server."""

import resource
from dataclasses import dataclass, field

from ebsim.errors import ErrorCode, InvalidInputError

MIB = 1024 * 1024

FILES_BESIDE = 256
"""Files that a server needs open beside its connections: those of the store, above all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a client may send and let wait.

    Attributes:
        head_bytes: A request's head: its line and its fields.
        fields: Fields of a head.
        body_bytes: A body; a block of 512 KiB is the largest that any operation needs.
        request_s: Seconds that a request may take to arrive, and that a connection may be without
            its first one.
        response_s: Seconds that a client may let wait what it does not read.
        idle_s: Seconds that a connection may be idle between two requests.
    """

    head_bytes: int = 64 * 1024
    fields: int = 200
    body_bytes: int = MIB
    request_s: float = 60
    response_s: float = 60
    idle_s: int = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server takes at once.

    Attributes:
        connections: Connections; more are ended at once.
        requests: Requests carried out at once beside those that read and write blocks, for which
            there are as many threads as processors; more wait.
        held_bytes: Bytes of all bodies that are held at once; a request beyond is told to come
            again.
        grace_s: Seconds that what is under way may take when the server is asked to stop.
        http: What each client may.
    """

    connections: int = 1000
    requests: int = 16
    held_bytes: int = 128 * MIB
    grace_s: float = 30
    http: HttpLimits = field(default_factory=HttpLimits)


def ensure_sensible(limits: Limits) -> None:
    """Refuse limits under which no block could be written.

    Raises:
        InvalidInputError: One body may not be held, or none of a block's size may be sent.
    """
    if limits.http.body_bytes < MIB // 2 or limits.held_bytes < limits.http.body_bytes:
        raise InvalidInputError(
            f"A block has {MIB // 2} bytes: allow bodies of at least that size, and hold at least "
            "one of them.",
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        )


def ensure_files(connections: int) -> int:
    """Allow this process as many open files as connections need, as far as the system does.

    Returns:
        How many connections that is enough for: `connections`, or fewer.
    """
    needed = connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, min(connections, max(allowed, soft) - FILES_BESIDE))
