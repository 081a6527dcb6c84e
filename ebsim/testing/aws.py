"""A running endpoint in this process, for tests of programs that use boto3.

    def test_backup(ebsim_ec2):
        volume = ebsim_ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")

It listens on a free port of 127.0.0.1, and every request is signed and checked, as it is with
`ebsim serve`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.engine import Store
from ebsim.entropy import SystemEntropy
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.storage.files import PosixFiles
from ebsim.testing.faults import Faults

if TYPE_CHECKING:
    from ebsim.server.credentials import Credentials
    from ebsim.server.process import ServeOptions
    from ebsim.server.request_faults import RequestFaults


@dataclass(frozen=True, slots=True)
class RunningEndpoint:
    """An endpoint that serves requests.

    Attributes:
        url: Its URL.
        credentials: Whose requests it takes; more can be made.
        store: The store that it serves.
        requests: Which calls are throttled.
        faults: What is to go wrong in the store, if that is known.
    """

    url: str
    credentials: "Credentials"
    store: Store
    requests: "RequestFaults"
    faults: Faults | None = None

    def client(
        self,
        service: str,
        account: str = OWNER_DEFAULT,
        region: str = REGION_DEFAULT,
        **options: Any,  # noqa: ANN401 - boto3's own
    ) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return a boto3 client of a service, for an account in a Region."""
        import boto3

        credential = self.credentials.of_account(account)
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=credential.access_key,
            aws_secret_access_key=credential.secret,
            **options,
        )

    def environment(
        self, account: str = OWNER_DEFAULT, region: str = REGION_DEFAULT
    ) -> dict[str, str]:
        """Return the variables by which programs, and clients made without arguments, use this.

        The files of the aws CLI, and what a cloud tells its machines, are left out of it: nothing
        that a test does may reach real accounts.
        """
        credential = self.credentials.of_account(account)
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": credential.access_key,
            "AWS_SECRET_ACCESS_KEY": credential.secret,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def throttle(self, operation: str, nth: int = 1, times: int = 1) -> None:
        """Throttle the n-th call of an operation from now on, as AWS does.

        Args:
            operation: `CreateSnapshot`, or `rbin:TagResource` where several services have one.
            nth: 1: the next call.
            times: How many calls, beginning with that one. boto3 tries a throttled call again,
                which is a call, too.

        Raises:
            InvalidInputError: There is no such operation, or a number is below 1.
        """
        self.requests.throttle(operation, nth, times)

    def hold_snapshots(self) -> AbstractContextManager[None]:
        """Return a context in which snapshots stay pending until `release`, or until its end."""
        return self._faults().hold_snapshots()

    def release(self, *snapshot_ids: str) -> None:
        """Let these snapshots be completed though others are held; without an id, all."""
        self._faults().release(*snapshot_ids)

    def fail_snapshot(self, snapshot_id: str | None = None, reason: str = "told to fail") -> None:
        """Let a snapshot end as `error`, with this message.

        Args:
            snapshot_id: A pending snapshot, best held before; None: the next one that begins.
            reason: What StateMessage says.

        Raises:
            InvalidInputError: That is no snapshot's id.
        """
        if snapshot_id is None:
            self._faults().fail_next_snapshot(reason)
        else:
            self._faults().fail(snapshot_id, reason)

    def _faults(self) -> Faults:
        if self.faults is None:
            raise InvalidInputError(
                "This endpoint was not given the faults of its store: hand them to "
                "running_endpoint(store, faults), or use the fixture ebsim_endpoint.",
                ErrorCode.UNSUPPORTED_OPERATION,
            )
        return self.faults


@contextmanager
def running_endpoint(
    store: Store, faults: Faults | None = None, options: "ServeOptions | None" = None
) -> Iterator[RunningEndpoint]:
    """Return a context in which a store is served on a free port of this machine.

    It looks every second after what other processes leave, as `ebsim serve` does; who does not want
    to wait for that calls `store.volumes.resume()`.

    Args:
        store: The store, open; its clock is that of rates, too.
        faults: What was handed to its seams; None: snapshots are neither held nor failed.
        options: How it is served: a profile, limits, TLS; None: as `ebsim serve` does.
    """
    from ebsim.server.caretaker import looked_after
    from ebsim.server.credentials import Credentials
    from ebsim.server.process import ServeOptions, listen, make_server, url_of

    options = replace(options or ServeOptions(), port=0)
    credentials = Credentials(store.path, PosixFiles(), SystemEntropy())
    with listen(options) as listening:
        running = make_server(store, credentials, options)
        server, sockets = running.server, {"sockets": [listening]}
        thread = threading.Thread(
            target=server.run, kwargs=sockets, name="ebsim-endpoint", daemon=True
        )
        thread.start()
        try:
            url = url_of(options, listening)
            with looked_after(store):
                yield RunningEndpoint(url, credentials, store, running.requests, faults)
        finally:
            server.should_exit = True
            thread.join()
            running.background.wait()
            running.close()
