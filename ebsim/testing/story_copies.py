"""A volume that is copied in a thread while its story goes on."""

import threading
from collections.abc import Callable

from ebsim.engine import Store
from ebsim.progress import SilentProgress


class StoryCopy:
    """The copy of a volume, from its point in time to its end.

    Args:
        store: The store.
        volume_id: What is copied.
        gate: While it is cleared, no block is.
        pause: Called before each block; what it raises ends the copying.
    """

    def __init__(
        self, store: Store, volume_id: str, gate: threading.Event, pause: Callable[[], object]
    ) -> None:
        self._store = store
        self._volume_id = volume_id
        self._gate = gate
        self._steps = _Steps(gate, pause)
        self._begun = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ebsim-story-copy", daemon=True)
        self.copy_id = ""

    def begin(self) -> None:
        """Return as soon as the point in time is fixed; raise what the copying raised before."""
        self._thread.start()
        self._begun.wait()
        if not self.copy_id:
            self.end()

    def end(self) -> None:
        """Let it be copied, and wait until it is; raise what the copying raised."""
        self._gate.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._store.volumes.copy(self._volume_id, progress=self._steps, begun=self._tell)
        except BaseException as error:  # noqa: BLE001 - raised by `end`
            self._error = error
        finally:
            self._begun.set()

    def _tell(self, copy_id: str) -> None:
        self.copy_id = copy_id
        self._begun.set()


class _Steps(SilentProgress):
    """Waits before each block until the gate is open."""

    def __init__(self, gate: threading.Event, pause: Callable[[], object]) -> None:
        self._gate = gate
        self._pause = pause

    def advance(self, done_bytes: int) -> None:
        """Wait."""
        del done_bytes
        self._gate.wait()
        self._pause()
