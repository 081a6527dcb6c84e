"""The table of refusals of pretended instances, of what is attached to them, and of client tokens.

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


def instance_not_found(instance_id: str) -> NotFoundError:
    """Return the refusal of an instance that is not there."""
    return NotFoundError(
        f"The instance ID '{instance_id}' does not exist", ErrorCode.INVALID_INSTANCE_NOT_FOUND
    )


def instance_terminated(instance_id: str) -> ConflictError:
    """Return the refusal to attach something to an instance that is gone."""
    return ConflictError(f"Instance '{instance_id}' is not 'running'.", ErrorCode.INCORRECT_STATE)


def zone_mismatch(volume_id: str, zone: str, instance_zone: str) -> ConflictError:
    """Return the refusal to attach a volume of another zone."""
    return ConflictError(
        f"The volume '{volume_id}' is in the zone {zone}, the instance in {instance_zone}.",
        ErrorCode.INVALID_VOLUME_ZONE_MISMATCH,
    )


def device_in_use(device: str) -> InvalidInputError:
    """Return the refusal of a device that has a volume (wording assumed, section 3.5)."""
    return InvalidInputError(
        f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
    )


def attachment_not_found(volume_id: str, instance_id: str, device: str) -> NotFoundError:
    """Return the refusal to detach a volume from where it is not attached."""
    return NotFoundError(
        f"The volume '{volume_id}' is attached to '{instance_id}' as {device}, and nowhere else.",
        ErrorCode.INVALID_ATTACHMENT_NOT_FOUND,
    )


def token_of_another_request(token: str, resource_id: str) -> ConflictError:
    """Return the refusal of a client token that another request has used."""
    return ConflictError(
        f"The client token '{token}' was used by another request, which made {resource_id}: repeat "
        "that one unchanged, or use another token.",
        ErrorCode.IDEMPOTENT_PARAMETER_MISMATCH,
    )


def volume_copy_limit(limit_count: int) -> LimitExceededError:
    """Return the refusal of one more copy of a volume at a time (the code is assumed)."""
    return LimitExceededError(
        f"{limit_count} volumes are being copied already: wait until one is available.",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )
