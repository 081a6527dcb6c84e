"""Buckets of tokens, and which calls take from which (EC2 Developer Guide; EBS User Guide)."""

from collections.abc import Iterator

import pytest

from ebsim.server import rates
from ebsim.server.background import Background
from ebsim.server.operations import Served
from ebsim.server.protocol.wire import Call, FaultError
from ebsim.server.rates import Rate, Throttling, TokenBuckets
from ebsim.testing.harness import Harness

S = 1_000_000


def test_bucket_is_full_at_first_and_fills_again() -> None:
    buckets, rate = TokenBuckets(), Rate(3, 2)
    assert [buckets.take(("a",), rate, 0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take(("b",), rate, 0)
    assert not buckets.take(("a",), rate, S // 2 - 1)
    assert buckets.take(("a",), rate, S // 2)
    assert [buckets.take(("a",), rate, 100 * S) for _ in range(4)] == [True, True, True, False]


def test_clock_that_goes_back_brings_nothing_and_takes_nothing() -> None:
    buckets, rate = TokenBuckets(), Rate(1, 1)
    assert buckets.take(("a",), rate, 10 * S)
    assert not buckets.take(("a",), rate, 5 * S)
    assert buckets.take(("a",), rate, 6 * S)


def test_buckets_that_are_full_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BUCKETS_MAX", 10)
    buckets, rate = TokenBuckets(), Rate(1, 1)
    for number in range(10):
        assert buckets.take((str(number),), rate, number * S // 10)
    assert buckets.take(("next",), rate, S + S // 2)
    assert len(buckets) == 10 - 6 + 1
    assert not buckets.take(("9",), rate, S + S // 2)


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    with Harness() as made:
        yield made


def called(harness: Harness, service: str, operation: str, **given: object) -> Served:
    call = Call(service=service, operation=operation, parameters=given)
    return Served(call, harness.store, "id", Background())


def passed(throttling: Throttling, served: Served, tries: int) -> int:
    """Return how many of so many calls pass."""
    count = 0
    for _ in range(tries):
        try:
            throttling.before(served)
        except FaultError:
            continue
        count += 1
    return count


@pytest.mark.parametrize(
    ("operation", "given", "at_once"),
    [
        ("DescribeVolumes", {}, 50),
        ("DescribeVolumes", {"MaxResults": 5}, 100),
        ("DescribeRegions", {}, 100),
        ("GetEbsDefaultKmsKeyId", {}, 100),
        ("ListSnapshotsInRecycleBin", {}, 100),
        ("CopySnapshot", {}, 50),
        ("CreateSnapshot", {}, 100),
        ("RunInstances", {"MaxCount": 1}, 5),
        ("RunInstances", {"MaxCount": 600}, 1),
        ("TerminateInstances", {"InstanceIds": ["i-1"] * 400}, 2),
    ],
)
def test_how_many_calls_of_ec2_pass_at_once(
    harness: Harness, operation: str, given: dict[str, object], at_once: int
) -> None:
    served = called(harness, "ec2", operation, **given)
    assert passed(Throttling(), served, 110) == at_once


def test_blocks_are_counted_by_account_and_by_snapshot(harness: Harness) -> None:
    """5,000 of an account in us-east-1, 1,000 of each snapshot."""
    throttling = Throttling()
    one, two = (called(harness, "ebs", "GetSnapshotBlock", SnapshotId=each) for each in "ab")
    assert passed(throttling, one, 1000) == 1000
    with pytest.raises(FaultError) as caught:
        throttling.before(one)
    assert caught.value.code == "RequestThrottledException"
    assert caught.value.members == {"Reason": "RESOURCE_LEVEL_THROTTLE"}
    throttling.before(two)


def test_other_services_are_not_counted(harness: Harness) -> None:
    assert passed(Throttling(), called(harness, "kms", "ListKeys"), 200) == 200
