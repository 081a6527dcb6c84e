"""The table of refusals of the Recycle Bin: rbin's codes with their reasons, and EC2's.

As in `ebsim.refusals`, each function returns an exception for the caller to raise, and says
*assumed* where the code or the wording is not known.
"""

from ebsim.errors import (
    ConflictError,
    ErrorCode,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)


def not_recycled(resource_id: str) -> NotFoundError:
    """Return the refusal to restore what is not in the Recycle Bin (the code is assumed)."""
    codes = {
        "ami": ErrorCode.INVALID_IMAGE_NOT_FOUND,
        "vol": ErrorCode.INVALID_VOLUME_NOT_FOUND,
    }
    return NotFoundError(
        f"The resource '{resource_id}' is not in the Recycle Bin.",
        codes.get(resource_id.partition("-")[0], ErrorCode.INVALID_SNAPSHOT_NOT_FOUND),
    )


def image_without_snapshot(image_id: str, snapshot_id: str) -> NotFoundError:
    """Return the refusal to restore an image before its snapshots are back (assumed)."""
    return NotFoundError(
        f"The image {image_id} cannot be restored: its snapshot '{snapshot_id}' does not exist. "
        "If it is in the Recycle Bin, restore it first.",
        ErrorCode.INVALID_SNAPSHOT_NOT_FOUND,
    )


def rule_invalid(message: str) -> InvalidInputError:
    """Return the refusal of a retention rule that rbin would not take (the wording is assumed)."""
    refusal = InvalidInputError(message, ErrorCode.VALIDATION)
    refusal.reason = "INVALID_PARAMETER_VALUE"
    return refusal


def rule_not_found(rule_id: str) -> NotFoundError:
    """Return the refusal of a retention rule that does not exist."""
    refusal = NotFoundError(f"Rule {rule_id} does not exist.", ErrorCode.POLICY_NOT_FOUND)
    refusal.reason = "RULE_NOT_FOUND"
    return refusal


def rule_state(rule_id: str, message: str) -> ConflictError:
    """Return the refusal of what the lock state of a rule does not allow."""
    refusal = ConflictError(f"Rule {rule_id} {message}", ErrorCode.RULE_STATE)
    refusal.reason = "INVALID_RULE_STATE"
    return refusal


def rule_limit(message: str) -> LimitExceededError:
    """Return the refusal of one more rule, or of a tag in one more rule."""
    refusal = LimitExceededError(message, ErrorCode.RULE_LIMIT_EXCEEDED)
    refusal.reason = "SERVICE_QUOTA_EXCEEDED"
    return refusal
