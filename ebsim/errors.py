"""Every error ebsim raises on purpose.

    EbsimError                    .code says precisely what; the class says who must act
    ├── InvalidInputError         the caller sent something wrong
    ├── NotFoundError             no such snapshot, volume, store, source
    ├── ConflictError             it exists, is in use, or is in the wrong state
    ├── ForbiddenError            it is another account's, or a rule protects it
    ├── LimitExceededError        too large, too many, or no space
    ├── SourceError               a source could not be read, or changed while it was read
    ├── SnapshotFailedError       the snapshot was created but ended as `error`
    ├── StoreError                the store's files or catalog failed
    │   ├── StorePoisonedError    an earlier write failed: close and reopen
    │   └── OutcomeUnknownError   a commit failed; .happened says what was found behind it
    ├── CorruptionError           stored bytes are not what was written
    ├── WrongKeyError             the key, passphrase or keyring is another than it was sealed with
    ├── FormatVersionError        another format version, or no store at all
    └── InternalError             a broken invariant of ours

Classes are few, by what a handler would do; codes are many and only ever added to. Where EC2 has a
code for the case, the code is EC2's (semantics section 9).
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """What exactly went wrong. EC2's own code where it has one."""

    # EC2's
    INVALID_PARAMETER_VALUE = "InvalidParameterValue"
    INVALID_PARAMETER_COMBINATION = "InvalidParameterCombination"
    INVALID_SNAPSHOT_ID_MALFORMED = "InvalidSnapshotID.Malformed"
    INVALID_SNAPSHOT_NOT_FOUND = "InvalidSnapshot.NotFound"
    INVALID_VOLUME_ID_MALFORMED = "InvalidVolumeID.Malformed"
    INVALID_VOLUME_NOT_FOUND = "InvalidVolume.NotFound"
    INVALID_TAG_KEY_MALFORMED = "InvalidTagKey.Malformed"
    INCORRECT_STATE = "IncorrectState"
    TAG_LIMIT_EXCEEDED = "TagLimitExceeded"
    INTERNAL_ERROR = "InternalError"
    MISSING_PARAMETER = "MissingParameter"
    INVALID_SNAPSHOT_IN_USE = "InvalidSnapshot.InUse"
    CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED = "ConcurrentSnapshotLimitExceeded"
    PENDING_SNAPSHOT_LIMIT_EXCEEDED = "PendingSnapshotLimitExceeded"
    SNAPSHOT_CREATION_PER_VOLUME_RATE_EXCEEDED = "SnapshotCreationPerVolumeRateExceeded"
    SNAPSHOT_LIMIT_EXCEEDED = "SnapshotLimitExceeded"
    INVALID_ZONE_NOT_FOUND = "InvalidZone.NotFound"
    UNKNOWN_VOLUME_TYPE = "UnknownVolumeType"
    VOLUME_LIMIT_EXCEEDED = "VolumeLimitExceeded"
    VOLUME_IN_USE = "VolumeInUse"
    MODIFICATION_NOT_FOUND = "InvalidVolumeModification.NotFound"
    INCORRECT_MODIFICATION_STATE = "IncorrectModificationState"
    VOLUME_MODIFICATION_RATE_EXCEEDED = "VolumeModificationRateExceeded"
    RESOURCE_LIMIT_EXCEEDED = "ResourceLimitExceeded"
    INVALID_ID = "InvalidID"
    INVALID_USER_ID_MALFORMED = "InvalidUserID.Malformed"
    INVALID_PAGINATION_TOKEN = "InvalidPaginationToken"  # noqa: S105 - a code, no secret
    FILTER_LIMIT_EXCEEDED = "FilterLimitExceeded"
    INVALID_IMAGE_ID_MALFORMED = "InvalidAMIID.Malformed"
    INVALID_IMAGE_NOT_FOUND = "InvalidAMIID.NotFound"
    INVALID_IMAGE_UNAVAILABLE = "InvalidAMIID.Unavailable"
    INVALID_IMAGE_NAME_DUPLICATE = "InvalidAMIName.Duplicate"
    INVALID_IMAGE_NAME_MALFORMED = "InvalidAMIName.Malformed"
    UNSUPPORTED_OPERATION = "UnsupportedOperation"
    AUTH_FAILURE = "AuthFailure"
    OPERATION_NOT_PERMITTED = "OperationNotPermitted"
    INVALID_BLOCK_DEVICE_MAPPING = "InvalidBlockDeviceMapping"
    INVALID_PARAMETER_DEPENDENCY = "InvalidParameterDependency"
    CUSTOMER_KEY_REVOKED = "CustomerKeyHasBeenRevoked"
    IDEMPOTENT_PARAMETER_MISMATCH = "IdempotentParameterMismatch"
    INVALID_INSTANCE_ID_MALFORMED = "InvalidInstanceID.Malformed"
    INVALID_INSTANCE_NOT_FOUND = "InvalidInstanceID.NotFound"
    INVALID_VOLUME_ZONE_MISMATCH = "InvalidVolume.ZoneMismatch"
    INVALID_ATTACHMENT_NOT_FOUND = "InvalidAttachment.NotFound"
    UNAVAILABLE = "Unavailable"
    # the Key Management Service's; its LimitExceededException stands below
    KEY_NOT_FOUND = "NotFoundException"
    KEY_DISABLED = "DisabledException"
    KEY_INVALID_STATE = "KMSInvalidStateException"
    ALIAS_EXISTS = "AlreadyExistsException"
    INVALID_ALIAS_NAME = "InvalidAliasNameException"
    INVALID_CIPHERTEXT = "InvalidCiphertextException"
    INCORRECT_KEY = "IncorrectKeyException"
    ACCESS_DENIED = "AccessDeniedException"
    VALIDATION = "ValidationException"
    MALFORMED_POLICY = "MalformedPolicyDocumentException"
    UNSUPPORTED_KEY_OPERATION = "UnsupportedOperationException"
    INVALID_KEY_TAG = "TagException"
    # the Recycle Bin's; its ResourceNotFoundException stands below, its ValidationException above
    RULE_STATE = "ConflictException"
    RULE_LIMIT_EXCEEDED = "ServiceQuotaExceededException"
    # Data Lifecycle Manager's
    INVALID_REQUEST = "InvalidRequestException"
    POLICY_NOT_FOUND = "ResourceNotFoundException"
    POLICY_LIMIT_EXCEEDED = "LimitExceededException"
    # the EBS direct APIs'
    UNRELATED_SNAPSHOTS = "UnrelatedSnapshots"
    CONCURRENT_STARTS = "ConcurrentLimitExceededException"
    # ebsim's own
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_SHRUNK = "SourceShrunk"
    SOURCE_CHANGED = "SourceChanged"
    SOURCE_READ_FAILED = "SourceReadFailed"
    SOURCE_UNSUPPORTED = "SourceUnsupported"
    FREEZE_FAILED = "FreezeFailed"
    SNAPSHOT_FAILED = "SnapshotFailed"
    TARGET_EXISTS = "TargetExists"
    TARGET_BUSY = "TargetBusy"
    TARGET_TOO_SMALL = "TargetTooSmall"
    TARGET_FAILED = "TargetFailed"
    STORE_NOT_FOUND = "StoreNotFound"
    STORE_EXISTS = "StoreExists"
    STORE_IN_USE = "StoreInUse"
    STORE_FAILED = "StoreFailed"
    STORE_POISONED = "StorePoisoned"
    STORE_FORKED = "StoreForked"
    STORE_CLOSED = "StoreClosed"
    STORE_UNSAFE = "StoreUnsafe"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    NO_SPACE = "NoSpace"
    CORRUPT_BLOCK = "CorruptBlock"
    CORRUPT_CATALOG = "CorruptCatalog"
    CORRUPT_SEGMENT = "CorruptSegment"
    CORRUPT_VOLUME = "CorruptVolume"
    UNKNOWN_FORMAT = "UnknownFormat"
    WRONG_KEY = "WrongKey"
    KEYRING_NOT_FOUND = "KeyringNotFound"
    KEYRING_EXISTS = "KeyringExists"
    KEYRING_LOCKED = "KeyringLocked"
    KEYRING_EXPOSED = "KeyringExposed"
    CORRUPT_KEYRING = "CorruptKeyring"
    INVALID_RECOVERY_COPY = "InvalidRecoveryCopy"
    DEMO_FAILED = "DemoFailed"
    INTERRUPTED = "Interrupted"


