"""A story of everything that a store does, for disks that lose power or fail.

It is a story of `ebsim.testing.volume_story` with more verbs: snapshots of images (`picture`),
their deletion (`forget`), tags (`tag`), compaction (`compact`), and the store closed and opened
again (`reopen`). Part of it is encrypted, shared, copied, archived or in the Recycle Bin
(`ebsim.testing.kept_story`). Its first line makes the store.
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ebsim.engine import Seams, Store
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.files import Files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.kept_story import KEPT_TAG, SECRETS
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.testing.volume_story import (
    Actor,
    Expected,
    Ids,
    Image,
    Line,
    assert_story_survived,
    content,
)
from ebsim.units import BLOCK_SIZE

AGAIN, AGAIN_NUMBERS = "again", (8, 12, 5)
"""A snapshot that may be taken of another image, after the story broke off, and what it holds."""

KEPT: list[Line] = [
    ("key", "A"),
    ("key", "B"),
    ("rule", 7),
    ("keep", "k1", "a", "A", 100, 104),
    ("keep", "k2", "b", "", 4, 5),
    ("share", "k1"),
    ("copy", "k3", "k1", "B"),
    ("copy", "k4", "k2", "abroad"),
    ("archive", "k2"),
    ("bin", "k3"),
    ("reopen",),
    ("seal", "e", "A"),
    ("write", "e", 0, 108),
    ("flush", "e"),
    ("thaw", "k2", 2),
    ("unbin", "k3"),
    ("later", 3),
    ("unshare", "k1"),
    ("drop", "e"),
    ("thaw", "k2", 0),
]
"""What is encrypted, shared, copied, archived or in the Recycle Bin."""

_ZEROS = bytes(BLOCK_SIZE)


def disk_story(seed: int) -> list[Line]:
    """Return the story, with other contents for each seed."""

    def n(number: int) -> int:
        found = 1 + (number * 7 + seed * 13) % 255
        return found + 1 if found in SECRETS else found

    return [
        ("init",),
        ("create", "v"),
        ("write", "v", 0, n(4)),
        ("write", "v", 1, n(5)),
        ("flush", "v"),
        ("picture", "p1", "disk", n(1), n(2), n(3), 0, n(6)),
        ("snapshot", "v", "s1"),
        ("wait", "s1"),
        ("tag", "p1", "kept", "yes"),
        ("write", "v", 0, n(7)),
        ("part", "v", 1, n(8)),
        ("flush", "v"),
        ("picture", "p2", "disk", n(1), n(9), n(3), n(10), n(6)),
        ("hold",),
        ("snapshot", "v", "s2"),
        ("write", "v", 0, n(11)),
        ("write", "v", 2, n(12)),
        ("flush", "v"),
        ("go",),
        ("wait", "s2"),
        ("forget", "p1"),
        *KEPT,
        ("picture", "p3", "disk", n(1), n(9), n(13), n(10), 0),
        ("tag", "p3", "kept", "no"),
        ("compact",),
        ("create", "w", "s2"),
        ("part", "w", 0, n(14)),
        ("flush", "w"),
        ("snapshot", "v", "w", "s3", "s4"),
        ("wait", "s3", "s4"),
        ("delete", "s1"),
        ("load", "w"),
        ("drop", "v"),
        ("reopen",),
        ("picture", "p4", "other", n(15), n(1)),
        ("tag", "p3", "kept", "yes"),
        ("forget", "p2"),
        ("compact",),
        ("discard", "w", 1),
        ("write", "w", 3, n(16)),
        ("flush", "w"),
        ("delete", "s2"),
        ("hold",),
        ("write", "w", 0, n(17)),
        ("snapshot", "w", "s5"),
        ("write", "w", 0, n(18)),
        ("flush", "w"),
        ("picture", "p5", "other", n(19), n(1), n(4)),
    ]


class DiskActor(Actor):
    """Acts a story of disks out, on a store that it makes; so its first line is done.

    Args:
        path: The store.
        files: Its files.
        boot_id: Which boot of the machine it is.

    Attributes:
        done: How many lines are done, as its user keeps count.
    """

    def __init__(self, path: Path, files: Files, boot_id: str) -> None:
        self._path = path
        self._files = files
        self._boot_id = boot_id
        self._opened = 0
        self.done = 0
        self._open_gate = threading.Event()
        self._open_gate.set()
        super().__init__(Store.create(path, self._seams()), self._open_gate, {}, lambda: None)

    def close(self, *, wait: bool = True) -> None:
        """Close the store and its volumes."""
        self._open_gate.set()  # who is held would never end
        with ExitStack() as stack:
            stack.callback(self._store.close, wait=wait)
            for file in self.files.values():
                stack.callback(file.close)
            self.files.clear()

    def reopen(self) -> None:
        """Open the store again, once it is closed."""
        self._store = Store.open(self._path, self._seams())

    def _init(self) -> None:
        """Do nothing: there is a store."""

    def _reopen(self) -> None:
        self.close()
        self.reopen()
        self._set_clock()

    def _picture(self, name: str, disk: str, *numbers: int) -> None:
        source = disk_of(*map(content, numbers), name=f"memory:{disk}")
        self.ids[name] = self._store.create_snapshot(source).snapshot_id

    def _forget(self, name: str) -> None:
        self._store.delete_snapshots([self.ids[name]])

    def _tag(self, name: str, key: str, value: str) -> None:
        self._store.tags.create([self.ids[name]], {key: value})

    def _compact(self) -> None:
        self._store.compact()

    def _wait(self, *snapshots: str) -> None:
        self._open_gate.set()
        self._store.wait_snapshots([self.ids[name] for name in snapshots])

    def _seams(self) -> Seams:
        self._opened += 1

        def before_copy(_snapshot_id: str) -> None:
            self._open_gate.wait()

        return Seams(
            files=self._files,
            clock=ManualClock(),
            entropy=SeededEntropy(self._opened),
            boot_id=self._boot_id,
            before_copy=before_copy,
        )


class _Told:
    """What must hold after the first lines of a story, of snapshots of images and of tags."""

    def __init__(self, story: Sequence[Line], done: int) -> None:
        self.images: dict[str, Image] = {}
        self.tags: dict[str, dict[str, str]] = {}
        for verb, *rest in story[:done]:
            if verb == "picture":
                self.images[rest[0]] = dict(enumerate(map(content, rest[2:])))
                self.tags[rest[0]] = {}
            elif verb == "forget":
                del self.images[rest[0]]
            elif verb == "tag":
                self.tags[rest[0]][rest[1]] = rest[2]


def all_images(story: Sequence[Line]) -> dict[str, Image]:
    """Return what each snapshot of a story holds, also of those that are deleted in the end."""
    images: dict[str, Image] = {}
    expected = Expected()
    for line in story:
        expected.tell(line)
        images.update({name: expected.snapshots[name] for name in expected.snapshots})
        if line[0] == "picture":
            images[line[1]] = dict(enumerate(map(content, line[3:])))
    return images


def check_disk_story(path: Path, story: Sequence[Line], done: int, ids: Ids, boot_id: str) -> None:
    """Open a store and compare it with its story, after the disk lost power or failed.

    What was acknowledged is there: snapshots with every byte, deletions, tags, flushed writes. What
    was not is there as a whole or not at all. `check --data` finds nothing, and the store works on.

    Args:
        path: The store.
        story: The story.
        done: How many of its lines were acknowledged.
        ids: The ids of volumes and snapshots by their names.
        boot_id: Which boot of the machine this is.

    Raises:
        AssertionError, EbsimError: It is not so.
    """
    seams = Seams(clock=ManualClock(), entropy=SeededEntropy(9 + done), boot_id=boot_id)
    with Store.open(path, seams, create=done == 0) as store:
        _check_images(store, story, done, ids)
        if done:
            told = _as_rebuilt(store, story, done, ids)
            assert_story_survived(store, told, done, ids, cut=True)
        assert_healthy(store)
        again = dict(enumerate(map(content, (3, 4, 5, 6, 7))))
        _compare(store, store.create_snapshot(disk_of(*again.values(), name="memory:disk")), again)


def _as_rebuilt(store: Store, story: Sequence[Line], done: int, ids: Ids) -> Sequence[Line]:
    """Return the story without the snapshots that a rebuild forgot, if opening rebuilt the catalog.

    It does so where the journal is ahead of the catalog; what is pending is not in the journal.
    """
    if not any(store.path.glob("catalog.old-*")):
        return story
    known = {str(each.snapshot_id) for each in store.list_snapshots()}
    waited = {name for line in story[:done] if line[0] == "wait" for name in line[1:]}

    def forgotten(line: Line) -> bool:
        names = line[1 + len(line) // 2 :] if line[0] == "snapshot" else ()
        return bool(names) and all(
            name not in waited and ids.get(name, "") not in known for name in names
        )

    return [("go",) if forgotten(line) else line for line in story]


def _check_images(store: Store, story: Sequence[Line], done: int, ids: Ids) -> None:
    told = _Told(story, done)
    line = list(story[done]) if done < len(story) else [""]
    shown = {str(each.snapshot_id): each for each in store.list_snapshots()}
    for name, image in told.images.items():
        found = shown.get(ids[name])
        if found is None:
            _ensure(line == ["forget", name], f"snapshot {name} is gone")
            continue
        _ensure(found.state is SnapshotState.COMPLETED, f"{name}: {found.state_message}")
        _compare(store, found, image)
        if line[:2] != ["tag", name]:
            _ensure(found.tags == told.tags[name], f"{name} has the tags {found.tags}")
    _check_strangers(store, story[: done + 1], {ids[name]: name for name in ids}, shown)


def _check_strangers(
    store: Store, story: Sequence[Line], names: dict[str, str], shown: dict[str, Snapshot]
) -> None:
    """Look that also what nobody was told of is whole, if it is there, and nothing resurrected."""
    images = all_images(story) | {AGAIN: dict(enumerate(map(content, AGAIN_NUMBERS)))}
    gone = {line[1] for line in story[:-1] if line[0] in ("forget", "delete")}
    last = [each for each in story[-1][1:] if each in images]
    for snapshot_id, found in shown.items():
        if found.state is not SnapshotState.COMPLETED or KEPT_TAG in found.tags:
            continue
        asked = [names[snapshot_id]] if snapshot_id in names else last
        _ensure(not gone.intersection(asked), f"snapshot {asked} was deleted and is there")
        same = any(_holds(store, found, images[name]) for name in asked)
        _ensure(same, f"snapshot {snapshot_id} is none of {asked}")
    made_again = [each for each in names if names[each] == AGAIN]
    _ensure(set(made_again) <= set(shown), "the snapshot that was made after reopening is gone")


def _holds(store: Store, shown: Snapshot, image: Image) -> bool:
    blocks = range(min(8, -(-shown.size_bytes // BLOCK_SIZE)))
    found = (store.read_block(shown.snapshot_id, block) for block in blocks)
    return all(each == image.get(block, _ZEROS) for block, each in enumerate(found))


def _compare(store: Store, shown: Snapshot, image: Image) -> None:
    _ensure(_holds(store, shown, image), f"{shown.snapshot_id} is not what was stored")


def _ensure(truth: bool, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)
