"""A story of managed volumes that is told twice: to a store, and to a few dictionaries.

A process acts it out and says after each line that it is done. When it died on the way, the lines
that were done tell what every volume and snapshot must hold; the line it died in may have had its
effect, in part or not at all.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState, VolumeState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
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


class Actor:
    """Acts a story out on an open store.

    Args:
        store: The store.
        gate: Cleared by the line `hold`: no snapshot is copied until `go` sets it.
        ids: The ids of volumes and snapshots by their names in the story; added to.
        pause: Called between two looks at snapshots that are waited for.

    Attributes:
        files: The open volumes, by name.
        ask: Called by the line `ask`.
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
        request = VolumeRequest(size_gib=size, snapshot_id=origin)
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

    def _drop(self, volume: str) -> None:
        if volume in self.files:
            self._close(volume)
        self._store.volumes.delete(self.ids[volume])

    def _load(self, volume: str) -> None:
        self._store.volumes.initialize(self.ids[volume])

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
        unsettled: The blocks of each volume that were written since its last flush.
        snapshots: What each snapshot holds that is not deleted.
        waited: The snapshots that were waited for.
        touched: Every block that is named in the story.
    """

    volumes: dict[str, Image] = field(default_factory=dict)
    unsettled: dict[str, set[int]] = field(default_factory=dict)
    snapshots: dict[str, Image] = field(default_factory=dict)
    waited: set[str] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)

    def tell(self, line: Line) -> None:
        """Take note of a line that is done."""
        verb, *rest = line
        match verb:
            case "create":
                self.volumes[rest[0]] = dict(self.snapshots[rest[1]]) if rest[1:] else {}
                self.unsettled[rest[0]] = set()
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
                del self.snapshots[rest[0]]
            case "drop":
                del self.volumes[rest[0]], self.unsettled[rest[0]]
            case "load":
                self.unsettled[rest[0]].clear()
            case _:
                pass

    def _change(self, verb: str, volume: str, block: int, number: int = 0) -> None:
        image = self.volumes[volume]
        before = image.get(block, _ZEROS)
        if verb == "part":
            end = PART_OFFSET + PART_SIZE
            image[block] = before[:PART_OFFSET] + content(number)[:PART_SIZE] + before[end:]
        else:
            image[block] = content(number)
        self.unsettled[volume].add(block)
        self.touched.add(block)


def expected_after(story: Sequence[Line], done: int) -> Expected:
    """Return what holds after the first `done` lines."""
    expected = Expected()
    for line in story:
        if len(line) > 2 and isinstance(line[2], int):
            expected.touched.add(line[2])
    for line in story[:done]:
        expected.tell(line)
    return expected


def assert_story_survived(
    store: Store, story: Sequence[Line], done: int, ids: Ids, *, cut: bool
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

    Raises:
        AssertionError: It is not so.
    """
    expected = expected_after(story, done)
    line: list[Any] = list(story[done]) if done < len(story) else [""]
    pending = [each for each in store.list_snapshots() if each.state is SnapshotState.PENDING]
    store.wait_snapshots([each.snapshot_id for each in pending])
    shown = {str(each.snapshot_id): each for each in store.list_snapshots()}
    for name, image in expected.snapshots.items():
        found = shown.get(ids[name])
        if found is None:
            _ensure(line == ["delete", name], f"snapshot {name} is gone")
            continue
        if found.state is SnapshotState.ERROR and cut and name not in expected.waited:
            _ensure(found.state_message != "", f"snapshot {name} does not say why it failed")
            continue
        _ensure(found.state is SnapshotState.COMPLETED, f"{name}: {found.state_message}")
        for block in expected.touched:
            same = store.read_block(ids[name], block) == image.get(block, _ZEROS)
            _ensure(same, f"snapshot {name} block {block} is not what it was")
    known = {each.volume_id for each in store.volumes.list()}
    for name, image in expected.volumes.items():
        if ids[name] not in known:
            _ensure(line == ["drop", name], f"volume {name} is gone")
            continue
        unsure = expected.unsettled[name] if cut else set()
        if line[0] in ("write", "part", "discard") and line[1] == name:
            unsure = unsure | {line[2]}
        with store.volumes.open(ids[name]) as file:
            for block in expected.touched - unsure:
                same = file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == image.get(block, _ZEROS)
                _ensure(same, f"volume {name} block {block} is not what was written")
    assert_no_change_missed(store, expected.touched)


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
