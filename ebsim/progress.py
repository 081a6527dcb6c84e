"""How a long operation tells what it is doing. The engine calls; a front end draws."""

from typing import Protocol


class Progress(Protocol):
    """A listener for one operation at a time. `advance` may be called from several threads."""

    def start(self, label: str, total_bytes: int) -> None:
        """A phase begins that will handle `total_bytes`."""
        ...

    def advance(self, done_bytes: int) -> None:
        """A further `done_bytes` were handled."""
        ...

    def finish(self) -> None:
        """The phase is over, well or not."""
        ...

    def note(self, message: str) -> None:
        """Tell the user one sentence that needs no action, such as what is waited for."""
        ...


class SilentProgress:
    """A listener that ignores everything."""

    def start(self, label: str, total_bytes: int) -> None:
        """Ignore."""

    def advance(self, done_bytes: int) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""
