"""Reading what may end the process: in a child, which hands on what it found until it died."""

import json
import os
import signal
from collections.abc import Callable, Iterator

from ebsim.core.dump_items import DumpItem
from ebsim.errors import EbsimError


def items_from_child(make: Callable[[], Iterator[DumpItem]]) -> Iterator[DumpItem]:
    """Yield the items that `make` yields in a child process; its death is the last of them.

    The child is a fork, so no thread of this process may hold a lock that `make` needs.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(make, reading, writing)
    os.close(writing)
    done = False
    try:
        with os.fdopen(reading, "rb") as pipe:
            for line in pipe:
                if line == b"\n":
                    done = True
                elif line.endswith(b"\n"):
                    yield json.loads(line)
    finally:
        if not done:
            os.kill(child, signal.SIGKILL)  # it has died, or nobody reads on
        _, status = os.waitpid(child, 0)
    if not done:
        how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an error"
        yield {"Kind": "catalog", "Damaged": f"the process that read it ended with {how}"}


def _be_child(make: Callable[[], Iterator[DumpItem]], reading: int, writing: int) -> None:
    """Write the items as lines, an empty one at the end, and leave the process."""
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            try:
                for item in make():
                    pipe.write(json.dumps(item).encode() + b"\n")
            except EbsimError as error:
                damage = {"Kind": "catalog", "Damaged": str(error)}
                pipe.write(json.dumps(damage).encode() + b"\n")
            pipe.write(b"\n")
    finally:
        os._exit(0)
