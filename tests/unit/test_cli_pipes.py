"""A command that waits for a volume which its own pipe has is refused: it would wait in vain."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pytest

from ebsim.cli import pipes
from ebsim.engine import Store
from ebsim.errors import ConflictError, ErrorCode
from ebsim.patience import Patience
from ebsim.requests import VolumeRequest
from ebsim.testing.memory_store import MemoryStore

HOLDS = "import sys; file = open(sys.argv[1]); print(end='x', flush=True); sys.stdin.read()"
"""Has a file open, and says so in one byte."""


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(
    processes: ExitStack, *command: str, stdin: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process, between two pipes."""
    process = subprocess.Popen(command, stdin=stdin or subprocess.PIPE, stdout=subprocess.PIPE)
    processes.callback(process.wait)
    processes.callback(process.kill)
    assert process.stdout is not None
    processes.callback(process.stdout.close)
    if process.stdin is not None:
        processes.callback(process.stdin.close)
    return process


def holder(processes: ExitStack, file: Path) -> "subprocess.Popen[bytes]":
    return started(processes, sys.executable, "-I", "-S", "-c", HOLDS, str(file))


def test_who_is_at_the_other_end_of_a_pipe_is_found(fast_path: Path, processes: ExitStack) -> None:
    """In both directions, and through another process."""
    held, other = fast_path / "held", fast_path / "other"
    held.touch()
    other.touch()
    process = holder(processes, held)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(1) == b"x"
    behind = started(processes, "cat", stdin=process.stdout.fileno())
    assert behind.stdout is not None

    def found(file: Path, stream: object, *, reading: bool) -> bool:
        return pipes.has_open(file, stream, reading=reading)  # type: ignore[arg-type]

    assert found(held, process.stdout, reading=True)
    assert found(held, process.stdin, reading=False)
    assert found(held, behind.stdout, reading=True)
    assert not found(other, behind.stdout, reading=True)
    assert not found(held, process.stdout, reading=False)
    assert not found(fast_path / "none", process.stdout, reading=True)
    assert not found(held, BytesIO(), reading=True)
    with held.open("rb") as file:
        assert not found(held, file, reading=True)
    near, far = os.pipe()
    with os.fdopen(near, "rb") as end, os.fdopen(far, "wb"):
        assert not found(held, end, reading=True)


@pytest.mark.parametrize("in_the_pipe", [True, False])
def test_command_whose_own_pipe_has_its_volume_is_refused(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_pipe: bool
) -> None:
    """At once, but for two seconds; where another process has it, it is waited for as ever."""
    disk = MemoryStore(fast_path)
    asked: list[tuple[str, bool]] = []

    def has_open(path: Path, stream: object, *, reading: bool) -> bool:
        asked.append((path.name, reading))
        return in_the_pipe

    monkeypatch.setattr(pipes, "has_open", has_open)
    with Store(disk.context()) as one, Store(disk.context()) as two:
        volume = one.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with one.volumes.open(volume):
            two.patience = Patience(seconds=0.1, told_after_s=0.04)
            with pytest.raises(ConflictError) as caught:
                pipes.open_beside_pipe(two, volume, BytesIO(), reading=True)
        expected = ErrorCode.VOLUME_IN_USE if in_the_pipe else ErrorCode.UNAVAILABLE
        assert caught.value.code is expected
        assert "pipe" in str(caught.value)
        assert asked == [(f"{volume}.data", True)] * (1 if in_the_pipe else 2)
        with pipes.open_beside_pipe(two, volume, BytesIO(), reading=True) as file:
            assert file.pwrite(b"x", 0) == 1
