"""The table of refusals: for each thing that EC2 refuses, the class, EC2's code, and its wording.

Each function returns an exception, for the caller to raise; nothing else in ebsim chooses a code of
EC2's or words its message. The functions are in the order of the resources they are about.

What EC2 answers is known for most: from its documentation, or from messages that others have seen.
Where it is not known the function says *assumed*; a choice made here can be changed here.
"""

from collections.abc import Collection

from ebsim.errors import (
    ConflictError,
    ErrorCode,
    ForbiddenError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)

# parameters


def missing_parameter(name: str) -> InvalidInputError:
    """Return the refusal of a request that lacks something: a parameter, or one of several."""
    return InvalidInputError(
        f"The request must contain the parameter {name}", ErrorCode.MISSING_PARAMETER
    )


def invalid_value(value: object, parameter: str, expected: str) -> InvalidInputError:
    """Return the refusal of a value; `expected` is a sentence without its end."""
    return InvalidInputError(
        f"Value ({value}) for parameter {parameter} is invalid. {expected}.",
        ErrorCode.INVALID_PARAMETER_VALUE,
    )


def invalid_combination(message: str) -> InvalidInputError:
    """Return the refusal of parameters that contradict each other."""
    return InvalidInputError(message, ErrorCode.INVALID_PARAMETER_COMBINATION)


def unsupported(message: str) -> InvalidInputError:
    """Return the refusal of what EBS has and ebsim does not have (the code is assumed)."""
    return InvalidInputError(message, ErrorCode.UNSUPPORTED_OPERATION)


# snapshots


def snapshot_not_found(snapshot_id: str) -> NotFoundError:
    """Return the refusal of a snapshot that does not exist."""
    return NotFoundError(
        f"The snapshot '{snapshot_id}' does not exist.", ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    )


def snapshot_recycled(snapshot_id: str) -> NotFoundError:
    """Return the refusal of a snapshot that is in the Recycle Bin (the code is assumed).

    What to do about it is in the exception's notes.
    """
    refusal = snapshot_not_found(snapshot_id)
    refusal.add_note("it is in the Recycle Bin; `ebsim recycle-bin restore` brings it back")
    return refusal


def not_owner(resource_id: str) -> ForbiddenError:
    """Return the refusal of what only the owner may do (the code and the wording are assumed)."""
    return ForbiddenError(
        f"Not authorized for {resource_id}: it belongs to another account, which shares it for "
        "reading and copying only.",
        ErrorCode.AUTH_FAILURE,
    )


def public_access_blocked(snapshot_id: str, state: str) -> ForbiddenError:
    """Return the refusal to make a snapshot public (the code and the wording are assumed)."""
    return ForbiddenError(
        f"{snapshot_id} cannot be made public: block public access is '{state}' in this Region. "
        "Share it with single accounts, or allow public snapshots first.",
        ErrorCode.OPERATION_NOT_PERMITTED,
    )


def snapshot_in_use(snapshot_id: str, image_id: str) -> ConflictError:
    """Return the refusal to delete a snapshot behind a registered image."""
    return ConflictError(
        f"The snapshot {snapshot_id} is currently in use by {image_id}",
        ErrorCode.INVALID_SNAPSHOT_IN_USE,
    )


def snapshot_not_completed(snapshot_id: str, state: str) -> ConflictError:
    """Return the refusal to use a snapshot that is pending or failed (the code is assumed)."""
    return ConflictError(
        f"The snapshot '{snapshot_id}' is in state '{state}', not 'completed'.",
        ErrorCode.INCORRECT_STATE,
    )