KEY_FAILURES = frozenset(
    {
        ErrorCode.CUSTOMER_KEY_REVOKED,
        ErrorCode.KEY_NOT_FOUND,
        ErrorCode.KEY_DISABLED,
        ErrorCode.KEY_INVALID_STATE,
        ErrorCode.ACCESS_DENIED,
    }
)
"""Why a KMS key cannot be used."""

KEYRING_FAILURES = frozenset(
    {
        ErrorCode.KEYRING_NOT_FOUND,
        ErrorCode.KEYRING_LOCKED,
        ErrorCode.KEYRING_EXPOSED,
        ErrorCode.CORRUPT_KEYRING,
        ErrorCode.WRONG_KEY,
    }
)
"""Why this process cannot look at the keys at all: another one, told otherwise, may."""


class EbsimError(Exception):
    """The root of the tree. `str(error)` is a sentence for the user; `code` is for programs.

    `reason` is the `Reason` of services that tell one beside the code, else empty.
    """

    default_code = ErrorCode.INTERNAL_ERROR

    def __init__(self, message: str, code: ErrorCode | None = None) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.reason = ""

    def __str__(self) -> str:
        return self.message


class InvalidInputError(EbsimError, ValueError):
    """The caller sent something wrong; nothing was changed."""

    default_code = ErrorCode.INVALID_PARAMETER_VALUE


