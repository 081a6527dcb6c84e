"""Memory of a process that serves blocks: what is freed is kept for the next block.

The C library gives large pieces back to the kernel when they are freed, and has them cleared and
mapped anew, page by page, when the next block comes: that costs more than receiving the block
(measured: 380 of 520 microseconds). What is kept is bounded.
"""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # of glibc's malloc.h
_MIB = 1024 * 1024

KEPT_BYTES = 128 * _MIB
"""Freed memory that the process keeps at most, in each of its arenas."""

_TUNING = {
    _MMAP_THRESHOLD: 32 * _MIB,  # the most that glibc takes
    _TRIM_THRESHOLD: KEPT_BYTES,
    _TOP_PAD: 16 * _MIB,
    _ARENA_MAX: 4,
}


def keep_freed_memory() -> bool:
    """Have freed memory be kept by this process; return whether its C library can do that."""
    import ctypes  # only where something is served

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    taken = [mallopt(name, value) for name, value in _TUNING.items()]
    return all(taken)
