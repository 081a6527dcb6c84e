"""The process that serves keeps what it frees, where the C library can do that."""

import platform

from ebsim.server.memory import keep_freed_memory


def test_freed_memory_is_kept_with_glibc() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
