"""Looks, while a server runs, after what other processes leave to whoever has the store open.

A command that is stopped while it copies a snapshot, or that leaves one pending, is followed by the
next one that opens the store; a server has it open all the time.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.patience import Patience
from ebsim.server.limits import Limits

_LOG = logging.getLogger("ebsim.server")

LOOK_S = 1.0
"""How often is looked after snapshots that were left pending."""

LOOKS_AT_ALL = 60
"""Every so many looks go through everything: deletions and loading, too."""


def patience_of(limits: Limits) -> Patience:
    """Return how long requests wait for a volume that another process has open.

    Half of those that are carried out at once may; so the others never wait for them.
    """
    return Patience(waiting_max=max(1, limits.requests // 2))


@contextmanager
def looked_after(store: Store, look_s: float | None = None) -> Iterator[None]:
    """Return a context in which the server goes on with what other processes leave.

    Args:
        store: What it serves.
        look_s: How often it looks; None: `LOOK_S`.
    """
    stopped = threading.Event()
    pause_s = LOOK_S if look_s is None else look_s

    def look() -> None:
        looks = 0
        while not stopped.wait(pause_s):
            looks += 1
            try:
                store.volumes.resume(everything=looks % LOOKS_AT_ALL == 0)
            except (EbsimError, OSError) as error:
                _LOG.warning("could not go on with what another process left: %s", error)

    thread = threading.Thread(target=look, name="ebsim-caretaker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
