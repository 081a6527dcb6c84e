"""Lifecycle policies as Data Lifecycle Manager's API has them: read, written, refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ebsim.core.policy_documents import read_policy, write_policy
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.policies import CreateRule, PolicyState, RetainRule, RetainUnit

Document = dict[str, Any]

FROM_AWS: Document = {
    "PolicyId": "policy-0123456789abcdef0",
    "Description": "nightly and yearly",
    "State": "ENABLED",
    "StatusMessage": "ENABLED",
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/AWSDataLifecycleManagerDefaultRole",
    "DateCreated": 1_700_000_000.0,
    "DateModified": 1_700_000_000.0,
    "PolicyArn": "arn:aws:dlm:us-east-1:123456789012:policy/policy-0123456789abcdef0",
    "Tags": {},
    "PolicyDetails": {
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "PolicyLanguage": "STANDARD",
        "ResourceTypes": ["VOLUME"],
        "ResourceLocations": ["CLOUD"],
        "TargetTags": [{"Key": "Backup", "Value": "yes"}, {"Key": "Backup", "Value": "all"}],
        "Schedules": [
            {
                "Name": "Nightly",
                "CopyTags": True,
                "TagsToAdd": [{"Key": "by", "Value": "dlm"}],
                "CreateRule": {
                    "Location": "CLOUD",
                    "Interval": 24,
                    "IntervalUnit": "HOURS",
                    "Times": ["03:00"],
                },
                "RetainRule": {"Interval": 5, "IntervalUnit": "WEEKS"},
                "CrossRegionCopyRules": None,
            },
            {
                "Name": "Yearly",
                "CreateRule": {"CronExpression": "cron(0 0 1 1 ? *)"},
                "RetainRule": {"Interval": 10, "IntervalUnit": "YEARS"},
            },
        ],
    },
}


def changed(change: Callable[[Document, Document, Document], object]) -> Document:
    """Return the example after a change of the policy, its details, or its first schedule."""
    document = copy.deepcopy(FROM_AWS)
    details = document["PolicyDetails"]
    change(document, details, details["Schedules"][0])
    return document


def test_document_of_aws_is_read() -> None:
    policy = read_policy(FROM_AWS)

    assert policy.description == "nightly and yearly"
    assert policy.state is PolicyState.ENABLED
    assert policy.target_tags == (("Backup", "yes"), ("Backup", "all"))
    nightly, yearly = policy.schedules
    assert nightly.create == CreateRule(interval_hours=24, time="03:00")
    assert nightly.retain == RetainRule(interval=5, unit=RetainUnit.WEEKS)
    assert (nightly.copy_tags, dict(nightly.tags_to_add)) == (True, {"by": "dlm"})
    assert yearly.create == CreateRule(cron="cron(0 0 1 1 ? *)")
    assert (yearly.copy_tags, dict(yearly.tags_to_add)) == (False, {})


def test_answer_of_get_lifecycle_policy_is_read() -> None:
    assert read_policy({"Policy": FROM_AWS}) == read_policy(FROM_AWS)


def test_what_is_written_reads_the_same() -> None:
    policy = read_policy(FROM_AWS)

    assert read_policy(write_policy(policy)) == policy


def test_time_of_an_interval_is_midnight_where_none_is_given() -> None:
    document = changed(lambda _top, _details, schedule: schedule["CreateRule"].pop("Times"))

    assert read_policy(document).schedules[0].create.time == "00:00"


def set_rule(name: str, **members: Any) -> Callable[[Document, Document, Document], object]:
    return lambda _top, _details, schedule: schedule.update({name: members})


REFUSED: dict[str, Callable[[Document, Document, Document], object]] = {
    "no description": lambda top, _details, _schedule: top.pop("Description"),
    "long description": lambda top, _details, _schedule: top.update(Description="x" * 501),
    "odd description": lambda top, _details, _schedule: top.update(Description="a;b"),
    "state": lambda top, _details, _schedule: top.update(State="ERROR"),
    "state of another type": lambda top, _details, _schedule: top.update(State=["ENABLED"]),
    "unknown member": lambda top, _details, _schedule: top.update(Extra=1),
    "no details": lambda top, _details, _schedule: top.pop("PolicyDetails"),
    "type": lambda _top, details, _schedule: details.update(PolicyType="IMAGE_MANAGEMENT"),
    "instances": lambda _top, details, _schedule: details.update(ResourceTypes=["INSTANCE"]),
    "simplified": lambda _top, details, _schedule: details.update(PolicyLanguage="SIMPLIFIED"),
    "parameters": lambda _top, details, _schedule: details.update(
        Parameters={"ExcludeBootVolume": True}
    ),
    "no targets": lambda _top, details, _schedule: details.update(TargetTags=[]),
    "targets of another type": lambda _top, details, _schedule: details.update(TargetTags="a=b"),
    "system tag as target": lambda _top, details, _schedule: details.update(
        TargetTags=[{"Key": "aws:x", "Value": ""}]
    ),
    "no schedules": lambda _top, details, _schedule: details.update(Schedules=[]),
    "five schedules": lambda _top, details, schedule: details.update(
        Schedules=[{**schedule, "Name": f"n{n}"} for n in range(5)]
    ),
    "two of one name": lambda _top, details, schedule: details.update(
        Schedules=[schedule, schedule]
    ),
    "no name": lambda _top, _details, schedule: schedule.update(Name=""),
    "count and age mixed": set_rule("RetainRule", Count=3),
    "no retention": set_rule("RetainRule"),
    "count and age": set_rule("RetainRule", Count=3, Interval=1, IntervalUnit="DAYS"),
    "negative age": set_rule("RetainRule", Interval=-1, IntervalUnit="DAYS"),
    "101 years": set_rule("RetainRule", Interval=101, IntervalUnit="YEARS"),
    "age in hours": set_rule("RetainRule", Interval=1, IntervalUnit="HOURS"),
    "5 hours": set_rule("CreateRule", Interval=5, IntervalUnit="HOURS"),
    "interval of another type": set_rule("CreateRule", Interval=True, IntervalUnit="HOURS"),
    "days": set_rule("CreateRule", Interval=1, IntervalUnit="DAYS"),
    "25 o'clock": set_rule("CreateRule", Interval=1, Times=["25:00"]),
    "two times": set_rule("CreateRule", Interval=1, Times=["01:00", "02:00"]),
    "interval and cron": set_rule("CreateRule", Interval=1, CronExpression="cron(0 0 1 1 ? *)"),
    "bad cron": set_rule("CreateRule", CronExpression="0 0 * * *"),
    "twice an hour": set_rule("CreateRule", CronExpression="cron(0/30 * * * ? *)"),
    "once in four years": set_rule("CreateRule", CronExpression="cron(0 0 29 2 ? *)"),
    "once": set_rule("CreateRule", CronExpression="cron(0 0 1 1 ? 2030)"),
    "copies": lambda _top, _details, schedule: schedule.update(CrossRegionCopyRules=[{}]),
    "copy tags": lambda _top, _details, schedule: schedule.update(CopyTags="yes"),
    "46 tags": lambda _top, _details, schedule: schedule.update(
        TagsToAdd=[{"Key": f"k{n}", "Value": ""} for n in range(46)]
    ),
    "a tag twice": lambda _top, _details, schedule: schedule.update(
        TagsToAdd=[{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_dlm_or_ebsim_cannot_do_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_policy(changed(REFUSED[name]))

    assert caught.value.code in (ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_TAG_KEY_MALFORMED)


@pytest.mark.parametrize("document", [None, [], "policy", 3, {}])
def test_what_is_no_policy_is_refused(document: object) -> None:
    with pytest.raises(InvalidInputError):
        read_policy(document)


@pytest.mark.parametrize("count", [1, 1000])
def test_count_is_from_1_to_1000(count: int) -> None:
    document = changed(
        lambda _top, details, schedule: details.update(
            Schedules=[{**schedule, "RetainRule": {"Count": count}}]
        )
    )

    assert read_policy(document).schedules[0].retain.count == count
    document["PolicyDetails"]["Schedules"][0]["RetainRule"]["Count"] = count + 1000
    with pytest.raises(InvalidInputError):
        read_policy(document)
