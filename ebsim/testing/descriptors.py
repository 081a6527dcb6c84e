"""Whether anything that was opened is still open."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Return a context at whose end as many descriptors are open as at its beginning.

    No garbage is collected meanwhile: with that of tests before, some of theirs would be closed.

    Raises:
        AssertionError: There are more, or fewer.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        before = _open_descriptors()
        yield
        assert _open_descriptors() == before
    finally:
        if collects:
            gc.enable()


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
