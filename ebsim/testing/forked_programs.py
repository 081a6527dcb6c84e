"""Programs written in Python that a shell starts in milliseconds: a server runs them by forking.

A new interpreter takes a fifth of a second to import what a command of ebsim needs. A
`ProgramServer` imports it once. A *client* (`ebsim.testing.forked_client`) is the program that is
started: it hands its standard streams, arguments, folder, environment and umask to the server,
waits, and ends with the same exit status. What runs is `python -m PROGRAM` in a process of its own,
from its first line to its last; only the imports are done before.

The process is no child of the client: it is not in its process group, and has not its limits and
signals. A test that sends signals starts a real interpreter.
"""

import atexit
import gc
import importlib
import io
import marshal
import os
import pkgutil
import runpy
import shlex
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, Self

from ebsim.testing import forked_client
from ebsim.testing.forked_process import ForkedProcess

_STREAMS = 3


class ProgramServer:
    """A process that runs programs by forking, until it is closed.

    Args:
        path: Where its socket is made; short, as all names of sockets.
        preload: The modules and packages that it imports, packages with all that is in them.
    """

    def __init__(self, path: Path, preload: Sequence[str]) -> None:
        self._path = path
        self._process = ForkedProcess(_serve, str(path), tuple(preload), patience_s=None)
        assert self._process.stdout.readline() == "ready\n", "the server did not start"

    def command(self, program: str) -> list[str]:
        """Return what to start instead of `python -m PROGRAM`."""
        script = forked_client.__file__
        return [sys.executable, "-I", "-S", script, str(self._path), program]

    def write_command(self, program: str, target: Path) -> None:
        """Write a shell script that runs a program with its arguments."""
        target.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(program))} "$@"\n')
        target.chmod(0o755)

    def close(self) -> None:
        """End the server; commands that run go on."""
        self._process.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


# In the server


def _serve(path: str, preload: Sequence[str]) -> None:
    for name in preload:
        _import_all(importlib.import_module(name))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(connection)
            connection.close()


def _import_all(module: ModuleType) -> None:
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}."):
        if not found.name.endswith("__main__"):
            _import_all(importlib.import_module(found.name))


# In the process that runs a program


def _answer(connection: socket.socket) -> NoReturn:
    """Become the process that a client asks for, and tell it how that ended."""
    code = 70
    try:
        message, streams, _, _ = socket.recv_fds(connection, forked_client.LENGTH_SIZE, _STREAMS)
        with connection.makefile("rb") as reader:
            request = marshal.loads(reader.read(int.from_bytes(message, "little")))  # noqa: S302
        _become(streams, *request)
        code = _run(*request[:2])
    except BaseException:  # noqa: BLE001 - whatever happens, this process ends here
        traceback.print_exc()
    finally:
        with connection:
            connection.sendall(bytes([code]))
        os._exit(code)


def _become(
    streams: Sequence[int],
    program: str,
    arguments: Sequence[str],
    folder: str,
    umask: int,
    variables: dict[bytes, bytes],
) -> None:
    """Take over all that a process has from the one that started it."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.umask(umask)
    os.environb.clear()
    os.environb.update(variables)
    time.tzset()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = _stream(0, "strict")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace")  # type: ignore[misc]
    sys.argv = [program, *arguments]
    paths = os.fsdecode(variables.get(b"PYTHONPATH", b"")).split(os.pathsep)
    sys.path[:0] = [each for each in paths if each and each not in sys.path]


def _stream(number: int, errors: str) -> io.TextIOWrapper:
    """Return a standard stream as an interpreter in a UTF-8 locale makes it."""
    by_line = number == 2 or os.isatty(number)
    raw: Any = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffered = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, "utf-8", errors, line_buffering=by_line)


def _run(program: str, arguments: Sequence[str]) -> int:
    """Run a program as `python -m` does, to the end of its interpreter; return its exit status."""
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = _status(ended.code)
    except BaseException:  # noqa: BLE001 - as at the outermost level of an interpreter
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120  # what an interpreter ends with
    return code


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - as an interpreter does
    return 1
