"""A story acted out under strace, and judged after power cuts at moments of its log.

    python -m ebsim.testing.traced_play FOLDER SITE

acts out `TRACED` on a store below the folder, with one sync switched off, as
`ebsim.testing.sync_sites` names it.
"""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ebsim.core import restore
from ebsim.entropy import Entropy
from ebsim.storage import targets
from ebsim.storage.files import sync_directory
from ebsim.testing.forked_play import Child, ForkedPlay
from ebsim.testing.sync_sites import LEFT_OUT, MARK, SyncSite, find_sites, switched_off
from ebsim.testing.traced_disk import STRACE, TracedDisk, read_trace
from ebsim.testing.volume_story import Line

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

REBUILT = TRACED.index(("rebuild",))
"""From here on what a power cut leaves of `catalog.state` may be about an older catalog, and then
the catalog is made again without need."""

Keep = Callable[[str], bool]
_PATIENCE_S = 120

NEAR = 5
"""So many changes behind a sync that was left out are followed by a power cut."""


def ways_to_cut(chance: random.Random) -> Iterator[tuple[str, Keep]]:
    """Yield what a power cut may do with changes that are not durable."""
    yield "names are lost", lambda kind: kind == "data"
    yield "data are lost", lambda kind: kind == "name"
    for _ in range(2):
        yield "some are lost", lambda _kind: chance.random() < 0.5


def record(folder: Path, log: Path, site: SyncSite | None) -> None:
    """Have a process act the story out under strace.

    Raises:
        subprocess.SubprocessError: It failed.
    """
    command = [sys.executable, "-m", "ebsim.testing.traced_play", str(folder)]
    subprocess.run(  # noqa: S603 - our own module
        [*STRACE, "-o", str(log), *command, "" if site is None else site.name],
        check=True,
        capture_output=True,
        timeout=_PATIENCE_S,
    )


class TracedPlay:
    """The story, recorded, and power cuts in it.

    Args:
        place: An empty folder.
        site: What does not sync; None: all do.
    """

    def __init__(self, place: Path, site: SyncSite | None) -> None:
        self._place = place
        self._folder = place / "traced"
        self._folder.mkdir()
        self._log = place / "log"
        record(self._folder, self._log, site)

    def find_loss(self, chance: random.Random, states: int) -> str:
        """Return how a power cut loses something; empty if none of so many does.

        Args:
            chance: Chooses some of the moments and of what is kept.
            states: How many states are looked at, where no sync says that it was left out.
        """
        moments = max(1, states // 4)
        disk = TracedDisk(self._folder)
        for number, idle in self._moments(disk, moments):
            for how, keep in ways_to_cut(chance):
                problem = self._judge(disk, keep, idle=idle)
                if problem:
                    return f"{how} at moment {number}: {problem}"
        return ""

    def _moments(self, disk: TracedDisk, count: int) -> Iterator[tuple[int, bool]]:
        """Yield moments, and whether nothing is under way then: something was just told.

        Where a sync was left out, those behind it; else as many, evenly spread.
        """
        first = TracedDisk(self._folder)
        changes = sum(first.follow(read_trace(self._log)))
        left_out = LEFT_OUT in first.marks
        stride = changes if left_out else max(1, changes // count)
        told, done, near, fresh = 0, 0, 0, False
        for changed in disk.follow(read_trace(self._log)):
            if not changed:
                continue
            done += 1
            news, told = disk.marks[told:], len(disk.marks)
            if LEFT_OUT in news:
                near, fresh = NEAR, True
            idle = bool(news) and LEFT_OUT not in news
            if near or done % stride == 0 or (idle and (fresh or not left_out)):
                yield done, idle
            near = max(0, near - 1)
            fresh = fresh and not idle
        yield done, True

    def _judge(self, disk: TracedDisk, keep: Keep, *, idle: bool) -> str:
        """Return what is lost after a power cut now; empty if nothing is."""
        target = self._place / "cut"
        target.mkdir(mode=0o700)
        try:
            disk.cut(target, keep)
            play = ForkedPlay(target, TRACED)
            play.hear(b"".join(disk.marks))
            before = _set_aside(target)
            play.assert_survived(cut=True)
            if idle and play.done < REBUILT and _set_aside(target) != before:
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


def main() -> None:
    """Act the story out."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    site = next((each for each in find_sites() if each.name == name), None)
    child = TracedChild(folder / "store", 1, sys.stderr.fileno(), "one boot")
    with switched_off(site), devices_as_files():
        child.live(lambda each: each.act_out(TRACED, folder), made=False)


class TracedChild(Child):
    """Tells in such a way that strace shows it."""

    def tell(self, **facts: object) -> None:
        """Tell."""
        self.tell_bytes(MARK + json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main()