def concurrent_snapshot_limit(
    pending: Collection[str] = (), failed: Collection[str] = ()
) -> LimitExceededError:
    """Return the refusal of one more pending snapshot of a volume, in EC2's very words.

    What fills the slots, and what to do about it, is in the exception's notes.
    """
    refusal = LimitExceededError(
        "Maximum allowed in-progress snapshots for a single volume exceeded.",
        ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED,
    )
    if pending:
        refusal.add_note(f"pending: {', '.join(pending)}; wait with `ebsim snapshot wait`")
    if failed:
        refusal.add_note(f"failed: {', '.join(failed)}; remove with `ebsim snapshot delete`")
    return refusal


def pending_snapshot_limit(limit: int) -> LimitExceededError:
    """Return the refusal of one more pending snapshot of an account (the wording is assumed)."""
    return LimitExceededError(
        f"Maximum allowed in-progress snapshots for the account exceeded. (at most {limit})",
        ErrorCode.PENDING_SNAPSHOT_LIMIT_EXCEEDED,
    )


def same_store(path: str) -> InvalidInputError:
    """Return the refusal to copy from a store to itself."""
    return InvalidInputError(f"{path} is the store that is copied from: name another.")


def clone_of_store(path: str) -> InvalidInputError:
    """Return the refusal to copy to a store whose folder was copied from this one's."""
    return InvalidInputError(
        f"{path} has the id of the store that is copied from: its folder is a copy of that one, "
        "and what is in it cannot be told apart. Make a store of its own with --create."
    )


def copy_waits_for_maker(snapshot_id: str) -> ConflictError:
    """Return the refusal to wait for a copy from another store that nobody makes any more."""
    return ConflictError(
        f"{snapshot_id} is a copy from another store whose making was interrupted: copy its source "
        "once more, which goes on where it stopped, or delete it.",
        ErrorCode.INCORRECT_STATE,
    )


def pending_copy_limit(limit: int) -> LimitExceededError:
    """Return the refusal of one more pending copy in a Region (the wording is assumed)."""
    return LimitExceededError(
        f"Too many snapshot copies in progress. The limit is {limit} for this destination region.",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )


def snapshot_archived(snapshot_id: str) -> ConflictError:
    """Return the refusal to use a snapshot that is archived (code and wording are assumed)."""
    return ConflictError(
        f"The snapshot '{snapshot_id}' is in the archive tier: restore it to the standard tier "
        "first (snapshot unarchive).",
        ErrorCode.INCORRECT_STATE,
    )


def tier_forbids(snapshot_id: str, present: str, what: str) -> ConflictError:
    """Return the refusal of a move between the tiers, or while one goes on (both are assumed)."""
    return ConflictError(
        f"The snapshot '{snapshot_id}' is {present}: it cannot be {what}.",
        ErrorCode.INCORRECT_STATE,
    )


def archived_snapshot_limit(volume_id: str, limit: int) -> LimitExceededError:
    """Return the refusal of one more archived snapshot of a volume (code and wording assumed)."""
    return LimitExceededError(
        f"Maximum allowed archived snapshots for volume {volume_id} exceeded. (at most {limit})",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )


def tiering_limit(what: str, limit: int) -> LimitExceededError:
    """Return the refusal of one more archival or restore in progress (code and wording assumed)."""
    return LimitExceededError(
        f"Maximum allowed {what} in progress for the account exceeded. (at most {limit})",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )


def snapshot_rate(volume_id: str, spacing_s: float) -> LimitExceededError:
    """Return the refusal of a snapshot that follows another of its volume too soon."""
    return LimitExceededError(
        "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing "
        f"or variable sleep interval between requests. (volume {volume_id}, one in {spacing_s:g} "
        "seconds)",
        ErrorCode.SNAPSHOT_CREATION_PER_VOLUME_RATE_EXCEEDED,
    )


def snapshot_limit(limit: int) -> LimitExceededError:
    """Return the refusal of one more snapshot in a Region (the wording is assumed)."""
    return LimitExceededError(
        f"Maximum allowed snapshots for a Region exceeded. (at most {limit})",
        ErrorCode.SNAPSHOT_LIMIT_EXCEEDED,
    )


