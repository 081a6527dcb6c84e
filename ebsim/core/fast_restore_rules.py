"""The rules of fast snapshot restore (semantics section 11.7). Pure: the time comes in.

States follow from the clock; nothing runs in the background. EBS publishes that a snapshot is
optimized for 60 minutes per TiB; not how long `enabling` and `disabling` last: here a second each,
long enough to be seen and too short to be waited for.

Credits are exact. A bucket holds max(1, r) credits and gets r of them an hour, r = min(10,
1024 / GiB); it is filled from when the snapshot is `enabled`. They are counted in units of which a
credit has GiB x (microseconds of an hour), so that whole units, min(10 x GiB, 1024) of them, come
in each microsecond.

What is paid for is every minute begun between the request and the end, and at least an hour; EBS
bills "each minute that it is enabled", and does not say whether that includes the optimizing.
"""

from fractions import Fraction

from ebsim.fast_restores import FastRestore, FastRestoreState, FastRestoreUse
from ebsim.format.fast_restore_records import FastRestoreRecord

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US

ENABLING_US = SECOND_US
DISABLING_US = SECOND_US
OPTIMIZING_US_PER_GIB = HOUR_US // 1024
"""60 minutes per TiB: no remainder."""

SIZE_GIB_MAX = 16 * 1024
CREDITS_MAX = 10
MINUTES_MIN = 60

USER_INITIATED = "Client.UserInitiated"
LIFECYCLE = "Client.UserInitiated - Lifecycle state transition"


def optimizing_us(record: FastRestoreRecord) -> int:
    """Return when it begins to be optimized, unless it is ended before."""
    return record.enabling_us + ENABLING_US


def enabled_us(record: FastRestoreRecord) -> int:
    """Return when it is enabled, unless it is ended before."""
    return optimizing_us(record) + record.size_gib * OPTIMIZING_US_PER_GIB


def is_on(record: FastRestoreRecord) -> bool:
    """Return whether it was not ended."""
    return record.disabling_us is None


def state_at(record: FastRestoreRecord, now_us: int) -> FastRestoreState:
    """Return how far it is at a time."""
    if record.disabling_us is not None:
        over = now_us >= record.disabling_us + DISABLING_US
        return FastRestoreState.DISABLED if over else FastRestoreState.DISABLING
    if now_us >= enabled_us(record):
        return FastRestoreState.ENABLED
    if now_us >= optimizing_us(record):
        return FastRestoreState.OPTIMIZING
    return FastRestoreState.ENABLING


# Credits


def credit_size(record: FastRestoreRecord) -> int:
    """Return how many units a credit has."""
    return record.size_gib * HOUR_US


def _inflow(record: FastRestoreRecord) -> int:
    """Return how many units come in each microsecond."""
    return min(CREDITS_MAX * record.size_gib, 1024)


def bucket_size(record: FastRestoreRecord) -> int:
    """Return how many units the bucket holds."""
    return max(record.size_gib, _inflow(record)) * HOUR_US


def units_at(record: FastRestoreRecord, now_us: int) -> int:
    """Return how many units are in the bucket at a time; none unless it is enabled then."""
    if state_at(record, now_us) is not FastRestoreState.ENABLED:
        return 0
    since_us = max(enabled_us(record), record.credit_us)
    gained = max(0, now_us - since_us) * _inflow(record)
    return min(bucket_size(record), record.credit_units + gained)


def has_credit(record: FastRestoreRecord, now_us: int) -> bool:
    """Return whether a volume can be made with a credit at a time."""
    return units_at(record, now_us) >= credit_size(record)


# Billing


def billed_minutes(record: FastRestoreRecord, now_us: int) -> int:
    """Return for how many minutes it is charged until a time."""
    end_us = now_us if record.disabling_us is None else record.disabling_us
    return max(MINUTES_MIN, -(-(end_us - record.enabling_us) // MINUTE_US))


def show_use(record: FastRestoreRecord, now_us: int) -> FastRestoreUse:
    """Return what is paid for it, as a user sees it."""
    return FastRestoreUse(
        snapshot_id=record.snapshot_id,
        zone=record.zone,
        owner=record.owner,
        start_us=record.enabling_us,
        end_us=record.disabling_us,
        minutes=billed_minutes(record, now_us),
    )


# What is told


def show_fast_restore(record: FastRestoreRecord, now_us: int) -> FastRestore:
    """Return a fast restore as a user sees it at a time."""
    state = state_at(record, now_us)
    end_us = now_us if record.disabling_us is None else record.disabling_us

    def reached(time_us: int) -> int | None:
        return time_us if time_us <= end_us else None

    disabled = state is FastRestoreState.DISABLED
    return FastRestore(
        snapshot_id=record.snapshot_id,
        zone=record.zone,
        owner=record.owner,
        state=state,
        reason=transition_reason(record, state),
        enabling_us=record.enabling_us,
        optimizing_us=reached(optimizing_us(record)),
        enabled_us=reached(enabled_us(record)),
        disabling_us=record.disabling_us,
        disabled_us=(record.disabling_us or 0) + DISABLING_US if disabled else None,
        credits=Fraction(units_at(record, now_us), credit_size(record)),
        credits_max=Fraction(bucket_size(record), credit_size(record)),
        billed_minutes=billed_minutes(record, now_us),
    )


def transition_reason(record: FastRestoreRecord, state: FastRestoreState) -> str:
    """Return why it came to a state: its user's request, or what follows from the snapshot's."""
    if state is FastRestoreState.ENABLING:
        return USER_INITIATED
    if state is FastRestoreState.DISABLING and record.by_user:
        return USER_INITIATED
    return LIFECYCLE
