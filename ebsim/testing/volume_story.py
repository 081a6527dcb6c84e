"""A story of volumes and snapshots that is told twice: to a store, and to a few dictionaries.

A process acts it out and says after each line that it is done. When it died on the way, the lines
that were done tell what every volume and snapshot must hold; the line it died in may have had its
effect, in part or not at all.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import CorruptionError
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.results import Snapshot, SnapshotState, VolumeState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.kept_story import KeptModel, KeptVerbs, assert_kept
from ebsim.testing.leaving import close_leaving
from ebsim.testing.sources import disk_of
from ebsim.testing.story_copies import StoryCopy
from ebsim.testing.story_damage import damage, missing_of
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile

Line = Sequence[Any]
"""What is done, and to what: see `Actor`."""

Ids = dict[str, str]

PART_OFFSET, PART_SIZE = 777, 5000
"""What a line `part` writes of a block."""

_ZEROS = bytes(BLOCK_SIZE)


@lru_cache(maxsize=64)
def content(number: int) -> bytes:
    """Return a block of the palette."""
    return palette_block(number)


class Actor(KeptVerbs):
    """Acts a story out on an open store.

    Args:
        store: The store.
        gate: Cleared by the line `hold`: no snapshot is copied until `go` sets it.
        ids: The ids of volumes and snapshots by their names in the story, and the names of what a
            repair has to set aside; added to.
        pause: Called between two looks at snapshots that are waited for.

    Attributes:
        files: The open volumes, by name.
        ask: Called by the line `ask`.
        again: Called by the line `reopen` when the store is closed; returns it, open.
        rebuild: Called by the line `rebuild` likewise, before `again`.
        folder: Where the line `restore` puts files.
        encrypted: Whether the volumes it makes are encrypted.
        furnish: Called by the line `damage` with the numbers of contents; makes another store that
            has them, for a line `repair` from it, and returns where it is.
    """

    def __init__(
        self, store: Store, gate: threading.Event, ids: Ids, pause: Callable[[], object]
    ) -> None:
        self._store = store
        self._gate = gate
        self._pause = pause
        self.files: dict[str, VolumeFile] = {}
        self.ids = ids
        self.ask: Callable[[], object] = lambda: None
        self.again: Callable[[], Store] = lambda: store
        self.rebuild: Callable[[], object] = lambda: None
        self.folder = Path()
        self.furnish: Callable[[Sequence[int]], Path] = lambda _numbers: Path()
        self._other = Path()
        self._copies: dict[str, StoryCopy] = {}
        self.encrypted = False

    @property
    def store(self) -> Store:
        """The store, as it is open now."""
        return self._store

    def act(self, line: Line) -> None:
        """Do what a line says."""
        verb, *rest = line
        if verb == "ask":  # whether to go on
            self.ask()
            return
        getattr(self, f"_{verb}")(*rest)

    def _create(self, volume: str, snapshot: str = "") -> None:
        origin = self.ids[snapshot] if snapshot else None
        size = None if snapshot else 1
        encrypted = True if self.encrypted else None
        request = VolumeRequest(size_gib=size, snapshot_id=origin, encrypted=encrypted)
        self.ids[volume] = self._store.volumes.create(request).volume_id

    def _write(self, volume: str, block: int, number: int) -> None:
        self._open(volume).pwrite(content(number), block * BLOCK_SIZE)

    def _part(self, volume: str, block: int, number: int) -> None:
        data = content(number)[:PART_SIZE]
        self._open(volume).pwrite(data, block * BLOCK_SIZE + PART_OFFSET)

    def _discard(self, volume: str, block: int) -> None:
        self._open(volume).discard(block * BLOCK_SIZE, BLOCK_SIZE)

    def _read(self, volume: str, block: int) -> None:
        self._open(volume).pread(1, block * BLOCK_SIZE)

    def _flush(self, volume: str) -> None:
        self._open(volume).flush()

    def _close(self, volume: str) -> None:
        self._open(volume).close()
        del self.files[volume]

    def _snapshot(self, *names: str) -> None:
        """Take a snapshot of each volume: volumes first, then the snapshots' names."""
        half = len(names) // 2
        made = self._store.create_snapshots([self.ids[name] for name in names[:half]])
        for name, shown in zip(names[half:], made, strict=True):
            self.ids[name] = shown.snapshot_id

    def _hold(self) -> None:
        self._gate.clear()

    def _go(self) -> None:
        self._gate.set()

    def _wait(self, *snapshots: str) -> None:
        self._gate.set()
        for name in snapshots:
            while self._store.get_snapshot(self.ids[name]).state is SnapshotState.PENDING:
                self._pause()

    def _delete(self, snapshot: str) -> None:
        self._store.delete_snapshots([self.ids[snapshot]])

    def _scan(self, disk: str, snapshot: str, *numbers: int) -> None:
        """Take a snapshot of a disk with these blocks."""
        source = disk_of(*(content(number) for number in numbers), name=f"memory:{disk}")
        options = SnapshotOptions(tags={"disk": disk})
        self.ids[snapshot] = self._store.create_snapshot(source, options).snapshot_id

    def _prune(self, disk: str, count: int) -> None:
        """Keep the youngest snapshots of a disk."""
        self._store.prune(PruneOptions(keep_last=count, tags={"disk": disk}))

    def _tag(self, snapshot: str, key: str, value: str) -> None:
        self._store.tags.create([self.ids[snapshot]], {key: value})

    def _register(self, image: str, snapshot: str) -> None:
        devices = {"/dev/xvda": self.ids[snapshot]}
        self.ids[image] = self._store.images.register(image, devices).image_id

    def _deregister(self, image: str) -> None:
        self._store.images.deregister(self.ids[image])

    def _compact(self) -> None:
        self._store.compact()

    def _damage(self, kind: str, *numbers: int) -> None:
        """Damage what is stored, but for that nothing is lost: the line `repair` comes next."""
        if numbers:
            self._other = self.furnish(numbers)
        for name in damage(self._store, kind, map(content, numbers)):
            self.ids[f"set aside: {name}"] = name

    def _repair(self, how: str = "") -> None:
        """Repair; `from`: with the other store."""
        report = self._store.repair(other=self._other if how == "from" else None)
        _ensure(not report.unhealed, f"the repair heals not all: {report.unhealed}")

    def _restore(self, snapshot: str, name: str, how: str = "") -> None:
        """Restore to a file, replacing it; or make it equal, `in place`."""
        target, in_place = self.folder / name, how == "in place"
        self._store.restore_snapshot(
            self.ids[snapshot], target, in_place=in_place, force=target.exists() and not in_place
        )

    def _reopen(self) -> None:
        self._end()
        self._store = self.again()
        self._set_clock()

    def _rebuild(self) -> None:
        self._end()
        self.rebuild()
        self._store = self.again()
        self._set_clock()

    def _leave(self) -> None:
        """Close the store and let snapshots stay pending."""
        for volume in list(self.files):
            self._close(volume)
        close_leaving(self._store, self._gate)

    def _return(self) -> None:
        """Open the store that was left."""
        self._store = self.again()
        self._set_clock()

    def _end(self) -> None:
        for volume in list(self.files):
            self._close(volume)
        self._gate.set()
        self._store.close()

    def _drop(self, volume: str) -> None:
        if volume in self.files:
            self._close(volume)
        self._store.volumes.delete(self.ids[volume])

    def _load(self, volume: str) -> None:
        self._store.volumes.initialize(self.ids[volume])

    def _duplicate(self, volume: str, copy: str) -> None:
        """Begin to copy a volume; who writes to it goes on."""
        begun = StoryCopy(self._store, self.ids[volume], self._gate, self._pause)
        self._copies[copy] = begun
        begun.begin()
        self.ids[copy] = begun.copy_id

    def _duplicated(self, copy: str) -> None:
        """Have the copy be made to the end."""
        self._copies.pop(copy).end()

    def _open(self, volume: str) -> VolumeFile:
        if volume not in self.files:
            self.files[volume] = self._store.volumes.open(self.ids[volume])
        return self.files[volume]


