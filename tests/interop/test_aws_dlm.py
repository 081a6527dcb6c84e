"""Data Lifecycle Manager over boto3: policies and their tags (semantics section 10.3)."""

import copy
from typing import Any

import pytest

from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.aws_service import refusal
from ebsim.testing.seams import ManualClock

pytest.importorskip("boto3")

ROLE = "arn:aws:iam::123456789012:role/AWSDataLifecycleManagerDefaultRole"
DETAILS: dict[str, Any] = {
    "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
    "ResourceTypes": ["VOLUME"],
    "TargetTags": [{"Key": "backup", "Value": "yes"}],
    "Schedules": [
        {
            "Name": "daily",
            "CopyTags": True,
            "TagsToAdd": [{"Key": "by", "Value": "dlm"}],
            "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["03:00"]},
            "RetainRule": {"Count": 7},
        }
    ],
}


@pytest.fixture
def dlm(ebsim_endpoint: RunningEndpoint) -> Any:
    return ebsim_endpoint.client("dlm")


def new_policy(dlm: Any, description: str = "Daily backups", **more: Any) -> str:
    made = dlm.create_lifecycle_policy(
        **{
            "ExecutionRoleArn": ROLE,
            "Description": description,
            "State": "ENABLED",
            "PolicyDetails": DETAILS,
            **more,
        }
    )
    found: str = made["PolicyId"]
    return found


def test_policy_is_made_shown_changed_and_deleted(dlm: Any, ebsim_clock: ManualClock) -> None:
    policy_id = new_policy(dlm, Tags={"team": "db"})

    shown = dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert shown["ExecutionRoleArn"] == ROLE
    assert shown["PolicyDetails"] == DETAILS
    assert (shown["Description"], shown["State"]) == ("Daily backups", "ENABLED")
    assert shown["Tags"] == {"team": "db"}
    assert shown["PolicyArn"] == f"arn:aws:dlm:us-east-1:123456789012:policy/{policy_id}"
    assert shown["DateCreated"] == shown["DateModified"]

    ebsim_clock.advance(seconds=60)
    dlm.update_lifecycle_policy(PolicyId=policy_id, State="DISABLED", Description="Paused")
    changed = dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert (changed["Description"], changed["State"]) == ("Paused", "DISABLED")
    assert (changed["PolicyDetails"], changed["Tags"]) == (DETAILS, {"team": "db"})
    assert (changed["DateModified"] - changed["DateCreated"]).total_seconds() == 60
    details = copy.deepcopy(DETAILS)
    details["Schedules"][0]["RetainRule"] = {"Interval": 30, "IntervalUnit": "DAYS"}
    dlm.update_lifecycle_policy(PolicyId=policy_id, PolicyDetails=details)
    assert dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]["PolicyDetails"] == details

    dlm.delete_lifecycle_policy(PolicyId=policy_id)
    gone = ("ResourceNotFoundException", 404)
    assert refusal(dlm.get_lifecycle_policy, PolicyId=policy_id) == gone
    assert refusal(dlm.delete_lifecycle_policy, PolicyId=policy_id) == gone
    assert refusal(dlm.update_lifecycle_policy, PolicyId=policy_id, State="ENABLED") == gone


def test_policies_are_listed_by_what_they_have(dlm: Any, ebsim_endpoint: RunningEndpoint) -> None:
    other_tag = {**DETAILS, "TargetTags": [{"Key": "tier", "Value": "gold"}]}
    first = new_policy(dlm)
    second = new_policy(dlm, "Gold", State="DISABLED", PolicyDetails=other_tag)

    def ids(**query: Any) -> list[str]:
        return [each["PolicyId"] for each in dlm.get_lifecycle_policies(**query)["Policies"]]

    assert ids() == [first, second]
    assert ids(PolicyIds=[second]) == [second]
    assert ids(State="DISABLED") == [second]
    assert ids(ResourceTypes=["VOLUME"]) == [first, second]
    assert ids(ResourceTypes=["INSTANCE"]) == []
    assert ids(TargetTags=["tier=gold"]) == [second]
    assert ids(TagsToAdd=["by=dlm"]) == [first, second]
    assert ids(DefaultPolicyType="VOLUME") == []
    (summary, _) = dlm.get_lifecycle_policies()["Policies"]
    assert summary == {
        "PolicyId": first,
        "Description": "Daily backups",
        "State": "ENABLED",
        "Tags": {},
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "DefaultPolicy": False,
    }
    missing = "policy-00000000000000000"
    gone = ("ResourceNotFoundException", 404)
    assert refusal(dlm.get_lifecycle_policies, PolicyIds=[missing]) == gone
    other = ebsim_endpoint.client("dlm", "111122223333")
    assert other.get_lifecycle_policies()["Policies"] == []
    assert refusal(other.get_lifecycle_policy, PolicyId=first) == gone


def test_tags_of_policies(dlm: Any) -> None:
    arn = f"arn:aws:dlm:us-east-1:123456789012:policy/{new_policy(dlm)}"

    dlm.tag_resource(ResourceArn=arn, Tags={"a": "1", "b": "2"})
    dlm.tag_resource(ResourceArn=arn, Tags={"a": "3"})
    dlm.untag_resource(ResourceArn=arn, TagKeys=["b", "never"])

    assert dlm.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"a": "3"}
    elsewhere = arn.replace("123456789012", "111122223333")
    gone = ("ResourceNotFoundException", 404)
    assert refusal(dlm.list_tags_for_resource, ResourceArn=elsewhere) == gone
    invalid = ("InvalidRequestException", 400)
    assert refusal(dlm.tag_resource, ResourceArn=arn, Tags={"aws:x": ""}) == invalid


def test_what_is_refused(dlm: Any) -> None:
    invalid = ("InvalidRequestException", 400)
    most = {"ExecutionRoleArn": ROLE, "Description": "x", "State": "ENABLED"}
    create = dlm.create_lifecycle_policy
    assert refusal(create, **most) == invalid
    assert refusal(create, **most, DefaultPolicy="VOLUME", CreateInterval=1) == invalid
    changes: tuple[dict[str, Any], ...] = (
        {"PolicyType": "IMAGE_MANAGEMENT"},
        {"TargetTags": [{"Key": "aws:x", "Value": ""}]},
        {"Schedules": [{**DETAILS["Schedules"][0], "RetainRule": {}}]},
        {"Schedules": [{**DETAILS["Schedules"][0], "FastRestoreRule": {"Count": 1}}]},
    )
    for changed in changes:
        assert refusal(create, **most, PolicyDetails={**DETAILS, **changed}) == invalid
    assert refusal(dlm.get_lifecycle_policy, PolicyId="policy-1") == invalid
    for number in range(100):
        new_policy(dlm, f"number {number}")
    assert refusal(create, **most, PolicyDetails=DETAILS) == ("LimitExceededException", 429)
