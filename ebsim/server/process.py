"""The process that serves a store over HTTP."""

import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from ebsim.clock import SystemClock
from ebsim.engine import Store
from ebsim.errors import ErrorCode, InvalidInputError, StoreError
from ebsim.server.app import make_app
from ebsim.server.bounded_http import BoundedHttp
from ebsim.server.credentials import Credentials
from ebsim.server.endpoint import Endpoint
from ebsim.server.operations import load_operations

PORT_DEFAULT = 4747
GRACE_S = 10
"""How long requests that are under way may take when the server is asked to stop."""

KEEP_ALIVE_S = 75
CONNECTIONS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How to serve.

    Attributes:
        host: The address to listen on, or a name of it.
        port: The port; 0 picks a free one.
        authenticate: Whether requests must be signed. Without, only loopback is allowed.
        certificate: A TLS certificate, in PEM; None: plain HTTP.
        key: Its private key.
        access_log: Whether each request is logged.
    """

    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    authenticate: bool = True
    certificate: Path | None = None
    key: Path | None = None
    access_log: bool = False

    @property
    def scheme(self) -> str:
        """The scheme of the endpoint's URL."""
        return "http" if self.certificate is None else "https"


def listen(options: ServeOptions) -> socket.socket:
    """Return a listening socket.

    Raises:
        InvalidInputError: Nobody would have to sign, and others than this machine could ask.
        StoreError: The address cannot be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM
        )[0]
        if not options.authenticate and not ipaddress.ip_address(address[0]).is_loopback:
            raise InvalidInputError(
                f"Without authentication only loopback addresses are served, and {options.host} "
                "is none: leave --no-auth out, or listen on 127.0.0.1.",
                ErrorCode.INVALID_PARAMETER_COMBINATION,
            )
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(CONNECTIONS_MAX)
    except OSError as error:
        raise StoreError(
            f"cannot listen on {options.host} port {options.port}: {error.strerror or error}"
        ) from error
    return found


def url_of(options: ServeOptions, listening: socket.socket) -> str:
    """Return the endpoint's URL."""
    address = listening.getsockname()
    host = f"[{address[0]}]" if listening.family == socket.AF_INET6 else address[0]
    return f"{options.scheme}://{host}:{address[1]}"


def make_server(store: Store, credentials: Credentials, options: ServeOptions) -> uvicorn.Server:
    """Return a server of a store, which `run` has serve a listening socket until it is stopped."""
    endpoint = Endpoint(
        store,
        load_operations(),
        credentials.find if options.authenticate else None,
        _now,
    )
    config = uvicorn.Config(
        make_app(endpoint),
        http=BoundedHttp,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_level=logging.ERROR,  # a line for each malformed request would fill a disk
        access_log=options.access_log,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=CONNECTIONS_MAX + 1,  # at which uvicorn would refuse all of them
        ssl_certfile=None if options.certificate is None else str(options.certificate),
        ssl_keyfile=None if options.key is None else str(options.key),
    )
    return _Server(config, endpoint)


class _Server(uvicorn.Server):
    """A server that waits at its end for what goes on after requests were answered."""

    def __init__(self, config: uvicorn.Config, endpoint: Endpoint) -> None:
        super().__init__(config)
        self._background = endpoint.background

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is asked to stop; then wait for what was begun, such as copies."""
        try:
            super().run(sockets=sockets)
        finally:
            self._background.wait()


def _now() -> datetime:
    """Return the time that signatures are judged by: the clients', not the store's."""
    return datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC)


def serve(
    store: Store,
    credentials: Credentials,
    options: ServeOptions,
    ready: Callable[[str], None],
) -> None:
    """Serve a store until the process is asked to stop.

    Args:
        store: The store, open; the caller closes it.
        credentials: Whose requests are taken.
        options: Where and how.
        ready: Called with the endpoint's URL once requests can come.

    Raises:
        InvalidInputError, StoreError: As `listen`.
    """
    with listen(options) as listening:
        server = make_server(store, credentials, options)
        ready(url_of(options, listening))
        server.run(sockets=[listening])
