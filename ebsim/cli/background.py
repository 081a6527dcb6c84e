"""Leaving work to a process of its own, which goes on when the command has ended."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Background(Protocol):
    """Starts commands of ebsim that nobody waits for; a test puts its own in."""

    def start(self, store: Path, arguments: Sequence[str]) -> int:
        """Start `ebsim ARGUMENTS` on a store and return its process id."""
        ...


class BackgroundProcesses:
    """Real processes, cut off from the terminal and from the command that started them."""

    def start(self, store: Path, arguments: Sequence[str]) -> int:
        """Start `ebsim ARGUMENTS` on a store and return its process id.

        Raises:
            OSError: It cannot be started.
        """
        command = [sys.executable, "-m", "ebsim", "--store", str(store.absolute()), *arguments]
        process = subprocess.Popen(  # noqa: S603 - ourselves, with ids that were checked
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return process.pid
