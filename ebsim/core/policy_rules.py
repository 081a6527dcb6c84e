"""What Data Lifecycle Manager asks of a policy (S-45), and when its schedules are due. Pure.

A due time is a fact of the calendar; whether a snapshot must be taken for it is decided by what is
there (`ebsim.core.lifecycle_plan`), so that a run that comes late, or twice, does the right thing.
"""

import re
from datetime import UTC, datetime

from ebsim import refusals
from ebsim.core.cron import CronExpression, parse_cron
from ebsim.core.spans import Span, behind
from ebsim.core.tag_rules import check_tag
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, RetainUnit, Schedule

SCHEDULES_MAX = 4
POLICIES_MAX = 100
TARGET_TAGS_MAX = 50
TAGS_TO_ADD_MAX = 45
COUNT_MAX = 1000
YEARS_MAX = 100
INTERVALS_HOURS = (1, 2, 3, 4, 6, 8, 12, 24)
SOURCES_MAX = 1000

_UNITS: dict[RetainUnit, Span] = {
    RetainUnit.DAYS: Span(0, 24),
    RetainUnit.WEEKS: Span(0, 7 * 24),
    RetainUnit.MONTHS: Span(1, 0),
    RetainUnit.YEARS: Span(12, 0),
}
_HOURS_PER_MONTH = 730
_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_LEAP_YEAR_US = 366 * _DAY_US
_TEXT = re.compile(r"[0-9A-Za-z _-]*\Z")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")


def check_policy(request: PolicyRequest) -> None:
    """Check a policy.

    Raises:
        InvalidInputError: DLM would not take it (InvalidRequestException).
    """
    if not request.description or len(request.description) > 500:
        raise refusals.policy_malformed("A policy needs a description of at most 500 characters.")
    if not _TEXT.match(request.description):
        raise refusals.policy_malformed(
            "A description consists of letters, digits, spaces, '_' and '-'."
        )
    if not request.target_tags and not request.sources:
        raise refusals.policy_malformed("A policy needs target tags, or sources.")
    if len(request.target_tags) > TARGET_TAGS_MAX or len(request.sources) > SOURCES_MAX:
        raise refusals.policy_malformed(
            f"A policy has at most {TARGET_TAGS_MAX} target tags and {SOURCES_MAX} sources."
        )
    for key, value in request.target_tags:
        check_tag(key, value)
    if not 1 <= len(request.schedules) <= SCHEDULES_MAX:
        raise refusals.policy_malformed(f"A policy has 1 to {SCHEDULES_MAX} schedules.")
    if len({schedule.name for schedule in request.schedules}) < len(request.schedules):
        raise refusals.policy_malformed("Two schedules have the same name.")
    if len({bool(schedule.retain.count) for schedule in request.schedules}) > 1:
        raise refusals.policy_malformed("All schedules must keep by count, or all by age.")
    for schedule in request.schedules:
        _check_schedule(schedule)


def _check_schedule(schedule: Schedule) -> None:
    name = schedule.name
    if not 1 <= len(name) <= 120 or not _TEXT.match(name):
        raise refusals.policy_malformed(
            "A schedule's name has 1 to 120 letters, digits, spaces, '_' and '-'."
        )
    if len(schedule.tags_to_add) > TAGS_TO_ADD_MAX:
        raise refusals.policy_malformed(f"A schedule adds at most {TAGS_TO_ADD_MAX} tags.")
    for key, value in schedule.tags_to_add.items():
        check_tag(key, value)
    _check_create_rule(schedule.create)
    _check_retain_rule(schedule.retain)


def _check_create_rule(rule: CreateRule) -> None:
    if bool(rule.cron) == bool(rule.interval_hours):
        raise refusals.policy_malformed("A schedule has an interval, or a cron expression.")
    if rule.cron:
        _check_cron(rule.cron)
        return
    if rule.interval_hours not in INTERVALS_HOURS:
        raise refusals.policy_malformed(
            f"The interval must be one of {', '.join(map(str, INTERVALS_HOURS))} hours."
        )
    if not _TIME.match(rule.time):
        raise refusals.policy_malformed(f"'{rule.time}' is no time of the day, such as 03:00.")


def _check_cron(text: str) -> None:
    """Refuse a cron expression that is due more than once an hour, or less than once a year."""
    cron = parse_cron(text)
    if len(cron.minutes) > 1:
        raise refusals.policy_malformed(f"'{text}' is due more often than once an hour.")
    first = _first_of_year(max(cron.years[0], 2001))
    for _ in range(2 * len(cron.months)):
        later = cron.next(first)
        if later is None or later - first > _LEAP_YEAR_US:
            raise refusals.policy_malformed(f"'{text}' is due less often than once a year.")
        first = later


def _first_of_year(year: int) -> int:
    return round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 - 1


def _check_retain_rule(rule: RetainRule) -> None:
    if bool(rule.count) == bool(rule.interval):
        raise refusals.policy_malformed("A schedule keeps a count of snapshots, or up to an age.")
    if rule.count and not 1 <= rule.count <= COUNT_MAX:
        raise refusals.policy_malformed(f"A schedule keeps 1 to {COUNT_MAX:,} snapshots.")
    if rule.interval and not (rule.interval >= 1 and _hours(rule) <= YEARS_MAX * 366 * 24):
        raise refusals.policy_malformed(f"A schedule keeps snapshots up to {YEARS_MAX} years.")


def last_due(rule: CreateRule, now_us: int) -> int | None:
    """Return the last time at which a snapshot was due, None if there was none."""
    if rule.cron:
        return parse_cron(rule.cron).last(now_us)
    interval = rule.interval_hours * _HOUR_US
    offset = _time_of_day(rule.time)
    return (now_us - offset) // interval * interval + offset


def _time_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000_000


def expiration(rule: RetainRule, start_us: int) -> int | None:
    """Return when a snapshot that begins now is to go, by age; None: it is kept by count."""
    if rule.count:
        return None
    unit = _UNITS[rule.unit]
    return behind(start_us, Span(rule.interval * unit.months, rule.interval * unit.hours))


def retention_hours(schedule: Schedule, now_us: int) -> int:
    """Return about how long a schedule keeps a snapshot, so that schedules can be compared."""
    if not schedule.retain.count:
        return _hours(schedule.retain)
    return schedule.retain.count * _period_hours(schedule.create, now_us)


def _hours(rule: RetainRule) -> int:
    unit = _UNITS[rule.unit]
    return rule.interval * (unit.months * _HOURS_PER_MONTH + unit.hours)


def _period_hours(rule: CreateRule, now_us: int) -> int:
    if not rule.cron:
        return rule.interval_hours
    return _cron_period(parse_cron(rule.cron), now_us)


def _cron_period(cron: CronExpression, now_us: int) -> int:
    """Return the hours between the two due times around now, or the two last ones."""
    last, following = cron.last(now_us), cron.next(now_us)
    if last is None or following is None:
        return _LEAP_YEAR_US // _HOUR_US
    return max(1, (following - last) // _HOUR_US)
