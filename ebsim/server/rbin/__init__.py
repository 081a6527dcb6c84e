"""The service rbin: retention rules of the Recycle Bin, and their tags (semantics section 11.8)."""

from typing import Any

from ebsim import bin_refusals
from ebsim.recycle_bin import (
    RetentionRule,
    RuleLockState,
    RuleQuery,
    RuleRequest,
    RuleResourceType,
    RuleUpdate,
    TagPair,
)
from ebsim.server.ec2.documents import answer, choice, moment, tag_list
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError


@OPERATIONS.add("rbin", "CreateRule")
def create_rule(served: Served) -> Document:
    """Make a rule."""
    given = served.parameters
    lock = given.get("LockConfiguration")
    request = RuleRequest(
        resource_type=choice(RuleResourceType, given["ResourceType"], "ResourceType"),
        retention_days=_days(given["RetentionPeriod"], "RetentionPeriod"),
        resource_tags=_pairs(given.get("ResourceTags")) or (),
        exclude_tags=_pairs(given.get("ExcludeResourceTags")) or (),
        description=given.get("Description", ""),
        tags=_tags(given.get("Tags", ())),
        unlock_delay_days=None if lock is None else _unlock_delay(lock),
    )
    rule = served.store.recycle_bin.rules.create(request)
    return {**_rule(rule), "Tags": tag_list(rule.tags)}


@OPERATIONS.add("rbin", "GetRule")
def get_rule(served: Served) -> Document:
    """Return a rule."""
    return _rule(served.store.recycle_bin.rules.get(served.parameters["Identifier"]))


@OPERATIONS.add("rbin", "ListRules")
def list_rules(served: Served) -> Document:
    """Return a page of rules."""
    given = served.parameters
    state = given.get("LockState")
    query = RuleQuery(
        resource_type=choice(RuleResourceType, given["ResourceType"], "ResourceType"),
        resource_tags=_pairs(given.get("ResourceTags")) or (),
        exclude_tags=_pairs(given.get("ExcludeResourceTags")) or (),
        lock_state=None if state is None else choice(RuleLockState, state, "LockState"),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.recycle_bin.rules.list(query)
    told = ("Identifier", "Description", "RetentionPeriod", "LockState", "RuleArn")
    rules = map(_rule, page.rules)
    return answer(
        Rules=[{name: rule[name] for name in told if name in rule} for rule in rules],
        NextToken=page.next_token,
    )


@OPERATIONS.add("rbin", "UpdateRule")
def update_rule(served: Served) -> Document:
    """Change a rule; its type stays."""
    given, rules = served.parameters, served.store.recycle_bin.rules
    period = given.get("RetentionPeriod")
    kind = given.get("ResourceType")
    if kind not in (None, rules.get(given["Identifier"]).resource_type):
        raise bin_refusals.rule_invalid("The resource type of a rule cannot change.")
    update = RuleUpdate(
        retention_days=None if period is None else _days(period, "RetentionPeriod"),
        description=given.get("Description"),
        resource_tags=_pairs(given.get("ResourceTags")),
        exclude_tags=_pairs(given.get("ExcludeResourceTags")),
    )
    return _without(_rule(rules.update(given["Identifier"], update)), "LockConfiguration")


@OPERATIONS.add("rbin", "DeleteRule")
def delete_rule(served: Served) -> Document:
    """Delete a rule."""
    served.store.recycle_bin.rules.delete(served.parameters["Identifier"])
    return {}


@OPERATIONS.add("rbin", "LockRule")
def lock_rule(served: Served) -> Document:
    """Lock a rule."""
    given = served.parameters
    delay = _unlock_delay(given["LockConfiguration"])
    rule = served.store.recycle_bin.rules.lock(given["Identifier"], delay)
    return _without(_rule(rule), "LockEndTime")


@OPERATIONS.add("rbin", "UnlockRule")
def unlock_rule(served: Served) -> Document:
    """Have the unlock delay of a rule begin."""
    return _rule(served.store.recycle_bin.rules.unlock(served.parameters["Identifier"]))


@OPERATIONS.add("rbin", "ListTagsForResource")
def list_tags_for_resource(served: Served) -> Document:
    """Return the tags of a rule."""
    return {"Tags": tag_list(_named(served, served.parameters["ResourceArn"]).tags)}


@OPERATIONS.add("rbin", "TagResource")
def tag_resource(served: Served) -> Document:
    """Give a rule tags."""
    given = served.parameters
    rule = _named(served, given["ResourceArn"])
    served.store.recycle_bin.rules.add_tags(rule.rule_id, _tags(given["Tags"]))
    return {}


@OPERATIONS.add("rbin", "UntagResource")
def untag_resource(served: Served) -> Document:
    """Take tags from a rule."""
    given = served.parameters
    rule = _named(served, given["ResourceArn"])
    served.store.recycle_bin.rules.remove_tags(rule.rule_id, given["TagKeys"])
    return {}


def _named(served: Served, arn: str) -> RetentionRule:
    """Return the rule of an ARN: of the caller's account and Region, or it is none."""
    rule_id = arn.rpartition("/")[2]
    rule = served.store.recycle_bin.rules.get(rule_id)
    if rule.arn != arn:
        raise bin_refusals.rule_not_found(rule_id)
    return rule


def _rule(rule: RetentionRule) -> Document:
    delay = rule.unlock_delay_days
    return answer(
        Identifier=rule.rule_id,
        RuleArn=rule.arn,
        ResourceType=rule.resource_type.value,
        RetentionPeriod=_period("RetentionPeriod", rule.retention_days),
        ResourceTags=_resource_tags(rule.resource_tags),
        ExcludeResourceTags=_resource_tags(rule.exclude_tags),
        Description=rule.description,
        Status=rule.status.value,
        LockState=None if rule.lock_state is None else rule.lock_state.value,
        LockConfiguration=delay and {"UnlockDelay": _period("UnlockDelay", delay)},
        LockEndTime=None if rule.lock_end_us is None else moment(rule.lock_end_us),
    )


def _without(document: Document, name: str) -> Document:
    """Return a structure without a member that the operation's answer does not have."""
    return {key: value for key, value in document.items() if key != name}


def _period(what: str, days: int) -> Document:
    return {f"{what}Value": days, f"{what}Unit": "DAYS"}


def _days(period: Document, what: str) -> int:
    """Return the days of a retention period or an unlock delay.

    Raises:
        FaultError: It has no value, or another unit.
    """
    value, unit = period.get(f"{what}Value"), period.get(f"{what}Unit")
    if not isinstance(value, int) or unit != "DAYS":
        raise FaultError("ValidationException", f"{what} needs a value and the unit DAYS.")
    return value


def _unlock_delay(lock: Document) -> int:
    return _days(lock.get("UnlockDelay") or {}, "UnlockDelay")


def _pairs(tags: list[Document] | None) -> list[TagPair] | None:
    if tags is None:
        return None
    return [(tag.get("ResourceTagKey", ""), tag.get("ResourceTagValue", "")) for tag in tags]


def _resource_tags(pairs: tuple[TagPair, ...]) -> list[Document]:
    return [{"ResourceTagKey": key, "ResourceTagValue": value} for key, value in pairs]


def _tags(tags: Any) -> dict[str, str]:  # noqa: ANN401 - a list of structures
    found: dict[str, str] = {}
    for tag in tags:
        key = tag.get("Key", "")
        if key in found:
            raise FaultError("ValidationException", f"The tag key '{key[:128]}' is given twice.")
        found[key] = tag.get("Value", "")
    return found
