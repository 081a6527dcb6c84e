"""A sync that fails because the disk does, in the process that runs this; see `failed_syncs`.

The disk fails for as long as one sync lasts, and is whole again afterwards. What the kernel then
says of the data is what it says after real failures: the next sync succeeds, reading shows what was
written, and after the file system is mounted anew it may be gone.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from ebsim.core.context import StoreContext
from ebsim.errors import EbsimError, StoreError
from ebsim.results import SnapshotState
from ebsim.storage import catalog_renewal, files
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import PosixFiles
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.sources import disk_of
from ebsim.testing.torture.disk_story import AGAIN, AGAIN_NUMBERS, DiskActor, disk_story
from ebsim.testing.torture.recorded_disk import Switch
from ebsim.testing.volume_story import Line, content
from ebsim.volumes import opening

T = TypeVar("T")

Tell = Callable[[dict[str, Any]], None]

MEASURES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "poison": lambda: mock.patch.object(
        StoreContext, "poison", property(lambda _self: "", lambda _self, _reason: None)
    ),
    "renewal": lambda: mock.patch.object(catalog_renewal, "renew_catalog", return_value=False),
    "forgetting": lambda: mock.patch.object(opening, "forget_cached"),
}
"""What ebsim does after a failed sync, by name, as contexts in which it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """A story to act out on a disk that fails once.

    Attributes:
        store: The store, which is made.
        seed: Which story.
        switch: What fails on the disk.
        sync: At which sync it fails, from 1.
        what: Which requests fail, as `Switch.fail` takes them.
        after_flushes: How many flushes go well before.
        without: What ebsim leaves out, to show that it is noticed; one of `MEASURES`, or nothing.
    """

    store: str
    seed: int
    switch: str
    sync: int
    what: int
    after_flushes: int
    without: str = ""


class FailingSync:
    """Counts syncs of files, of directories and of commits, and has the disk fail during one."""

    def __init__(self, switch: Switch, task: Fail) -> None:
        self._switch = switch
        self._task = task
        self._mutex = threading.Lock()
        self.count = 0

    @contextmanager
    def sync(self) -> Iterator[None]:
        """Return a context in which the disk fails, if this is the sync to fail."""
        with self._mutex:
            self.count += 1
            chosen = self.count == self._task.sync
        if chosen:
            self._switch.fail(self._task.what, self._task.after_flushes)
        try:
            yield
        finally:
            if chosen:
                self._switch.fail(0)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Return a context in which the store's syncs are counted."""
        with ExitStack() as stack:
            for name in ("sync_fd", "sync_directory"):
                counted = self._counted(getattr(files, name))
                stack.enter_context(mock.patch.object(files, name, counted))
            update_once = mock.patch.object(LmdbCatalog, "_update_once", self._update_once())
            stack.enter_context(update_once)
            yield

    def _counted(self, real: Callable[[T], None]) -> Callable[[T], None]:
        def call(what: T) -> None:
            with self.sync():
                real(what)

        return call

    def _update_once(self) -> Callable[[LmdbCatalog, Callable[[CatalogWriter], T]], T]:
        """Return the method that commits, in which only the commit itself is a sync."""
        real = LmdbCatalog._update_once

        def update(catalog: LmdbCatalog, change: Callable[[CatalogWriter], T]) -> T:
            with ExitStack() as stack:

                def then(writer: CatalogWriter) -> T:
                    result = change(writer)
                    stack.enter_context(self.sync())
                    return result

                return real(catalog, then)

        return update


def act_and_fail(task: Fail, tell: Tell) -> None:
    """Act the story out, fail, look that the store refuses, and use it again once it is reopened.

    Tells `done` and `ids` after each line, `problem` when a promise is broken, and `ended` last.
    """
    failing = FailingSync(Switch(Path(task.switch)), task)
    with ExitStack() as stack:
        stack.enter_context(failing.installed())
        if task.without:
            stack.enter_context(MEASURES[task.without]())
        try:
            actor = DiskActor(Path(task.store), PosixFiles(), "boot 1")
        except EbsimError as error:
            tell({"ended": failing.count, "failed": f"init: {error}"})
            return
        failed = _perform(actor, task, tell)
        segments = _segment_sizes(Path(task.store))
        with suppress(EbsimError):
            actor.close(wait=not failed)
        if failed:
            _use_again(actor, segments, task, tell)
        tell({"ended": failing.count, "failed": failed})


def _perform(actor: DiskActor, task: Fail, tell: Tell) -> str:
    """Act until a line fails; return how it did, or nothing."""
    for done, line in enumerate(disk_story(task.seed), 1):
        try:
            actor.act(line)
        except EbsimError as error:
            if isinstance(error, StoreError) and line[0] not in ("reopen", "key"):
                _ensure_refused(actor, str(error), tell)
            return f"{line[0]}: {error}"
        actor.done = done
        tell({"done": done, "ids": actor.ids})
    return ""


def _ensure_refused(actor: DiskActor, reason: str, tell: Tell) -> None:
    """Look that nothing is written by this handle any more, though the disk is whole again."""
    again = disk_of(content(9), name="memory:refused")
    tries: list[Callable[[], object]] = [lambda: actor.store.create_snapshot(again)]
    tries += [each.flush for each in actor.files.values() if not each.closed]
    for attempt in tries:
        try:
            attempt()
        except StoreError:
            continue
        except EbsimError as error:
            tell({"broken": f"after {reason!r} a write ended with {error!r}"})
        else:
            tell({"broken": f"after {reason!r} a write was accepted"})


def _use_again(actor: DiskActor, segments: dict[str, int], task: Fail, tell: Tell) -> None:
    """Open the store again, if the file system still works; store blocks, and flush once more."""
    try:
        actor.reopen()
    except (EbsimError, OSError) as error:  # the file system has shut itself down
        tell({"reopened": False, "why": str(error)})
        return
    try:
        source = disk_of(*map(content, AGAIN_NUMBERS), name=f"memory:{AGAIN}")
        made = actor.store.create_snapshot(source)
        if made.state is SnapshotState.COMPLETED:
            tell({"ids": actor.ids | {AGAIN: made.snapshot_id}})
        now = _segment_sizes(Path(task.store))
        grown = sorted(name for name in now if now[name] > segments.get(name, now[name]))
        if grown:
            tell({"broken": f"segments of before were appended to: {grown}"})
        _flush_again(actor, disk_story(task.seed), tell)
        tell({"reopened": True})
    except (EbsimError, OSError) as error:
        tell({"reopened": False, "why": str(error)})
    finally:
        with suppress(EbsimError, OSError):
            actor.close()


def _flush_again(actor: DiskActor, story: list[Line], tell: Tell) -> None:
    """Where a flush had failed, write once more what it was to make durable, and flush."""
    done = actor.done
    verb, *rest = story[done] if done < len(story) else ("",)
    if verb != "flush":
        return
    again: list[Line] = []
    for line in story[:done]:
        if line[:2] == ("flush", rest[0]):
            again.clear()
        elif line[0] in ("write", "part", "discard") and line[1] == rest[0]:
            again.append(line)
    for line in [*again, story[done]]:
        actor.act(line)
    tell({"done": done + 1})


def _segment_sizes(store: Path) -> dict[str, int]:
    try:
        return {each.name: each.stat().st_size for each in (store / "segments").iterdir()}
    except OSError:
        return {}
