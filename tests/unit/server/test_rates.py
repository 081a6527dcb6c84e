"""Buckets of tokens, and which calls take from which (EC2 Developer Guide; EBS User Guide)."""

from collections.abc import Iterator

import pytest

from ebsim.server import rates
from ebsim.server.background import Background
from ebsim.server.operations import Served, load_operations
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


@pytest.mark.parametrize(
    ("operation", "a_second"),
    [("CreateKey", 5), ("DeleteAlias", 15), ("CreateGrant", 50), ("DescribeKey", 2000)],
)
def test_how_many_calls_of_kms_pass_in_a_second(
    harness: Harness, operation: str, a_second: int
) -> None:
    """Each counted by itself, with the code and the words that KMS documents."""
    throttling, served = Throttling(), called(harness, "kms", operation)
    assert passed(throttling, served, a_second + 5) == a_second
    with pytest.raises(FaultError) as caught:
        throttling.before(served)
    assert (caught.value.code, caught.value.status) == ("ThrottlingException", 400)
    assert "exceeded the rate at which you may call KMS" in str(caught.value)
    throttling.before(called(harness, "kms", "ListKeys"))


def test_cryptographic_operations_share_a_quota(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 a second in us-east-1; 10,000 where nothing else is documented."""
    assert rates.REGIONS_OF_KEYS["us-east-1"] == Rate(100_000, 100_000)
    assert Rate(10_000, 10_000) == rates.KEYS_USED
    monkeypatch.setitem(rates.REGIONS_OF_KEYS, "us-east-1", Rate(10, 10))
    throttling = Throttling()
    names = ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey")
    operations = [called(harness, "kms", each) for each in names]
    assert [passed(throttling, each, 4) for each in operations] == [4, 4, 2, 0]
    assert passed(throttling, called(harness, "kms", "EnableKey"), 4) == 4


def test_every_operation_of_kms_has_a_rate() -> None:
    served = {name for service, name in load_operations().known if service == "kms"}
    assert served == rates.CRYPTOGRAPHIC | rates.KEY_RATES.keys()


@pytest.mark.parametrize("service", ["rbin", "dlm", "sts"])
def test_services_that_publish_no_rates_are_not_counted(harness: Harness, service: str) -> None:
    assert passed(Throttling(), called(harness, service, "TagResource"), 200) == 200
