"""Leaving work to a process of its own, which goes on when the command has ended."""

import os
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
        nowhere = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        return os.posix_spawn(
            sys.executable, command, os.environ, file_actions=nowhere, setsid=True
        )
