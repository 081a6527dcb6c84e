"""The process that serves a store over HTTP."""

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from ebsim.clock import SystemClock
from ebsim.engine import Store
from ebsim.errors import ErrorCode, InvalidInputError, StoreError
from ebsim.server.app import make_app
from ebsim.server.background import Background
from ebsim.server.bounded_http import bounded_by
from ebsim.server.caretaker import looked_after, patience_of
from ebsim.server.credentials import Credentials
from ebsim.server.endpoint import Endpoint
from ebsim.server.limits import HttpLimits, Limits, ensure_files, ensure_sensible
from ebsim.server.memory import keep_freed_memory
from ebsim.server.observing import AccessLog, MetricsFor, Watch
from ebsim.server.operations import Hook, load_operations
from ebsim.server.profiles import Profile, hooks_of, strict_quotas
from ebsim.server.request_faults import LateSnapshots, RequestFaults
from ebsim.server.snapshot_faults import SnapshotFaults, SnapshotPlan
from ebsim.server.stopping import Stopping, asked_by_signals, told_by_signal
from ebsim.server.tls import tls_context
from ebsim.server.workers import Workers

PORT_DEFAULT = 4747
STANDARD_ERROR = Path("-")
_ADVICE = {
    errno.EADDRINUSE: "another program, perhaps 'ebsim serve', has it: --port 0 picks a free one",
    errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 stands for all that it has",
    errno.EACCES: "ports below 1024 may need root: choose another --port",
}
"""What to do where a socket cannot listen."""
POLL_S = 0.05
"""How often is looked whether snapshots are copied, when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How to serve.

    Attributes:
        host: The address to listen on, or a name of it.
        port: The port; 0 picks a free one.
        authenticate: Whether requests must be signed. Without, only loopback is allowed.
        certificate: A TLS certificate, in PEM; None: plain HTTP.
        key: Its private key.
        limits: What is taken at once.
        profile: Which of AWS's limits hold.
        throttle: Operations, which of their calls is the first that is throttled, and how many are.
        start_delay_s: For how long a snapshot is unknown after StartSnapshot has returned its id.
        access_log: The file of the access log; None: there is none; `-`: standard error.
        metrics_for: Who may read the metrics.
    """

    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    authenticate: bool = True
    certificate: Path | None = None
    key: Path | None = None
    limits: Limits = field(default_factory=Limits)
    profile: Profile = Profile.FAST
    throttle: Sequence[tuple[str, int, int]] = ()
    start_delay_s: float = 0
    access_log: Path | None = None
    metrics_for: MetricsFor = MetricsFor.LOOPBACK

    @property
    def scheme(self) -> str:
        """The scheme of the endpoint's URL."""
        return "http" if self.certificate is None else "https"


def limits_here(limits: Mapping[str, Any], http: Mapping[str, Any]) -> tuple[Limits, str]:
    """Return limits, with as many connections as this process may have open files for.

    Args:
        limits: The members of `Limits`.
        http: Those of `HttpLimits`.

    Returns:
        The limits, and a sentence for people where they are fewer than was asked for, or empty.
    """
    wanted = Limits(**limits, http=HttpLimits(**http))
    possible = ensure_files(wanted.connections)
    if possible == wanted.connections:
        return wanted, ""
    fewer = f"only {possible} connections are taken, not {wanted.connections}"
    return replace(wanted, connections=possible), fewer


def snapshot_faults(fail: Collection[int], hold: Collection[int]) -> SnapshotFaults | None:
    """Return what has these snapshots fail or stay pending; None: nothing does."""
    return SnapshotFaults(SnapshotPlan(fail=fail, hold=hold)) if fail or hold else None


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
        with ExitStack() as unless_listening:
            found = unless_listening.enter_context(socket.socket(family))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(options.limits.connections)
            unless_listening.pop_all()
    except OSError as error:
        what = f"cannot listen on {options.host} port {options.port}: {error.strerror or error}"
        advice = _ADVICE.get(error.errno or 0)
        raise StoreError(what if advice is None else f"{what}; {advice}") from error
    return found


def url_of(options: ServeOptions, listening: socket.socket) -> str:
    """Return the endpoint's URL; a certificate is one of the name that was given, if one was."""
    address = listening.getsockname()
    host = f"[{address[0]}]" if listening.family == socket.AF_INET6 else address[0]
    if options.certificate is not None and not _is_address(options.host):
        host = options.host
    return f"{options.scheme}://{host}:{address[1]}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Running:
    """A server, and what is said to it while it runs.

    Attributes:
        store: What is served.
        server: What `run` has serve a listening socket until it is stopped.
        requests: Throttles calls that it is told to.
        background: What goes on after requests were answered.
        watch: What is told of requests.
    """

    store: Store
    server: uvicorn.Server
    requests: RequestFaults
    background: Background
    watch: Watch

    def close(self) -> None:
        """Close the access log, and let the store's own quotas hold again."""
        self.store.tighten_quotas(None)
        if self.watch.log is not None:
            self.watch.log.close()


