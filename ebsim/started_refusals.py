"""The table of refusals of snapshots that are written, or read, block by block, with EBS's reasons.

EBS documents the reasons, and of most not when they are told (semantics section 11.9): which one
is meant is *assumed*, but for the timeout.
"""

from ebsim.errors import (
    ConflictError,
    ErrorCode,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
)


def _invalid(message: str, reason: str) -> InvalidInputError:
    refusal = InvalidInputError(message, ErrorCode.VALIDATION)
    refusal.reason = reason
    return refusal


def bad_parameter(message: str) -> InvalidInputError:
    """Return the refusal of a value that is none."""
    return _invalid(message, "INVALID_PARAMETER_VALUE")


def bad_size(message: str) -> InvalidInputError:
    """Return the refusal of a size."""
    return _invalid(message, "INVALID_VOLUME_SIZE")


def tag_too_long(key: str, key_max: int, value_max: int) -> InvalidInputError:
    """Return the refusal of a tag that is longer than the EBS direct APIs take."""
    return _invalid(
        f"Tag '{key[:40]}' is too long: keys have at most {key_max} characters, values "
        f"{value_max}.",
        "INVALID_TAG",
    )


def bad_block(message: str) -> InvalidInputError:
    """Return the refusal of a block: its place, its length, or its checksum."""
    return _invalid(message, "INVALID_BLOCK")


def parent_of_others(snapshot_id: str) -> InvalidInputError:
    """Return the refusal to build on another account's snapshot (EBS: not known)."""
    return _invalid(
        f"The parent snapshot {snapshot_id} is another account's: copy it, and use the copy.",
        "INVALID_SNAPSHOT_ID",
    )


def not_started(snapshot_id: str) -> InvalidInputError:
    """Return the refusal to write to a snapshot that was made in another way."""
    return _invalid(
        f"The snapshot {snapshot_id} was not made by StartSnapshot: it cannot be written to.",
        "INVALID_SNAPSHOT_ID",
    )


def sealed(snapshot_id: str, state: str) -> InvalidInputError:
    """Return the refusal to write to a snapshot after CompleteSnapshot."""
    return _invalid(
        f"The snapshot {snapshot_id} is {state}, and was sealed by CompleteSnapshot: nothing can "
        "be written to it any more.",
        "INVALID_SNAPSHOT_ID",
    )


def timed_out(snapshot_id: str, why: str) -> InvalidInputError:
    """Return the refusal of a late request (semantics section 11.9)."""
    return _invalid(
        f"The snapshot {snapshot_id} ended as error ({why}): start another one.",
        "WRITE_REQUEST_TIMEOUT",
    )


def wrong_count(snapshot_id: str, told: int, known: int) -> InvalidInputError:
    """Return the refusal to complete with blocks missing, or too many."""
    return bad_parameter(
        f"ChangedBlocksCount is {told}, and {known} blocks of {snapshot_id} were written: write "
        "what is missing, or correct the count."
    )


def wrong_checksum(snapshot_id: str) -> InvalidInputError:
    """Return the refusal to complete with other blocks than those that were meant."""
    return bad_parameter(
        f"The checksum is not that of the blocks of {snapshot_id} that were written (SHA-256 of "
        "their SHA-256 digests, ascending by index): write again what differs."
    )


def token_of_another_start(token: str, snapshot_id: str) -> ConflictError:
    """Return the refusal of a client token that another request has used."""
    return ConflictError(
        f"The client token {token[:80]} was used by another request, which made {snapshot_id}.",
        ErrorCode.RULE_STATE,
    )


def started_limit(limit: int) -> LimitExceededError:
    """Return the refusal to write more snapshots at once (the code is assumed)."""
    return LimitExceededError(
        f"{limit} snapshots that were started are pending: complete or delete one.",
        ErrorCode.CONCURRENT_STARTS,
    )


def being_written_elsewhere(snapshot_id: str) -> ConflictError:
    """Return the refusal to write from two processes at once."""
    return ConflictError(
        f"{snapshot_id} is being written by another process: send its blocks there, or end it."
    )


def waits_for_completion(snapshot_id: str) -> ConflictError:
    """Return the refusal to wait for a snapshot that its writer has not completed."""
    return ConflictError(
        f"{snapshot_id} is written block by block, and its writer has not called CompleteSnapshot."
    )


def public_only(snapshot_id: str) -> ForbiddenError:
    """Return the refusal to list the blocks of a public snapshot (the code is assumed)."""
    return ForbiddenError(
        f"The blocks of {snapshot_id} cannot be listed: it is public, and not shared with you. "
        "Copy it, or make a volume of it.",
        ErrorCode.AUTH_FAILURE,
    )
