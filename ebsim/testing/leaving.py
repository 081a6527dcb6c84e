"""Closing a store whose snapshots stay pending, at a moment that no clock decides."""

import threading

from ebsim.engine import Store

_POLL_S = 0.001


def close_leaving(store: Store, gate: threading.Event) -> None:
    """Close a store and leave the snapshots of volumes that wait at a gate to the next opener.

    The gate opens once all of them are told to stay pending, and no sooner: one that went on before
    would be completed.

    Args:
        store: The store, open.
        gate: What its snapshots wait for before they are copied; it is open in the end.
    """
    queue, over = store._volumes_held().snapshots, threading.Event()

    def open_gate() -> None:
        while not over.wait(_POLL_S):
            with queue._changed:
                if all(job.stopped for job in queue._all_jobs()):
                    break
        gate.set()

    opener = threading.Thread(target=open_gate, name="gate", daemon=True)
    opener.start()
    try:
        store.close(wait=False)
    finally:
        over.set()
        opener.join()
