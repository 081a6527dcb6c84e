"""One of several processes that use a store at random, from its start to its end or its death.

It knows from its log what the one before it in its place had done: how many operations, which
managed volume it has, and what that volume holds. It compares all that it reads at once.
"""

import faulthandler
import importlib
import logging
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ebsim.clock import Clock, SystemClock
from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import ConflictError, EbsimError, ErrorCode, LimitExceededError, NotFoundError
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.files import Files, PosixFiles
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.process_features import KEPT, PLACE_TAG, Features, sealed_disk
from ebsim.testing.torture.process_history import (
    BLOCKS,
    Contents,
    Log,
    Operation,
    account_of,
    describe,
    operations,
    parse_description,
)
from ebsim.testing.worker import Counted, Steps, disk_of_numbers
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile

PALETTE = 24
LIVE_MAX = 24
PATIENCE_S = 300
VIOLATION_STATUS = 3

_REFUSALS = {
    ErrorCode.INVALID_SNAPSHOT_NOT_FOUND,
    ErrorCode.INCORRECT_STATE,
    ErrorCode.VOLUME_IN_USE,
    ErrorCode.UNAVAILABLE,
    ErrorCode.PENDING_SNAPSHOT_LIMIT_EXCEEDED,
    ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED,
    ErrorCode.STORE_IN_USE,
}
"""What another process may be the cause of; nothing else may fail."""