Image = dict[int, bytes]
"""Block index to content; what is not there is zeros."""


@dataclass(slots=True)
class Expected:
    """What must hold after some lines of a story.

    Attributes:
        volumes: What each volume holds.
        unsettled: What each block of a volume held since its last flush, where it was written to.
        snapshots: What each snapshot holds that is not deleted.
        waited: The snapshots that were waited for.
        touched: Every block that is named in the story.
        left: The snapshots that stayed pending when the store was closed.
        copying: What each volume holds, or will, that is a copy which is being made.
        disks: The snapshots of each disk, oldest first, deleted ones too.
        deleted: The snapshots that were deleted.
        tags: The tags of each snapshot that has some.
        images: The images that are registered.
        restored: What each file holds, and how many blocks it has.
        damaged: Whether there is damage that was not repaired yet.
        kept: What is encrypted, shared, copied, archived or in the Recycle Bin.
    """

    volumes: dict[str, Image] = field(default_factory=dict)
    unsettled: dict[str, dict[int, list[bytes]]] = field(default_factory=dict)
    snapshots: dict[str, Image] = field(default_factory=dict)
    waited: set[str] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    copying: dict[str, Image] = field(default_factory=dict)
    disks: dict[str, list[str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    restored: dict[str, tuple[Image, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    damaged: bool = False
    kept: KeptModel = field(default_factory=KeptModel)

    def tell(self, line: Line) -> None:
        """Take note of a line that is done."""
        verb, *rest = line
        match verb:
            case "create":
                self.volumes[rest[0]] = dict(self.snapshots[rest[1]]) if rest[1:] else {}
                self.unsettled[rest[0]] = {}
            case "seal" | "build":
                held = self.kept.snapshots[rest[1]].numbers if verb == "build" else ()
                self.volumes[rest[0]] = {at: content(each) for at, each in enumerate(held)}
                self.unsettled[rest[0]] = {}
                self.touched.update(range(len(held)))
            case "write" | "part" | "discard":
                self._change(verb, *rest)
            case "flush" | "close":
                self.unsettled[rest[0]].clear()
            case "snapshot":
                half = len(rest) // 2
                for volume, name in zip(rest[:half], rest[half:], strict=True):
                    self.snapshots[name] = dict(self.volumes[volume])
            case "wait":
                self.waited.update(rest)
            case "delete":
                self._delete(rest[0])
            case "duplicate" | "duplicated" | "drop":
                self._come_or_go(verb, *rest)
            case "load":
                self.unsettled[rest[0]].clear()
            case "damage" | "repair":
                self.damaged = verb == "damage"
            case _:
                self._tell_other(verb, rest)

    def _come_or_go(self, verb: str, volume: str, copy: str = "") -> None:
        """Take note that a volume is copied, or a copy made, or that a volume is deleted."""
        if verb == "duplicate":
            self.copying[copy] = dict(self.volumes[volume])
        elif verb == "duplicated":
            self.volumes[volume], self.unsettled[volume] = self.copying.pop(volume), {}
        else:
            del self.volumes[volume], self.unsettled[volume]

    def _tell_other(self, verb: str, rest: list[Any]) -> None:
        """Take note of what is not about a managed volume."""
        match verb:
            case "scan":
                disk, name, *numbers = rest
                self.snapshots[name] = {at: content(each) for at, each in enumerate(numbers)}
                self.sizes[name] = len(numbers)
                self.disks.setdefault(disk, []).append(name)
                self.waited.add(name)
            case "prune":
                for name in self.pruned(*rest):
                    self._delete(name)
            case "tag":
                self.tags.setdefault(rest[0], {})[rest[1]] = rest[2]
            case "register":
                self.images.add(rest[0])
            case "deregister":
                self.images.remove(rest[0])
            case "restore":
                self.restored[rest[1]] = self.snapshots[rest[0]], self.sizes[rest[0]]
            case "reopen" | "rebuild" | "leave":
                for unsettled in self.unsettled.values():
                    unsettled.clear()
                if verb == "leave":
                    self.left = self.snapshots.keys() - self.waited
            case "return":
                self.left.clear()
            case _:
                self.kept.tell(verb, rest)

    def pruned(self, disk: str, count: int) -> list[str]:
        """Return the snapshots that go when so many of a disk are kept."""
        left = [name for name in self.disks[disk] if name in self.snapshots]
        return left[:-count]

    def _delete(self, name: str) -> None:
        del self.snapshots[name]
        self.tags.pop(name, None)
        self.deleted.add(name)

    def _change(self, verb: str, volume: str, block: int, number: int = 0) -> None:
        before = self.volumes[volume].get(block, _ZEROS)
        after = self.changed(verb, volume, block, number)
        self.volumes[volume][block] = after
        self.unsettled[volume].setdefault(block, [before]).append(after)
        self.touched.add(block)

    def changed(self, verb: str, volume: str, block: int, number: int = 0) -> bytes:
        """Return what a block holds after a line `write`, `part` or `discard`."""
        before = self.volumes[volume].get(block, _ZEROS)
        if verb == "part":
            end = PART_OFFSET + PART_SIZE
            return before[:PART_OFFSET] + content(number)[:PART_SIZE] + before[end:]
        return content(number)


def expected_after(story: Sequence[Line], done: int) -> Expected:
    """Return what holds after the first `done` lines."""
    expected = Expected()
    for line in story:
        if line[0] in ("write", "part", "discard"):
            expected.touched.add(line[2])
    for line in story[:done]:
        expected.tell(line)
    return expected


def assert_story_survived(
    store: Store,
    story: Sequence[Line],
    done: int,
    ids: Ids,
    *,
    cut: bool,
    other: Path | None = None,
) -> None:
    """Compare a store with its story, after the process that acted it out had died.

    Every flushed write is there, and without a power cut every write that returned. Each snapshot
    is completed with exactly its point in time, or in error with a reason. The next snapshot of
    each volume is exactly what the volume holds: no change was missed.

    Args:
        store: The store, opened anew.
        story: The story.
        done: How many of its lines were done.
        ids: The ids of volumes and snapshots, by name.
        cut: Whether the power was cut; else every pending snapshot must be completed.
        other: Another store that has what the line `damage` may have spoilt.

    Raises:
        AssertionError: It is not so.
    """
    expected = expected_after(story, done)
    line: list[Any] = list(story[done]) if done < len(story) else [""]
    if any(each[0] == "damage" for each in story[: done + 1]):
        _assert_repaired(store, expected, line, ids, other)
    assert_kept(store, expected.kept, line, ids)
    pending = [each for each in store.list_snapshots() if each.state is SnapshotState.PENDING]
    store.wait_snapshots([each.snapshot_id for each in pending])
    _assert_snapshots(store, expected, line, ids, cut=cut)
    _assert_volumes(store, expected, line, ids, cut=cut)
    known = {each.image_id for each in store.images.list()}
    for name in expected.images:
        _ensure(ids[name] in known or line == ["deregister", name], f"image {name} is gone")
    assert_no_change_missed(store, expected.touched)


def _assert_repaired(
    store: Store, expected: Expected, line: list[Any], ids: Ids, other: Path | None
) -> None:
    """Look that what was repaired is; repair the rest, which was never handed out wrong."""
    outstanding = expected.damaged or line[0] == "damage"
    for name, image in expected.snapshots.items() if outstanding else ():
        for block, held in image.items():
            try:
                same = store.read_block(ids[name], block) == held
            except CorruptionError:
                continue  # that is what it should say
            _ensure(same, f"snapshot {name} block {block} is damaged, and handed out")
    report = store.repair(other=other)
    _ensure(outstanding or not report.records, f"it is not repaired: {report.records}")
    _ensure(not report.unhealed, f"it cannot be repaired any more: {report.unhealed}")
    lost = missing_of(store, (name for key, name in ids.items() if key.startswith("set aside: ")))
    _ensure(not lost, f"damaged bytes were thrown away: {lost}")


def _assert_snapshots(
    store: Store, expected: Expected, line: list[Any], ids: Ids, *, cut: bool
) -> None:
    shown = {str(each.snapshot_id): each for each in store.list_snapshots()}
    going = {"delete": line[1:2], "prune": expected.pruned(*line[1:]) if line[0] == "prune" else []}
    if line[0] == "scan":
        _assert_whole(store, line, [shown[each] for each in shown.keys() - set(ids.values())])
    for name in expected.deleted & expected.waited:
        _ensure(ids[name] not in shown, f"snapshot {name} was deleted, and is there again")
    for name, image in expected.snapshots.items():
        found = shown.get(ids[name])
        if found is None:
            _ensure(name in going.get(line[0], []), f"snapshot {name} is gone")
            continue
        sure = name in expected.waited or (name in expected.left and line != ["return"])
        if found.state is SnapshotState.ERROR and cut and not sure:
            _ensure(found.state_message != "", f"snapshot {name} does not say why it failed")
            continue
        _ensure(found.state is SnapshotState.COMPLETED, f"{name}: {found.state_message}")
        _ensure_tagged(found, name, expected.tags.get(name, {}), line)
        for block in range(expected.sizes[name]) if name in expected.sizes else expected.touched:
            same = store.read_block(ids[name], block) == image.get(block, _ZEROS)
            _ensure(same, f"snapshot {name} block {block} is not what it was")


def _assert_whole(store: Store, line: list[Any], others: list[Snapshot]) -> None:
    """Look at the snapshot that was being made: if it is completed, then with all of its blocks."""
    _, disk, _, *numbers = line
    for other in others:
        if other.state is SnapshotState.COMPLETED and other.tags.get("disk") == disk:
            for block, number in enumerate(numbers):
                same = store.read_block(other.snapshot_id, block) == content(number)
                _ensure(same, f"{other.snapshot_id} is completed, and its block {block} is wrong")


def _ensure_tagged(found: Snapshot, name: str, tags: dict[str, str], line: list[Any]) -> None:
    for key, value in tags.items():
        now = found.tags.get(key)
        _ensure(now == value or line == ["tag", name, key, now], f"snapshot {name} lost a tag")


def _assert_volumes(
    store: Store, expected: Expected, line: list[Any], ids: Ids, *, cut: bool
) -> None:
    known = {each.volume_id for each in store.volumes.list()}
    for name, image in expected.volumes.items():
        if ids[name] not in known:
            _ensure(line == ["drop", name], f"volume {name} is gone")
            continue
        unsure = dict(expected.unsettled[name]) if cut else {}
        if line[0] in ("write", "part", "discard") and line[1] == name:
            block, after = line[2], expected.changed(*line)
            unsure[block] = [*unsure.get(block, [image.get(block, _ZEROS)]), after]
        with store.volumes.open(ids[name]) as file:
            for block in expected.touched:
                held = file.pread(BLOCK_SIZE, block * BLOCK_SIZE)
                allowed = unsure.get(block, [image.get(block, _ZEROS)])
                same = _is_mixture(held, allowed)
                _ensure(same, f"volume {name} block {block} is not what was written")
    for name in [each for each in expected.copying if ids[each] in known]:
        with store.volumes.open(ids[name]) as file:
            for block in expected.touched:
                held = file.pread(BLOCK_SIZE, block * BLOCK_SIZE)
                same = held == expected.copying[name].get(block, _ZEROS)
                _ensure(same, f"the copy {name} has another block {block} than its source had")


def _is_mixture(held: bytes, allowed: Sequence[bytes]) -> bool:
    """Return whether a block is one of these, or as if parts of them were written."""
    if held in allowed:
        return True
    bytes_held = np.frombuffer(held, dtype=np.uint8)
    known = [np.frombuffer(each, dtype=np.uint8) == bytes_held for each in allowed]
    return len(allowed) > 1 and bool(np.logical_or.reduce(known).all())


def assert_files_survived(folder: Path, story: Sequence[Line], done: int) -> None:
    """Compare the files that were restored with the story, after the process had died.

    One that was being replaced is the old or the new one. One that was being made equal in place is
    a mixture, or anything else.

    Raises:
        AssertionError: It is not so.
    """
    expected = expected_after(story, done)
    line: list[Any] = list(story[done]) if done < len(story) else [""]
    for name, held in expected.restored.items():
        allowed = [held]
        if line[0] == "restore" and line[2] == name:
            if len(line) > 3:
                continue
            allowed.append((expected.snapshots[line[1]], expected.sizes[line[1]]))
        found = (folder / name).read_bytes()
        wanted = (
            b"".join(image.get(at, _ZEROS) for at in range(count)) for image, count in allowed
        )
        _ensure(found in list(wanted), f"the restored file {name} is not what it was")


def assert_no_change_missed(store: Store, blocks: set[int]) -> None:
    """Take a snapshot of each volume and compare it with the volume.

    Raises:
        AssertionError: They differ, or a check finds something.
    """
    for volume in store.volumes.list():
        if volume.state is VolumeState.DELETING:
            continue
        made = store.create_snapshot(volume.volume_id)
        (made,) = store.wait_snapshots([made.snapshot_id])
        _ensure(made.state is SnapshotState.COMPLETED, f"the next snapshot: {made.state_message}")
        with store.volumes.open(volume.volume_id) as file:
            for block in blocks:
                now = file.pread(BLOCK_SIZE, block * BLOCK_SIZE)
                same = store.read_block(made.snapshot_id, block) == now
                _ensure(same, f"a change of block {block} of {volume.volume_id} was missed")
    assert_healthy(store)


def perform(
    actor: Actor, story: Sequence[Line], told: Callable[[int], None] = lambda _done: None
) -> None:
    """Act out all lines, and tell after each one how many are done."""
    for done, line in enumerate(story, 1):
        actor.act(line)
        told(done)


def _ensure(truth: bool, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)