def snapshot_locked(snapshot_id: str, until: str) -> ForbiddenError:
    """Return the refusal to delete a locked snapshot (the code and the wording are assumed)."""
    return ForbiddenError(
        f"The snapshot {snapshot_id} is locked {until}.", ErrorCode.OPERATION_NOT_PERMITTED
    )


def lock_forbids(snapshot_id: str, what: str) -> ForbiddenError:
    """Return the refusal to change a lock in compliance mode (code and wording are assumed)."""
    return ForbiddenError(
        f"The lock on {snapshot_id} is in compliance mode: {what}.",
        ErrorCode.OPERATION_NOT_PERMITTED,
    )


def not_locked(snapshot_id: str) -> ConflictError:
    """Return the refusal to take a lock off where there is none (the code is assumed)."""
    return ConflictError(f"The snapshot {snapshot_id} is not locked.", ErrorCode.INCORRECT_STATE)


def not_fast_restorable(snapshot_id: str, state: str, tier: str) -> ConflictError:
    """Return the refusal to enable fast restore of what no volume can be made of (assumed)."""
    return ConflictError(
        f"Fast snapshot restore needs a completed snapshot in the standard tier: {snapshot_id} is "
        f"'{state}', in the {tier} tier.",
        ErrorCode.INCORRECT_STATE,
    )


def too_large_for_fast_restore(
    snapshot_id: str, size_gib: int, limit_gib: int
) -> InvalidInputError:
    """Return the refusal to enable fast restore of a large snapshot (the code is assumed)."""
    return InvalidInputError(
        f"Fast snapshot restore is for snapshots of at most {limit_gib} GiB: {snapshot_id} has "
        f"{size_gib} GiB."
    )


def fast_restore_limit(limit: int) -> LimitExceededError:
    """Return the refusal of one more snapshot with fast restore in a Region (assumed)."""
    return LimitExceededError(
        f"Fast snapshot restore is enabled for {limit} snapshots, which is the limit of this "
        "account in this Region: disable it for another one first.",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )


def not_fast_restored(snapshot_id: str, zone: str) -> ConflictError:
    """Return the refusal to disable what is not enabled (the code is assumed)."""
    return ConflictError(
        f"Fast snapshot restore of {snapshot_id} is not enabled in {zone}.",
        ErrorCode.INCORRECT_STATE,
    )


# volumes


def volume_not_found(volume_id: str) -> NotFoundError:
    """Return the refusal of a volume that does not exist."""
    return NotFoundError(
        f"The volume '{volume_id}' does not exist.", ErrorCode.INVALID_VOLUME_NOT_FOUND
    )


def volume_in_use(volume_id: str, user: str, next_step: str = "") -> ConflictError:
    """Return the refusal to delete or attach a volume that `user` has open or attached."""
    more = f": {next_step}" if next_step else ""
    return ConflictError(
        f"Volume {volume_id} is currently attached to {user}{more}", ErrorCode.VOLUME_IN_USE
    )


def volume_busy(volume_id: str) -> ConflictError:
    """Return the refusal of a volume that was waited for: another process has it open.

    EC2's code for what passes by itself, which SDKs try again (503), where VolumeInUse would say
    that it is attached, and IncorrectState that the caller has to do something.
    """
    return ConflictError(
        f"Volume {volume_id} is open in another process, which was waited for: it reads, writes or "
        "loads the volume; try again when it is done, and not from a pipe that waits for it.",
        ErrorCode.UNAVAILABLE,
    )


def volume_state(volume_id: str, state: str, allowed: Collection[str]) -> ConflictError:
    """Return the refusal of an operation on a volume in the wrong state."""
    wanted = " or ".join(f"'{name}'" for name in allowed)
    return ConflictError(
        f"The volume '{volume_id}' is in state '{state}', not {wanted}.", ErrorCode.INCORRECT_STATE
    )


