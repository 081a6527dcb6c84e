"""The endpoint: from an HTTP request to its response, without a network.

A request is proved to be signed before anything else of it is read; then it is parsed, carried out
on the store as the account and in the Region of its signature, and answered, faults included.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT, parse_caller
from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.server import faults
from ebsim.server.background import Background
from ebsim.server.operations import Registry, Served
from ebsim.server.protocol import codec
from ebsim.server.protocol.models import SERVICES
from ebsim.server.protocol.wire import FaultError, HttpRequest, HttpResponse
from ebsim.server.signatures import Credential, Signer, verify, verify_body

_LOG = logging.getLogger("ebsim.server")

UNSIGNED_BODY = frozenset({("ebs", "PutSnapshotBlock")})
"""Operations whose body a checksum of its own proves, if it is not signed."""


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
    """

    store: Store
    operations: Registry
    find_credential: Callable[[str], Credential | None] | None
    now: Callable[[], datetime]
    background: Background = field(default_factory=Background)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request. Nothing is raised."""
        request_id = str(uuid.uuid4())
        service = "ec2"
        try:
            signer = self._signer(request)
            service = _service(signer)
            return self._served(request, signer, service, request_id)
        except FaultError as fault:
            told = faults.for_service(fault, service)
        except EbsimError as error:
            told = faults.for_service(faults.to_fault(error), service)
        except Exception:  # noqa: BLE001 - told to the log, and to the client as InternalError
            _LOG.exception("request %s failed", request_id)
            told = faults.for_service(faults.internal_error(), service)
        return codec.write_fault(service, told, request_id)

    def _served(
        self, request: HttpRequest, signer: Signer, service: str, request_id: str
    ) -> HttpResponse:
        call = codec.read_call(service, request)
        digest = None
        if self.find_credential is not None:
            may_be_unsigned = (service, call.operation) in UNSIGNED_BODY
            digest = verify_body(signer, request.body, may_be_unsigned=may_be_unsigned)
        operation = self.operations.find(call)
        caller = parse_caller(signer.credential.account, signer.region)
        if call.parameters.get("DryRun"):
            raise faults.dry_run()
        store = self.store.as_account(caller.account, caller.region)
        result = operation(Served(call, store, request_id, self.background, digest))
        return codec.write_result(call, result, request_id)

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
