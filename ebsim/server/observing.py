"""What is told of requests: numbers for Prometheus, and a line for each in the access log.

Neither holds secrets. Of a request they know the method, the path without its query, in which
signatures and tokens may stand, and what was made out about it: the operation and the account. No
header and no body is looked at.
"""

import ipaddress
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.clock import Clock, SystemClock, format_time
from ebsim.storage.failures import write_failure

if TYPE_CHECKING:
    from prometheus_client import Metric

_LOG = logging.getLogger("ebsim.server")

METRICS_TYPE = "text/plain; version=0.0.4"
PATH_MAX = 300
CLIENT_MAX = 64
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper bounds of the histogram of durations, in seconds."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What became known of a request while it was answered; empty where it did not.

    Attributes:
        request_id: The id that the client was told.
        service: botocore's name.
        operation: As the model has it.
        account: Whose request it was, once the signature was proved.
        region: The Region of the signature.
        code: The error's code.
        client: The client's address.
        method: GET, PUT, ...
        path: Without the query.
        status: The HTTP status; 0: there was no answer, as the client had left.
        received_bytes: The body's size.
        sent_bytes: The size of the answer's body.
        duration_s: From the head to the answer's last byte.
    """

    request_id: str = ""
    service: str = ""
    operation: str = ""
    account: str = ""
    region: str = ""
    code: str = ""
    client: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    duration_s: float = 0.0


class Metrics:
    """Counts of a server's requests; to be used by its event loop alone.

    Attributes:
        at_work: Requests that are read or answered now.
        held_bytes: Bytes of bodies that are held now.
        connections: Tells how many connections there are.
    """

    def __init__(self) -> None:
        self.at_work = 0
        self.held_bytes = 0
        self.connections: Callable[[], int] = lambda: 0
        self._answers: dict[tuple[str, str, int, str], int] = {}
        self._durations: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self._bytes: dict[str, list[int]] = {}

    def note(self, seen: Seen) -> None:
        """Count a request that was answered."""
        answer = (seen.service, seen.operation, seen.status, seen.code)
        self._answers[answer] = self._answers.get(answer, 0) + 1
        counts, total = self._durations.setdefault(
            (seen.service, seen.operation), ([0] * (len(BUCKETS_S) + 1), [0.0])
        )
        place = 0
        while place < len(BUCKETS_S) and seen.duration_s > BUCKETS_S[place]:
            place += 1
        counts[place] += 1
        total[0] += seen.duration_s
        moved = self._bytes.setdefault(seen.service, [0, 0])
        moved[0] += seen.received_bytes
        moved[1] += seen.sent_bytes

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        from prometheus_client import CollectorRegistry  # seldom needed, and it takes 50 ms
        from prometheus_client.exposition import generate_latest
        from prometheus_client.process_collector import ProcessCollector

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Families(self))
        return generate_latest(registry)


class _Families:
    """Metrics as prometheus_client wants them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> "list[Metric]":
        """Return all families of metrics."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        metrics, called = self._metrics, ["service", "operation"]
        requests = CounterMetricFamily(
            "ebsim_requests", "Requests that were answered.", labels=[*called, "status", "code"]
        )
        for (service, operation, status, code), count in metrics._answers.items():
            requests.add_metric([service, operation, str(status), code], count)
        durations = HistogramMetricFamily(
            "ebsim_request_seconds", "From the head to the answer's last byte.", labels=called
        )
        for labels, (counts, total) in metrics._durations.items():
            added, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                added += count
                buckets.append((bound, added))
            durations.add_metric(list(labels), buckets, sum_value=total[0])
        received = CounterMetricFamily(
            "ebsim_received_bytes", "Bytes of requests' bodies.", labels=["service"]
        )
        sent = CounterMetricFamily(
            "ebsim_sent_bytes", "Bytes of answers' bodies.", labels=["service"]
        )
        for service, (came, went) in metrics._bytes.items():
            received.add_metric([service], came)
            sent.add_metric([service], went)
        now = [
            ("ebsim_requests_at_work", "Requests being read or answered.", metrics.at_work),
            ("ebsim_held_bytes", "Bytes of requests' bodies held.", metrics.held_bytes),
            ("ebsim_connections", "Connections of clients.", metrics.connections()),
        ]
        gauges = [GaugeMetricFamily(name, what, value=value) for name, what, value in now]
        return [requests, durations, received, sent, *gauges]


class AccessLog:
    """A line of JSON for each request, in a file that only its owner can read.

    Args:
        path: The file, which is added to; None: standard error.
        clock: The time of the lines.

    Raises:
        StoreError, LimitExceededError: The file cannot be opened.
    """

    def __init__(self, path: Path | None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._is_broken = False
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.dup(2) if path is None else os.open(path, flags, 0o600)
        except OSError as error:
            raise write_failure(error, path or Path("/dev/stderr")) from error

    def note(self, seen: Seen) -> None:
        """Write the line of a request. A file that cannot be written to is told of once."""
        line = {
            "time": format_time(self._clock.now_us()),
            "request_id": seen.request_id,
            "client": seen.client[:CLIENT_MAX],
            "method": seen.method,
            "path": seen.path[:PATH_MAX],
            "service": seen.service,
            "operation": seen.operation,
            "account": seen.account,
            "region": seen.region,
            "status": seen.status,
            "code": seen.code,
            "received_bytes": seen.received_bytes,
            "sent_bytes": seen.sent_bytes,
            "duration_ms": round(seen.duration_s * 1000, 3),
        }
        try:
            os.write(self._file, json.dumps(line).encode("ascii") + b"\n")
        except OSError as error:
            if not self._is_broken:
                _LOG.error("the access log cannot be written: %s", error)
            self._is_broken = True

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class MetricsFor(StrEnum):
    """Whose requests for metrics are answered; they are not signed."""

    LOOPBACK = "loopback"
    ANY = "any"
    NONE = "none"


@dataclass(slots=True, kw_only=True)
class Watch:
    """What is told of requests, and to whom.

    Attributes:
        metrics: The numbers.
        metrics_for: Who may read them.
        log: The access log; None: there is none.
    """

    metrics: Metrics = field(default_factory=Metrics)
    metrics_for: MetricsFor = MetricsFor.LOOPBACK
    log: AccessLog | None = None

    def note(self, seen: Seen) -> None:
        """Take note of a request that is over."""
        self.metrics.note(seen)
        if self.log is not None:
            self.log.note(seen)

    def may_read(self, client: str) -> bool:
        """Return whether the numbers are for this address."""
        if self.metrics_for is MetricsFor.LOOPBACK:
            try:
                return ipaddress.ip_address(client).is_loopback
            except ValueError:
                return False
        return self.metrics_for is MetricsFor.ANY