def zone_not_found(zone: str) -> NotFoundError:
    """Return the refusal of an Availability Zone that does not exist."""
    return NotFoundError(f"The zone '{zone}' does not exist.", ErrorCode.INVALID_ZONE_NOT_FOUND)


def unknown_volume_type(volume_type: str) -> InvalidInputError:
    """Return the refusal of a volume type that does not exist (EC2 has two codes for it)."""
    return InvalidInputError(
        f"Unsupported volume type '{volume_type}' for volume creation.",
        ErrorCode.UNKNOWN_VOLUME_TYPE,
    )


def size_out_of_range(size_gib: int, smallest: int, largest: int) -> InvalidInputError:
    """Return the refusal of a size that the volume's type does not have."""
    if size_gib < smallest:
        return InvalidInputError(f"Volume of {size_gib}GiB is too small; minimum is {smallest}GiB.")
    return InvalidInputError(f"Volume of {size_gib}GiB is too large; maximum is {largest}GiB.")


def size_below_snapshot(size_gib: int, snapshot_id: str, expected_gib: int) -> InvalidInputError:
    """Return the refusal of a volume that is smaller than its snapshot (the code is assumed)."""
    return InvalidInputError(
        f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot_id}', expect size >= "
        f"{expected_gib}GB"
    )


def size_below_volume(size_gib: int, present_gib: int) -> InvalidInputError:
    """Return the refusal to shrink a volume (the code is assumed)."""
    return InvalidInputError(
        f"New size cannot be smaller than existing size ({size_gib} GiB, not {present_gib} GiB)"
    )


def performance_out_of_range(
    name: str, value: int, smallest: int, largest: int
) -> InvalidInputError:
    """Return the refusal of IOPS or throughput outside what the volume's type has."""
    if value < smallest:
        return InvalidInputError(f"Volume {name} of {value} is too low; minimum is {smallest}.")
    return InvalidInputError(f"Volume {name} of {value} is too high; maximum is {largest}.")


def iops_ratio(iops: int, size_gib: int, ratio_max: int) -> InvalidInputError:
    """Return the refusal of more IOPS than the volume's size allows."""
    return InvalidInputError(
        f"Iops to volume size ratio of {iops / size_gib:.6f} is too high; maximum is {ratio_max}."
    )


def throughput_ratio(throughput: int, iops: int, ratio_max: float) -> InvalidInputError:
    """Return the refusal of more throughput than the volume's IOPS allow."""
    return InvalidInputError(
        f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum is "
        f"{ratio_max:.6f} MiBps per iops."
    )


def parameter_not_supported(parameter: str, volume_type: str) -> InvalidInputError:
    """Return the refusal of IOPS or throughput for a type without (the code is assumed)."""
    return InvalidInputError(
        f"The parameter {parameter} is not supported for {volume_type} volumes.",
        ErrorCode.INVALID_PARAMETER_COMBINATION,
    )


def parameter_required(parameter: str, volume_type: str) -> InvalidInputError:
    """Return the refusal of a volume whose type needs IOPS and that has none."""
    return InvalidInputError(
        f"The parameter {parameter} must be specified for {volume_type} volumes.",
        ErrorCode.MISSING_PARAMETER,
    )


def volume_limit(volume_type: str, limit_gib: int) -> LimitExceededError:
    """Return the refusal of more storage than the quota of a volume type."""
    return LimitExceededError(
        f"You have exceeded your maximum {volume_type} storage limit of {limit_gib} GiB in this "
        "region.",
        ErrorCode.VOLUME_LIMIT_EXCEEDED,
    )


def initialization_rate_limit(limit: int) -> LimitExceededError:
    """Return the refusal of initialization rates that are too much together (assumed)."""
    return LimitExceededError(
        f"The volume initialization rates in progress exceed {limit} MiB/s together.",
        ErrorCode.RESOURCE_LIMIT_EXCEEDED,
    )


