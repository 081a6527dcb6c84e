"""How many requests an account may send: `ebsim serve --profile strict`.

EC2 has a bucket of tokens for each account, Region and action (EC2 Developer Guide, request
throttling): a request takes a token, and so many come back each second. RunInstances and
TerminateInstances also take one for each instance. The EBS direct APIs allow so many requests a
second, of an account in a Region and of each snapshot (EBS User Guide, quotas). KMS allows so many
in each second, of an account in a Region; its cryptographic operations share one quota (KMS
Developer Guide, request quotas). What EC2 asks of KMS on a caller's behalf counts there, and not
here. The Recycle Bin, Data Lifecycle Manager and STS publish no rates, and have none.
"""

import threading
from dataclasses import dataclass

from ebsim.server.operations import Served
from ebsim.server.protocol.wire import Document, FaultError

US_PER_S = 1_000_000
BUCKETS_MAX = 10_000
"""Buckets that are remembered; beyond, those that are full again are forgotten."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests may come.

    Attributes:
        size: At once.
        per_second: From then on.
    """

    size: float
    per_second: float


READING = Rate(100, 20)
READING_ALL = Rate(50, 10)
CHANGING = Rate(50, 5)
_UNFILTERED = frozenset({"DescribeInstances", "DescribeSnapshots", "DescribeVolumes"})
_NARROWING = frozenset(
    {"Filters", "MaxResults", "NextToken", "InstanceIds", "SnapshotIds", "VolumeIds"}
)
_COSTLY = Rate(100, 5)
_RARE = Rate(1, 0.1)
OWN_RATES = {
    "CreateSnapshot": _COSTLY,
    "CreateSnapshots": _COSTLY,
    "CreateTags": Rate(100, 10),
    "CreateVolume": _COSTLY,
    "DeleteSnapshot": _COSTLY,
    "DeleteTags": Rate(100, 10),
    "DeleteVolume": _COSTLY,
    "DeregisterImage": _COSTLY,
    "DisableSnapshotBlockPublicAccess": _RARE,
    "EnableSnapshotBlockPublicAccess": _RARE,
    "ModifySnapshotAttribute": _COSTLY,
    "RunInstances": Rate(5, 2),
    "TerminateInstances": _COSTLY,
}
"""EC2's actions that have a rate of their own."""

INSTANCE_RATES = {"RunInstances": Rate(1000, 2), "TerminateInstances": Rate(1000, 20)}

LARGE_REGIONS = frozenset({"us-east-1", "us-east-2", "us-west-2", "ap-southeast-1", "eu-west-1"})
BLOCKS = Rate(1000, 1000)
BLOCKS_LARGE = Rate(5000, 5000)
DIRECT_RATES = {
    "ListSnapshotBlocks": Rate(50, 50),
    "ListChangedBlocks": Rate(50, 50),
    "StartSnapshot": Rate(10, 10),
    "CompleteSnapshot": Rate(10, 10),
}
_OF_BLOCKS = frozenset({"GetSnapshotBlock", "PutSnapshotBlock"})

CRYPTOGRAPHIC = frozenset(
    {"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"}
)
"""KMS's operations under symmetric keys, which are all there are here; they share a quota."""

KEYS_USED = Rate(10_000, 10_000)
KEYS_USED_LARGE = Rate(20_000, 20_000)
KEYS_USED_LARGEST = Rate(100_000, 100_000)
REGIONS_OF_KEYS = {
    **dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), KEYS_USED_LARGEST),
    **dict.fromkeys(("us-east-2", "ap-southeast-1", "ap-southeast-2"), KEYS_USED_LARGE),
    **dict.fromkeys(("ap-northeast-1", "eu-central-1", "eu-west-2"), KEYS_USED_LARGE),
}

KEY_RATES = {
    "CancelKeyDeletion": 5,
    "CreateAlias": 5,
    "CreateGrant": 50,
    "CreateKey": 5,
    "DeleteAlias": 15,
    "DescribeKey": 2000,
    "DisableKey": 5,
    "EnableKey": 5,
    "GetKeyPolicy": 1000,
    "GetKeyRotationStatus": 1000,
    "ListAliases": 500,
    "ListGrants": 100,
    "ListKeyPolicies": 100,
    "ListKeys": 500,
    "ListResourceTags": 2000,
    "PutKeyPolicy": 15,
    "RetireGrant": 50,
    "RevokeGrant": 50,
    "RotateKeyOnDemand": 5,
    "ScheduleKeyDeletion": 15,
    "TagResource": 10,
    "UntagResource": 5,
    "UpdateAlias": 5,
    "UpdateKeyDescription": 5,
}
"""KMS's other operations: requests in a second, each counted by itself."""

