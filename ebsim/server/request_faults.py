"""What harnesses have an endpoint do to requests: throttle some, and know a snapshot late.

Each is a hook of the endpoint: it looks at a call before it is carried out, or at its result.
"""

import threading
from dataclasses import dataclass
from difflib import get_close_matches

from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.server.operations import Registry, Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.server.rates import throttled


@dataclass(slots=True)
class _Wanted:
    """Which calls of an operation are throttled: so many pass, and so many do not."""

    pass_first: int
    throttle: int


class RequestFaults:
    """Throttles the calls that it was told to. May be used by several threads.

    Args:
        operations: What can be named.
    """

    def __init__(self, operations: Registry) -> None:
        self._operations = operations
        self._wanted: dict[tuple[str, str], list[_Wanted]] = {}
        self._mutex = threading.Lock()

    def throttle(self, operation: str, nth: int = 1, times: int = 1) -> None:
        """Throttle the n-th call of an operation from now on, as the service does.

        Told twice, both hold, each counted from when it was told.

        Args:
            operation: Its name: `CreateSnapshot`, or `rbin:TagResource` where several services have
                one of that name.
            nth: 1: the next one.
            times: How many calls, one after the other, beginning with the n-th.

        Raises:
            InvalidInputError: There is no such operation, or a number is below 1.
        """
        if nth < 1 or times < 1:
            raise InvalidInputError(
                "Calls are counted from 1, and at least one is throttled.",
                ErrorCode.INVALID_PARAMETER_VALUE,
            )
        found = self._find(operation)
        with self._mutex:
            for each in found:
                self._wanted.setdefault(each, []).append(_Wanted(nth - 1, times))

    def reset(self) -> None:
        """Throttle nothing any more."""
        with self._mutex:
            self._wanted.clear()

    def before(self, served: Served) -> None:
        """Count a call.

        Raises:
            FaultError: It is to be throttled.
        """
        if not self._wanted:
            return
        name = (served.call.service, served.call.operation)
        with self._mutex:
            told = self._wanted.get(name, [])
            hit = [each for each in told if not each.pass_first]
            for each in told:
                if each.pass_first:
                    each.pass_first -= 1
                else:
                    each.throttle -= 1
            self._wanted[name] = [each for each in told if each.throttle]
        if hit:
            raise throttled(served.call.service)

    def after(self, served: Served, result: Document) -> Document:
        """Return the result as it is."""
        return result

    def _find(self, operation: str) -> list[tuple[str, str]]:
        service, colon, name = operation.rpartition(":")
        found = [
            known
            for known in self._operations.known
            if known[1] == name and (not colon or known[0] == service)
        ]
        if not found:
            near = get_close_matches(
                name, sorted({known[1] for known in self._operations.known}), n=1
            )
            hint = f" Is it {near[0]}?" if near else " docs/aws-api.md lists them."
            raise InvalidInputError(
                f"{operation} is no operation that is served.{hint}",
                ErrorCode.INVALID_PARAMETER_VALUE,
            )
        return found


_NAMING = ("SnapshotId", "SourceSnapshotId", "ParentSnapshotId", "SecondSnapshotId")
_LISTING = ("SnapshotIds", "Resources", "ResourceIds", "SourceSnapshotIds")


class LateSnapshots:
    """Lets a snapshot be unknown for a while after StartSnapshot has returned its id.

    EC2 and the EBS direct APIs are eventually consistent: what was made may not be seen yet by the
    next call. Tools that do not try again break on that.

    Args:
        delay_s: For how long, by the store's clock.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_us = round(delay_s * 1_000_000)
        self._until_us: dict[str, int] = {}
        self._mutex = threading.Lock()

    def before(self, served: Served) -> None:
        """Look at which snapshots a call names.

        Raises:
            FaultError: One is not known yet: ResourceNotFoundException, InvalidSnapshot.NotFound.
        """
        late = self._late(served.store.now_us)
        if not late:
            return
        given = served.parameters
        named = [given[name] for name in _NAMING if name in given]
        named.extend(each for name in _LISTING for each in given.get(name, ()))
        for snapshot_id in named:
            if snapshot_id in late:
                raise _unknown(served.call.service, snapshot_id)

    def after(self, served: Served, result: Document) -> Document:
        """Remember a snapshot that was started, and leave it out of lists until it is known."""
        now_us = served.store.now_us
        if served.call.operation == "StartSnapshot":
            with self._mutex:
                self._until_us.setdefault(result["SnapshotId"], now_us + self._delay_us)
        elif served.call.operation == "DescribeSnapshots":
            late = self._late(now_us)
            shown = [each for each in result["Snapshots"] if each["SnapshotId"] not in late]
            return {**result, "Snapshots": shown}
        return result

    def _late(self, now_us: int) -> frozenset[str]:
        if not self._until_us:
            return frozenset()
        with self._mutex:
            for snapshot_id, until_us in list(self._until_us.items()):
                if not now_us < until_us <= now_us + self._delay_us:
                    del self._until_us[snapshot_id]
            return frozenset(self._until_us)


def _unknown(service: str, snapshot_id: str) -> FaultError:
    message = f"The snapshot '{snapshot_id}' does not exist."
    if service == "ebs":
        reason = {"Reason": "SNAPSHOT_NOT_FOUND"}
        return FaultError("ResourceNotFoundException", message, 404, reason)
    return FaultError("InvalidSnapshot.NotFound", message)
