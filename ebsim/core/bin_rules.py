"""The rules of retention rules (semantics section 11.8). Pure: the time comes in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ebsim import bin_refusals
from ebsim.core.tag_rules import check_tags, tag_values
from ebsim.errors import InvalidInputError
from ebsim.format.bin_records import RuleRecord, Stay
from ebsim.recycle_bin import (
    RetentionRule,
    RuleLockState,
    RuleRequest,
    RuleResourceType,
    RuleStatus,
    RuleUpdate,
    TagPair,
)

DAY_US = 24 * 3600 * 1_000_000
RETENTION_DAYS_MAX = {
    RuleResourceType.EBS_SNAPSHOT: 365,
    RuleResourceType.EC2_IMAGE: 365,
    RuleResourceType.EBS_VOLUME: 7,
}
"""What rbin's text has; its shape would allow 3,650 days of everything."""

RESOURCE_TAGS_MAX = 50
EXCLUDE_TAGS_MAX = 5
TAG_KEY_LENGTH_MAX = 127
TAG_VALUE_LENGTH_MAX = 256
UNLOCK_DELAY_DAYS = range(7, 31)
RULES_MAX = 250
"""Of an account in a Region."""

RULES_OF_A_TAG_MAX = 5
"""Rules that may have the same tag, key and value, among their resource tags."""

_DESCRIPTION = re.compile(r"[\S ]{0,255}\Z")


# What a rule keeps


def stay_under(
    rules: Iterable[RuleRecord],
    kind: RuleResourceType,
    tags: Mapping[str, str],
    now_us: int,
) -> Stay | None:
    """Return how long what is deleted now stays in the bin; None: it is deleted for good.

    Of several rules that match, the one with the longest retention counts.

    Args:
        rules: Those of the owner's account and Region.
        kind: What is deleted.
        tags: Its tags.
        now_us: The time.
    """
    matching = [rule for rule in rules if rule.resource_type == kind and _keeps(rule, tags, now_us)]
    if not matching:
        return None
    longest = max(matching, key=lambda rule: (rule.retention_days, -rule.number))
    return Stay(now_us, now_us + longest.retention_days * DAY_US, longest.rule_id)


def _keeps(rule: RuleRecord, tags: Mapping[str, str], now_us: int) -> bool:
    if status_of(rule, now_us) is not RuleStatus.AVAILABLE:
        return False
    if rule.resource_tags:
        return _has_one(tags, rule.resource_tags)
    return not _has_one(tags, rule.exclude_tags)


def _has_one(tags: Mapping[str, str], pairs: Iterable[Sequence[str]]) -> bool:
    return any(tags.get(key) == value for key, value in pairs)


def status_of(rule: RuleRecord, now_us: int) -> RuleStatus:
    """Return whether a rule keeps anything yet."""
    return RuleStatus.AVAILABLE if rule.available_us <= now_us else RuleStatus.PENDING


# Locks


def lock_state(rule: RuleRecord, now_us: int) -> RuleLockState | None:
    """Return whether a rule can be changed at a time; None for one that never was locked."""
    if not rule.unlock_delay_days:
        return None
    end = lock_end_us(rule)
    if end is None:
        return RuleLockState.LOCKED
    return RuleLockState.PENDING_UNLOCK if now_us < end else RuleLockState.UNLOCKED


def lock_end_us(rule: RuleRecord) -> int | None:
    """Return when the unlock delay of a rule ends, or ended; None for one that is locked."""
    if rule.unlocked_us is None:
        return None
    return rule.unlocked_us + rule.unlock_delay_days * DAY_US


def ensure_changeable(rule: RuleRecord, now_us: int) -> None:
    """Refuse to change or delete a rule that is locked, or whose unlock delay is not over.

    Raises:
        ConflictError: It is (rbin: ConflictException, INVALID_RULE_STATE).
    """
    state = lock_state(rule, now_us)
    if state in (RuleLockState.LOCKED, RuleLockState.PENDING_UNLOCK):
        raise bin_refusals.rule_state(rule.rule_id, f"is {state}: it cannot be changed or deleted.")


def locked(rule: RuleRecord, delay_days: int, now_us: int) -> RuleRecord:
    """Return a rule that is locked; one that is being unlocked may be locked again.

    Raises:
        InvalidInputError: It is no Region-level rule without exclusion tags, or the delay is not 7
            to 30 days.
        ConflictError: It is locked already.
    """
    if rule.resource_tags or rule.exclude_tags:
        raise bin_refusals.rule_invalid(
            "Only a Region-level rule without exclusion tags can be locked."
        )
    if type(delay_days) is not int or delay_days not in UNLOCK_DELAY_DAYS:
        raise bin_refusals.rule_invalid(f"The unlock delay is {delay_days}; expected 7 to 30 days.")
    if lock_state(rule, now_us) is RuleLockState.LOCKED:
        raise bin_refusals.rule_state(rule.rule_id, "is locked already.")
    return replace(rule, unlock_delay_days=delay_days, unlocked_us=None)


def unlocked(rule: RuleRecord, now_us: int) -> RuleRecord:
    """Return a rule whose unlock delay begins now.

    Raises:
        ConflictError: It is not locked.
    """
    if lock_state(rule, now_us) is not RuleLockState.LOCKED:
        raise bin_refusals.rule_state(rule.rule_id, "is not locked.")
    return replace(rule, unlocked_us=now_us)


# Making and changing