_KEYS_THROTTLED = (
    "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
)


class TokenBuckets:
    """Buckets of tokens, full at first. May be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[float, int, Rate]] = {}
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, name: tuple[str, ...], rate: Rate, now_us: int, count: float = 1) -> bool:
        """Take tokens out of a bucket; return whether there were so many.

        Args:
            name: Which bucket.
            rate: How large it is, and how fast it fills.
            now_us: The time; where it went back, nothing has come in.
            count: How many tokens.
        """
        with self._mutex:
            if len(self._known) >= BUCKETS_MAX and name not in self._known:
                self._forget_full(now_us)
            left = self._left(name, rate, now_us)
            enough = left >= count
            self._known[name] = (left - count if enough else left, now_us, rate)
            return enough

    def _left(self, name: tuple[str, ...], rate: Rate, now_us: int) -> float:
        known = self._known.get(name)
        if known is None:
            return rate.size
        left, since_us, _ = known
        came = max(0, now_us - since_us) / US_PER_S * rate.per_second
        return min(rate.size, left + came)

    def _forget_full(self, now_us: int) -> None:
        rates = {name: rate for name, (_, _, rate) in self._known.items()}
        for name, rate in rates.items():
            if self._left(name, rate, now_us) >= rate.size:
                del self._known[name]


class Throttling:
    """Answers requests that come too fast as EC2, the EBS direct APIs and KMS do."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()

    def before(self, served: Served) -> None:
        """Count a request.

        Raises:
            FaultError: It comes too soon: RequestLimitExceeded, ThrottlingException or
                RequestThrottledException.
        """
        if served.call.service == "ec2":
            self._count_ec2(served)
        elif served.call.service == "ebs":
            self._count_direct(served)
        elif served.call.service == "kms":
            self._count_keys(served)

    def after(self, served: Served, result: Document) -> Document:
        """Return the result as it is."""
        return result

    def _count_ec2(self, served: Served) -> None:
        action, given = served.call.operation, served.parameters
        name, rate = (action, ""), OWN_RATES.get(action)
        if rate is None:
            rate = READING if action.startswith(("Describe", "Get", "List")) else CHANGING
        if action in _UNFILTERED and not _NARROWING.intersection(given):
            name, rate = (action, "all"), READING_ALL
        if not self._taken(served, name, rate):
            raise throttled("ec2")
        if action in INSTANCE_RATES:
            count = given.get("MaxCount") or len(given.get("InstanceIds", ()))
            if not self._taken(served, (action, "instances"), INSTANCE_RATES[action], count):
                raise throttled("ec2")

    def _count_direct(self, served: Served) -> None:
        action = served.call.operation
        if action in _OF_BLOCKS:
            rate = BLOCKS_LARGE if served.caller.region in LARGE_REGIONS else BLOCKS
            if not self._taken(served, (action, ""), rate):
                raise throttled("ebs")
            snapshot = (action, str(served.parameters.get("SnapshotId")))
            if not self._taken(served, snapshot, BLOCKS):
                raise FaultError(
                    "RequestThrottledException",
                    "The number of requests for this snapshot is too high: try again later.",
                    400,
                    {"Reason": "RESOURCE_LEVEL_THROTTLE"},
                )
        elif action in DIRECT_RATES and not self._taken(served, (action, ""), DIRECT_RATES[action]):
            raise throttled("ebs")

    def _count_keys(self, served: Served) -> None:
        action = served.call.operation
        if action in CRYPTOGRAPHIC:
            name, rate = "cryptographic", REGIONS_OF_KEYS.get(served.caller.region, KEYS_USED)
        elif action in KEY_RATES:
            name, rate = action, Rate(KEY_RATES[action], KEY_RATES[action])
        else:
            return
        if not self._taken(served, (name, ""), rate):
            raise throttled("kms")

    def _taken(self, served: Served, name: tuple[str, ...], rate: Rate, count: float = 1) -> bool:
        caller = served.caller
        bucket = (served.call.service, caller.account, caller.region, *name)
        return self._buckets.take(bucket, rate, served.store.now_us, count)


def throttled(service: str) -> FaultError:
    """Return what a service answers to an account that sends too much (semantics section 9)."""
    if service in {"ec2", "sts"}:
        return FaultError("RequestLimitExceeded", "Request limit exceeded.", 503)
    if service == "kms":
        return FaultError("ThrottlingException", _KEYS_THROTTLED, 400)
    members = {"Reason": "ACCOUNT_THROTTLED"} if service == "ebs" else None
    code = {"dlm": "LimitExceededException"}.get(service, "ThrottlingException")
    return FaultError(code, "Rate exceeded", 400, members)