def make_server(store: Store, credentials: Credentials, options: ServeOptions) -> Running:
    """Return a server of a store.

    Raises:
        InvalidInputError: The limits are not sensible, or the certificate cannot be served.
        StoreError, LimitExceededError: The access log cannot be opened.
    """
    limits = options.limits
    ensure_sensible(limits)
    context = None
    if options.certificate is not None and options.key is not None:
        context = tls_context(options.certificate, options.key)
    operations = load_operations()
    requests = RequestFaults(operations)
    for each in options.throttle:
        requests.throttle(*each)
    hooks: list[Hook] = [requests, *hooks_of(options.profile)]
    if options.start_delay_s:
        hooks.append(LateSnapshots(options.start_delay_s))
    if options.profile is Profile.STRICT:
        store.tighten_quotas(strict_quotas)
    store.patience = patience_of(limits)
    find = credentials.find if options.authenticate else None
    background = Background(max(1, limits.requests // 2))
    endpoint = Endpoint(store, operations, find, _now, background, hooks)
    watch = Watch(metrics_for=options.metrics_for, log=_access_log(options.access_log))
    workers = Workers(limits.requests)
    config = uvicorn.Config(
        make_app(endpoint, limits, watch, workers),
        http=bounded_by(limits.http),
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_level=logging.ERROR,  # a line for each malformed request would fill a disk
        access_log=False,  # it would have signatures in it
        server_header=False,
        proxy_headers=False,  # who may read the metrics is not said by a header
        date_header=True,
        timeout_keep_alive=limits.http.idle_s,
        timeout_graceful_shutdown=None,  # `_leave` ends clients; what is at work is waited for
        limit_concurrency=limits.connections + 1,  # at which uvicorn would refuse all of them
    )
    config.load()
    config.ssl = context
    server = _Server(config, limits.grace_s, workers)
    watch.metrics.connections = lambda: len(server.server_state.connections)
    return Running(store, server, requests, endpoint.background, watch)


def _access_log(path: Path | None) -> AccessLog | None:
    if path is None:
        return None
    return AccessLog(None if path == STANDARD_ERROR else path)


class _Server(uvicorn.Server):
    """A server that leaves signals to who runs it, and clients that take too long to end."""

    def __init__(self, config: uvicorn.Config, grace_s: float, workers: Workers) -> None:
        super().__init__(config)
        self._grace_s = grace_s
        self._workers = workers

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is to stop, and all that was begun is done."""
        try:
            super().run(sockets)
        finally:
            self._workers.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; leave those whose requests are not there, or not answered, when time is over."""
        timer = asyncio.get_running_loop().call_later(self._grace_s, self._leave)
        await super().shutdown(sockets)
        timer.cancel()

    def _leave(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        asyncio.get_running_loop().call_soon(self._workers.leave)  # when they know that they ended

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _now() -> datetime:
    """Return the time that signatures are judged by: the clients', not the store's."""
    return datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC)


def serve(
    store: Store,
    credentials: Credentials,
    options: ServeOptions,
    ready: Callable[[str], None],
    faults: SnapshotFaults | None = None,
    waiting: Callable[[float], None] | None = None,
) -> Sequence[str]:
    """Serve a store until the process is asked to stop; finish what is under way, and close it.

    Asked again, the process ends at once. SIGUSR1 lets go the snapshots that `faults` holds.

    Args:
        store: The store, open; it is closed.
        credentials: Whose requests are taken.
        options: Where and how.
        ready: Called with the endpoint's URL once requests can come.
        faults: What has some snapshots fail or stay pending; None: nothing does.
        waiting: Called where the process, asked to stop, has copies to wait for: with for how many
            seconds at most.

    Returns:
        The snapshots that could not be completed in time and stay pending: who opens the store next
        goes on with them.

    Raises:
        InvalidInputError, StoreError, LimitExceededError: As `listen` and `make_server`.
    """
    keep_freed_memory()
    stopping = Stopping(options.limits.grace_s)
    if faults is not None:
        faults.watch(store)
    let_go = (lambda: None) if faults is None else faults.let_go
    with listen(options) as listening:
        running = make_server(store, credentials, options)

        def ask() -> None:
            stopping.ask()
            running.server.should_exit = True

        try:
            with asked_by_signals(ask), told_by_signal(signal.SIGUSR1, let_go):
                ready(url_of(options, listening))
                with looked_after(store):
                    running.server.run(sockets=[listening])
                if faults is not None:
                    faults.leave()  # or the background would wait for copies that are held
                unfinished = running.background.is_busy or store.volumes.unfinished_snapshots()
                if waiting is not None and unfinished and stopping.left_s() > 0:
                    waiting(stopping.left_s())
                running.background.wait(stopping.left_s())
                return finish(store, stopping, faults)
        finally:
            running.close()


def finish(store: Store, stopping: Stopping, faults: SnapshotFaults | None = None) -> Sequence[str]:
    """Wait for the snapshots that are being copied, and close the store.

    Args:
        store: The store.
        stopping: How long that may take.
        faults: What holds some of them; those are not waited for.

    Returns:
        The snapshots that stay pending.
    """
    if faults is not None:
        faults.leave()
    pause = threading.Event()
    while (left := store.volumes.unfinished_snapshots()) and stopping.left_s() > 0:
        pause.wait(POLL_S)
    store.close(wait=False)
    held: frozenset[str] = frozenset() if faults is None else faults.held
    return sorted({*left, *held})