def checked(request: RuleRequest) -> RuleRequest:
    """Return a request with sorted tags, each once.

    Raises:
        InvalidInputError: rbin would not take it (ValidationException, INVALID_PARAMETER_VALUE).
    """
    kind = RuleResourceType(request.resource_type)
    _check_retention(kind, request.retention_days)
    _check_description(request.description)
    if request.resource_tags and request.exclude_tags:
        raise bin_refusals.rule_invalid(
            "Exclusion tags belong to a Region-level rule, which has no resource tags."
        )
    _check_own_tags(request.tags)
    return replace(
        request,
        resource_type=kind,
        resource_tags=_pairs(request.resource_tags, RESOURCE_TAGS_MAX, "resource tags"),
        exclude_tags=_pairs(request.exclude_tags, EXCLUDE_TAGS_MAX, "exclusion tags"),
        tags=tag_values(request.tags),
    )


def updated(rule: RuleRecord, update: RuleUpdate) -> RuleRecord:
    """Return a rule with what an update changes.

    A tag-level rule stays one, and a Region-level rule too.

    Raises:
        InvalidInputError: rbin would not take it.
    """
    days, text = update.retention_days, update.description
    if days is not None:
        _check_retention(RuleResourceType(rule.resource_type), days)
        rule = replace(rule, retention_days=days)
    if text is not None:
        _check_description(text)
        rule = replace(rule, description=text)
    if update.resource_tags is not None:
        if not rule.resource_tags or not update.resource_tags:
            raise bin_refusals.rule_invalid(
                "A tag-level rule has at least one resource tag, a Region-level rule has none."
            )
        pairs = _pairs(update.resource_tags, RESOURCE_TAGS_MAX, "resource tags")
        rule = replace(rule, resource_tags=[list(pair) for pair in pairs])
    if update.exclude_tags is not None:
        if rule.resource_tags and update.exclude_tags:
            raise bin_refusals.rule_invalid("Exclusion tags belong to a Region-level rule.")
        pairs = _pairs(update.exclude_tags, EXCLUDE_TAGS_MAX, "exclusion tags")
        rule = replace(rule, exclude_tags=[list(pair) for pair in pairs])
    return rule


def ensure_within_limits(rule: RuleRecord, others: Sequence[RuleRecord]) -> None:
    """Refuse one rule too many, or a tag in more than five rules.

    Raises:
        LimitExceededError: It is (rbin: ServiceQuotaExceededException).
    """
    if len(others) >= RULES_MAX:
        raise bin_refusals.rule_limit(
            f"There are {RULES_MAX} retention rules in this Region already."
        )
    for pair in rule.resource_tags:
        if sum(pair in other.resource_tags for other in others) >= RULES_OF_A_TAG_MAX:
            raise bin_refusals.rule_limit(
                f"The tag {pair[0]}={pair[1]} is in {RULES_OF_A_TAG_MAX} retention rules already."
            )


def tagged(rule: RuleRecord, tags: Mapping[str, str | None]) -> RuleRecord:
    """Return a rule with more tags of its own.

    Raises:
        InvalidInputError: One is malformed, or there are too many.
    """
    together = {**rule.tags, **tag_values(tags)}
    _check_own_tags(together)
    return replace(rule, tags=together)


def _check_own_tags(tags: Mapping[str, str | None]) -> None:
    try:
        check_tags(tags)
    except InvalidInputError as error:
        raise bin_refusals.rule_invalid(str(error)) from None


def _check_retention(kind: RuleResourceType, days: int) -> None:
    longest = RETENTION_DAYS_MAX[kind]
    if type(days) is not int or not 1 <= days <= longest:
        raise bin_refusals.rule_invalid(
            f"The retention period is {days}; expected 1 to {longest} days for {kind}."
        )


def _check_description(text: str) -> None:
    if not _DESCRIPTION.match(text):
        raise bin_refusals.rule_invalid("The description has at most 255 characters, on one line.")


def _pairs(pairs: Sequence[TagPair], count_max: int, what: str) -> tuple[TagPair, ...]:
    found = sorted(set(pairs))
    if len(found) > count_max:
        raise bin_refusals.rule_invalid(f"{len(found)} {what}; at most {count_max} are allowed.")
    for key, value in found:
        if not 1 <= len(key) <= TAG_KEY_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
            raise bin_refusals.rule_invalid(
                f"The tag '{key[:40]}' is empty or too long: keys have 1 to {TAG_KEY_LENGTH_MAX} "
                f"characters, values at most {TAG_VALUE_LENGTH_MAX}."
            )
    return tuple(found)


# Showing


def show_rule(rule: RuleRecord, now_us: int) -> RetentionRule:
    """Return a rule as a user sees it at a moment."""
    state = lock_state(rule, now_us)
    return RetentionRule(
        rule_id=rule.rule_id,
        arn=f"arn:aws:rbin:{rule.region}:{rule.owner}:rule/{rule.rule_id}",
        resource_type=RuleResourceType(rule.resource_type),
        retention_days=rule.retention_days,
        resource_tags=tuple((key, value) for key, value in rule.resource_tags),
        exclude_tags=tuple((key, value) for key, value in rule.exclude_tags),
        description=rule.description,
        tags=dict(rule.tags),
        status=status_of(rule, now_us),
        lock_state=state,
        unlock_delay_days=rule.unlock_delay_days or None,
        lock_end_us=lock_end_us(rule) if state is RuleLockState.PENDING_UNLOCK else None,
        create_time_us=rule.created_us,
    )
