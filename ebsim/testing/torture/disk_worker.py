"""A child process that acts a story of disks out, or compares stores with such a story.

It reads tasks from its standard input, one JSON object a line, and answers each with lines of JSON:

- `act`: `{"done": N, "mark": M, "ids": {...}}` after each line of the story, with the length of the
  disk's log, and at the end `{"ended": S}`, the number of steps it took. It may be told to have the
  file system shut down, and to kill itself, before a step; or to leave out syncs.
- `fail`: as `act`, on a disk that fails; see `sync_faults`.
- `furnish` and `fill`: see `space_faults`.
- `check`: `{"problem": TEXT}`, empty if all is well.
"""

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from unittest import mock

import lmdb

from ebsim.errors import EbsimError
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import File, Files, PosixFile, PosixFiles
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.forked_process import ForkedProcess
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.torture.disk_story import DiskActor, check_disk_story, disk_story
from ebsim.testing.torture.recorded_disk import log_position
from ebsim.testing.torture.space_faults import Fill, Furnish, run_fill, run_furnish
from ebsim.testing.torture.sync_faults import Fail, act_and_fail
from ebsim.testing.volume_story import Ids

T = TypeVar("T")

_GOING_DOWN = 0x8004587D
"""XFS_IOC_GOINGDOWN, which ext4 knows too (include/uapi/linux/ext4.h, EXT4_IOC_SHUTDOWN)."""

_NO_LOG_FLUSH = 2
"""Nothing that is in memory is written any more, as when the power fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A story to act out.

    Attributes:
        store: The store, which is made.
        seed: Which story.
        log: The log of the disk; empty: there is none.
        shut_down_at: Before which step, from 1, the file system is shut down; 0: never. A step is
            a call to a file, or a transaction of the catalog.
        without: What is not synced: `segments`, `catalog` or nothing.
    """

    store: str
    seed: int
    log: str = ""
    shut_down_at: int = 0
    without: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A store to compare with its story.

    Attributes:
        store: The store.
        seed: Which story.
        done: How many lines were acknowledged.
        ids: The ids of volumes and snapshots by their names.
        boot_id: Which boot of the machine this is.
    """

    store: str
    seed: int
    done: int
    ids: Ids
    boot_id: str = "boot 2"


class DiskWorker:
    """The child, seen from its parent. Use it as a context manager; it is killed at the end."""

    def __init__(self) -> None:
        self._child = ForkedProcess(main, patience_s=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self._child.close()

    def wait(self) -> int:
        """Wait for its end, and return how it ended: a signal's number, negative, or its own."""
        return self._child.wait()

    def answers(self, task: object) -> Iterator[dict[str, Any]]:
        """Send a task, and yield all answers up to the last, or to the death of the child."""
        kind = type(task).__name__.lower()
        with suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps({"kind": kind} | _plain(task)) + "\n")
        for text in self._child.stdout:
            answer = json.loads(text)
            yield answer
            if "ended" in answer or "problem" in answer:
                return

    def problem(self, check: Check) -> str:
        """Return what is wrong with a store, or nothing; the child lives on."""
        for answer in self.answers(check):
            return str(answer["problem"])
        number = self._child.wait()
        raise ChildDiedError(f"the process that opened the store ended with {number}")


class ChildDiedError(Exception):
    """The child died where it should not."""


def _plain(task: object) -> dict[str, Any]:
    return asdict(task)  # type: ignore[call-overload, no-any-return]


class _Steps:
    """Counts steps, and shuts the file system down before one of them."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder = folder
        self._last = last
        self.count = 0

    def step(self) -> None:
        """Count a step."""
        self.count += 1
        if self.count == self._last:
            shut_down(self._folder)
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), 2
            )  # other threads may complain before the end
            os.kill(os.getpid(), signal.SIGKILL)

    def observe(self, _method: str, _path: Path) -> None:
        """Count a call to a file."""
        self.step()


def shut_down(folder: Path) -> None:
    """Have the file system of a folder write nothing any more, until it is mounted again.

    Raises:
        OSError: It cannot; btrfs for one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        argument = ctypes.create_string_buffer(struct.pack("=I", _NO_LOG_FLUSH))
        if libc.ioctl(fd, ctypes.c_ulong(_GOING_DOWN), argument) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(fd)


class _UnsyncedFile(PosixFile):
    def sync(self) -> None:
        """Do nothing: what a sync is good for is seen when it is left out."""


class _UnsyncedFiles(PosixFiles):
    """Files whose segments are not synced."""

    def create(self, path: Path) -> File:
        """Create a file."""
        if path.suffix != ".seg":
            return super().create(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _UnsyncedFile(os.open(path, flags, 0o600))


@contextmanager
def stepped_commits(before: Callable[[], object]) -> Iterator[None]:
    """Have something called before each commit of a catalog, within its transaction."""
    update_once = LmdbCatalog._update_once

    def update(catalog: LmdbCatalog, change: Callable[[CatalogWriter], T]) -> T:
        def then(writer: CatalogWriter) -> T:
            result = change(writer)
            before()
            return result

        return update_once(catalog, then)

    with mock.patch.object(LmdbCatalog, "_update_once", update):
        yield


@contextmanager
def unsynced_catalog() -> Iterator[None]:
    """Have catalogs not sync their commits."""
    real = lmdb.open

    def unsynced(*args: Any, **options: Any) -> lmdb.Environment:  # noqa: ANN401 - as lmdb.open
        return real(*args, **(options | {"sync": False}))

    with mock.patch.object(lmdb, "open", unsynced):
        yield


def _act(task: Act) -> None:
    path = Path(task.store)
    steps = _Steps(path.parent, task.shut_down_at)
    real: Files = _UnsyncedFiles() if task.without == "segments" else PosixFiles()
    with ExitStack() as stack:
        stack.enter_context(stepped_commits(steps.step))
        if task.without == "catalog":
            stack.enter_context(unsynced_catalog())
        actor = DiskActor(path, ObservedFiles(real, steps.observe), "boot 1")
        for done, line in enumerate(disk_story(task.seed), 1):
            actor.act(line)
            mark = log_position(Path(task.log)) if task.log else 0
            _tell({"done": done, "mark": mark, "ids": actor.ids})
        _tell({"ended": steps.count})
        if task.shut_down_at:
            shut_down(path.parent)
        os.kill(os.getpid(), signal.SIGKILL)  # as it is, with a snapshot pending


def _check(task: Check) -> None:
    problem = ""
    try:
        check_disk_story(Path(task.store), disk_story(task.seed), task.done, task.ids, task.boot_id)
    except (AssertionError, EbsimError) as error:
        problem = f"{type(error).__name__}: {error}"
    _tell({"problem": problem})


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do what each line of the standard input says; no interrupt of the terminal comes here."""
    os.setsid()
    for text in sys.stdin:
        task = json.loads(text)
        match task.pop("kind"):
            case "act":
                _act(Act(**task))
            case "fail":
                act_and_fail(Fail(**task), _tell)
            case "furnish":
                run_furnish(Furnish(**task), _tell)
            case "fill":
                run_fill(Fill(**task), _tell)
            case _:
                _check(Check(**task))