def modification_not_found(volume_id: str) -> NotFoundError:
    """Return the refusal to tell of the modification of a volume that was never modified."""
    return NotFoundError(
        f"Modification for volume '{volume_id}' does not exist.", ErrorCode.MODIFICATION_NOT_FOUND
    )


def modification_running(volume_id: str, state: str) -> ConflictError:
    """Return the refusal to modify a volume while an earlier modification is not completed."""
    return ConflictError(
        f"The volume '{volume_id}' is currently being modified: the last modification is in state "
        f"'{state}'.",
        ErrorCode.INCORRECT_MODIFICATION_STATE,
    )


def modification_without_change(volume_id: str) -> InvalidInputError:
    """Return the refusal of a modification that asks for what is (assumed); it is not counted."""
    return InvalidInputError(
        f"The volume '{volume_id}' already has the size, type, iops and throughput asked for."
    )


def modification_rate(volume_id: str, limit: int, next_time: str) -> LimitExceededError:
    """Return the refusal of one more modification within 24 hours (the code is assumed)."""
    return LimitExceededError(
        f"You've reached the maximum modification rate per volume limit. (volume {volume_id}, at "
        f"most {limit} in 24 hours; the next is possible at {next_time})",
        ErrorCode.VOLUME_MODIFICATION_RATE_EXCEEDED,
    )


def outside_volume(volume_id: str, start: int, end: int, size: int) -> InvalidInputError:
    """Return the refusal of a range that is not within a volume; all in bytes."""
    if start > size or end < start:
        return InvalidInputError(
            f"Offset {start:,} is behind the end of volume {volume_id}, which has {size:,} bytes."
        )
    return InvalidInputError(
        f"Bytes {start:,} to {end:,} are not within volume {volume_id}, which has {size:,} bytes."
    )


# images


def image_not_found(image_id: str) -> NotFoundError:
    """Return the refusal of an image that does not exist."""
    return NotFoundError(
        f"The image id '[{image_id}]' does not exist", ErrorCode.INVALID_IMAGE_NOT_FOUND
    )


def image_name_taken(name: str, image_id: str) -> ConflictError:
    """Return the refusal of an image's name that another image has."""
    return ConflictError(
        f"AMI name {name} is already in use by AMI {image_id}",
        ErrorCode.INVALID_IMAGE_NAME_DUPLICATE,
    )


def image_name_malformed(name: str) -> InvalidInputError:
    """Return the refusal of an image's name that is too short, too long, or has odd characters."""
    return InvalidInputError(
        f"AMI name '{name}' is invalid: it must be between 3 and 128 characters long, and may "
        "contain letters, numbers, spaces and ( ) [ ] . / - ' @ _",
        ErrorCode.INVALID_IMAGE_NAME_MALFORMED,
    )


def block_device_mapping(message: str) -> InvalidInputError:
    """Return the refusal of the block devices of an image."""
    return InvalidInputError(message, ErrorCode.INVALID_BLOCK_DEVICE_MAPPING)


# encryption


def customer_key_revoked(reference: str, why: str) -> ConflictError:
    """Return the refusal of a key that the Key Management Service does not let be used."""
    return ConflictError(
        f"The customer key '{reference}' cannot be used: {why}", ErrorCode.CUSTOMER_KEY_REVOKED
    )


def key_not_accessible() -> ConflictError:
    """Return why something that was begun ends as `error`, in EC2's words (section 5.1, fact 6)."""
    return ConflictError("Given key ID is not accessible", ErrorCode.CUSTOMER_KEY_REVOKED)


def default_key_not_shareable(snapshot_id: str) -> ForbiddenError:
    """Return the refusal to share a snapshot under the AWS managed key, in EC2's words."""
    return ForbiddenError(
        f"Encrypted snapshots with EBS default key cannot be shared ({snapshot_id})",
        ErrorCode.OPERATION_NOT_PERMITTED,
    )


