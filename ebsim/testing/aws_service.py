"""One endpoint for several tests, which do not disturb each other: a client takes 0.3 s to make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.testing.aws import RunningEndpoint, running_endpoint
from ebsim.testing.harness import Harness

ZONE = "us-east-1a"
OTHER = "111122223333"
QUICK = {"Delay": 0, "MaxAttempts": 20_000}


@dataclass
class Service:
    """An endpoint, what is behind it, and its clients: each is made once.

    Attributes:
        harness: The store, its clock and its faults.
        endpoint: What serves it.
    """

    harness: Harness
    endpoint: RunningEndpoint
    _clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The store that is served."""
        return self.harness.store

    @property
    def ec2(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """EC2 for the default account, in the default Region."""
        return self.client("ec2")

    @property
    def other(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """EC2 for another account."""
        return self.client("ec2", OTHER)

    def client(self, service: str, *place: str) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return a client that tries each call once, perhaps of an account and in a Region."""
        key = (service, *place)
        if key not in self._clients:
            from botocore.config import Config

            once = Config(retries={"total_max_attempts": 1, "mode": "standard"})
            self._clients[key] = self.endpoint.client(service, *place, config=once)
        return self._clients[key]

    def volume(self, **options: Any) -> str:  # noqa: ANN401 - those of `VolumeRequest`
        """Return a new volume, of 1 GiB if nothing else is said."""
        made = self.store.volumes.create(VolumeRequest(**{"size_gib": 1, **options}))
        return made.volume_id

    def snapshot(self, volume: str | None = None, data: bytes = b"data") -> str:
        """Return a completed snapshot of a volume with something in it."""
        name = volume or self.volume()
        with self.store.volumes.open(name) as file:
            file.pwrite(data, 0)
        made: str = self.ec2.create_snapshot(VolumeId=name)["SnapshotId"]
        self.store.wait_snapshots([made])
        return made

    @contextmanager
    def quotas(self, **changes: Any) -> Iterator[None]:  # noqa: ANN401 - those of `Quotas`
        """Return a context in which the store has other quotas."""
        before = self.store.quotas
        self.store.quotas = replace(before, **changes)
        try:
            yield
        finally:
            self.store.quotas = before


@contextmanager
def running_service() -> Iterator[Service]:
    """Return a context in which a new store is served."""
    with Harness() as harness, running_endpoint(harness.store, harness.faults) as endpoint:
        yield Service(harness, endpoint)


def refusal(call: Callable[..., object], **parameters: object) -> tuple[str, int]:
    """Return the code and HTTP status with which a call is refused.

    Raises:
        AssertionError: It is not.
    """
    code, _, status = refusal_with_reason(call, **parameters)
    return code, status


def refusal_with_reason(
    call: Callable[..., object], *arguments: object, **parameters: object
) -> tuple[str, str, int]:
    """Return the code, reason (or nothing) and HTTP status with which a call is refused.

    Raises:
        AssertionError: It is not.
    """
    from botocore.exceptions import ClientError

    try:
        call(*arguments, **parameters)
    except ClientError as error:
        code, response = error.response["Error"]["Code"], error.response
        return code, response.get("Reason", ""), response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("nothing was refused")
