"""Which function serves which operation, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ebsim.caller import Caller
from ebsim.engine import Store
from ebsim.server.background import Background
from ebsim.server.protocol.wire import Call, Document, FaultError


@dataclass(frozen=True, slots=True)
class Served:
    """A call, for whom, and on what.

    Attributes:
        call: What is asked.
        store: The store, as the account and Region of the signature see it.
        request_id: The request's id.
        background: What has work go on after the answer.
        body_digest: The SHA-256 of the body, where it is known already; it is made once.
    """

    call: Call
    store: Store
    request_id: str
    background: Background
    body_digest: bytes | None = None

    @property
    def parameters(self) -> Document:
        """What the call asks, by the model's member names."""
        return self.call.parameters

    @property
    def now_s(self) -> int:
        """The store's time, in whole seconds: by it tokens expire."""
        return self.store.now_us // 1_000_000

    @property
    def caller(self) -> Caller:
        """Who asks, and where."""
        return self.store.caller


Operation = Callable[[Served], Document]
"""Does what a call asks, and returns the members of its result."""


class Place(Enum):
    """Where a call is carried out."""

    LOOP = "between two events of the loop: it takes a moment, and waits for nobody"
    COMPUTING = "in one of as many threads as there are processors: it keeps one busy"
    WAITING = "in one of many threads: it may wait for a lock, or for another process"


Where = Callable[[Served], Place]
"""Says where a call is carried out; it must not wait itself."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How an operation is served.

    Attributes:
        carry_out: Does it.
        where: Says where.
    """

    carry_out: Operation
    where: Where


class Hook(Protocol):
    """Looks at calls, and may refuse them or change what is told."""

    def before(self, served: Served) -> None:
        """Look at a call that is about to be carried out.

        Raises:
            FaultError: It is not.
        """
        ...

    def after(self, served: Served, result: Document) -> Document:
        """Return the result of a call that was carried out, as it is or changed."""
        ...


@dataclass(slots=True)
class Registry:
    """The operations that are served, by service and name."""

    known: dict[tuple[str, str], Serving] = field(default_factory=dict)

    def add(
        self, service: str, name: str, where: Place | Where = Place.WAITING
    ) -> Callable[[Operation], Operation]:
        """Return a decorator that has a function serve an operation."""
        says_where = (lambda _served: where) if isinstance(where, Place) else where

        def keep(function: Operation) -> Operation:
            assert (service, name) not in self.known, f"{service}:{name} is served twice"
            self.known[service, name] = Serving(function, says_where)
            return function

        return keep

    def find(self, call: Call) -> Serving:
        """Return what serves a call.

        Raises:
            FaultError: InvalidAction: nothing does; the message says what there is.
        """
        found = self.known.get((call.service, call.operation))
        if found is None:
            served = ", ".join(
                sorted(name for service, name in self.known if service == call.service)
            )
            raise FaultError(
                "InvalidAction",
                f"{call.operation} is not served by ebsim. It serves: {served}.",
            )
        return found


OPERATIONS = Registry()
"""All that ebsim serves; the modules of operations fill it when they are imported."""


def load_operations() -> Registry:
    """Return all operations."""
    # They register themselves.
    from ebsim.server import dlm, rbin, sts  # noqa: F401
    from ebsim.server.ebs import reading, writing  # noqa: F401
    from ebsim.server.ec2 import (  # noqa: F401
        encryption,
        fast_restores,
        images,
        instances,
        locks,
        places,
        recycle_bin,
        sharing,
        snapshots,
        tags,
        tiers,
        volume_status,
        volumes,
    )
    from ebsim.server.kms import facts, granting, managing, using  # noqa: F401

    return OPERATIONS
