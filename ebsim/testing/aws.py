"""A running endpoint in this process, for tests of programs that use boto3.

    def test_backup(ebsim_ec2):
        volume = ebsim_ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")

It listens on a free port of 127.0.0.1, and every request is signed and checked, as it is with
`ebsim serve`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.engine import Store
from ebsim.entropy import SystemEntropy
from ebsim.storage.files import PosixFiles

if TYPE_CHECKING:
    from ebsim.server.credentials import Credentials


@dataclass(frozen=True, slots=True)
class RunningEndpoint:
    """An endpoint that serves requests.

    Attributes:
        url: Its URL.
        credentials: Whose requests it takes; more can be made.
        store: The store that it serves.
    """

    url: str
    credentials: "Credentials"
    store: Store

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


@contextmanager
def running_endpoint(store: Store) -> Iterator[RunningEndpoint]:
    """Return a context in which a store is served on a free port of this machine."""
    from ebsim.server.credentials import Credentials
    from ebsim.server.process import ServeOptions, listen, make_server, url_of

    options = ServeOptions(port=0)
    credentials = Credentials(store.path, PosixFiles(), SystemEntropy())
    with listen(options) as listening:
        server = make_server(store, credentials, options)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="ebsim-endpoint", daemon=True
        )
        thread.start()
        try:
            yield RunningEndpoint(url_of(options, listening), credentials, store)
        finally:
            server.should_exit = True
            thread.join()