_WEIGHTS = {
    "create": 16,
    "read": 16,
    "restore": 4,
    "list": 8,
    "delete": 10,
    "prune": 2,
    "compact": 3,
    "check": 1,
    "volume_create": 3,
    "volume_write": 18,
    "volume_flush": 4,
    "volume_snapshot": 8,
    "volume_wait": 5,
    "volume_read": 4,
    "volume_copy": 3,
    "volume_delete": 1,
    "copy": 8,
    "share": 5,
    "archive": 4,
    "unarchive": 4,
    "bin_restore": 6,
    "key_rotate": 2,
    "reopen": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeTask:
    """What a process is to do.

    Attributes:
        folder: Where the store and the logs are.
        place: Its place, from 0.
        life: The how manieth process in its place, from 0.
        seed: Decides what it does.
        operations: How many operations all processes in its place do in all.
        die_at_step: Die just before this step; None: it may be killed from outside.
        sabotage: `MODULE:FUNCTION` called first, which breaks something; empty: nothing.
    """

    folder: Path
    place: int
    life: int
    seed: str
    operations: int
    die_at_step: int | None = None
    sabotage: str = ""

    @property
    def log(self) -> Path:
        """The log of its place."""
        return self.folder / f"log{self.place}"

    @property
    def problem(self) -> Path:
        """Where it tells what is wrong."""
        return self.folder / f"problem{self.place}"


def live(task: LifeTask) -> None:
    """Use the store until enough is done; end with a status that says whether something is wrong.

    This is what the process runs.
    """
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    logging.getLogger("ebsim").addHandler(logging.NullHandler())  # what others are in the way of
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    try:
        if task.sabotage:
            module, _, name = task.sabotage.partition(":")
            getattr(importlib.import_module(module), name)()
        _Life(task).run()
    except Violation as violation:
        _end(task, str(violation), VIOLATION_STATUS)
    except BaseException:  # noqa: BLE001 - the parent tells it
        _end(task, traceback.format_exc(), 1)


def _end(task: LifeTask, text: str, status: int) -> None:
    task.problem.write_text(text)
    os._exit(status)


@dataclass(slots=True)
class _VolumeState:
    """A managed volume, and what it holds.

    Attributes:
        volume_id: Which it is.
        contents: Its blocks.
        unknown: A block, and a number which was being written to it: all of it, a part or nothing.
        doomed: It was being deleted: it may be gone.
    """

    volume_id: str
    contents: list[int]
    unknown: tuple[int, int] | None = None
    doomed: bool = False


class _Life(Features):
    """A process at work."""

    def __init__(self, task: LifeTask) -> None:
        self._task = task
        self._random = random.Random(f"{task.seed}/{task.place}/{task.life}")  # noqa: S311
        past = list(operations(Log.read(task.log)))
        self._count = len(past)
        self._volume = _volume_of(past)
        self._log = Log(task.log)
        self._file: VolumeFile | None = None
        self._seams = _seams(task)
        self._actions: Mapping[str, Callable[[], None]] = {
            name: getattr(self, f"_{name}") for name in _WEIGHTS if name != "reopen"
        }

    def run(self) -> None:
        """Do what is left to do."""
        while self._count < self._task.operations:
            with Store.open(self._task.folder / "store", self._seams) as store:
                self._store = store.as_account(account_of(self._task.place))
                self._adopt()
                while self._count < self._task.operations:
                    kind = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                    if kind == "reopen":
                        break
                    with suppress(_Refused):
                        self._actions[kind]()
                self._let_go()

    # What is done, written down

    def _do(
        self, kind: str, action: Callable[[], Mapping[str, Any] | None], **given: object
    ) -> Mapping[str, Any]:
        """Do something, and write down that it begins and how it ends."""
        name = f"{self._task.place}.{self._count}"
        self._count += 1
        self._log.append(phase="invoke", name=name, kind=kind, at=_now(), given=given)
        try:
            result = action() or {}
        except EbsimError as error:
            _ensure_refused(f"{name}: {kind} {given}", error)
            self._log.append(phase="fail", name=name, at=_now(), result={"code": error.code})
            raise _Refused from error
        except AssertionError as error:
            raise Violation(f"{name}: {kind} {given}: {error}") from error
        self._log.append(phase="ok", name=name, at=_now(), result=result)
        return result

    def _name(self) -> str:
        """Return the name of the operation that comes next."""
        return f"{self._task.place}.{self._count}"

    def _any_snapshot(self) -> Snapshot | None:
        shown = self._all_shown()
        return self._random.choice(shown) if shown else None

    def _tags(self) -> dict[str, str]:
        kept = dict([KEPT]) if self._random.random() < 0.5 else {}
        return {PLACE_TAG: f"{self._task.place}"} | kept

    # Snapshots

    def _create(self) -> None:
        contents = tuple(self._random.randrange(PALETTE) for _ in range(BLOCKS))
        description = describe(self._name(), contents)
        names = (f"memory:disk{self._task.place}", sealed_disk(self._task.place))
        disk = disk_of_numbers(self._random.choice(names), contents)
        options = SnapshotOptions(description=description, tags=self._tags())

        def create() -> Mapping[str, Any]:
            shown = self._store.create_snapshot(disk, options)
            assert shown.state is SnapshotState.COMPLETED, f"{shown}"
            return {"id": shown.snapshot_id}

        self._do("create", create, description=description)

    def _read(self) -> None:
        shown = self._any_snapshot()
        if shown is not None:
            self._do("read", lambda: self._look(shown, self._compare_blocks))

    def _restore(self) -> None:
        shown = self._any_snapshot()
        if shown is not None:
            self._do("restore", lambda: self._look(shown, self._compare_restored))

    def _look(self, shown: Snapshot, compare: Callable[[Snapshot], None]) -> Mapping[str, Any]:
        """Compare a snapshot with what it must hold; return what became of it meanwhile."""
        try:
            compare(shown)
        except NotFoundError:
            state = "missing"
        except ConflictError as error:
            if error.code is not ErrorCode.INCORRECT_STATE:
                raise
            state = "unready"
        else:
            state = "completed"
        return {"seen": {shown.snapshot_id: state}} if shown.owner == self._account else {}

    def _compare_blocks(self, shown: Snapshot) -> None:
        _, contents = parse_description(shown.description)
        for index, number in enumerate(contents):
            found = self._store.read_block(shown.snapshot_id, index)
            assert found == palette_block(number), f"{shown}: block {index} is not {number}"

    def _compare_restored(self, shown: Snapshot) -> None:
        _, contents = parse_description(shown.description)
        target = self._task.folder / f"restored{self._task.place}"
        self._store.restore_snapshot(shown.snapshot_id, target, force=True)
        assert target.stat().st_size == shown.size_bytes, f"{shown}: restored to another size"
        with target.open("rb") as file:
            for index, number in enumerate(contents):
                found = file.read(BLOCK_SIZE)
                assert found == palette_block(number), f"{shown}: block {index} is not {number}"
        target.unlink()

    def _list(self) -> None:
        self._do("list", self._list_all)

    def _list_all(self) -> Mapping[str, Any]:
        return {"seen": {each.snapshot_id: each.state for each in self._own()}}

    def _delete(self) -> None:
        shown = [each.snapshot_id for each in self._own()]
        if len(shown) > LIVE_MAX * self._random.random():
            chosen = self._random.sample(shown, min(len(shown), self._random.randrange(1, 4)))

            def delete() -> Mapping[str, Any]:
                report = self._store.delete_snapshots(chosen)
                return {"ids": [each.snapshot_id for each in report.deleted]}

            self._do("delete", delete, ids=chosen)

    def _prune(self) -> None:
        options = PruneOptions(keep_last=3, tags={PLACE_TAG: f"{self._task.place}"})

        def prune() -> Mapping[str, Any]:
            return {"ids": [each.snapshot_id for each in self._store.prune(options).pruned]}

        self._do("prune", prune, scope=f"{self._task.place}.")

    def _compact(self) -> None:
        def compact() -> None:
            self._store.compact()

        self._do("compact", compact)

    def _check(self) -> None:
        self._do("check", lambda: assert_healthy(self._store))

    # The managed volume

    def _adopt(self) -> None:
        """Find the volume of which is not known whether it was made, or deleted."""
        mine = {
            each.volume_id: each.tags["holds"]
            for each in self._store.volumes.list()
            if each.tags.get(PLACE_TAG) == f"{self._task.place}" and each.state == "available"
        }
        if self._volume is not None and self._volume.doomed:
            self._volume.doomed = False
            if self._volume.volume_id not in mine:
                self._volume = None
                return
        if self._volume is None:
            for volume_id, holds in mine.items():
                given = {"volume": volume_id, "holds": holds}
                self._do("volume_adopt", lambda: {"volume": volume_id}, **given)  # noqa: B023
                self._volume = _VolumeState(volume_id, list(parse_description(holds)[1]))

    def _volume_create(self) -> None:
        if self._volume is not None:
            return
        origin = self._any_snapshot() if self._random.random() < 0.5 else None
        contents = parse_description(origin.description)[1] if origin else (0,) * BLOCKS
        holds, key = describe(self._name(), contents), self._some_key()
        request = VolumeRequest(
            size_gib=1,
            snapshot_id=origin.snapshot_id if origin else None,
            tags={PLACE_TAG: f"{self._task.place}", "holds": holds},
            encrypted=True if key else None,
            kms_key_id=key,
        )

        def create() -> Mapping[str, Any]:
            return {"volume": self._store.volumes.create(request).volume_id}

        made = self._do("volume_create", create, holds=holds)
        self._volume = _VolumeState(made["volume"], list(contents))

    def _opened(self) -> tuple[VolumeFile, _VolumeState] | None:
        """Return the open volume, compared with what it must hold; None where there is none."""
        state = self._volume
        if state is None:
            return None
        if self._file is None:
            try:
                self._file = self._store.volumes.open(state.volume_id)
            except ConflictError as error:
                if error.code is not ErrorCode.UNAVAILABLE:
                    raise
                raise _Refused from error  # another process goes on with what a dead one left
            self._compare_volume()
        if state.unknown is not None:
            self._write_block(*state.unknown)
        return self._file, state

    def _compare_volume(self) -> None:
        assert self._file is not None
        assert self._volume is not None
        for index, number in enumerate(self._volume.contents):
            if self._volume.unknown is None or self._volume.unknown[0] != index:
                found = self._file.pread(BLOCK_SIZE, index * BLOCK_SIZE)
                if found != palette_block(number):
                    raise Violation(f"{self._volume}: block {index} is not {number}")

    def _write_block(self, index: int, number: int) -> None:
        assert self._file is not None
        assert self._volume is not None
        file = self._file

        def write() -> Mapping[str, Any]:
            if number:
                file.pwrite(palette_block(number), index * BLOCK_SIZE)
            else:
                file.discard(index * BLOCK_SIZE, BLOCK_SIZE)
            return {}

        given = {"volume": self._volume.volume_id, "block": index, "number": number}
        self._do("volume_write", write, **given)
        self._volume.contents[index] = number
        self._volume.unknown = None

    def _volume_write(self) -> None:
        if self._opened():
            number = self._random.choice((0, *range(1, PALETTE)))
            self._write_block(self._random.randrange(BLOCKS), number)

    def _volume_flush(self) -> None:
        opened = self._opened()
        if opened:
            self._do("volume_flush", opened[0].flush)

    def _volume_read(self) -> None:
        if self._opened():
            self._do("volume_read", self._compare_volume)

    def _volume_snapshot(self) -> None:
        opened = self._opened()
        if opened is None:
            return
        _, state = opened
        description = describe(self._name(), cast("Contents", tuple(state.contents)))
        options = SnapshotOptions(description=description, tags=self._tags())

        def create() -> Mapping[str, Any]:
            return {"id": self._store.create_snapshot(state.volume_id, options).snapshot_id}

        self._do("volume_snapshot", create, description=description)

    def _volume_wait(self) -> None:
        place = f"{self._task.place}"
        shown = [each for each in self._own() if each.tags.get(PLACE_TAG) == place]
        if shown:
            wanted = self._random.choice(shown).snapshot_id

            def wait() -> Mapping[str, Any]:
                found = self._store.wait_snapshots([wanted])
                return {"seen": {wanted: found[0].state if found else "missing"}}

            self._do("volume_wait", wait)

    def _volume_copy(self) -> None:
        """Copy the volume, write to it meanwhile, and look what the copy holds; then that goes.

        The copy is nobody's who comes after this process, so it is not written down.
        """
        opened = self._opened()
        if opened is None:
            return
        _, state = opened
        held = tuple(state.contents)

        def use(_copy: str) -> None:
            self._volume_write()
            if self._random.random() < 0.5:  # then it may be lent
                self._let_go()

        try:
            made = self._store.volumes.copy(state.volume_id, begun=use).volume_id
            with self._store.volumes.open(made) as file:
                for index, number in enumerate(held):
                    if file.pread(BLOCK_SIZE, index * BLOCK_SIZE) != palette_block(number):
                        raise Violation(f"block {index} of a copy of {state} is not {number}")
            self._store.volumes.delete(made)
        except EbsimError as error:
            _ensure_refused(f"copying {state}", error)
            raise _Refused from error

    def _volume_delete(self) -> None:
        state = self._volume
        if state is None or self._random.random() < 0.5:
            return
        self._let_go()
        given = {"volume": state.volume_id}

        def delete() -> None:
            self._store.volumes.delete(state.volume_id)

        self._do("volume_delete", delete, **given)
        self._volume = None

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Refused(Exception):  # noqa: N818 - it is no error
    """An operation was refused, for a cause that another process may be."""


def _seams(task: LifeTask) -> Seams:
    steps = Steps(task.die_at_step)
    return Seams(
        files=cast("Files", Counted(PosixFiles(), steps)),
        clock=cast("Clock", Counted(SystemClock(), steps)),
        entropy=cast("Entropy", Counted(SystemEntropy(), steps)),
    )


def _volume_of(past: list[Operation]) -> _VolumeState | None:
    """Return the volume that the processes before had, and what it holds."""
    state: _VolumeState | None = None
    for each in past:
        if each.failed:
            continue
        if each.kind in ("volume_create", "volume_adopt") and each.done:
            _, contents = parse_description(each.given["holds"])
            state = _VolumeState(each.result["volume"], list(contents))
        elif each.kind == "volume_write":
            assert state is not None, "there is a volume to write to"
            index, number = each.given["block"], each.given["number"]
            if each.done:
                state.contents[index], state.unknown = number, None
            else:
                state.unknown = (index, number)
        elif each.kind == "volume_delete" and state is not None:
            if each.done:
                state = None
            else:
                state.doomed = True
    return state


def _ensure_refused(what: str, error: EbsimError) -> None:
    """Look that something failed because of what others do.

    Raises:
        Violation: It did not.
    """
    refused = isinstance(error, (NotFoundError, ConflictError, LimitExceededError))
    if not refused or error.code not in _REFUSALS:
        raise Violation(f"{what} failed without a cause: {error.code}: {error}") from error


def _now() -> int:
    return time.monotonic_ns()
