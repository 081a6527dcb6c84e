"""Time, as an argument.

Nothing in ebsim asks the operating system for the time except `SystemClock`. No decision about
safety uses the time at all: the order of commits decides (invariant I-9 in docs/format.md).
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the current time."""

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch, UTC."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


def format_time(time_us: int) -> str:
    """Return an ISO 8601 time in UTC with milliseconds and `Z`, as EC2 writes it."""
    moment = datetime.fromtimestamp(time_us / 1_000_000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
