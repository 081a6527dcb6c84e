"""The load: requests that were signed before, sent over several connections that stay open.

Run as `python -m benchmarks.endpoint_load JOB`; prints JSON. One process and one thread, which
wait for all connections at once: each has one request under way. It must be much cheaper than what
it measures, so that it makes nothing while it measures: heads are read from the job, bodies to be
sent lie in a file that is mapped, and of a response only the head is looked at; the kernel throws
the body away (MSG_TRUNC) instead of copying it. Whether bodies are right is proved elsewhere.
"""

import json
import mmap
import re
import resource
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAD_READ = 1024
DISCARD = 1 << 20
WAIT_S = 30
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class LoadError(Exception):
    """A response that is none, or no success."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was found.

    Attributes:
        requests: Responses that came as a whole.
        seconds: From the first request to the last response.
        cpu_seconds: What this process itself used of the processor meanwhile.
        body_bytes: Bytes of the responses' bodies.
        median_ms: The median time from the first byte of a request to the last of its response.
        slow_ms: The time within which 99 % of the responses came.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    body_bytes: int
    median_ms: float
    slow_ms: float


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, and the request that is under way on it."""

    address: tuple[str, int]
    opened: socket.socket | None = None
    to_send: list[memoryview] = field(default_factory=list)
    head: bytes = b""
    left: int = -1
    begun: float = 0.0
    closes: bool = False

    def open(self) -> socket.socket:
        """Return the socket, connected."""
        if self.opened is None:
            made = socket.create_connection(self.address, WAIT_S)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
            self.opened = made
        return self.opened

    def close(self) -> None:
        """Close the socket."""
        if self.opened is not None:
            self.opened.close()
            self.opened = None


class Generator:
    """Sends requests until they are sent, or time is over.

    Args:
        job: As `benchmarks.endpoint_requests.write_job` writes it.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._heads = [bytes.fromhex(each) for each in job["heads"]]
        self._bodies: list[tuple[int, int]] = [tuple(each) for each in job["bodies"]]
        self._seconds = float(job["seconds"])
        self._once = bool(job["once"])
        self._data = _mapped(job["data"])
        self._connections = [
            Connection((job["host"], job["port"])) for _ in range(job["connections"])
        ]
        self._poll = select.epoll()
        self._by_number: dict[int, Connection] = {}
        self._next = 0
        self._received = 0
        self._times: list[float] = []
        self._scratch = bytearray(DISCARD)

    def run(self) -> Load:
        """Send the load."""
        cpu, begin = _cpu_seconds(), time.perf_counter()
        self._end = begin + self._seconds
        under_way = sum(self._begin(each) for each in self._connections)
        while under_way:
            ready = self._poll.poll(WAIT_S)
            if not ready:
                raise LoadError(f"no response for {WAIT_S} s")
            for number, events in ready:
                connection = self._by_number[number]
                if events & select.EPOLLOUT:
                    self._send(connection)
                elif self._receive(connection) and not self._begin(connection):
                    under_way -= 1
        seconds = time.perf_counter() - begin
        times = sorted(self._times)
        return Load(
            requests=len(times),
            seconds=seconds,
            cpu_seconds=_cpu_seconds() - cpu,
            body_bytes=self._received,
            median_ms=times[len(times) // 2] * 1000,
            slow_ms=times[len(times) * 99 // 100] * 1000,
        )

    def _begin(self, connection: Connection) -> bool:
        """Send the next request; return False if there is none any more."""
        count = len(self._heads)
        now = time.perf_counter()
        if (self._once and self._next >= count) or now >= self._end:
            self._forget(connection)
            return False
        at = self._next % count
        self._next += 1
        if connection.opened is None:
            number = connection.open().fileno()
            self._by_number[number] = connection
            self._poll.register(number, select.EPOLLIN)
        offset, size = self._bodies[at]
        connection.to_send = [memoryview(self._heads[at])]
        if size:
            connection.to_send.append(self._data[offset : offset + size])
        connection.head, connection.left, connection.begun = b"", -1, now
        self._send(connection)
        return True

    def _send(self, connection: Connection) -> None:
        found = connection.open()
        waiting = len(connection.to_send) > 0
        try:
            while connection.to_send:
                sent = found.sendmsg(connection.to_send)
                while connection.to_send and sent >= len(connection.to_send[0]):
                    sent -= len(connection.to_send.pop(0))
                if sent:
                    connection.to_send[0] = connection.to_send[0][sent:]
        except BlockingIOError:
            self._poll.modify(found.fileno(), select.EPOLLOUT)
            return
        if waiting:
            self._poll.modify(found.fileno(), select.EPOLLIN)

    def _receive(self, connection: Connection) -> bool:
        """Take what came; return whether the response is there as a whole."""
        found = connection.open()
        try:
            if connection.left < 0 and not self._read_head(connection, found):
                return False
            while connection.left > 0:
                wanted = min(connection.left, DISCARD)
                got = found.recv_into(self._scratch, wanted, socket.MSG_TRUNC)
                if got == 0:
                    raise LoadError("a response broke off")
                connection.left -= got
        except BlockingIOError:
            return False
        self._times.append(time.perf_counter() - connection.begun)
        if connection.closes:
            self._forget(connection)
        return True

    def _read_head(self, connection: Connection, found: socket.socket) -> bool:
        part = found.recv(HEAD_READ)
        if not part:
            raise LoadError("a connection was closed before its response")
        connection.head += part
        head, end, body = connection.head.partition(b"\r\n\r\n")
        if not end:
            return False
        if head[9:10] != b"2":
            raise LoadError(f"{head!r} {body!r}")
        length = _LENGTH.search(head)
        if length is None:
            raise LoadError(f"a response without a length: {head!r}")
        connection.left = int(length[1]) - len(body)
        connection.closes = head.startswith(b"HTTP/1.0") or b"close" in head.lower()
        self._received += int(length[1])
        return True

    def _forget(self, connection: Connection) -> None:
        if connection.opened is not None:
            number = connection.opened.fileno()
            self._poll.unregister(number)
            del self._by_number[number]
            connection.close()


def _mapped(path: str | None) -> memoryview:
    """Return the bytes of a file, which are read before the time is taken."""
    if path is None:
        return memoryview(b"")
    with Path(path).open("rb") as file:
        mapped = mmap.mmap(
            file.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ
        )
    return memoryview(mapped)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(asdict(Generator(json.loads(Path(sys.argv[1]).read_text())).run())))
