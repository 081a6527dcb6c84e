"""The endpoint: from an HTTP request to its response, without a network.

A request is proved to be signed before anything else of it is read; then it is parsed, carried out
on the store as the account and in the Region of its signature, and answered, faults included.
"""

import logging
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT, parse_caller
from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.server import faults
from ebsim.server.background import Background
from ebsim.server.observing import Seen
from ebsim.server.operations import Hook, Place, Registry, Served, Serving
from ebsim.server.protocol import codec
from ebsim.server.protocol.models import SERVICES
from ebsim.server.protocol.wire import FaultError, HttpRequest, HttpResponse
from ebsim.server.signatures import UNSIGNED, Credential, Signer, unsigned_body, verify, verify_body

_LOG = logging.getLogger("ebsim.server")

VIEWS_MAX = 256
"""Accounts in Regions for which the store is kept as they see it."""

UNSIGNED_BODY = frozenset({("ebs", "PutSnapshotBlock")})
"""Operations whose body a checksum of its own proves, if it is not signed."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of a request that was proved and read.

    Attributes:
        place: Where it is to be carried out.
        carry_out: Returns the response; nothing is raised.
    """

    place: Place
    carry_out: Callable[[], HttpResponse]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Serves one store.

    Attributes:
        store: The store, open.
        operations: What is served.
        find_credential: From an access key to its credential; None: nobody has to sign, and the
            credential of a signature is believed as far as its scope goes.
        now: The time.
        background: What goes on after its request is answered.
        hooks: What looks at each call before it is carried out, and at its result.
    """

    store: Store
    operations: Registry
    find_credential: Callable[[str], Credential | None] | None
    now: Callable[[], datetime]
    background: Background = field(default_factory=Background)
    hooks: Sequence[Hook] = ()
    _views: dict[tuple[str, str], Store] = field(default_factory=dict)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Nothing is raised."""
        return self.begin(request, Seen()).carry_out()

    def begin(self, request: HttpRequest, seen: Seen) -> Work:
        """Prove and read a request; return what carries it out, and where. Nothing is raised.

        It costs as long as the request is, and waits for nobody.

        Args:
            request: The request.
            seen: Where what becomes known of it is written to.
        """
        seen.request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        try:
            signer = self._signer(request)
            seen.service = _service(signer)
            served, serving = self._understood(request, signer, seen)
            place = serving.where(served)
        except Exception as error:  # noqa: BLE001 - all is told
            refused = self._refused(error, request, seen)
            return Work(Place.LOOP, lambda: refused)

        def carry_out() -> HttpResponse:
            try:
                return self._carried_out(served, serving)
            except Exception as error:  # noqa: BLE001 - all is told
                return self._refused(error, request, seen)

        return Work(place, carry_out)

    def _refused(self, error: Exception, request: HttpRequest, seen: Seen) -> HttpResponse:
        if isinstance(error, FaultError):
            fault = error
        elif isinstance(error, EbsimError):
            fault = faults.to_fault(error)
        else:  # told to the log, and to the client as InternalError
            _LOG.error("request %s failed", seen.request_id, exc_info=error)
            fault = faults.internal_error()
        service = seen.service or _claimed_service(request)
        told = faults.for_service(fault, service)
        seen.code = told.code
        return codec.write_fault(service, told, seen.request_id)

    def _understood(
        self, request: HttpRequest, signer: Signer, seen: Seen
    ) -> tuple[Served, Serving]:
        service, proves = seen.service, self.find_credential is not None
        digest = None
        if proves and signer.body_hash != UNSIGNED:
            digest = verify_body(signer, request.body)
        call = codec.read_call(service, request)
        seen.operation = call.operation
        if proves and digest is None and (service, call.operation) not in UNSIGNED_BODY:
            raise unsigned_body()
        serving = self.operations.find(call)
        store = self._store_of(signer.credential.account, signer.region)
        seen.account, seen.region = store.caller.account, store.caller.region
        return Served(call, store, seen.request_id, self.background, digest), serving

    def _carried_out(self, served: Served, serving: Serving) -> HttpResponse:
        for hook in self.hooks:
            hook.before(served)
        if served.parameters.get("DryRun"):
            raise faults.dry_run()
        result = serving.carry_out(served)
        for hook in self.hooks:
            result = hook.after(served, result)
        return codec.write_result(served.call, result, served.request_id)

    def _store_of(self, account: str, region: str) -> Store:
        """Return the store as an account sees it in a Region."""
        found = self._views.get((account, region))
        if found is None:
            caller = parse_caller(account, region)
            if len(self._views) >= VIEWS_MAX:
                self._views.clear()
            found = self._views[account, region] = self.store.as_account(
                caller.account, caller.region
            )
        return found

    def _signer(self, request: HttpRequest) -> Signer:
        if self.find_credential is not None:
            return verify(request, self.find_credential, self.now())
        return _claimed_signer(request)


def _service(signer: Signer) -> str:
    if signer.service not in SERVICES:
        raise FaultError(
            "SignatureDoesNotMatch",
            f"The credential's scope names the service '{signer.service[:40]}': ebsim serves "
            f"{', '.join(SERVICES)}.",
            403,
        )
    return signer.service


def _claimed_service(request: HttpRequest) -> str:
    """Return in whose form a request is refused that was not proved to be for any service."""
    claimed = _claimed_signer(request).service
    return claimed if claimed in SERVICES else _guessed(request)


def _claimed_signer(request: HttpRequest) -> Signer:
    """Return whom a request claims to be from, where nobody has to sign."""
    _, _, scope = request.headers.get("authorization", "").partition("Credential=")
    parts = scope.split(",")[0].split("/")
    access_key, _, region, service, _ = parts if len(parts) == 5 else ("", "", "", "", "")
    known = access_key if access_key.isdigit() and len(access_key) == 12 else OWNER_DEFAULT
    credential = Credential(access_key, "", known)
    return Signer(credential, region or REGION_DEFAULT, service or _guessed(request), "")


def _guessed(request: HttpRequest) -> str:
    """Return which service a request without a signature is for, by its form."""
    if "x-amz-target" in request.headers:
        return "kms"
    first = request.path.split("/")[1] if "/" in request.path else ""
    by_path = {"snapshots": "ebs", "rules": "rbin", "list-rules": "rbin", "policies": "dlm"}
    return by_path.get(first, "ec2")
