"""How long an operation waits for a volume that another process has open."""

from collections.abc import Callable
from dataclasses import dataclass


def _tell_nobody(_message: str) -> None:
    pass


def _go_on() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for another process, and who is told.

    Time is counted in the pauses that are made, so no clock can make it longer or shorter; and it
    bounds the waiting only: whoever waits, or gives up, changes nothing.

    Attributes:
        seconds: How long one operation waits before it is refused (`Unavailable`).
        waiting_max: How many threads of this process may wait at once; more are refused at once.
            0: no bound.
        told: Called with a sentence once something was waited for as long as `told_after_s`.
        told_after_s: How long that is.
        ensure_worthwhile: Called each time that so long was waited; what it raises ends the
            waiting.
    """

    seconds: float = 10.0
    waiting_max: int = 0
    told: Callable[[str], object] = _tell_nobody
    told_after_s: float = 2.0
    ensure_worthwhile: Callable[[], object] = _go_on