class NotFoundError(EbsimError, LookupError):
    """The thing named does not exist."""

    default_code = ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


class ConflictError(EbsimError):
    """The thing exists already, is in use, or is in a state that does not allow the operation."""

    default_code = ErrorCode.INCORRECT_STATE


class ForbiddenError(EbsimError):
    """The caller may not do this: it is another account's, or a rule protects it."""

    default_code = ErrorCode.OPERATION_NOT_PERMITTED


class LimitExceededError(EbsimError):
    """A quota or the disk's space is used up."""

    default_code = ErrorCode.NO_SPACE


class SourceError(EbsimError):
    """A source could not be read, or changed while it was read."""

    default_code = ErrorCode.SOURCE_READ_FAILED


class SnapshotFailedError(EbsimError):
    """A snapshot was created but ended in state `error`; it can be shown and deleted."""

    default_code = ErrorCode.SNAPSHOT_FAILED

    def __init__(
        self, message: str, code: ErrorCode | None = None, snapshot_id: str | None = None
    ) -> None:
        super().__init__(message, code)
        self.args = (message, code, snapshot_id)
        self.snapshot_id = snapshot_id


class StoreError(EbsimError):
    """The store's own files or catalog failed."""

    default_code = ErrorCode.STORE_FAILED


class StorePoisonedError(StoreError):
    """An earlier write or sync failed, so this handle refuses to write: close and reopen."""

    default_code = ErrorCode.STORE_POISONED


class OutcomeUnknownError(StoreError):
    """A commit failed past its point of no return, and the catalog was opened again to look.

    Attributes:
        happened: Whether it took effect, for good; None where that cannot be said for sure.
        tables: The tables of the catalog that it would change, by name.
    """

    default_code = ErrorCode.OUTCOME_UNKNOWN

    def __init__(
        self,
        message: str,
        code: ErrorCode | None = None,
        happened: bool | None = None,
        tables: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message, code)
        self.args = (message, code, happened, tables)
        self.happened = happened
        self.tables = tables


class CorruptionError(EbsimError):
    """Bytes read back are not the bytes that were written."""

    default_code = ErrorCode.CORRUPT_BLOCK


class WrongKeyError(EbsimError):
    """The key, passphrase or keyring given is not the one that the bytes were sealed with."""

    default_code = ErrorCode.WRONG_KEY


class FormatVersionError(EbsimError):
    """The folder is no ebsim store, or one of another format version."""

    default_code = ErrorCode.UNKNOWN_FORMAT


class InternalError(EbsimError):
    """A broken invariant of ebsim's own; please report it."""

    default_code = ErrorCode.INTERNAL_ERROR
