"""Child processes that take milliseconds to start: they are forked from a server of processes.

A new interpreter takes a quarter of a second to import what a store needs. The standard library's
fork server imports it once (`ebsim.testing.fork_preload`), and each child is a copy of it. It opens
no store and starts no thread, since neither survives a fork. A child has an input, an output, an
exit status and random bytes of its own. Its environment, limits and standard error are those that
this process had when it started its first child.

A child can be watched by strace from its first step on, so none of the imports is in the trace.
"""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import IO, Any, Self

PATIENCE_S = 240
"""Far more than any task takes, also on a busy machine."""

_PR_SET_PTRACER = 0x59616D61
_ANY = -1


@cache
def fork_server() -> ForkServerContext:
    """Return what starts processes by forking; the server begins with the first one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ebsim.testing.fork_preload"])
    return context


class ForkedProcess:
    """A running child. As a context manager it leaves no process behind.

    Args:
        main: What it does: a function of a module that it can import.
        arguments: What the function is called with.
        strace: Options of strace, which watches it; empty: nobody does.
        patience_s: After so many seconds it hangs, and is killed; None: it may take any time.

    Attributes:
        stdin: Writes to its standard input, line by line.
        stdout: Reads its standard output.

    Raises:
        OSError: strace cannot watch it.
    """

    def __init__(
        self,
        main: Callable[..., object],
        *arguments: object,
        strace: Sequence[str] = (),
        patience_s: float | None = PATIENCE_S,
    ) -> None:
        incoming, to_child = os.pipe()
        from_child, outgoing = os.pipe()
        self.stdin: IO[str] = open(to_child, "w", buffering=1)  # noqa: SIM115 - closed by `close`
        self.stdout: IO[str] = open(from_child)  # noqa: SIM115
        self._strace: subprocess.Popen[str] | None = None
        self._watchdog: threading.Timer | None = None
        with Connection(incoming, writable=False) as read, Connection(outgoing) as write:
            self._process = fork_server().Process(
                target=_live, args=(read, write, bool(strace), main, arguments), daemon=True
            )
            self._process.start()
        if patience_s is not None:
            self._watchdog = threading.Timer(patience_s, self._process.kill)
            self._watchdog.daemon = True
            self._watchdog.start()
        if strace:
            self._attach(strace)

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """Send it SIGKILL and wait until it is gone."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait until it is gone; return its exit status, or minus the signal that ended it."""
        self._process.join()
        if self._strace is not None:
            self._strace.communicate()  # now the trace is whole
            self._strace = None
        assert self._process.exitcode is not None
        return self._process.exitcode

    def close(self) -> None:
        """Kill it, and close all that leads to it."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self.kill()
        self._process.close()
        for stream in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _attach(self, options: Sequence[str]) -> None:
        """Have strace watch it once it is ready, and then let it begin."""
        self.stdout.readline()
        command = ["strace", *options, "-p", str(self.pid)]
        self._strace = subprocess.Popen(  # noqa: S603 - options of our own
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._strace.stderr is not None
        told = self._strace.stderr.readline()
        if "attached" not in told:
            self.close()
            raise OSError(f"strace cannot watch a process: {told}")
        self.stdin.write("\n")


def start_script(script: str, *arguments: str, strace: Sequence[str] = ()) -> ForkedProcess:
    """Start a child that runs a Python script, as `python -c` does.

    Args:
        script: What it runs.
        arguments: What it finds in `sys.argv`.
        strace: Options of strace, which watches it.
    """
    return ForkedProcess(_run_script, script, arguments, strace=strace)


def run_script(script: str, *arguments: str, strace: Sequence[str] = ()) -> tuple[int, str]:
    """Run a script to its end, as `start_script` starts it.

    Returns:
        Its exit status, or minus the signal that ended it; and what it wrote to its output.
    """
    with start_script(script, *arguments, strace=strace) as child:
        told = child.stdout.read()
        return child.wait(), told


# In the child


def _live(
    incoming: Connection,
    outgoing: Connection,
    waits: bool,
    main: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    for number, connection in enumerate((incoming, outgoing)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as it lives
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if waits:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
        os.write(1, b"\n")  # what came before is not to be in the trace
        sys.stdin.readline()
    main(*arguments)


def _run_script(script: str, arguments: Sequence[str]) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102 - of a test
