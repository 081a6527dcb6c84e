"""rbin over boto3: retention rules of the Recycle Bin, their locks and tags (semantics 7.2)."""

from typing import Any

import pytest

from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.aws_service import refusal_with_reason as refused
from ebsim.testing.seams import ManualClock

pytest.importorskip("boto3")

WEEK = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
DELAY = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}


@pytest.fixture
def rbin(ebsim_endpoint: RunningEndpoint) -> Any:
    return ebsim_endpoint.client("rbin")


def test_rule_is_made_shown_changed_and_deleted(rbin: Any) -> None:
    made = rbin.create_rule(
        ResourceType="EBS_SNAPSHOT",
        RetentionPeriod=WEEK,
        Description="keep a week",
        ResourceTags=[{"ResourceTagKey": "keep", "ResourceTagValue": "yes"}],
        Tags=[{"Key": "team", "Value": "db"}],
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["Status"], made["Tags"]) == ("available", [{"Key": "team", "Value": "db"}])
    identifier = made["Identifier"]
    assert made["RuleArn"] == f"arn:aws:rbin:us-east-1:123456789012:rule/{identifier}"

    shown = rbin.get_rule(Identifier=identifier)
    assert shown["RetentionPeriod"] == WEEK
    assert shown["ResourceTags"] == [{"ResourceTagKey": "keep", "ResourceTagValue": "yes"}]
    assert "LockState" not in shown
    changed = rbin.update_rule(
        Identifier=identifier,
        RetentionPeriod={"RetentionPeriodValue": 30, "RetentionPeriodUnit": "DAYS"},
        Description="keep a month",
    )
    assert changed["RetentionPeriod"]["RetentionPeriodValue"] == 30
    (listed,) = rbin.list_rules(ResourceType="EBS_SNAPSHOT")["Rules"]
    assert (listed["Identifier"], listed["Description"]) == (identifier, "keep a month")

    gone = rbin.delete_rule(Identifier=identifier)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    not_found = ("ResourceNotFoundException", "RULE_NOT_FOUND", 404)
    assert refused(rbin.get_rule, Identifier=identifier) == not_found
    assert rbin.list_rules(ResourceType="EBS_SNAPSHOT")["Rules"] == []


def test_rules_are_listed_in_pages_and_by_what_they_have(
    rbin: Any, ebsim_endpoint: RunningEndpoint
) -> None:
    tags = [{"ResourceTagKey": "n", "ResourceTagValue": str(number)} for number in range(5)]
    made = [
        rbin.create_rule(ResourceType="EBS_SNAPSHOT", RetentionPeriod=WEEK, ResourceTags=[tag])
        for tag in tags
    ]
    rbin.create_rule(ResourceType="EBS_VOLUME", RetentionPeriod=WEEK)

    pages = list(
        rbin.get_paginator("list_rules").paginate(
            ResourceType="EBS_SNAPSHOT", PaginationConfig={"PageSize": 2}
        )
    )

    assert [len(page["Rules"]) for page in pages] == [2, 2, 1]
    ids = [rule["Identifier"] for page in pages for rule in page["Rules"]]
    assert ids == [each["Identifier"] for each in made]
    (found,) = rbin.list_rules(ResourceType="EBS_SNAPSHOT", ResourceTags=[tags[3]])["Rules"]
    assert found["Identifier"] == ids[3]
    assert refused(rbin.list_rules, ResourceType="EBS_SNAPSHOT", NextToken="A" * 40) == (
        "ValidationException",
        "INVALID_PAGE_TOKEN",
        400,
    )
    assert rbin.list_rules(ResourceType="EBS_SNAPSHOT", LockState="locked")["Rules"] == []
    other = ebsim_endpoint.client("rbin", "111122223333")
    assert other.list_rules(ResourceType="EBS_SNAPSHOT")["Rules"] == []


def test_lock_holds_until_its_delay_is_over(rbin: Any, ebsim_clock: ManualClock) -> None:
    rule = rbin.create_rule(
        ResourceType="EBS_SNAPSHOT", RetentionPeriod=WEEK, LockConfiguration=DELAY
    )
    identifier = rule["Identifier"]
    assert (rule["LockState"], rule["LockConfiguration"]) == ("locked", DELAY)
    conflict = ("ConflictException", "INVALID_RULE_STATE", 409)
    assert refused(rbin.delete_rule, Identifier=identifier) == conflict
    assert refused(rbin.lock_rule, Identifier=identifier, LockConfiguration=DELAY) == conflict

    unlocked = rbin.unlock_rule(Identifier=identifier)
    assert unlocked["LockState"] == "pending_unlock"
    assert unlocked["LockEndTime"].timestamp() == ebsim_clock.now_us() / 1e6 + 7 * 24 * 3600
    assert refused(rbin.update_rule, Identifier=identifier, Description="x") == conflict
    ebsim_clock.advance(days=7)
    assert rbin.get_rule(Identifier=identifier)["LockState"] == "unlocked"
    again = rbin.lock_rule(Identifier=identifier, LockConfiguration=DELAY)
    assert again["LockState"] == "locked"


def test_tags_of_rules(rbin: Any) -> None:
    arn = rbin.create_rule(ResourceType="EC2_IMAGE", RetentionPeriod=WEEK)["RuleArn"]

    tagged = rbin.tag_resource(
        ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    )
    assert tagged["ResponseMetadata"]["HTTPStatusCode"] == 201
    rbin.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    rbin.untag_resource(ResourceArn=arn, TagKeys=["b", "never"])

    assert rbin.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]
    elsewhere = arn.replace("us-east-1", "eu-west-1")
    for call, more in (
        (rbin.list_tags_for_resource, {}),
        (rbin.tag_resource, {"Tags": []}),
        (rbin.untag_resource, {"TagKeys": ["a"]}),
    ):
        code, reason, status = refused(call, ResourceArn=elsewhere, **more)
        assert (code, reason, status) == ("ResourceNotFoundException", "RULE_NOT_FOUND", 404)
    bad = [{"Key": "aws:x", "Value": ""}]
    invalid = ("ValidationException", "INVALID_PARAMETER_VALUE", 400)
    assert refused(rbin.tag_resource, ResourceArn=arn, Tags=bad) == invalid


def test_what_is_refused(rbin: Any) -> None:
    invalid = ("ValidationException", "INVALID_PARAMETER_VALUE", 400)
    year = {"RetentionPeriodValue": 366, "RetentionPeriodUnit": "DAYS"}
    assert refused(rbin.create_rule, ResourceType="EBS_SNAPSHOT", RetentionPeriod=year) == invalid
    assert refused(rbin.create_rule, ResourceType="TAPE", RetentionPeriod=WEEK) == invalid
    hours = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "HOURS"}
    assert refused(rbin.create_rule, ResourceType="EBS_SNAPSHOT", RetentionPeriod=hours) == invalid
    assert refused(rbin.get_rule, Identifier="short") == invalid
    tag = [{"ResourceTagKey": "k", "ResourceTagValue": "v"}]
    made = [
        rbin.create_rule(ResourceType="EBS_SNAPSHOT", RetentionPeriod=WEEK, ResourceTags=tag)
        for _ in range(5)
    ]
    code, _, status = refused(
        rbin.create_rule, ResourceType="EBS_SNAPSHOT", RetentionPeriod=WEEK, ResourceTags=tag
    )
    assert (code, status) == ("ServiceQuotaExceededException", 402)
    other = {"Identifier": made[0]["Identifier"], "ResourceType": "EBS_VOLUME"}
    assert refused(rbin.update_rule, **other) == invalid
