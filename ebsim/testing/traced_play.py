"""A story acted out under strace, and judged after power cuts at moments of its log."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import lmdb

from ebsim.core import restore
from ebsim.entropy import Entropy
from ebsim.errors import OutcomeUnknownError
from ebsim.storage import catalog_proof, targets
from ebsim.storage.files import sync_directory
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.forked_play import Child, ForkedPlay
from ebsim.testing.forked_process import ForkedProcess
from ebsim.testing.sync_sites import LEFT_OUT, MARK, SyncSite, switched_off
from ebsim.testing.traced_disk import STRACE, TracedDisk, read_trace
from ebsim.testing.volume_story import Actor, Line

TRACED: list[Line] = [
    ("scan", "d", "s1", 5, 9),
    ("restore", "s1", "new"),
    ("scan", "d", "s2", 5, 6),
    ("restore", "s2", "new"),
    ("restore", "s1", "new", "in place"),
    ("restore", "s2", "device", "as device"),
    ("create", "v"),
    ("write", "v", 0, 5),
    ("flush", "v"),
    ("rebuild",),
    ("tag", "s1", "told", "a"),
    ("rebuild",),
    ("delete", "s1"),
]
"""What a simulated machine cannot tell: restores, rebuilds, the making of stores and folders."""

RENEWED: list[Line] = [
    ("scan", "d", "s1", 5, 9),
    ("tag", "s1", "told", "a"),
    ("reopen",),
    ("tag", "s1", "told", "b"),
    ("scan", "d", "s2", 5, 6),
]
"""The commit of the first tag fails, so that the catalog gets another file; but it did happen, as
the process is told, and goes on."""

STORIES = {"traced": TRACED, "renewed": RENEWED}

Keep = Callable[[str], bool]
_PATIENCE_S = 240

NEAR = 5
"""So many changes behind a sync that was left out are followed by a power cut."""


ALONE = 4
"""Of so many names that are not durable behind a sync that was left out, each alone is kept once,
so that what depends on their order is seen whatever the chances are."""


def ways_to_cut(chance: random.Random, *, alone: int = 0) -> Iterator[tuple[str, Keep]]:
    """Yield what a power cut may do with changes that are not durable.

    Args:
        chance: Decides in some of the ways.
        alone: Of so many names, each is once the only one that is kept.
    """
    yield "names are lost", lambda kind: kind == "data"
    yield "data are lost", lambda kind: kind == "name"
    for _ in range(2):
        yield "some are lost", lambda _kind: chance.random() < 0.5
    for number in range(alone):
        yield "a name is kept", _keep_one(number)


def _keep_one(number: int) -> Keep:
    """Return what keeps all data, and of the names that it is asked for only this one."""
    asked = 0

    def keep(kind: str) -> bool:
        nonlocal asked
        asked += kind == "name"
        return kind == "data" or asked == number + 1

    return keep


def rebuilt_at(story: list[Line]) -> int:
    """Return the line with the first rebuild.

    From there on what a power cut leaves of `catalog.state` may be about an older catalog, and then
    the catalog is made again without need.
    """
    return next((at for at, line in enumerate(story) if line[0] == "rebuild"), len(story) + 1)


def record(folder: Path, log: Path, story: str, site: SyncSite | None) -> None:
    """Have a process act a story out under strace.

    Raises:
        subprocess.SubprocessError: It failed.
    """
    strace = [*STRACE, "-o", str(log)]
    with ForkedProcess(
        act_out, folder, story, site, strace=strace, patience_s=_PATIENCE_S
    ) as process:
        told = process.stdout.read()
        if status := process.wait():
            raise subprocess.SubprocessError(f"it ended with status {status}: {told}")


class TracedPlay:
    """The story, recorded, and power cuts in it.

    Args:
        place: An empty folder.
        site: What does not sync; None: all do.
        story: Which one, of `STORIES`.
    """

    def __init__(self, place: Path, site: SyncSite | None, story: str = "traced") -> None:
        self._place = place
        self._folder = place / "traced"
        self._folder.mkdir()
        self._log = place / "log"
        self._story = STORIES[story]
        record(self._folder, self._log, story, site)

    def find_loss(self, chance: random.Random, states: int) -> str:
        """Return how a power cut loses something; empty if none of so many does.

        Args:
            chance: Chooses some of the moments and of what is kept.
            states: How many states are looked at, where no sync says that it was left out.
        """
        moments = max(1, states // 4)
        disk = TracedDisk(self._folder)
        for number, idle, near in self._moments(disk, moments):
            for how, keep in ways_to_cut(chance, alone=ALONE if near else 0):
                problem = self._judge(disk, keep, idle=idle)
                if problem:
                    return f"{how} at moment {number}: {problem}"
        return ""

    def _moments(self, disk: TracedDisk, count: int) -> Iterator[tuple[int, bool, bool]]:
        """Yield moments, whether nothing is under way then, and whether a sync was just left out.

        Nothing is under way when something was just told. Where a sync was left out, the moments
        are those behind it; else as many, evenly spread.
        """
        first = TracedDisk(self._folder)
        calls = list(read_trace(self._log))
        changes = sum(first.follow(calls))
        left_out = LEFT_OUT in first.marks
        stride = changes if left_out else max(1, changes // count)
        told, done, near, fresh = 0, 0, 0, False
        for changed in disk.follow(calls):
            if not changed:
                continue
            done += 1
            news, told = disk.marks[told:], len(disk.marks)
            if LEFT_OUT in news:
                near, fresh = NEAR, True
            idle = bool(news) and LEFT_OUT not in news
            if near or done % stride == 0 or (idle and (fresh or not left_out)):
                yield done, idle, near > 0
            near = max(0, near - 1)
            fresh = fresh and not idle
        yield done, True, False

    def _judge(self, disk: TracedDisk, keep: Keep, *, idle: bool) -> str:
        """Return what is lost after a power cut now; empty if nothing is."""
        target = self._place / "cut"
        target.mkdir(mode=0o700)
        try:
            disk.cut(target, keep)
            play = ForkedPlay(target, self._story)
            play.hear(b"".join(disk.marks))
            before = _set_aside(target)
            play.assert_survived(cut=True)
            if idle and play.done < rebuilt_at(self._story) and _set_aside(target) != before:
                return "the catalog had to be made again, although nothing was under way"
        except (AssertionError, OSError) as error:
            return str(error)[-300:]
        finally:
            shutil.rmtree(target)
        return ""


def _set_aside(folder: Path) -> int:
    """Return how many catalogs of the store were set aside."""
    return len(list(folder.glob("store/catalog.old-*")))


@contextmanager
def devices_as_files() -> Iterator[None]:
    """Have restores to a file named `device` treat it as a block device."""
    real = targets.open_target

    def opened(
        path: Path, size: int, *, in_place: bool, force: bool, entropy: Entropy
    ) -> targets.RestoreTarget:
        if path.name != "device":
            return real(path, size, in_place=in_place, force=force, entropy=entropy)
        with path.open("ab"):
            sync_directory(path.parent)  # a device is there all the time
        return targets.DeviceTarget(str(path), size)

    with (
        mock.patch.object(restore, "open_target", opened),
        mock.patch.object(targets, "_ensure_kind"),
        mock.patch.object(targets, "_ensure_writable"),
        mock.patch.object(targets.DeviceTarget, "_ensure_fits"),
    ):
        yield


@contextmanager
def one_commit_fails() -> Iterator[None]:
    """Have LMDB tell that the commit of a tag `a` failed, although it happened.

    Another process would look whether it did, and sync what it finds. That one is not traced, so
    here nobody looks: what the new file has must be durable without it.
    """
    real = Actor._tag

    def commit(txn: "lmdb.Transaction[bytes]") -> None:
        txn.commit()
        raise lmdb.Error("mdb_txn_commit: Input/output error")

    def tag(actor: Actor, snapshot: str, key: str, value: str) -> None:
        if value != "a":
            real(actor, snapshot, key, value)
            return
        with (
            mock.patch.object(LmdbCatalog, "_commit", staticmethod(commit)),
            mock.patch.object(catalog_proof, "look_for_commit", return_value=True),
        ):
            try:
                real(actor, snapshot, key, value)
            except OutcomeUnknownError as error:
                if error.happened:
                    return
            raise AssertionError("the commit did not fail")

    with mock.patch.object(Actor, "_tag", tag):
        yield


def act_out(folder: Path, story: str, site: SyncSite | None) -> None:
    """Act out a story of `STORIES` on a store below a folder, with one sync switched off."""
    child = TracedChild(folder / "store", 1, 1, "one boot")
    fails = one_commit_fails() if story == "renewed" else nullcontext()
    with switched_off(site), devices_as_files(), fails:
        child.live(lambda each: each.act_out(STORIES[story], folder), made=False)


class TracedChild(Child):
    """Tells in such a way that strace shows it."""

    def tell(self, **facts: object) -> None:
        """Tell."""
        self.tell_bytes(MARK + json.dumps(facts).encode() + b"\n")
