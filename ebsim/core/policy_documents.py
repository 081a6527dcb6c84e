"""Lifecycle policies in the form of Data Lifecycle Manager's API, read and written. Pure.

What that form has and ebsim has not (copies to other Regions, sharing, the archive, fast restores)
is refused by name rather than left out. `PolicyDetails.Sources` is ebsim's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ebsim import refusals
from ebsim.core.policy_rules import check_policy
from ebsim.policies import (
    CreateRule,
    PolicyRequest,
    PolicyState,
    RetainRule,
    RetainUnit,
    Schedule,
)

POLICY_TYPE = "EBS_SNAPSHOT_MANAGEMENT"

_IGNORED = frozenset(
    (
        "DateCreated",
        "DateModified",
        "DefaultPolicy",
        "PolicyArn",
        "PolicyId",
        "StatusMessage",
        "Tags",
    )
)
"""What a policy that was read from AWS also has, and that means nothing here."""

_FIXED = {
    "PolicyType": POLICY_TYPE,
    "PolicyLanguage": "STANDARD",
    "ResourceTypes": ["VOLUME"],
    "ResourceLocations": ["CLOUD"],
}
"""Members that may be given, with the one value that they may have."""

Document = dict[str, Any]


def write_policy(request: PolicyRequest) -> Document:
    """Return a policy as DLM's API has it."""
    details: Document = {
        "PolicyType": POLICY_TYPE,
        "ResourceTypes": ["VOLUME"],
        "TargetTags": _write_tags(request.target_tags),
        "Schedules": [_write_schedule(schedule) for schedule in request.schedules],
    }
    if request.sources:
        details["Sources"] = list(request.sources)
    return {
        "Description": request.description,
        "State": request.state.value,
        **({"ExecutionRoleArn": request.execution_role} if request.execution_role else {}),
        "PolicyDetails": details,
    }


def _write_schedule(schedule: Schedule) -> Document:
    create, retain = schedule.create, schedule.retain
    if create.cron:
        rule: Document = {"CronExpression": create.cron}
    else:
        rule = {"Interval": create.interval_hours, "IntervalUnit": "HOURS", "Times": [create.time]}
    kept: Document = {"Count": retain.count}
    if not retain.count:
        kept = {"Interval": retain.interval, "IntervalUnit": retain.unit.value}
    return {
        "Name": schedule.name,
        "CopyTags": schedule.copy_tags,
        "TagsToAdd": _write_tags(list(schedule.tags_to_add.items())),
        "CreateRule": rule,
        "RetainRule": kept,
    }


def _write_tags(tags: Sequence[tuple[str, str]]) -> list[Document]:
    return [{"Key": key, "Value": value} for key, value in tags]


def read_policy(document: object) -> PolicyRequest:
    """Return the policy that a document of DLM's form describes, checked.

    Raises:
        InvalidInputError: It is none, or one that ebsim cannot carry out.
    """
    if isinstance(document, Mapping) and document.keys() == {"Policy"}:
        document = document["Policy"]  # as GetLifecyclePolicy answers
    top = _Members(document, "the policy")
    details = _Members(top.take("PolicyDetails"), "PolicyDetails")
    state = top.text("State", "ENABLED")
    if state not in PolicyState.__members__:
        raise refusals.policy_malformed(f"State must be ENABLED or DISABLED, not {state!r}.")
    for name, only in _FIXED.items():
        found = details.take(name, only)
        if found != only:
            raise refusals.policy_malformed(f"{name} must be {only!r}, not {found!r}.")
    schedules = details.take("Schedules", [])
    sources = details.take("Sources", [])
    if not _is_list(schedules) or not _is_list(sources, str):
        raise refusals.policy_malformed("Schedules and Sources must be lists.")
    request = PolicyRequest(
        description=top.text("Description"),
        execution_role=top.text("ExecutionRoleArn", ""),
        state=PolicyState(state),
        target_tags=_read_tags(details.take("TargetTags", []), "TargetTags"),
        sources=tuple(sources),
        schedules=tuple(_read_schedule(each, n) for n, each in enumerate(schedules, start=1)),
    )
    details.end()
    top.end(_IGNORED)
    check_policy(request)
    return request


