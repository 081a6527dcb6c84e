"""The guard: a small process that freezes a file system and thaws it, whatever happens to ebsim.

`ebsim.storage.freeze` runs this file as a program of its own, so it imports nothing of ebsim's. A
process that freezes a file system itself and is then killed leaves it frozen, with every writer on
the machine hanging. So the guard freezes, and thaws as soon as ebsim says so or is gone.

Conversation, over the guard's standard input and output:

    guard: READY            signals are ignored, everything is loaded
    ebsim: FREEZE
    guard: one byte, 0 or the errno of FIFREEZE; after an error the guard ends
    ebsim: closes the pipe, or dies
    guard: thaws, and ends with one of the statuses below

It watches the parent process besides the pipe, because a forked child of ebsim would inherit the
pipe's other end and keep it open. Killing both processes at once (as when the kernel kills a whole
control group for its memory) is the one thing that leaves the file system frozen.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import sys

READY = b"r"
FREEZE = b"f"

THAWED = 0
NOT_FROZEN = 10
"""The guard never froze the file system, so there was nothing to thaw."""
THAWED_BY_ANOTHER = 11
"""The guard froze it, but somebody else thawed it before the guard did."""
THAW_FAILED = 12

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def main(arguments: list[str]) -> int:
    """Guard one file system.

    Args:
        arguments: The descriptor of its mount point, then the ioctls that freeze and that thaw.

    Returns:
        The exit status.
    """
    mount_fd, freeze_request, thaw_request = (int(argument) for argument in arguments)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    with contextlib.suppress(OSError):  # kernels before 5.3: the pipe alone has to do
        poll.register(os.pidfd_open(os.getppid()), select.POLLIN)
    _reply(READY)
    if _next_command(poll) != FREEZE:
        return NOT_FROZEN
    refused = _try_ioctl(mount_fd, freeze_request)
    _reply(bytes([refused]))
    if refused:
        return NOT_FROZEN
    _next_command(poll)
    refused = _try_ioctl(mount_fd, thaw_request)
    if refused == errno.EINVAL:
        return THAWED_BY_ANOTHER
    return THAW_FAILED if refused else THAWED


def _next_command(poll: select.poll) -> bytes:
    """Wait for one byte; return nothing at the end of the pipe or of the parent."""
    ready = {fd for fd, _ in poll.poll()}
    return os.read(0, 1) if ready == {0} else b""


def _reply(message: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; the poll tells
        os.write(1, message)


def _try_ioctl(fd: int, request: int) -> int:
    """Return 0 or the errno."""
    try:
        fcntl.ioctl(fd, request, 0)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
