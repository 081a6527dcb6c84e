"""Tags of retention rules and lifecycle policies: kept, changed, and there after a rebuild."""

import pytest

from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.harness import Harness

POLICY = PolicyRequest(
    description="daily",
    target_tags=[("backup", "yes")],
    schedules=[
        Schedule(
            name="daily",
            create=CreateRule(interval_hours=24, time="03:00"),
            retain=RetainRule(count=7),
        )
    ],
)
RULE = RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=7, tags={"a": "1"})


def test_tags_are_there_after_a_rebuild() -> None:
    with Harness() as harness:
        rules, policies = harness.store.recycle_bin.rules, harness.store.lifecycle
        rule = rules.create(RULE)
        policy = policies.put(POLICY, tags={"a": "1"})
        rules.add_tags(rule.rule_id, {"a": "2", "b": None})
        policies.add_tags(policy.policy_id, {"a": "2", "b": None, "c": ""})
        policies.remove_tags(policy.policy_id, ["c", "never"])
        harness.store.close()
        Store.rebuild(harness.path)
        harness.store = Store.open(harness.path)

        shown = harness.store.lifecycle.get(policy.policy_id)
        assert harness.store.recycle_bin.rules.get(rule.rule_id).tags == {"a": "2", "b": ""}
        assert shown.tags == {"a": "2", "b": ""}
        assert shown.arn == f"arn:aws:dlm:us-east-1:123456789012:policy/{policy.policy_id}"
        assert harness.store.check().healthy


def test_tags_change_nothing_else() -> None:
    """A policy that was changed has no due time before that; one that was tagged still has."""
    with Harness() as harness:
        policy = harness.store.lifecycle.put(POLICY, tags={"a": "1"})
        harness.clock.advance(days=1)
        tagged = harness.store.lifecycle.add_tags(policy.policy_id, {"b": "2"})
        assert tagged.modify_time_us == policy.modify_time_us
        changed = harness.store.lifecycle.put(POLICY, policy.policy_id)
        assert changed.modify_time_us > policy.modify_time_us
        assert changed.tags == {"a": "1", "b": "2"}


def test_what_is_refused() -> None:
    with Harness() as harness:
        rules, policies = harness.store.recycle_bin.rules, harness.store.lifecycle
        rule, policy = rules.create(RULE), policies.put(POLICY)
        many = {str(number): "" for number in range(51)}
        with pytest.raises(EbsimError) as caught:
            rules.add_tags(rule.rule_id, many)
        assert caught.value.code is ErrorCode.VALIDATION
        with pytest.raises(EbsimError) as caught:
            policies.add_tags(policy.policy_id, many)
        assert caught.value.code is ErrorCode.TAG_LIMIT_EXCEEDED
        with pytest.raises(EbsimError) as caught:
            policies.put(POLICY, tags={"aws:x": ""})
        assert caught.value.code is ErrorCode.INVALID_TAG_KEY_MALFORMED
        assert len(policies.list()) == 1
