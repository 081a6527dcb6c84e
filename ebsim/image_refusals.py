"""The table of refusals of what is made of instances: images that are not, or cannot be, made.

As in `ebsim.refusals`, each function returns an exception for the caller to raise, and says
*assumed* where the code or the wording is not known.
"""

from ebsim.errors import ConflictError, ErrorCode, InvalidInputError


def image_unavailable(image_id: str, state: str) -> ConflictError:
    """Return the refusal to use an image that is pending, failed or disabled."""
    what = {
        "pending": "wait until its snapshots are completed",
        "failed": "deregister it, and make another one",
    }
    return ConflictError(
        f"The image ID '{image_id}' is not available: it is {state}; "
        f"{what.get(state, 'enable it')}.",
        ErrorCode.INVALID_IMAGE_UNAVAILABLE,
    )


def no_root_volume(instance_id: str, device: str) -> InvalidInputError:
    """Return the refusal to make an image of an instance that has no boot volume (assumed)."""
    return InvalidInputError(
        f"Invalid value '{instance_id}' for instanceId. Instance does not have a volume attached "
        f"at root ({device})"
    )


def deprecation_time(message: str) -> InvalidInputError:
    """Return the refusal of the time of a deprecation (code and wording are assumed)."""
    return InvalidInputError(message)
