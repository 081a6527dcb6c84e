"""Snapshots taken while real threads write: each is a consistent cut of what they wrote.

A writer numbers its writes and makes one after the other; a logical clock notes when each began and
returned. A snapshot must show, of each writer, the writes up to some number: all that returned
before it was asked for, none that began after it was there, and never a later one without an
earlier. A writer that writes to two volumes in turn proves the same of a set of both.
"""

import itertools
import os
import random
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.entropy import SystemEntropy
from ebsim.errors import LimitExceededError
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.testing.contents import NOISE, ZEROS
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.volume_file import VolumeFile

pytestmark = pytest.mark.slow

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
SNAPSHOTS = 600 if LONG else 40
WRITERS = 3
LAST = GIB // BLOCK_SIZE - 1
_STAMP = struct.Struct("<QQ")

Spot = tuple[str, int]
"""A volume and a block index."""


@dataclass(frozen=True)
class Write:
    """One write: its number, where, and when it began and returned."""

    number: int
    spot: Spot
    began: int
    returned: int


@dataclass
class Cut:
    """A snapshot, or a set of them, and when it was asked for and was there."""

    snapshots: dict[str, str]  # volume -> snapshot
    asked: int
    there: int


@dataclass
class Writer:
    """A thread that writes to blocks of its own.

    A block is always written in one of two ways: all of it, or a part in its middle.
    """

    name: int
    spots: list[Spot]
    files: dict[str, VolumeFile]
    clock: Callable[[], int]
    stopped: threading.Event
    before: bytes
    done: list[Write] = field(default_factory=list)
    failure: Exception | None = None

    def run(self) -> None:
        choose = random.Random(self.name)
        try:
            for number in itertools.count(1):
                if self.stopped.is_set():
                    return
                spot = choose.choice(self.spots)
                offset, data = self.bytes_of(spot, number)
                began = self.clock()
                self.files[spot[0]].pwrite(data, spot[1] * BLOCK_SIZE + offset)
                self.done.append(Write(number, spot, began, self.clock()))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.failure = error

    def bytes_of(self, spot: Spot, number: int) -> tuple[int, bytes]:
        """Return where within the block, and what, a write of this number writes."""
        stamp = _STAMP.pack(self.name, number)
        if spot[1] % 2:
            return 0, stamp * (BLOCK_SIZE // len(stamp))
        return 70_000, stamp * 100

    def expected(self, last: int, spot: Spot) -> bytes:
        """Return what a block held when so many writes had returned."""
        numbers = [write.number for write in self.done[:last] if write.spot == spot]
        if not numbers:
            return self.before
        offset, data = self.bytes_of(spot, numbers[-1])
        return self.before[:offset] + data + self.before[offset + len(data) :]


@pytest.fixture(autouse=True)
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def busy_seams(seams: Seams) -> Seams:
    return replace(seams, entropy=SystemEntropy())


def assert_consistent(store: Store, writer: Writer, cut: Cut) -> None:
    found = {spot: store.read_block(cut.snapshots[spot[0]], spot[1]) for spot in writer.spots}
    least = sum(write.returned < cut.asked for write in writer.done)
    most = sum(write.began < cut.there for write in writer.done)
    fits = any(
        all(writer.expected(last, spot) == found[spot] for spot in writer.spots)
        for last in range(least, most + 1)
    )
    assert fits, f"writer {writer.name}: no state between writes {least} and {most}"


def blocks_of(writer: int) -> list[int]:
    """Return block indices of a writer's own: in three leaves, odd and even, and the last."""
    near = [2 * writer, 2 * writer + 1, 252 + 2 * writer, 253 + 2 * writer]
    return [*near, LAST - 2 * writer, LAST - 2 * writer - 1]


def run_cuts(
    store: Store,
    volumes: Sequence[str],
    take: Callable[[random.Random], dict[str, str]],
    meanwhile: Callable[[random.Random], None] = lambda _random: None,
    before: bytes = ZEROS,
) -> None:
    """Write with some threads, take snapshots meanwhile, and look at each."""
    counter = itertools.count()
    clock = counter.__next__
    stopped = threading.Event()
    files = {volume: store.volumes.open(volume) for volume in volumes}
    writers = [
        Writer(name, spots, files, clock, stopped, before)
        for name in range(WRITERS)
        for spots in [[(volume, block) for volume in volumes for block in blocks_of(name)]]
    ]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    choose = random.Random(7)
    cuts: list[Cut] = []
    try:
        while len(cuts) < SNAPSHOTS:
            asked = clock()
            try:
                taken = take(choose)
            except LimitExceededError:  # too many are pending
                store.wait_snapshots(list(cuts[-1].snapshots.values()))
                continue
            cuts.append(Cut(taken, asked, clock()))
            meanwhile(choose)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        for file in files.values():
            file.close()
    assert [writer.failure for writer in writers] == [None] * WRITERS
    for cut in cuts:
        for shown in store.wait_snapshots(list(cut.snapshots.values())):
            assert shown.state is SnapshotState.COMPLETED, shown.state_message
        for writer in writers:
            assert_consistent(store, writer, cut)
    assert_healthy(store)


def test_snapshots_of_one_volume(store_path: Path, busy_seams: Seams) -> None:
    with Store.create(store_path, busy_seams) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id

        def take(_choose: random.Random) -> dict[str, str]:
            return {volume: store.create_snapshot(volume).snapshot_id}

        run_cuts(store, [volume], take)


def test_snapshots_of_a_volume_that_is_being_loaded(store_path: Path, busy_seams: Seams) -> None:
    """The snapshot it is made from is deleted while it is loaded."""
    with Store.create(store_path, busy_seams) as store:
        other = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(other) as file:
            for writer in range(WRITERS):
                for block in blocks_of(writer):
                    file.pwrite(NOISE, block * BLOCK_SIZE)
        origin = store.create_snapshot(other).snapshot_id
        store.wait_snapshots([origin])
        volume = store.volumes.create(VolumeRequest(snapshot_id=origin)).volume_id
        loader = threading.Thread(target=store.volumes.initialize, args=(volume,))
        begun: list[bool] = []

        def take(_choose: random.Random) -> dict[str, str]:
            return {volume: store.create_snapshot(volume).snapshot_id}

        def meanwhile(_choose: random.Random) -> None:
            if not begun:
                begun.append(True)
                store.delete_snapshots([origin])
                loader.start()

        run_cuts(store, [volume], take, meanwhile, before=NOISE)
        loader.join()
        assert store.volumes.get(volume).initialization_percent == 100


def test_sets_of_two_volumes(store_path: Path, busy_seams: Seams) -> None:
    with Store.create(store_path, busy_seams) as store:
        volumes = [store.volumes.create(VolumeRequest(size_gib=1)).volume_id for _ in range(2)]

        def take(choose: random.Random) -> dict[str, str]:
            order = choose.sample(volumes, 2)
            shown = store.create_snapshots(order)
            return dict(zip(order, [each.snapshot_id for each in shown], strict=True))

        run_cuts(store, volumes, take)


def test_snapshots_while_others_are_deleted_and_sources_are_scanned(
    store_path: Path, busy_seams: Seams
) -> None:
    with Store.create(store_path, busy_seams) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        extra = []

        def take(_choose: random.Random) -> dict[str, str]:
            return {volume: store.create_snapshot(volume).snapshot_id}

        def meanwhile(choose: random.Random) -> None:
            extra.append(store.create_snapshot(disk_of(choose.randbytes(BLOCK_SIZE))).snapshot_id)
            with suppress(LimitExceededError):
                extra.append(store.create_snapshot(volume).snapshot_id)
            chosen = choose.sample(extra, choose.randint(0, min(3, len(extra))))
            if chosen:
                store.delete_snapshots(chosen)
                extra[:] = [each for each in extra if each not in chosen]

        run_cuts(store, [volume], take, meanwhile)