def encrypted_not_public(snapshot_id: str) -> ForbiddenError:
    """Return the refusal to make an encrypted snapshot public (code and wording are assumed)."""
    return ForbiddenError(
        f"Encrypted snapshots cannot be shared publicly ({snapshot_id})",
        ErrorCode.OPERATION_NOT_PERMITTED,
    )


# lifecycle policies


def policy_malformed(message: str) -> InvalidInputError:
    """Return the refusal of a lifecycle policy that Data Lifecycle Manager would not take."""
    return InvalidInputError(message, ErrorCode.INVALID_REQUEST)


def policy_not_found(policy_id: str) -> NotFoundError:
    """Return the refusal of a lifecycle policy that does not exist."""
    return NotFoundError(f"Policy {policy_id} does not exist.", ErrorCode.POLICY_NOT_FOUND)


def policy_limit(limit: int) -> LimitExceededError:
    """Return the refusal of one more lifecycle policy."""
    return LimitExceededError(
        f"You have reached the limit of {limit} lifecycle policies for a Region.",
        ErrorCode.POLICY_LIMIT_EXCEEDED,
    )


# tags


def not_taggable(resource_id: str) -> InvalidInputError:
    """Return the refusal of an id that is none of what can be tagged."""
    return InvalidInputError(f"The ID '{resource_id}' is not valid", ErrorCode.INVALID_ID)


def tag_key_malformed(key: object) -> InvalidInputError:
    """Return the refusal of a tag's key that is empty or reserved."""
    return InvalidInputError(
        f"Tag key '{key}' is invalid: it must not be empty or begin with 'aws:'.",
        ErrorCode.INVALID_TAG_KEY_MALFORMED,
    )


def tag_too_long(key: str, key_max: int, value_max: int) -> InvalidInputError:
    """Return the refusal of a tag that is too long (the code is assumed)."""
    return InvalidInputError(
        f"Tag '{key[:40]}' is too long: keys have at most {key_max} characters, values {value_max}."
    )


def tag_limit(count: int, limit: int) -> InvalidInputError:
    """Return the refusal of more tags than a resource can have."""
    return InvalidInputError(
        f"The maximum number of tags for a resource has been reached: {count} tags, at most "
        f"{limit} are allowed.",
        ErrorCode.TAG_LIMIT_EXCEEDED,
    )


# queries


def filter_unknown(name: str) -> InvalidInputError:
    """Return the refusal of a filter that does not exist."""
    return InvalidInputError(f"The filter '{name}' is invalid")


def filter_without_values(name: str) -> InvalidInputError:
    """Return the refusal of a filter that names no value (assumed)."""
    return InvalidInputError(f"The filter '{name}' has no values")


def filter_limit(limit: int) -> LimitExceededError:
    """Return the refusal of more values in all filters than EC2 takes (the number is assumed)."""
    return LimitExceededError(
        f"The maximum number of filter values specified on a single call is {limit}",
        ErrorCode.FILTER_LIMIT_EXCEEDED,
    )


def page_size(count: int, smallest: int, largest: int) -> InvalidInputError:
    """Return the refusal of a page that is too small; a larger one than the largest is cut."""
    return InvalidInputError(
        f"Value ( {count} ) for parameter maxResults is invalid. Expecting a value between "
        f"{smallest} and {largest}."
    )


def bad_token() -> InvalidInputError:
    """Return the refusal of a token that is none, or of another query or store."""
    return InvalidInputError(
        "The pagination token is not valid: use the one that the same query answered with.",
        ErrorCode.INVALID_PAGINATION_TOKEN,
    )


def user_id_malformed(text: str) -> InvalidInputError:
    """Return the refusal of an owner that is no account."""
    return InvalidInputError(
        f"Invalid user id: \"{text}\" (expecting 12 digits, 'self' or 'amazon')",
        ErrorCode.INVALID_USER_ID_MALFORMED,
    )
