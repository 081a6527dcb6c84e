"""Data Lifecycle Manager: policies and their tags (semantics section 10.3).

Policies are taken as they are written; what ebsim cannot carry out is refused by name. Something
must run them: `ebsim lifecycle run`, by a timer.
"""

from typing import Any

from ebsim import refusals
from ebsim.core.policy_documents import read_policy, write_policy
from ebsim.policies import LifecyclePolicy
from ebsim.server.ec2.documents import moment
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document

_SOURCES = "Sources"
"""What a policy may have from ebsim's own command line: paths, which the network never names."""


@OPERATIONS.add("dlm", "CreateLifecyclePolicy")
def create_lifecycle_policy(served: Served) -> Document:
    """Make a policy; those with defaults (`DefaultPolicy`, `CreateInterval`, ...) are refused."""
    given = served.parameters
    _refuse_default(given)
    said = {
        name: given.get(name)
        for name in ("Description", "State", "ExecutionRoleArn", "PolicyDetails")
    }
    made = served.store.lifecycle.put(read_policy(said), tags=given.get("Tags"))
    return {"PolicyId": made.policy_id}


@OPERATIONS.add("dlm", "GetLifecyclePolicy")
def get_lifecycle_policy(served: Served) -> Document:
    """Return a policy."""
    policy = served.store.lifecycle.get(served.parameters["PolicyId"])
    document = write_policy(policy.request)
    document["PolicyDetails"].pop(_SOURCES, None)
    return {
        "Policy": {
            **document,
            "PolicyId": policy.policy_id,
            "PolicyArn": policy.arn,
            "DateCreated": moment(policy.create_time_us),
            "DateModified": moment(policy.modify_time_us),
            "Tags": dict(policy.tags),
            "DefaultPolicy": False,
        }
    }


@OPERATIONS.add("dlm", "GetLifecyclePolicies")
def get_lifecycle_policies(served: Served) -> Document:
    """Return the policies that match all that is asked."""
    given, operations = served.parameters, served.store.lifecycle
    wanted = given.get("PolicyIds")
    found = operations.list() if wanted is None else tuple(map(operations.get, wanted))
    target_tags, tags_to_add = given.get("TargetTags"), given.get("TagsToAdd")
    chosen = [
        policy
        for policy in found
        if given.get("State", policy.request.state) == policy.request.state
        and "VOLUME" in given.get("ResourceTypes", ("VOLUME",))
        and given.get("DefaultPolicyType") in (None, "ALL")
        and _has_one(target_tags, _target_tags(policy))
        and _has_one(tags_to_add, _tags_to_add(policy))
    ]
    return {"Policies": [_summary(policy) for policy in chosen]}


@OPERATIONS.add("dlm", "UpdateLifecyclePolicy")
def update_lifecycle_policy(served: Served) -> Document:
    """Change what is given of a policy: its details as a whole."""
    given, operations = served.parameters, served.store.lifecycle
    _refuse_default(given)
    present = write_policy(operations.get(given["PolicyId"]).request)
    said = {
        name: given.get(name)
        for name in ("Description", "State", "ExecutionRoleArn", "PolicyDetails")
    }
    changed = {**present, **{name: value for name, value in said.items() if value is not None}}
    if _SOURCES in present["PolicyDetails"]:
        sources = present["PolicyDetails"][_SOURCES]
        changed["PolicyDetails"] = {**changed["PolicyDetails"], _SOURCES: sources}
    operations.put(read_policy(changed), given["PolicyId"])
    return {}


@OPERATIONS.add("dlm", "DeleteLifecyclePolicy")
def delete_lifecycle_policy(served: Served) -> Document:
    """Delete a policy; its snapshots stay."""
    served.store.lifecycle.delete(served.parameters["PolicyId"])
    return {}


@OPERATIONS.add("dlm", "ListTagsForResource")
def list_tags_for_resource(served: Served) -> Document:
    """Return the tags of a policy."""
    return {"Tags": dict(_named(served, served.parameters["ResourceArn"]).tags)}


@OPERATIONS.add("dlm", "TagResource")
def tag_resource(served: Served) -> Document:
    """Give a policy tags."""
    given = served.parameters
    policy = _named(served, given["ResourceArn"])
    served.store.lifecycle.add_tags(policy.policy_id, given["Tags"])
    return {}


@OPERATIONS.add("dlm", "UntagResource")
def untag_resource(served: Served) -> Document:
    """Take tags from a policy."""
    given = served.parameters
    policy = _named(served, given["ResourceArn"])
    served.store.lifecycle.remove_tags(policy.policy_id, given["TagKeys"])
    return {}


def _refuse_default(given: Document) -> None:
    """Refuse a default policy, which ebsim does not have, by name."""
    only = ("DefaultPolicy", "CreateInterval", "RetainInterval", "CopyTags", "ExtendDeletion")
    for name in (*only, "CrossRegionCopyTargets", "Exclusions"):
        if name in given:
            raise refusals.policy_malformed(f"{name} is not supported: it is a default policy's.")


def _named(served: Served, arn: str) -> LifecyclePolicy:
    """Return the policy of an ARN: of the caller's account and Region, or it is none."""
    policy_id = arn.rpartition("/")[2]
    policy = served.store.lifecycle.get(policy_id)
    if policy.arn != arn:
        raise refusals.policy_not_found(policy_id)
    return policy


def _summary(policy: LifecyclePolicy) -> Document:
    return {
        "PolicyId": policy.policy_id,
        "Description": policy.request.description,
        "State": policy.request.state.value,
        "Tags": dict(policy.tags),
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "DefaultPolicy": False,
    }


def _target_tags(policy: LifecyclePolicy) -> set[str]:
    return {f"{key}={value}" for key, value in policy.request.target_tags}


def _tags_to_add(policy: LifecyclePolicy) -> set[str]:
    schedules = policy.request.schedules
    return {f"{key}={value}" for each in schedules for key, value in each.tags_to_add.items()}


def _has_one(wanted: Any, tags: set[str]) -> bool:  # noqa: ANN401 - a list of `key=value`, or None
    return not wanted or any(each in tags for each in wanted)
