"""Who in this process is told of events, and how far each has been told.

Events are read back from the catalog after the commit that recorded them, so a subscriber is told
of each exactly once and in the order of commits, whichever thread made them; and of those of other
processes too, together with the next of this one. Nothing is locked while a subscriber is called:
it may use the store itself. What it raises is logged and goes no further.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from ebsim.results import Event

_log = logging.getLogger(__name__)

EventCallback = Callable[[Event], object]
ReadEvents = Callable[[int], Sequence[Event]]
"""Returns some of the events after a number, oldest first; none where there are no more."""


class _Subscriber:
    """A callback, and the number of the last event that it was told of."""

    def __init__(self, callback: EventCallback, after: int) -> None:
        self.callback = callback
        self.after = after

    def tell(self, event: Event) -> None:
        if event.number <= self.after:
            return
        self.after = event.number  # before the call: it may come back here
        try:
            self.callback(event)
        except Exception:  # noqa: BLE001 - whatever a caller's function raises
            _log.exception("a subscriber failed on event %d", event.number)


class Subscribers:
    """The subscribers of one open store. Safe for several threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._all: list[_Subscriber] = []
        self._wanted = False
        self._busy = False

    def add(self, callback: EventCallback, after: int) -> Callable[[], None]:
        """Have `callback` called with every event after a number; return what ends that."""
        subscriber = _Subscriber(callback, after)
        with self._mutex:
            self._all.append(subscriber)

        def remove() -> None:
            with self._mutex:
                if subscriber in self._all:
                    self._all.remove(subscriber)

        return remove

    def deliver(self, read: ReadEvents) -> None:
        """Tell everybody what is new. Raises nothing but what ends a process, such as Ctrl-C.

        Where another thread (or a caller further out on this one) is telling already, that one goes
        on with what is new, and this call returns at once.
        """
        with self._mutex:
            if not self._all:
                return
            self._wanted = True
            if self._busy:
                return
            self._busy = True
        while self._begin():
            try:
                self._deliver_once(read)
            except Exception:  # noqa: BLE001 - the operation has been committed
                _log.exception("events could not be read")
            except BaseException:
                with self._mutex:  # it is still ours: whoever comes next goes on
                    self._busy = False
                raise

    def _begin(self) -> bool:
        with self._mutex:
            self._busy, self._wanted = self._wanted, False
            return self._busy

    def _deliver_once(self, read: ReadEvents) -> None:
        while waiting := self._present():
            events = read(min(subscriber.after for subscriber in waiting))
            if not events:
                return
            for event in events:
                for subscriber in self._present():
                    subscriber.tell(event)

    def _present(self) -> list[_Subscriber]:
        with self._mutex:
            return list(self._all)