def _read_schedule(document: object, number: int) -> Schedule:
    members = _Members(document, f"schedule {number}")
    tags = _read_tags(members.take("TagsToAdd", []), "TagsToAdd")
    if len(dict(tags)) != len(tags):
        raise refusals.policy_malformed("TagsToAdd has a key twice.")
    copy_tags = members.take("CopyTags", False)
    if not isinstance(copy_tags, bool):
        raise refusals.policy_malformed("CopyTags must be true or false.")
    schedule = Schedule(
        name=members.text("Name"),
        copy_tags=copy_tags,
        tags_to_add=dict(tags),
        create=_read_create_rule(members.take("CreateRule")),
        retain=_read_retain_rule(members.take("RetainRule")),
    )
    members.end()
    return schedule


def _read_create_rule(document: object) -> CreateRule:
    members = _Members(document, "CreateRule")
    if members.take("Location", "CLOUD") != "CLOUD":
        raise refusals.policy_malformed("Location must be 'CLOUD'.")
    cron = members.text("CronExpression", "")
    if cron:
        members.end()
        return CreateRule(cron=cron)
    if members.take("IntervalUnit", "HOURS") != "HOURS":
        raise refusals.policy_malformed("The IntervalUnit of a CreateRule must be 'HOURS'.")
    times = members.take("Times", ["00:00"])
    if not _is_list(times, str) or len(times) != 1:
        raise refusals.policy_malformed("Times must be a list of one time, such as ['03:00'].")
    rule = CreateRule(interval_hours=members.number("Interval"), time=times[0])
    members.end()
    return rule


def _read_retain_rule(document: object) -> RetainRule:
    members = _Members(document, "RetainRule")
    count = members.number("Count", 0)
    interval = members.number("Interval", 0)
    unit = members.text("IntervalUnit", "DAYS")
    if unit not in RetainUnit.__members__:
        raise refusals.policy_malformed("The IntervalUnit of a RetainRule is unknown.")
    members.end()
    return RetainRule(count=count, interval=interval, unit=RetainUnit(unit))


def _read_tags(found: object, name: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(found, list):
        raise refusals.policy_malformed(f"{name} must be a list.")
    tags = []
    for each in found:
        members = _Members(each, f"a tag of {name}")
        tags.append((members.text("Key"), members.text("Value", "")))
        members.end()
    return tuple(tags)


def _is_list(found: object, kind: type = object) -> bool:
    return isinstance(found, list) and all(isinstance(each, kind) for each in found)


class _Members:
    """The members of an object; each is taken once, and in the end none may be left."""

    def __init__(self, document: object, name: str) -> None:
        if not isinstance(document, Mapping):
            raise refusals.policy_malformed(f"{name} must be an object.")
        self._left = dict(document)
        self._name = name

    def take(self, member: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Return a member, or the default where it is missing or null."""
        value = self._left.pop(member, None)
        if value is None:
            value = default
        if value is None:
            raise refusals.policy_malformed(f"{self._name} must have {member}.")
        return value

    def text(self, member: str, default: str | None = None) -> str:
        """Return a text."""
        value = self.take(member, default)
        if not isinstance(value, str):
            raise refusals.policy_malformed(f"{member} must be a text.")
        return value

    def number(self, member: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = self.take(member, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise refusals.policy_malformed(f"{member} must be a whole number.")
        return value

    def end(self, ignored: frozenset[str] = frozenset()) -> None:
        """Refuse members that were not taken."""
        for member, value in self._left.items():
            if member not in ignored and value is not None:
                raise refusals.policy_malformed(f"{self._name}: {member} is not supported.")
