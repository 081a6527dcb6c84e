"""From ebsim's errors to what AWS's services answer."""

from ebsim.errors import EbsimError, ErrorCode
from ebsim.server.protocol.wire import FaultError

_FIRST_OWN_CODE = list(ErrorCode).index(ErrorCode.SOURCE_NOT_FOUND)
_OWN = frozenset(list(ErrorCode)[_FIRST_OWN_CODE:])
"""Codes that no service of AWS has: for a client they are internal errors."""

_STATUS = {
    "AuthFailure": 403,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "ConflictException": 409,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "InternalError": 500,
}
"""HTTP statuses other than 400, for services whose models do not say (semantics section 9)."""

_JSON_CODES = {
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "RequestExpired": "ExpiredTokenException",
    "InvalidAction": "UnknownOperationException",
    "InternalError": "InternalServerException",
}
"""What the JSON services call what EC2 calls otherwise."""


def to_fault(error: EbsimError) -> FaultError:
    """Return the fault that tells an error of the engine."""
    if error.code in _OWN:
        return FaultError("InternalError", str(error), 500)
    code = str(error.code)
    members = {"Reason": error.reason} if error.reason else None
    return FaultError(code, str(error), _STATUS.get(code, 400), members)


def for_service(fault: FaultError, service: str) -> FaultError:
    """Return a fault under the name that a service has for it."""
    if service in {"ec2", "sts"}:
        return fault
    if service == "ebs":
        fault = _of_direct_apis(fault)
    if service == "rbin" and fault.code in _INVALID and not fault.members:
        reason = {"Reason": "INVALID_PARAMETER_VALUE"}
        fault = FaultError("ValidationException", fault.message, 400, reason)
    if service in _OTHERWISE:
        return _otherwise(fault, service)
    code = _JSON_CODES.get(fault.code, fault.code)
    status = _STATUS.get(code, fault.status)
    return FaultError(code, fault.message, status, fault.members)


_DIRECT = {
    "InvalidSnapshot.NotFound": ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"),
    "InvalidSnapshotID.Malformed": ("ValidationException", "INVALID_SNAPSHOT_ID"),
    "UnrelatedSnapshots": ("ValidationException", "UNRELATED_SNAPSHOTS"),
    "IncorrectState": ("ValidationException", "INVALID_SNAPSHOT_ID"),
    "InvalidParameterValue": ("ValidationException", "INVALID_PARAMETER_VALUE"),
    "InvalidParameterCombination": ("ValidationException", "INVALID_PARAMETER_VALUE"),
    "InvalidParameterDependency": ("ValidationException", "INVALID_PARAMETER_VALUE"),
    "InvalidTagKey.Malformed": ("ValidationException", "INVALID_TAG"),
    "TagLimitExceeded": ("ValidationException", "INVALID_TAG"),
    "SnapshotLimitExceeded": (
        "ServiceQuotaExceededException",
        "DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
    ),
    "AuthFailure": ("AccessDeniedException", "UNAUTHORIZED_ACCOUNT"),
    "CustomerKeyHasBeenRevoked": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "DisabledException": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "KMSInvalidStateException": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "NotFoundException": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "AccessDeniedException": ("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED"),
}
"""What the direct APIs call what EC2 and KMS call otherwise, and the reason that they give."""


_INVALID = frozenset({"ValidationException", "InvalidParameterValue"})

_OTHERWISE = {
    "dlm": {
        "ValidationException": "InvalidRequestException",
        "InvalidParameterValue": "InvalidRequestException",
        "InvalidTagKey.Malformed": "InvalidRequestException",
        "TagLimitExceeded": "InvalidRequestException",
    },
    "kms": {
        "DryRunOperation": "DryRunOperationException",
        "InternalError": "KMSInternalException",
        "InvalidPaginationToken": "InvalidMarkerException",
        "InvalidUserID.Malformed": "InvalidArnException",
    },
}
"""What Data Lifecycle Manager and KMS call what others call otherwise."""


def _otherwise(fault: FaultError, service: str) -> FaultError:
    """Return a fault of Data Lifecycle Manager or KMS, which denies access with 400."""
    code = _OTHERWISE[service].get(fault.code, fault.code)
    code = _JSON_CODES.get(code, code)
    status = 400 if code == "AccessDeniedException" else _STATUS.get(code, fault.status)
    return FaultError(code, fault.message, status, fault.members)


def _of_direct_apis(fault: FaultError) -> FaultError:
    known = _DIRECT.get(fault.code)
    if known is None:
        return fault
    code, reason = known
    return FaultError(code, fault.message[:256], fault.status, {"Reason": reason} | fault.members)


def dry_run() -> FaultError:
    """Return EC2's answer to a request that would have been carried out."""
    return FaultError(
        "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
    )


def internal_error() -> FaultError:
    """Return what is answered where ebsim failed; what it was is in the log alone."""
    return FaultError("InternalError", "An internal error has occurred", 500)
